"""P(click): what places explain, how far the scorer is believed over a smoothed rate, and the report."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.plain import SURFACES
from pipeline.metrics.binary import auc, expected_calibration_error, grouped_auc, log_loss, pcoc
from pipeline.metrics.clicks.explored import examination, position_ratios
from ranking.calibration import logit
from ranking.model import blend, surfaces
from ranking.parts import Parts, mean_ndcg, ndcgs
from ranking.rows import Rows

RATES: Final = ("ctr_6h", "ctr_1d", "ctr_7d", "ctr")
TRUSTS: Final = (0.0, 0.5, 1.0)
Floats = NDArray[np.float64]


def place_ratios(rows: Rows) -> Floats:
    """Examination of each place over the first's, from the pages whose order was drawn; empty without such pages."""
    drawn, placed = rows.placed.drawn, rows.placed
    return position_ratios(placed.position[drawn], rows.clicked[drawn], 1.0 / placed.chance[drawn])


def place_offset(rows: Rows, target: Floats, ratios: Floats) -> Floats | None:
    """Log-odds `[n]` that the place explains, so that a model says what holds at the first place; None if unknown."""
    if not len(ratios):
        return None
    return usual(target) + np.log(examination(ratios, rows.placed.position))


def usual(target: Floats) -> float:
    """Log-odds of a positive, whatever is shown."""
    return float(logit(np.array([target.mean()]))[0]) if len(target) else 0.0


def choose_trust(parts: Parts, raw: Floats, ratios: Floats, have: tuple[str, ...]) -> tuple[str, float]:
    """The smoothed rate to blend with, and the trust in the scorer. raw: its log-odds on the part to choose by."""
    rate = _best_rate(_corrected(parts.learn, ratios), have)
    own = logit(parts.choose.features[:, have.index(rate)])
    judged = _corrected(parts.choose, ratios)
    return rate, best_trust(np.stack([ndcgs(judged, blend(raw, own, trust)) for trust in TRUSTS]))


def _corrected(rows: Rows, ratios: Floats) -> Rows:
    """With each gain over the examination of its place: what would have been earned had all been looked at."""
    return replace(rows, grade=rows.grade / examination(ratios, rows.placed.position))


def _best_rate(rows: Rows, have: tuple[str, ...]) -> str:
    """The smoothed rate that orders the learning part best; none of them was fitted to it."""
    known = [name for name in RATES if name in have]
    found = [mean_ndcg(rows, rows.features[:, have.index(name)].astype(np.float64)) for name in known]
    return known[int(np.argmax(np.nan_to_num(found)))]


def best_trust(found: Floats) -> float:
    """The trust in the scorer that orders best, or none when the requests cannot tell it from the rate alone.

    found: `[len(TRUSTS), R]` NDCG of each request. Few requests flatter a scorer, so the rate is kept while it is
    behind by no more than one standard error of the paired difference (Breiman et al., 1984, 3.4.3); and a blend is
    taken only where it is ahead of the scorer by more than that, since on candidates nobody was shown, which do not
    judge here, the rate knows nothing of what is asked.
    """
    rate, blended, full = found
    trust, best = (TRUSTS[1], blended) if _clearly_ahead(blended, full) else (TRUSTS[2], full)
    return trust if _clearly_ahead(best, rate) else TRUSTS[0]


def _clearly_ahead(one: Floats, other: Floats) -> bool:
    ahead = one - other
    return bool(len(ahead) and ahead.mean() > ahead.std() / np.sqrt(len(ahead)))


def click_metrics(rows: Rows, p: Floats, raw: Floats, have: tuple[str, ...], rate: str) -> dict[str, float]:
    """What the last requests say, which nothing was chosen by. p: `[n]` P(click); raw: the scorer's alone."""
    clicked, surface = rows.clicked, surfaces(rows.inputs, have)
    found = {
        "requests": float(rows.requests),
        "rows": float(len(p)),
        "auc": auc(clicked, p),
        "gauc": grouped_auc(clicked, p, rows.request),
        "log_loss": log_loss(clicked, p),
        "ece": expected_calibration_error(clicked, p),
        "pcoc": pcoc(clicked, p),
        "ndcg@10": mean_ndcg(rows, p),
        "ndcg@10 rate": mean_ndcg(rows, rows.features[:, have.index(rate)].astype(np.float64)),
        "ndcg@10 trees": mean_ndcg(rows, raw),
    }
    for place, name in enumerate(SURFACES if surface is not None else ()):
        here = surface == place
        if clicked[here].any():
            found[f"pcoc {name}"] = pcoc(clicked[here], p[here])
    return found


def bias_metrics(rows: Rows, ratios: Floats) -> dict[str, float]:
    pages = len(np.unique(rows.request[rows.placed.drawn]))
    found = {f"position_ratio_{place}": float(ratio) for place, ratio in enumerate(ratios[:10]) if place}
    return {"position_pages": float(pages)} | found
