"""Metrics of a user who walks down the list and may stop: rank-biased precision, expected reciprocal rank.

Arrays, ties and `order` as in `pipeline.metrics.ranking`. Both are defined, as 0, without a relevant item.
"""

import numpy as np

from pipeline.metrics.order import Floats, Mask, Numbers, Places, pick, rank_order, tie_groups, tie_means
from pipeline.metrics.ranking import Ties

PERSISTENCE = 0.8


def rbp(
    gains: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    persistence: float = PERSISTENCE,
    ties: Ties = "position",
    order: Places | None = None,
) -> Floats:
    """`(1 - p) * sum over ranks r <= k of p^(r - 1) * relevant_r` (Moffat & Zobel, TOIS 2008).

    persistence p in (0, 1): the chance to look at the next item. Relevant is gain > 0. Given `judged` in
    place of the gains it is the weight of what has a judgment; 1 less that is the paper's residual, by how
    much judging the rest (a list's end and all below it too) could raise the value.
    """
    if ties == "expected":
        best = rank_order(scores, mask) if order is None else order
        hits = tie_means(_relevance(gains, mask, best), *tie_groups(scores, mask, best))[..., :k]
    else:
        hits = _relevance(gains, mask, rank_order(scores, mask, k) if order is None else order[..., :k])
    return np.asarray((1.0 - persistence) * (hits @ persistence ** np.arange(hits.shape[-1])), dtype=np.float64)


def err(
    stops: Numbers,
    scores: Numbers,
    mask: Mask,
    k: int | None = None,
    *,
    ties: Ties = "position",
    order: Places | None = None,
) -> Floats:
    """Expected reciprocal rank (Chapelle et al., CIKM 2009): `sum over r <= k of P(stops at r) / r`.

    stops: the chance that the item satisfies a user who looks at it; the paper's is `stop_chance(grades, highest)`.
    """
    best = order
    if ties == "expected":
        best = rank_order(scores, mask) if best is None else best
        going = _expected_going(_ranked(stops, mask, best), *tie_groups(scores, mask, best))
    else:
        best = rank_order(scores, mask, k) if best is None else best[..., :k]
        going = np.asarray(np.cumprod(1.0 - _ranked(stops, mask, best), axis=-1), dtype=np.float64)
    before = np.concatenate([np.ones_like(going[..., :1]), going[..., :-1]], axis=-1)
    stopped = (before - going)[..., :k]
    return np.asarray(stopped @ (1.0 / np.arange(1, stopped.shape[-1] + 1)), dtype=np.float64)


def stop_chance(grades: Numbers, highest: float) -> Floats:
    """`(2^grade - 1) / 2^highest`, highest being the top of the scale of grades, not of one list."""
    return np.asarray((np.exp2(np.asarray(grades, dtype=np.float64)) - 1.0) / 2.0**highest)


def _ranked(values: Numbers, mask: Mask, order: Places) -> Floats:
    inside = pick(mask, order)
    return np.asarray(np.where(inside, pick(values, order), 0.0), dtype=np.float64)


def _relevance(gains: Numbers, mask: Mask, order: Places) -> Floats:
    return _ranked(gains > 0, mask, order)


def _expected_going(stops: Floats, start: Places, size: Places) -> Floats:
    """Chance `[..., N]` to go on after each rank, over all orders of tied items.

    After m of a tie's n items it is the mean product of `1 - stop` over their subsets of m, built item by
    item: the n-th is in a subset of m with chance m / n.
    """
    going = np.ones(stops.shape)
    place = np.arange(stops.shape[-1])
    subsets = np.ones((*stops.shape[:-1], stops.shape[-1] + 1))
    reached = np.ones((*stops.shape[:-1], 1))
    for rank in place:
        first, of_tie = start[..., rank, None], rank - start[..., rank, None] + 1
        subsets = np.where(first == rank, 1.0, subsets)
        share = np.minimum(np.arange(stops.shape[-1] + 1) / of_tie, 1.0)
        with_it = np.concatenate([np.ones_like(subsets[..., :1]), subsets[..., :-1]], axis=-1)
        subsets = subsets * (1.0 - share) + with_it * share * (1.0 - stops[..., rank, None])
        closes = of_tie == size[..., rank, None]
        at = np.clip(place - first + 1, 0, stops.shape[-1])
        here = (place >= first) & (place <= rank) & closes
        going = np.where(here, reached * pick(subsets, at), going)
        reached = np.where(closes, going[..., rank, None], reached)
    return going
