"""Features and item descriptions as a network takes them. Pure functions of arrays.

Letters: n rows, F features, B bins of all features together, M patterns of missing values, N items, C kinds of codes.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Floats = NDArray[np.float32]

LARGEST: Final = 1e30  # what lies beyond counts as this: differences of two such stay finite in float32
_SAMPLE: Final = 100_000  # rows that quantiles are read from
_CLOSE: Final = 1e-6  # edges nearer to each other than this share of the range are one


@dataclass(frozen=True, slots=True)
class Bins:
    """column: `[B]` feature of each bin; low: `[B]` its lower edge; slope: `[B]` 1 / width; mean: `[B]` of how full it
    is where the feature is known; missing: `[M]` features whose absence is told apart."""

    column: Places
    low: Floats
    slope: Floats
    mean: Floats
    missing: Places


def fit_bins(rows: Floats, bins: int) -> Bins:
    """Quantile bins of each feature of `[n, F]`: a value counts 1 for each bin below it, and for its own bin how far
    it lies in (piecewise linear encoding; Gorishniy et al., NeurIPS 2022, 3.2). A constant feature has no bin.

    Features that are missing in the same rows share one sign of it.
    """
    some = np.clip(rows[:: max(1, len(rows) // _SAMPLE)], -LARGEST, LARGEST)
    column, low, slope, mean = [], [], [], []
    for place in range(rows.shape[1]):
        values = some[:, place].astype(np.float64)
        values = values[~np.isnan(values)]
        edges = _edges(values, bins)
        if len(edges) < 2:
            continue
        width = np.diff(edges)
        column.append(np.full(len(width), place))
        low.append(edges[:-1])
        slope.append(1.0 / width)
        mean.append(np.clip((values[:, None] - edges[:-1]) / width, 0.0, 1.0).mean(axis=0))
    edge = (_joined(low, np.float32), _joined(slope, np.float32), _joined(mean, np.float32))
    return Bins(_joined(column, np.int64), *edge, _patterns(some))


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Ascending, at most `bins + 1`: all distinct values where they are so few, else quantiles."""
    edges = np.unique(values)
    if len(edges) > bins + 1:
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1), method="nearest"))
    if len(edges) < 2:
        return edges
    return np.asarray(edges[np.diff(edges, prepend=-np.inf) > _CLOSE * (edges[-1] - edges[0])])


def _patterns(rows: Floats) -> Places:
    """The first feature of each pattern of missing values; none for what is never or always missing."""
    absent = np.isnan(rows)
    known = np.flatnonzero(absent.any(axis=0) & ~absent.all(axis=0))
    _, first = np.unique(absent[:, known], axis=1, return_index=True)
    return known[np.sort(first)]


def item_codes(groups: NDArray[Any], seen: NDArray[Any], least_seen: int) -> tuple[Places, int]:
    """Codes `[N, C]` of what is embedded of an item, and how many codes there are: itself, then its groups.

    groups: `[N, C - 1]`, levels of its category and its brand as any numbers, 0 = none; seen: `[N]`, rows the item
    stands in. Code 0 is nothing: no such group, or an item too rarely seen to be known by itself.
    """
    own = seen >= least_seen
    codes, total = [np.where(own, np.cumsum(own), 0)], int(own.sum())
    for group in np.asarray(groups).T:
        names, code = np.unique(group[group != 0], return_inverse=True)
        column = np.zeros(len(group), dtype=np.int64)
        column[group != 0] = code + total + 1
        codes.append(column)
        total += len(names)
    return np.stack(codes, axis=1).astype(np.int64), total + 1


def _joined(parts: list[Any], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts).astype(kind) if parts else np.empty(0, dtype=kind)
