"""Ranking metrics as pure functions of padded arrays, one value a request.

Conventions, the same for every function here. The last axis is the list of N items, all axes before it
are requests: `gains`, `scores` and `mask` are `[..., N]`, the result is `[...]` float64. `mask` is True
where an item is in the list; what stands elsewhere is never read. `scores` must not be nan (an item
without a score has -inf). Items are ranked by score descending. With `ties="position"` equal scores keep
the order of the array, so a caller who lays the items out by item_id ascending (UTF-8) gets Podium's tie
rule; with `ties="expected"` the value is the mean over all orders of the tied items (McSherry & Najork,
ECIR 2008). `k=None` means no cut.

Relevant means gain > 0: for another threshold pass `gains=grades >= threshold`. `relevant` `[...]` is how
many relevant items the request has, also outside the list; None counts those in the list. A request with
nothing relevant has no value (nan) in any metric but `dcg`, which is 0: the caller decides, once, whether
it leaves the mean or counts 0.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ties = Literal["position", "expected"]
RankingMetric = Callable[..., Floats]


def exponential(grades: Numbers) -> Floats:
    """Gains `2^grade - 1` (Burges et al., ICML 2005); grade 0 has gain 0."""
    return np.exp2(np.asarray(grades, dtype=np.float64)) - 1.0


def rank_order(scores: Numbers, mask: Mask) -> NDArray[np.intp]:
    """Indices `[..., N]` along the last axis, best first, ties by position, items outside the mask last."""
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    key = np.negative(scores)
    # nan sorts behind +inf: padding comes even after an item scored -inf, and ties with nothing.
    np.copyto(key, np.nan, where=~mask)
    return np.argsort(key, axis=-1, kind="stable")


def dcg(gains: Numbers, scores: Numbers, mask: Mask, k: int | None = None, *, ties: Ties = "position") -> Floats:
    """Sum over ranks r <= k of `gain_r / log2(1 + r)` (Järvelin & Kekäläinen, TOIS 2002)."""
    order = rank_order(scores, mask)
    gains = np.where(mask, gains, 0)
    if ties == "expected":
        ranked = _tie_means(np.take_along_axis(gains, order, axis=-1), *_tie_groups(scores, mask, order))
    else:
        ranked = np.take_along_axis(gains, order[..., :k], axis=-1)
    return _discounted(ranked, k)


def ndcg(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    ideal: Numbers | None = None,
) -> Floats:
    """DCG over the DCG of the best order of the same gains; nan where a request has no positive gain.

    gains must be >= 0, already linear or made by `exponential`. ideal `[..., M]`: the gains of all that
    is known to be relevant to the request, in any order and zero-padded; None takes the list's own.
    """
    best = np.where(mask, gains, 0) if ideal is None else ideal
    best_dcg = _discounted(np.sort(best, axis=-1)[..., ::-1], k)
    return _ratio(dcg(gains, scores, mask, k, ties=ties), best_dcg)


def precision(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
) -> Floats:
    """Relevant items among the first k, over k (trec_eval: also for a shorter list); no cut: over the list."""
    found = _found(gains, scores, mask, k, ties)
    places = np.maximum(mask.sum(axis=-1), 1) if k is None else k
    return np.where(_relevant(gains, mask, relevant) > 0, found / places, np.nan)


def recall(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    relevant: Numbers | None = None,
    *,
    ties: Ties = "position",
) -> Floats:
    """Relevant items among the first k, over all that are relevant."""
    return _ratio(_found(gains, scores, mask, k, ties), _relevant(gains, mask, relevant))


def hit_rate(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
) -> Floats:
    """1 where a relevant item is among the first k, else 0 (expected ties: the chance of it)."""
    missed = np.cumprod(1.0 - _first_chance(gains, scores, mask, ties)[..., :k], axis=-1)
    none_found = missed[..., -1] if missed.shape[-1] else np.ones(missed.shape[:-1])
    return np.where(_relevant(gains, mask, relevant) > 0, 1.0 - none_found, np.nan)


def mrr(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
) -> Floats:
    """1 / rank of the first relevant item (Voorhees 1999); 0 when it is not among the first k."""
    chance = _first_chance(gains, scores, mask, ties)[..., :k]
    missed = np.cumprod(1.0 - chance, axis=-1)
    reached = np.concatenate([np.ones_like(missed[..., :1]), missed[..., :-1]], axis=-1)
    value = (reached * chance / np.arange(1, chance.shape[-1] + 1)).sum(axis=-1)
    return np.where(_relevant(gains, mask, relevant) > 0, value, np.nan)


def average_precision(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
) -> Floats:
    """Precision at the rank of each relevant item of the first k, summed, over all that are relevant.

    Its mean over requests is MAP. As trec_eval's map_cut, a cut does not lower what it is divided by.
    """
    hits, start, size = _ranked_relevance(gains, scores, mask, ties)
    place = np.arange(hits.shape[-1])
    total = _tie_means(hits, start, size) * size
    before = np.take_along_axis(np.cumsum(hits, axis=-1) - hits, start, axis=-1)
    # Of the other size - 1 tied items, total - 1 are relevant when this one is.
    companions = (place - start) * np.divide(total - 1, size - 1, out=np.zeros_like(total), where=size > 1)
    each = total / size * (before + 1 + companions) / (place + 1)
    return _ratio(each[..., :k].sum(axis=-1), _relevant(gains, mask, relevant))


def _discounted(ranked: Numbers, k: int | None) -> Floats:
    ranked = ranked[..., :k]
    return np.asarray(ranked @ (1.0 / np.log2(np.arange(2, ranked.shape[-1] + 2))), dtype=np.float64)


def _ratio(part: Numbers, whole: Numbers) -> Floats:
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _relevant(gains: Numbers, mask: Mask, relevant: Numbers | None) -> Numbers:
    return np.asarray(((gains > 0) & mask).sum(axis=-1) if relevant is None else relevant)


def _found(gains: Numbers, scores: Numbers, mask: Mask, k: int | None, ties: Ties) -> Floats:
    """(Expected) number of relevant items among the first k."""
    hits, start, size = _ranked_relevance(gains, scores, mask, ties)
    return np.asarray(_tie_means(hits, start, size)[..., :k].sum(axis=-1))


def _first_chance(gains: Numbers, scores: Numbers, mask: Mask, ties: Ties) -> Floats:
    """Chance `[..., N]` that the item at a rank is relevant, given that none before it is."""
    hits, start, size = _ranked_relevance(gains, scores, mask, ties)
    left = size - (np.arange(hits.shape[-1]) - start)
    return np.minimum(_tie_means(hits, start, size) * size / left, 1.0)


def _ranked_relevance(
    gains: Numbers, scores: Numbers, mask: Mask, ties: Ties
) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """0 or 1 in rank order, with first rank and size of the tie each rank is in (itself for ties by position)."""
    order = rank_order(scores, mask)
    hits = np.take_along_axis((gains > 0) & mask, order, axis=-1).astype(np.float64)
    if ties == "expected":
        return hits, *_tie_groups(scores, mask, order)
    place = np.broadcast_to(np.arange(hits.shape[-1]), hits.shape)
    return hits, place, np.ones_like(place)


def _tie_groups(scores: Numbers, mask: Mask, order: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First rank and number of the equal scores around each rank; items outside the mask stand alone."""
    ranked = np.take_along_axis(scores, order, axis=-1)
    inside = np.take_along_axis(mask, order, axis=-1)
    place = np.arange(scores.shape[-1])
    same = (ranked[..., 1:] == ranked[..., :-1]) & inside[..., 1:]
    opens = np.concatenate([np.ones_like(inside[..., :1]), ~same], axis=-1)
    start = np.maximum.accumulate(np.where(opens, place, 0), axis=-1)
    closes = np.concatenate([~same, np.ones_like(inside[..., :1])], axis=-1)
    last = np.where(closes, place, scores.shape[-1])[..., ::-1]
    end = np.minimum.accumulate(last, axis=-1)[..., ::-1]
    return start, end - start + 1


def _tie_means(ranked: Numbers, start: NDArray[np.intp], size: NDArray[np.intp]) -> Floats:
    """Each rank's value replaced by the mean over its tie."""
    total = np.zeros((*ranked.shape[:-1], ranked.shape[-1] + 1))
    np.cumsum(ranked, axis=-1, out=total[..., 1:])
    ends = np.take_along_axis(total, start + size, axis=-1)
    return np.asarray((ends - np.take_along_axis(total, start, axis=-1)) / size)
