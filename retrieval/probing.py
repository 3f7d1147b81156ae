"""How many inverted lists a search has to look through, with and without a filter.

Measured when the index is built, for filters that take items at random. A filter that takes one region (a category)
leaves lists near the query empty and others whole: so what is aimed at is not a number of lists but of *allowed*
items looked at, as many as a random filter would need that is as dense as this one is in the lists it reaches.
"""

from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Ints, Mask
from retrieval.nearest import Vectors

Probes = tuple[tuple[float, int], ...]

_SAMPLE: Final = 1 << 16  # items by which a filter is judged: enough for an error of some percent, cheap to look up


@dataclass(frozen=True, slots=True)
class Probing:
    """centroids: `[L, D]`; sample: `[S]` items; home: `[S]`, their lists; held: `[L]`, sampled items of each list;
    probes: (share of the items allowed, lists to look through for `depth` items), shares falling."""

    centroids: Vectors
    sample: Ints
    home: Ints
    held: Ints
    probes: Probes
    depth: int

    @classmethod
    def of(cls, centroids: Vectors, home: Ints, probes: Probes, depth: int) -> "Probing":
        """home: `[N]`, the list of each item."""
        chosen = np.random.default_rng(0).permutation(len(home))[:_SAMPLE]
        sample = np.sort(chosen)
        held = np.bincount(home[sample], minlength=len(centroids))
        return cls(centroids, sample, home[sample], held, probes, depth)

    def wanted(self, share: float, k: int) -> int:
        """Lists for k items under a random filter. k items among a share s lie as deep as `depth` among
        s * depth / k; between measured shares, the straight line between logarithms."""
        shares, counts = zip(*reversed(self.probes), strict=True)
        share *= min(1.0, self.depth / k)
        lists = np.exp(np.interp(log(share), np.log(shares), np.log(counts)))
        return min(int(np.ceil(lists - 1e-9)), len(self.centroids))

    def lists(self, queries: Vectors, mask: Mask, share: float, k: int) -> NDArray[np.int64]:
        """Lists for each of `queries` `[R, D]` under a filter that allows a `share` of the items; rounded up to
        steps of at most a half, so that many requests can be searched together."""
        most = len(self.centroids)
        allowed = np.bincount(self.home[mask[self.sample]], minlength=most)
        seen = int(allowed.sum())
        if not seen:
            return np.full(len(queries), most)
        # How many of the others in the list of an allowed item are allowed: free of the sample's size.
        density = float((allowed * (allowed - 1) / np.maximum(self.held - 1, 1)).sum() / seen)
        density = min(max(density, share), 1.0)
        target = self.wanted(density, k) * density * len(self.sample) / most
        nearest_first = np.argsort(-(queries @ self.centroids.T), axis=1)
        short = (np.cumsum(allowed[nearest_first], axis=1) < min(target, seen)).sum(axis=1)
        return np.minimum(stepped(np.maximum(short + 1, self.wanted(1.0, k))), most)


def stepped(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rounded up to 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    power = np.int64(1) << np.int64(np.floor(np.log2(counts)))
    half = power + power // 2
    return np.asarray(np.where(counts == power, power, np.where(counts <= half, half, 2 * power)), dtype=np.int64)
