"""Who stands where: the order of scored items, in whole or only its head, and the ties within it.

All arrays are `[..., N]` with the conventions of `pipeline.metrics.ranking`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

HEAD = 3  # a head is selected where it is below one part in so many of the list; else sorting all is as fast


def rank_order(scores: Numbers, mask: Mask, k: int | None = None) -> Places:
    """Indices `[..., min(k, N)]` along the last axis, best first, ties by position, items outside the mask last."""
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    key = np.negative(scores)
    if not mask.all():
        # nan sorts behind +inf: padding comes even after an item scored -inf, and ties with nothing.
        np.copyto(key, np.nan, where=~mask)
    rows = key.reshape(-1, key.shape[-1]) if key.shape[-1] else key.reshape(0, 0)
    order = _head(rows, k) if k is not None and k * HEAD < rows.shape[-1] else _sorted(rows)[:, :k]
    return order.reshape(*key.shape[:-1], -1) if key.size else np.zeros((*key.shape[:-1], 0), dtype=np.intp)


def pick(values: Numbers, order: Places) -> Numbers:
    """`np.take_along_axis` of the last axis, in a third of the time: `[..., N]` and `[..., K]` give `[..., K]`."""
    n = values.shape[-1]
    if not n:
        return np.take_along_axis(values, order, axis=-1)
    first = np.arange(0, values.size, n).reshape(*values.shape[:-1], 1)
    return values.ravel().take(order + first)


def largest(values: Numbers, k: int | None) -> Numbers:
    """The k largest of each row, largest first `[..., min(k, N)]`."""
    n = values.shape[-1]
    if k is not None and k * HEAD < n:
        values = np.partition(values, n - k, axis=-1)[..., n - k :]
    return np.sort(values, axis=-1)[..., ::-1][..., :k]


def tie_groups(scores: Numbers, mask: Mask, order: Places) -> tuple[Places, Places]:
    """First rank and number of the equal scores around each rank; items outside the mask stand alone."""
    ranked = pick(scores, order)
    inside = pick(mask, order)
    place = np.arange(scores.shape[-1])
    same = (ranked[..., 1:] == ranked[..., :-1]) & inside[..., 1:]
    opens = np.concatenate([np.ones_like(inside[..., :1]), ~same], axis=-1)
    start = np.maximum.accumulate(np.where(opens, place, 0), axis=-1)
    closes = np.concatenate([~same, np.ones_like(inside[..., :1])], axis=-1)
    last = np.where(closes, place, scores.shape[-1])[..., ::-1]
    end = np.minimum.accumulate(last, axis=-1)[..., ::-1]
    return start, end - start + 1


def tie_means(ranked: Numbers, start: Places, size: Places) -> Floats:
    """Each rank's value replaced by the mean over its tie."""
    total = np.zeros((*ranked.shape[:-1], ranked.shape[-1] + 1))
    np.cumsum(ranked, axis=-1, out=total[..., 1:])
    ends = pick(total, start + size)
    return np.asarray((ends - pick(total, start)) / size)


def _sorted(key: Numbers) -> Places:
    """Ascending, stable. The unstable sort is several times faster; only rows with a tie need the other."""
    order = np.argsort(key, axis=-1)
    ranked = pick(key, order)
    tied = (ranked[:, 1:] == ranked[:, :-1]).any(axis=-1)
    if tied.any():
        order[tied] = np.argsort(key[tied], axis=-1, kind="stable")
    return order


def _head(key: Numbers, k: int) -> Places:
    """The first k of `_sorted`: what is not above the k-th value, sorted; a row tied or ending there, in full."""
    near = key <= np.partition(key, k - 1, axis=-1)[:, k - 1 : k]
    places = np.flatnonzero(near)
    exact = np.ones(len(key), dtype=bool)
    first = np.arange(0, key.size, key.shape[-1])
    if (
        len(places) != len(key) * k
        or (places[::k] < first).any()
        or (places[k - 1 :: k] >= first + key.shape[-1]).any()
    ):
        exact = near.sum(axis=-1) == k
        places = np.flatnonzero(near[exact])
    chosen = places.reshape(-1, k)
    head = key if exact.all() else key[exact]
    by_value = _sorted(head.ravel().take(chosen))
    columns = pick(chosen, by_value) - first[: len(head), None]
    if exact.all():
        return columns
    order = np.empty((len(key), k), dtype=np.intp)
    order[exact] = columns
    order[~exact] = _sorted(key[~exact])[:, :k]
    return order
