"""What a page is as a whole: diversity, novelty, and how the catalogue's exposure is spread. Knows arrays alone.

Letters: R pages, K slots, N items, M topics of an item, D dimensions. items `[R, K]` int, the page in order, -1 where
a slot is empty; every metric looks at the first k slots. topics `[N, M]` int codes >= 0, each once an item, -1 none.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[Any]
Mask = NDArray[np.bool_]

_AT_ONCE: Final = 4_000_000  # numbers gathered at one time
ALPHA: Final = 0.5


def intra_list_distance(items: Ints, vectors: NDArray[Any], k: int) -> Floats:
    """ILD@k `[R]`: mean of 1 - cosine over the pairs of a page (Ziegler et al. 2005). vectors `[N, D]`.

    An item without a vector (zero, or not finite) is in no pair; nan where fewer than two have one. The pairs are
    never formed: the square of the sum of unit vectors holds all their products.
    """
    length = np.linalg.norm(vectors, axis=1)
    known = np.isfinite(length) & (length > 0)
    unit = np.where(known[:, None], vectors, 0.0) / np.where(known, length, 1.0)[:, None]
    unit = np.vstack([unit, np.zeros(unit.shape[1])]).astype(np.float32)  # the last row is that of an empty slot
    values = np.empty(len(items))
    for rows in _blocks(len(items), min(k, items.shape[1]) * unit.shape[1]):
        page = items[rows, :k]
        count = ((page >= 0) & known[page]).sum(axis=1)
        square = np.sum(unit[page].sum(axis=1, dtype=np.float64) ** 2, axis=1)
        values[rows] = 1.0 - _divided(square - count, count * (count - 1.0))
    return values


def intra_list_difference(items: Ints, topics: Ints, k: int) -> Floats:
    """ILD@k `[R]` of sets: mean of 1 - Jaccard likeness of the topics over the pairs of a page.

    With one topic an item it is the share of pairs whose topics differ. An item without topics is in no pair.
    """
    values = np.empty(len(items))
    sizes = (topics >= 0).sum(axis=1)
    for rows in _blocks(len(items), min(k, items.shape[1]) ** 2 * topics.shape[1] ** 2):
        page = items[rows, :k]
        size = np.where(page >= 0, sizes[page], 0)
        own = _topics_of(page, topics)
        left, right = np.triu_indices(page.shape[1], 1)
        same = own[:, left, :, None] == own[:, right, None, :]
        shared = (same & (own[:, left, :, None] >= 0)).sum(axis=(2, 3))
        pair = (size[:, left] > 0) & (size[:, right] > 0)
        likeness = shared / np.where(pair, size[:, left] + size[:, right] - shared, 1)
        values[rows] = 1.0 - _divided((likeness * pair).sum(axis=1), pair.sum(axis=1))
    return values


def path_distance(items: Ints, paths: Ints, k: int) -> Floats:
    """ILD@k `[R]` without vectors: mean over the pairs of a page of 1 - shared levels / levels of the longer path.

    paths `[N, L]`: a code for each prefix of an item's category path, the broadest first, 0 where it ends. An item
    without a path is in no pair; with one level it is the share of pairs of different categories.
    """
    values = np.empty(len(items))
    levels = (paths != 0).sum(axis=1)
    for rows in _blocks(len(items), min(k, items.shape[1]) ** 2 * paths.shape[1]):
        page = items[rows, :k]
        shown = page >= 0
        left, right = np.triu_indices(page.shape[1], 1)
        level, own = np.where(shown, levels[page], 0), np.where(shown[:, :, None], paths[page], 0)
        shared = ((own[:, left] == own[:, right]) & (own[:, left] != 0)).sum(axis=2)
        pair = (level[:, left] > 0) & (level[:, right] > 0)
        likeness = shared / np.maximum(np.maximum(level[:, left], level[:, right]), 1)
        values[rows] = 1.0 - _divided((likeness * pair).sum(axis=1), pair.sum(axis=1))
    return values


def entropy(items: Ints, category: Ints, k: int) -> Floats:
    """`[R]`: -sum p ln p over the categories of a page, in nats: 0 for one category, ln k for k of them.

    category `[N]`, -1 unknown: such an item is not counted. nan for a page with none known.
    """
    counts, total = _runs(_topics_of(items[:, :k], category[:, None])[:, :, 0])
    share = counts / np.where(total > 0, total, 1)[:, None]
    value = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=1)
    return np.where(total > 0, value + 0.0, np.nan)


def novelty(items: Ints, information: Floats, k: int) -> Floats:
    """`[R]`: mean self-information of the items of a page, in bits (Zhou et al. 2010); nan for an empty page.

    information `[N]`: see `self_information`.
    """
    shown = items[:, :k] >= 0
    return _divided((information[items[:, :k]] * shown).sum(axis=1), shown.sum(axis=1))


def self_information(popularity: NDArray[Any]) -> Floats:
    """`[N]`: -log2 of each item's share of all interactions `popularity` `[N]`, counts, one added to each (Laplace):
    an item nobody touched has a finite value, the largest."""
    counts = np.asarray(popularity, dtype=np.float64) + 1.0
    return np.asarray(-np.log2(counts / counts.sum()), dtype=np.float64)


def subtopic_recall(items: Ints, relevant: Mask, pool: Ints, topics: Ints, k: int) -> Floats:
    """S-recall@k `[R]`: share of a request's topics that the page's relevant items hold (Zhai, Cohen & Lafferty 2003).

    relevant `[R, K]`; pool `[R, P]`: all relevant items of a request, -1 padded: their topics are the request's. nan
    where it has none.
    """
    found = _topics_of(np.where(relevant, items, -1)[:, :k], topics)
    wanted = _topics_of(pool, topics)
    return _divided(_distinct(found), _distinct(wanted))


def alpha_ndcg(items: Ints, relevant: Mask, pool: Ints, topics: Ints, k: int, alpha: float = ALPHA) -> Floats:
    """alpha-NDCG@k `[R]` (Clarke et al. 2008): a topic's gain shrinks by 1 - alpha each time it was met before.

    Gain of a slot = sum over the topics of its item, if relevant, of (1 - alpha) ** (relevant items above with the
    topic); discount log2(1 + rank). relevant, pool: as in `subtopic_recall`. The ideal page is chosen from the pool
    greedily, as the paper does (the best one is NP-hard); of equal gains the first in the pool. nan where the ideal
    is 0.
    """
    page = np.where(relevant, items, -1)[:, :k]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    gains = _novel_gains(_topics_of(page, topics), alpha)
    ideal = np.empty(len(items))
    for rows in _blocks(len(items), pool.shape[1] * topics.shape[1] * 8):
        ideal[rows] = _greedy_ideal(_topics_of(pool[rows], topics), discount, alpha)
    return _divided(gains @ discount[: gains.shape[1]], ideal)


def exposure(items: Ints, size: int, k: int, *, discounted: bool = False) -> Floats:
    """`[size]`: how often each of `size` items stands on a page; discounted: each time by 1 / log2(1 + rank)."""
    page = items[:, :k]
    shown = page >= 0
    slot = np.broadcast_to(np.arange(2.0, page.shape[1] + 2), page.shape)
    weights = 1.0 / np.log2(slot[shown]) if discounted else None
    return np.bincount(page[shown], weights=weights, minlength=size).astype(np.float64)


def coverage(exposed: Floats) -> float:
    """The share of the catalogue that was shown at all. exposed `[N]`, never shown items included."""
    return float(np.mean(exposed > 0)) if len(exposed) else float("nan")


def gini(exposed: Floats) -> float:
    """Gini's coefficient of `exposed` `[N]`, never shown items included: 0 all alike, 1 - 1/N one item has it all."""
    total, size = exposed.sum(), len(exposed)
    if not total > 0:
        return float("nan")
    return float((2.0 * np.arange(1, size + 1) - size - 1.0) @ np.sort(exposed) / (size * total))


def _topics_of(items: Ints, topics: Ints) -> Ints:
    """`[R, K, M]`: of an empty slot -1 everywhere."""
    return np.where((items >= 0)[:, :, None], topics[items], -1)


def _divided(part: Any, whole: Any) -> Floats:
    """part / whole `[R]`, nan where whole is 0."""
    part = np.asarray(part, dtype=np.float64)
    share: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.asarray(whole) > 0)
    return share


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(width, 1))
    yield from (slice(start, start + step) for start in range(0, rows, step))


def _runs(codes: Ints) -> tuple[Ints, Ints]:
    """How often each code >= 0 stands in its row: counts `[R, K]` in some order, 0 where there is none; sums `[R]`."""
    ordered = np.sort(codes, axis=1)
    known = ordered >= 0
    first = np.diff(ordered, axis=1, prepend=-2) != 0
    run = np.cumsum(first, axis=1) - 1 + np.arange(len(codes))[:, None] * codes.shape[1]
    counts = np.bincount(run[known], minlength=codes.size).reshape(codes.shape)
    return counts, known.sum(axis=1)


def _distinct(topics: Ints) -> Ints:
    """Different codes >= 0 of each row of `[R, K, M]`."""
    counts, _ = _runs(topics.reshape(len(topics), -1))
    return np.asarray((counts > 0).sum(axis=1))


def _novel_gains(topics: Ints, alpha: float) -> Floats:
    """`[R, K]`: each slot's sum of (1 - alpha) ** (times the topic stood above), for `topics` `[R, K, M]`."""
    flat = topics.reshape(len(topics), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=1)
    place = np.broadcast_to(np.arange(flat.shape[1]), flat.shape)
    start = np.maximum.accumulate(np.where(np.diff(ordered, axis=1, prepend=-2) != 0, place, 0), axis=1)
    gains = np.empty(flat.shape)
    np.put_along_axis(gains, order, np.where(ordered >= 0, (1.0 - alpha) ** (place - start), 0.0), axis=1)
    return np.asarray(gains.reshape(topics.shape).sum(axis=2))


def _greedy_ideal(topics: Ints, discount: Floats, alpha: float) -> Floats:
    """`[R]`: the discounted gain of the page that takes, slot by slot, the item of `topics` `[R, P, M]` that adds most.

    Topics are renumbered within their request, so that what was seen is a small table and not one of all topics.
    """
    rows, pool, width = topics.shape
    if not topics.size:
        return np.zeros(rows)
    flat = topics.reshape(rows, -1)
    order = np.argsort(flat, axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=1)
    local = np.empty(flat.shape, dtype=np.intp)
    np.put_along_axis(local, order, np.cumsum(np.diff(ordered, axis=1, prepend=-2) != 0, axis=1) - 1, axis=1)
    known, worth = flat >= 0, np.ones(flat.shape)
    value, line = np.zeros(rows), np.arange(rows)
    for weight in discount[:pool]:
        gain = (np.take_along_axis(worth, local, axis=1) * known).reshape(rows, pool, width).sum(axis=2)
        best = np.argmax(gain, axis=1)
        value += weight * gain[line, best]
        taken = best[:, None] * width + np.arange(width)
        chosen, counts = local[line[:, None], taken], known[line[:, None], taken]
        worth[line[:, None], chosen] *= np.where(counts, 1.0 - alpha, 1.0)
        known[line[:, None], taken] = False
    return value
