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
it leaves the mean or counts 0. `order` is what `rank_order` gave for these scores (its head of k suffices
for ties by position), for callers who ask several metrics of the same lists.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from pipeline.metrics.order import Floats, Mask, Numbers, Places, largest, pick, rank_order, tie_groups, tie_means

Ties = Literal["position", "expected"]
RankingMetric = Callable[..., Floats]


def exponential(grades: Numbers) -> Floats:
    """Gains `2^grade - 1` (Burges et al., ICML 2005); grade 0 has gain 0."""
    return np.exp2(np.asarray(grades, dtype=np.float64)) - 1.0


def dcg(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    order: Places | None = None,
) -> Floats:
    """Sum over ranks r <= k of `gain_r / log2(1 + r)` (Järvelin & Kekäläinen, TOIS 2002)."""
    if ties == "position":
        best = rank_order(scores, mask, k) if order is None else order[..., :k]
        return _discounted(_taken(gains, mask, best), k)
    best = rank_order(scores, mask) if order is None else order
    return _discounted(tie_means(_taken(gains, mask, best), *tie_groups(scores, mask, best)), k)


def ndcg(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    ideal: Numbers | None = None,
    order: Places | None = None,
) -> Floats:
    """DCG over the DCG of the best order of the same gains; nan where a request has no positive gain.

    gains must be >= 0, already linear or made by `exponential`. ideal `[..., M]`: the gains of all that
    is known to be relevant to the request, in any order and zero-padded; None takes the list's own.
    """
    best = np.where(mask, gains, 0) if ideal is None else ideal
    best_dcg = _discounted(largest(best, k), k)
    return _ratio(dcg(gains, scores, mask, k, ties=ties, order=order), best_dcg)


def precision(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
    order: Places | None = None,
) -> Floats:
    """Relevant items among the first k, over k (trec_eval: also for a shorter list); no cut: over the list."""
    found = _found(gains, scores, mask, k, ties, order)
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
    order: Places | None = None,
) -> Floats:
    """Relevant items among the first k, over all that are relevant."""
    return _ratio(_found(gains, scores, mask, k, ties, order), _relevant(gains, mask, relevant))


def hit_rate(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
    order: Places | None = None,
) -> Floats:
    """1 where a relevant item is among the first k, else 0 (expected ties: the chance of it)."""
    missed = np.cumprod(1.0 - _first_chance(gains, scores, mask, k, ties, order)[..., :k], axis=-1)
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
    order: Places | None = None,
) -> Floats:
    """1 / rank of the first relevant item (Voorhees 1999); 0 when it is not among the first k."""
    chance = _first_chance(gains, scores, mask, k, ties, order)[..., :k]
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
    order: Places | None = None,
) -> Floats:
    """Precision at the rank of each relevant item of the first k, summed, over all that are relevant.

    Its mean over requests is MAP. As trec_eval's map_cut, a cut does not lower what it is divided by.
    """
    hits, start, size = _ranked_relevance(gains, scores, mask, k, ties, order)
    place = np.arange(hits.shape[-1])
    total = tie_means(hits, start, size) * size
    before = pick(np.cumsum(hits, axis=-1) - hits, start)
    # Of the other size - 1 tied items, total - 1 are relevant when this one is.
    companions = (place - start) * np.divide(total - 1, size - 1, out=np.zeros_like(total), where=size > 1)
    each = total / size * (before + 1 + companions) / (place + 1)
    return _ratio(each[..., :k].sum(axis=-1), _relevant(gains, mask, relevant))


def r_precision(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    *,
    ties: Ties = "position",
    relevant: Numbers | None = None,
    order: Places | None = None,
) -> Floats:
    """Precision at the rank that equals the number of relevant items (Buckley & Voorhees, TREC 2005)."""
    hits, start, size = _ranked_relevance(gains, scores, mask, None, ties, order)
    total = _relevant(gains, mask, relevant)
    within = np.arange(hits.shape[-1]) < total[..., None]
    return _ratio((tie_means(hits, start, size) * within).sum(axis=-1), total)


def bpref(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    *,
    others: Mask,
    ties: Ties = "position",
    relevant: Numbers | None = None,
    irrelevant: Numbers | None = None,
    order: Places | None = None,
) -> Floats:
    """Of relevant items, how few judged irrelevant ones stand above (Buckley & Voorhees, SIGIR 2004).

    `1/R * sum over retrieved relevant items of 1 - min(n, R) / min(R, I)`, as trec_eval has it: n judged
    irrelevant items stand above, R relevant and I irrelevant ones are judged. others `[..., N]`: judged
    irrelevant; irrelevant `[...]`: I, None counts those in the list. Items without judgment do not matter.
    """
    hits, start, size = _ranked_relevance(gains, scores, mask, None, ties, order)
    best = rank_order(scores, mask) if order is None else order
    wrong = _taken(others, mask, best).astype(np.float64)
    above = pick(np.cumsum(wrong, axis=-1) - wrong, start)
    total = _relevant(gains, mask, relevant)[..., None]
    wrongs = np.asarray((others & mask).sum(axis=-1) if irrelevant is None else irrelevant)[..., None]
    # Among tied items a relevant one has 0 to all of the tie's irrelevant ones above it, each as likely.
    tied = tie_means(wrong, start, size) * size if ties == "expected" else np.zeros_like(wrong)
    cost = (_sum_of_least(above + tied, total) - _sum_of_least(above - 1, total)) / (tied + 1)
    share = np.divide(cost, np.minimum(total, wrongs), out=np.zeros_like(cost), where=cost > 0)
    return _ratio((hits * (1.0 - share)).sum(axis=-1), total[..., 0])


def _discounted(ranked: Numbers, k: int | None) -> Floats:
    ranked = ranked[..., :k]
    return np.asarray(ranked @ (1.0 / np.log2(np.arange(2, ranked.shape[-1] + 2))), dtype=np.float64)


def _ratio(part: Numbers, whole: Numbers) -> Floats:
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _relevant(gains: Numbers, mask: Mask, relevant: Numbers | None) -> Numbers:
    return np.asarray(((gains > 0) & mask).sum(axis=-1) if relevant is None else relevant)


def _taken(values: Numbers, mask: Mask, order: Places) -> Numbers:
    """The values in rank order, 0 outside the mask."""
    taken = pick(values, order)
    return taken if mask.all() else np.where(pick(mask, order), taken, 0)


def _found(gains: Numbers, scores: Numbers, mask: Mask, k: int | None, ties: Ties, order: Places | None) -> Floats:
    """(Expected) number of relevant items among the first k."""
    hits, start, size = _ranked_relevance(gains, scores, mask, k, ties, order)
    return np.asarray(tie_means(hits, start, size)[..., :k].sum(axis=-1))


def _first_chance(
    gains: Numbers, scores: Numbers, mask: Mask, k: int | None, ties: Ties, order: Places | None
) -> Floats:
    """Chance `[..., N]` that the item at a rank is relevant, given that none before it is."""
    hits, start, size = _ranked_relevance(gains, scores, mask, k, ties, order)
    left = size - (np.arange(hits.shape[-1]) - start)
    return np.minimum(tie_means(hits, start, size) * size / left, 1.0)


def _ranked_relevance(
    gains: Numbers, scores: Numbers, mask: Mask, k: int | None, ties: Ties, order: Places | None
) -> tuple[Floats, Places, Places]:
    """0 or 1 in rank order, with first rank and size of the tie each rank is in (itself for ties by position)."""
    if ties == "expected":
        whole = rank_order(scores, mask) if order is None else order
        return _taken(gains > 0, mask, whole).astype(np.float64), *tie_groups(scores, mask, whole)
    head = rank_order(scores, mask, k) if order is None else order[..., :k]
    hits = _taken(gains > 0, mask, head).astype(np.float64)
    place = np.broadcast_to(np.arange(hits.shape[-1]), hits.shape)
    return hits, place, np.ones_like(place)


def _sum_of_least(last: Floats, bound: Numbers) -> Floats:
    """Sum over i = 0..last of `min(i, bound)`; 0 for last < 0."""
    low = np.clip(last, 0, bound)
    return np.asarray(low * (low + 1) / 2 + np.maximum(last - bound, 0) * bound, dtype=np.float64)
