"""Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), and one row an item where channels agree."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.integer[Any]]

_LOW = 20  # bits of the code below (row, item): 16 of rank, 4 of channel


def rrf(ranks: ArrayLike, weights: ArrayLike, k0: float = 60.0) -> NDArray[np.float64]:
    """Sum over the channels of weight / (k0 + rank).

    ranks: `[..., C]`, counted from 1, NaN or below 0 where a channel did not find the item; weights: `[C]`.
    Returns `[...]`.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    absent = np.isnan(ranks) | (ranks < 0)
    parts = np.asarray(weights, dtype=np.float64) / (k0 + np.where(absent, 0.0, ranks))
    score: NDArray[np.float64] = np.where(absent, 0.0, parts).sum(axis=-1)
    return score


def collapse(
    item: NDArray[np.int32], channel: Ints, rank: Ints, channels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One place an item. item, channel, rank: `[R, K]`, item -1 = none, rank counted from 0.

    Returns where each item stands with its best rank, `[R, G]` (-1 = none), by item; and its best rank in each of the
    C channels, counted from 1, -1 = absent, `[R, G, C]`.
    """
    row, column = np.nonzero(item >= 0)
    own = (row.astype(np.int64) * (int(item.max(initial=0)) + 1) + item[row, column]) << _LOW
    code = own | (rank[row, column].astype(np.int64) << 4) | channel[row, column]
    order = np.argsort(code)
    row, column = row[order], column[order]
    first = np.diff(code[order] >> _LOW, prepend=-1) != 0
    group = np.cumsum(first) - 1
    start = np.searchsorted(row[first], np.arange(len(item)))
    place = group - start[row]
    best = np.full((len(item), int(place.max(initial=-1)) + 1), -1, dtype=np.int64)
    best[row[first], place[first]] = column[first]
    ranks = np.full((*best.shape, channels), -1, dtype=np.int64)
    back = slice(None, None, -1)  # worst rank first, so that the best is what stays
    ranks[row[back], place[back], channel[row, column][back]] = rank[row, column][back].astype(np.int64) + 1
    return best, ranks
