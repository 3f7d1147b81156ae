"""Off-policy value of a ranking from the clicks another one earned: one value a request, over padded arrays.

Letters: R requests, L logged items of a request. gain `[R, L]`: what an item earned where it was shown (0 = no
click); examination `[R, L]`: P(looked at) at the rank where it was logged; rank `[R, L]`: its 1-based rank in the
evaluated ranking, 0 = not ranked; mask `[R, L]`: where there is an item. What stands outside the mask is never read.

The model is position-based: an item that is looked at earns the same wherever it stands. Dividing by examination
corrects *position*; an item that the log never showed has no gain at all, and only a model (`dr_dcg`) or
exploration can speak for it (*selection*).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.offpolicy.estimate import checked

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def discount(rank: Numbers, k: int | None = None) -> Floats:
    """`1 / log2(1 + rank)` of ranks 1..k, else 0 (Järvelin & Kekäläinen, TOIS 2002)."""
    inside = (rank >= 1) if k is None else (rank >= 1) & (rank <= k)
    return np.where(inside, 1.0 / np.log2(1.0 + np.maximum(rank, 1)), 0.0)


def inverse_weights(examination: Numbers, mask: Mask, clip: float | None = None) -> Floats:
    """`1 / examination` `[R, L]`, at most `clip`, 0 outside the mask. Raises InputError unless 0 < examination <= 1."""
    inside = np.where(mask, examination, 1.0)
    weight = np.where(mask, 1.0 / checked(inside, "examination"), 0.0)
    return weight if clip is None else np.minimum(weight, clip)


def ips_dcg(gain: Numbers, weight: Numbers, rank: Numbers, mask: Mask, k: int | None = None) -> Floats:
    """Un-normalised IPS-DCG `[R]` (Joachims, Swaminathan & Schnabel, WSDM 2017): `sum gain * weight * discount(rank)`.

    weight: of `inverse_weights`. Its mean is unbiased for the DCG of the ranking over the items that were shown.
    """
    return np.asarray((_inside(gain, mask) * weight * discount(rank, k)).sum(axis=1), dtype=np.float64)


def relevance_mass(gain: Numbers, weight: Numbers, mask: Mask) -> Floats:
    """`sum gain * weight` `[R]`: what SNIPS-DCG divides by, summed over the whole log.

    The quotient (Swaminathan & Joachims, NeurIPS 2015) is the mean discount that a unit of relevance gets. It does not
    depend on the evaluated ranking, so unlike a division request by request it cannot turn an order round.
    """
    return np.asarray((_inside(gain, mask) * weight).sum(axis=1), dtype=np.float64)


def dr_dcg(
    gain: Numbers,
    weight: Numbers,
    rank: Numbers,
    mask: Mask,
    examination: Numbers,
    attraction: Numbers,
    unshown: Numbers,
    k: int | None = None,
) -> Floats:
    """Doubly robust DCG `[R]` (Oosterhuis, TOIS 2023): a model's DCG, corrected where something was shown.

        sum over shown items of  discount * (attraction + weight * (gain - examination * attraction))
        + unshown,  the model's DCG of ranked items that were not shown  `[R]`

    attraction `[R, L]`: a model's expected gain of an item that is looked at. Unbiased for the shown items when either
    the weights or the model are right; for the unshown ones it is as good as the model.
    """
    model = _inside(attraction, mask)
    left = _inside(gain, mask) - np.where(mask, examination, 0.0) * model
    return np.asarray((discount(rank, k) * (model + weight * left)).sum(axis=1) + unshown, dtype=np.float64)


def click_ndcg(gain: Numbers, rank: Numbers, mask: Mask, k: int | None = None) -> Floats:
    """NDCG `[R]` of the logged gains as they are; nan for a request without one.

    Biased toward the logger: what it put on top was looked at most. Shown as a warning, never as evidence.
    """
    earned = _inside(gain, mask)
    best = -np.sort(-earned, axis=1)
    ideal = best @ discount(np.arange(1, best.shape[1] + 1), k)
    reached = (earned * discount(rank, k)).sum(axis=1)
    return _ratio(reached, ideal)


def condensed(rank: Numbers, mask: Mask) -> NDArray[np.int64]:
    """Ranks `[R, L]` once items that were never shown are taken out (Sakai, SIGIR 2007); 0 = not ranked.

    `click_ndcg` of these is the companion that forgives unjudged items, where `click_ndcg` of the ranks punishes them.
    """
    ranked = mask & (rank >= 1)
    key = np.where(ranked, rank, np.iinfo(np.int64).max)
    place = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1, kind="stable")
    return np.where(ranked, place + 1, 0)


def judged_at(rank: Numbers, mask: Mask, size: Numbers, k: int) -> Floats:
    """judged@k `[R]`: the share of the first k places whose item the log showed; nan for an empty ranking.

    size `[R]`: items ranked.
    """
    known = (mask & (rank >= 1) & (rank <= k)).sum(axis=1)
    places = np.minimum(size, k)
    return _ratio(known, places)


def _inside(values: Numbers, mask: Mask) -> Floats:
    return np.where(mask, values, 0.0)


def _ratio(part: Numbers, whole: Numbers) -> Floats:
    out: Floats = np.full(len(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
