"""Which items are how good for which request: pairs, looked up for whole slates at once.

Letters: R requests, K places of a slate, P pairs.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Ints, Mask

_FEW = 4_000_000  # comparisons that are faster made than avoided


@dataclass(frozen=True, slots=True)
class Labels:
    """requests: R. row, item, gain: `[P]`, each (row, item) once. item -1: one that the catalogue does not know,
    which no slate can hold, but which counts among what is relevant."""

    requests: int
    row: NDArray[np.int64]
    item: NDArray[np.int32]
    gain: NDArray[np.float64]

    def only(self, kept: Mask) -> "Labels":
        """Some of the pairs, `kept` `[P]`, of the same requests."""
        return replace(self, row=self.row[kept], item=self.item[kept], gain=self.gain[kept])

    @property
    def positive(self) -> "Labels":
        return self.only(self.gain > 0)

    @property
    def count(self) -> NDArray[np.int64]:
        """`[R]`: pairs a request."""
        return np.bincount(self.row, minlength=self.requests)

    def gains(self, item: Ints) -> NDArray[np.float64]:
        """The gain of each place of slates `item` `[R, K]` (-1 = none): `[R, K]`, 0 where there is no pair."""
        found = np.zeros(item.shape)
        known = self.item >= 0
        if not known.any() or not item.size:
            return found
        width = int(max(self.item.max(), item.max())) + 1
        code = self.row[known] * width + self.item[known]
        order = np.argsort(code)
        code, gain = code[order], self.gain[known][order]
        wanted = np.arange(self.requests)[:, None] * width + item
        place = np.minimum(np.searchsorted(code, wanted), len(code) - 1)
        return np.where((code[place] == wanted) & (item >= 0), gain[place], found)

    def ideal(self) -> NDArray[np.float64]:
        """`[R, M]`: every request's gains, zero-padded, in no promised order."""
        order = np.argsort(self.row, kind="stable")
        row, count = self.row[order], self.count
        place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        padded = np.zeros((self.requests, int(count.max(initial=0))))
        padded[row, place] = self.gain[order]
        return padded

    def among(self, item: Ints, first: int = 0) -> Mask:
        """`[P]`: whether each pair's item is in its request's row of `item` `[C, K]`, the rows from `first` on."""
        if not item.shape[1]:
            return np.zeros(len(self.row), dtype=np.bool_)
        inside = (self.row >= first) & (self.row < first + len(item)) & (self.item >= 0)
        found = np.zeros(len(self.row), dtype=np.bool_)
        places = np.flatnonzero(inside)
        row, wanted = self.row[places] - first, self.item[places]
        if len(places) * item.shape[1] <= _FEW:
            found[places] = (item[row] == wanted[:, None]).any(axis=1)
            return found
        there, width = item >= 0, int(max(item.max(), wanted.max())) + 1
        found[places] = np.isin(row * width + wanted, np.nonzero(there)[0] * width + item[there])
        return found


def spread(values: Array, size: NDArray[np.int64], fill: float) -> NDArray[np.float64]:
    """Lay values `[sum(size)]`, request after request, out as `[R, K]`."""
    mask = np.arange(int(size.max(initial=0))) < size[:, None]
    out = np.full(mask.shape, fill)
    out[mask] = values
    return out
