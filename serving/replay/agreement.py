"""How alike two orders of the same request are: rank correlation, overlap, the first place. One value a request.

Letters: R requests, K places of a slate; items are dense, -1 = none, each item once in a row.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Ints
from serving.replay.labels import Labels

Floats = NDArray[np.float64]
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places hold 86 % of the weight


def places_in(item: Ints, other: Ints) -> NDArray[np.int64]:
    """`[R, K]`: the place that each item of `item` has in the same row of `other` `[R, J]`, -1 where it is not."""
    row, place = np.nonzero(other >= 0)
    found = Labels(len(other), row, other[row, place].astype(np.int32), (place + 1).astype(np.float64)).gains(item)
    return found.astype(np.int64) - 1


def kendall_tau(item: Ints, other: Ints) -> Floats:
    """Kendall's tau `[R]` of the items that both rows hold; nan with fewer than two.

    An order has no ties, so tau-a and tau-b (Kendall 1945) are one: concordant less discordant pairs, over all pairs.
    """
    place = places_in(item, other)
    row, column = np.nonzero(place >= 0)
    held = np.bincount(row, minlength=len(item))
    pairs = held * (held - 1) / 2
    turned = inversions(row, place[row, column], len(item))
    tau = np.full(len(item), np.nan)
    np.divide(pairs - 2 * turned, pairs, out=tau, where=pairs > 0)
    return tau


def inversions(row: Ints, value: Ints, rows: int) -> Floats:
    """`[rows]`: pairs of values of one row of which the first is the greater. row, value: `[n]`, values from 0.

    Two values part at the highest bit in which they differ: bit by bit, a value without it after one with it is such a
    pair. So memory grows with the values, not with their pairs: a list may have 12,000 items.
    """
    found = np.zeros(rows)
    for bit in range(int(value.max(initial=0)).bit_length()):
        group = (row.astype(np.int64) << 40) | (value.astype(np.int64) >> (bit + 1))
        order = np.argsort(group, kind="stable")
        has = (value[order] >> bit) & 1
        before = np.cumsum(has) - has
        _, start, size = np.unique(group[order], return_index=True, return_counts=True)
        inside = before - np.repeat(before[start], size)
        found += np.bincount(row[order], weights=np.where(has > 0, 0, inside), minlength=rows)
    return found


def rank_biased_overlap(item: Ints, other: Ints, p: float = PERSISTENCE) -> Floats:
    """Extrapolated rank-biased overlap `[R]`, for lists of unequal length too; nan where a list is empty.

    Webber, Moffat & Zobel, ACM TOIS 2010, equation 32. The agreement at depth d, the share of the first d items that
    both lists hold, weighs (1 - p) p^(d - 1); what neither list reaches is taken to agree as far as what they reach.
    """
    width = max(item.shape[1], other.shape[1])
    short, long = (np.sort([(item >= 0).sum(axis=1), (other >= 0).sum(axis=1)], axis=0))[:, :, None]
    place = places_in(item, other)
    later = np.where(place >= 0, np.maximum(place, np.arange(item.shape[1])), width)
    counts = np.zeros((len(item), width + 1))
    np.add.at(counts, (np.arange(len(item))[:, None], later), 1.0)
    common = np.cumsum(counts[:, :width], axis=1)  # X_d at place d - 1
    depth = np.arange(1, width + 1)
    filled = np.maximum(short, 1), np.maximum(long, 1)
    at_short, at_long = (np.take_along_axis(common, size - 1, axis=1) for size in filled)
    agreement = common / depth + np.where(depth > short, at_short * (depth - short) / (filled[0] * depth), 0.0)
    seen = np.where(depth <= long, agreement * p**depth, 0.0).sum(axis=1, keepdims=True)
    rest = ((at_long - at_short) / filled[1] + at_short / filled[0]) * p**long
    value = (1 - p) / p * seen + rest
    return np.where(short > 0, value, np.nan)[:, 0]


def overlap(item: Ints, other: Ints, k: int) -> Floats:
    """`[R]`: items that the first k of both rows hold, over the places of the fuller one; nan where both are empty."""
    one, two = item[:, :k], other[:, :k]
    size = np.maximum((one >= 0).sum(axis=1), (two >= 0).sum(axis=1))
    both = ((places_in(one, two) >= 0) & (one >= 0)).sum(axis=1)
    value: Floats = np.divide(both, size, out=np.full(len(item), np.nan), where=size > 0)
    return value


def other_first(item: Ints, other: Ints) -> Floats:
    """`[R]`: 1 where another item stands first, else 0; nan where both rows are empty."""
    if not item.shape[1]:
        return np.full(len(item), np.nan)
    empty = (item[:, 0] < 0) & (other[:, 0] < 0)
    return np.asarray(np.where(empty, np.nan, item[:, 0] != other[:, 0]), dtype=np.float64)


def reordered(item: Ints, other: Ints) -> Floats:
    """`[R]`: 1 where the two rows differ anywhere, else 0."""
    return np.asarray((item != other).any(axis=1), dtype=np.float64)
