"""Train the ranker from a log: clicks where there are impressions, else grades where there are judgments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.match import MATCH_NAMES
from pipeline.features.plain import FeatureSet, names
from pipeline.logs.read import Log
from pipeline.metrics.binary import auc, expected_calibration_error, grouped_auc, log_loss, pcoc
from pipeline.metrics.ranking import ndcg
from pipeline.stage import Stage
from pipeline.state import State
from ranking.bias import examination, position_ratios
from ranking.boosted import Boosted, Examples, train
from ranking.calibration import isotonic, line, logit, platt
from ranking.config import RankingConfig
from ranking.dataset import Rows, judged_rows, shown_rows
from ranking.model import About, Ranker, blend
from ranking.unexposed import Retrieved, mixed, unexposed_rows

RATES: Final = ("ctr_6h", "ctr_1d", "ctr_7d", "ctr")
TRUSTS: Final = (0.0, 0.5, 1.0)
JUDGED: Final = (*MATCH_NAMES, "query_terms", "query_letters")
Floats = NDArray[np.float64]
Features = NDArray[np.float32]
NOTHING: Final = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Parts:
    """The requests in order of time, cut in three: to learn from, to choose by, to report on."""

    learn: Rows
    choose: Rows
    report: Rows

    @classmethod
    def of(cls, rows: Rows, latest_share: float) -> "Parts":
        late = int(rows.requests * (1.0 - latest_share))
        last = (late + rows.requests) // 2
        return cls(rows.between(0, late), rows.between(late, last), rows.between(last, rows.requests))


def train_ranker(
    log: Log,
    known: tuple[State, FeatureSet],
    config: RankingConfig,
    *,
    seed: int,
    folder: Path,
    prepare: Sequence[Stage] = (),
    retrieved: Retrieved = (),
) -> dict[str, float] | None:
    """Write a ranker into `folder`; returns held-out metrics, or None when the log has too little to learn from.

    known: the state that has read the log, and the features; prepare: the PREPARE stages of the service;
    retrieved: pages of the learning part with the candidates the service would have ranked, for negatives.
    """
    state, features = known
    ranker: tuple[Ranker, dict[str, float]] | None = None
    if log.has("impression"):
        rows = shown_rows(log, state, features, gains=config.gains, prepare=prepare)
        unexposed = unexposed_rows(retrieved, known, config.unexposed_per_page, seed)
        ranker = fit_clicks(rows, names(state.clock), config, seed, unexposed)
    if ranker is None and log.has("judgment"):
        rows = judged_rows(log, state, features, prepare=prepare)
        ranker = fit_grades(rows, names(state.clock), config, seed)
    if ranker is None:
        return None
    ranker[0].save(folder)
    return ranker[1]


def fit_clicks(
    rows: Rows, have: tuple[str, ...], config: RankingConfig, seed: int, unexposed: Features = NOTHING
) -> tuple[Ranker, dict[str, float]] | None:
    """Trees for clicks, blended with a smoothed rate as far as the latest requests say so, and calibrated on them.

    The blend is the gate: where the trees do not clearly order better than the rate, the rate alone is shipped.
    Position bias, where pages in a drawn order tell it, is taken out of the order. It stays in the calibration:
    p_click is the chance of a click at the places where the log shows such items.
    unexposed: `[n, F]` candidates not shown; they teach the trees alone: nothing is chosen or reported by them.
    """
    if rows.requests < config.least_requests or np.count_nonzero(rows.grade) < config.least_positives:
        return None
    parts = Parts.of(rows, config.latest_share)
    ratios = _ratios(parts.learn)
    learn, choose = _examples(parts.learn, ratios), _examples(parts.choose, ratios)
    if any(part.target.min(initial=1) == part.target.max(initial=0) for part in (learn, choose)):
        return None
    learn = mixed(learn, unexposed, config.unexposed_weight, _usual(learn.target))
    trees = train(learn, choose, config=config, seed=seed)
    rate = _best_rate(_corrected(parts.learn, ratios), have)
    raw, own = trees.predict(parts.choose.features), logit(parts.choose.features[:, have.index(rate)])
    judged = _corrected(parts.choose, ratios)
    found = np.stack([_ndcgs(judged, blend(raw, own, trust)) for trust in TRUSTS])
    trust = best_trust(found)
    slope, intercept, steps = _calibrated(blend(raw, own, trust), choose.target, config.calibration)
    about = About("click", have, have if trust > 0 else (), rate, trust, slope, intercept, dict(config.gains))
    ranker = Ranker(about, trees if trust > 0 else None, steps)
    shipped = {"trust": trust, "trees": float(trees.booster.num_trees()), "unexposed": float(len(unexposed))}
    return ranker, _click_metrics(parts, ranker, trees) | shipped | _bias_metrics(parts.learn, ratios)


def _ratios(rows: Rows) -> Floats:
    """Examination of each place over the first's, from the pages whose order was drawn; empty without such pages."""
    drawn, placed = rows.placed.drawn, rows.placed
    clicked = (rows.grade[drawn] > 0).astype(np.float64)
    return position_ratios(placed.position[drawn], clicked, 1.0 / placed.chance[drawn])


def _examples(rows: Rows, ratios: Floats) -> Examples:
    """Clicks to learn from. What the place explains is given, so that the trees say what holds at the first place."""
    clicked = (rows.grade > 0).astype(np.float64)
    if not len(ratios):
        return Examples(rows.features, clicked)
    return Examples(rows.features, clicked, offset=_usual(clicked) + np.log(examination(ratios, rows.placed.position)))


def _usual(clicked: Floats) -> float:
    """Log-odds of a click, whatever is shown."""
    return float(logit(np.array([clicked.mean()]))[0]) if len(clicked) else 0.0


def _corrected(rows: Rows, ratios: Floats) -> Rows:
    """With each gain over the examination of its place: what would have been earned had all been looked at."""
    return replace(rows, grade=rows.grade / examination(ratios, rows.placed.position))


def _bias_metrics(rows: Rows, ratios: Floats) -> dict[str, float]:
    pages = len(np.unique(rows.request[rows.placed.drawn]))
    found = {f"position_ratio_{place}": float(ratio) for place, ratio in enumerate(ratios[:10]) if place}
    return {"position_pages": float(pages)} | found


def fit_grades(
    rows: Rows, have: tuple[str, ...], config: RankingConfig, seed: int
) -> tuple[Ranker, dict[str, float]] | None:
    """Trees for judged grades, from the match of query and item alone: nothing else is known of such logs."""
    if rows.requests < config.least_requests // 4:
        return None
    parts = Parts.of(rows, config.latest_share)
    used = tuple(name for name in have if name in JUDGED)
    place = [have.index(name) for name in used]
    learn, choose = (
        Examples(part.features[:, place], part.grade, np.bincount(part.request)) for part in (parts.learn, parts.choose)
    )
    trees = train(learn, choose, config=config, seed=seed)
    slope, intercept = line(trees.predict(choose.rows), choose.target)
    about = About("grade", have, used, "", 1.0, slope, intercept, dict(config.gains))
    ranker = Ranker(about, trees, np.empty((2, 0)))
    score = ranker.predict(parts.report.features, config.threads)
    error = float(np.sqrt(np.mean((score - parts.report.grade) ** 2)))
    held_out = {"requests": float(parts.report.requests), "rmse": error}
    ndcg_exp = _ndcg(parts.report, score, exponential=True)
    lexical = _ndcg(parts.report, np.nan_to_num(parts.report.features[:, have.index("title_bm25")]), exponential=True)
    ahead = {"ndcg_exp@10": ndcg_exp, "ndcg_exp@10 title_bm25": lexical, "trees": float(trees.booster.num_trees())}
    return ranker, held_out | ahead


def _best_rate(rows: Rows, have: tuple[str, ...]) -> str:
    """The smoothed rate that orders the learning part best; none of them was fitted to it."""
    known = [name for name in RATES if name in have]
    found = [_ndcg(rows, rows.features[:, have.index(name)].astype(np.float64)) for name in known]
    return known[int(np.argmax(np.nan_to_num(found)))]


def best_trust(found: Floats) -> float:
    """The trust in the trees that orders best, or none at all when the requests cannot tell it from the rate alone.

    found: `[len(TRUSTS), R]` NDCG of each request. Few requests flatter trees, so the rate is kept while it is behind
    by no more than one standard error of the paired difference (Breiman et al., 1984, 3.4.3).
    """
    if not found.shape[1]:
        return TRUSTS[0]
    best = int(np.argmax(found.mean(axis=1)))
    ahead = found[best] - found[0]
    return TRUSTS[best] if ahead.mean() > ahead.std() / np.sqrt(found.shape[1]) else TRUSTS[0]


def _calibrated(raw: Floats, clicked: Floats, how: str) -> tuple[float, float, Floats]:
    if how == "isotonic":
        return 1.0, 0.0, np.stack(isotonic(raw, clicked))
    return *platt(raw, clicked), np.empty((2, 0))


def _click_metrics(parts: Parts, ranker: Ranker, trees: Boosted) -> dict[str, float]:
    """What the last requests say, which nothing was chosen by."""
    rows = parts.report
    clicked, p = (rows.grade > 0).astype(np.float64), ranker.predict(rows.features)
    rate = rows.features[:, ranker.column(ranker.about.rate)].astype(np.float64)
    return {
        "requests": float(rows.requests),
        "rows": float(len(p)),
        "auc": auc(clicked, p),
        "gauc": grouped_auc(clicked, p, rows.request),
        "log_loss": log_loss(clicked, p),
        "ece": expected_calibration_error(clicked, p),
        "pcoc": pcoc(clicked, p),
        "ndcg@10": _ndcg(rows, p),
        "ndcg@10 rate": _ndcg(rows, rate),
        "ndcg@10 trees": _ndcg(rows, trees.predict(rows.features)),
    }


def _ndcg(rows: Rows, score: Floats, *, exponential: bool = False) -> float:
    """Mean NDCG@10 over requests with a positive; nan without any."""
    found = _ndcgs(rows, score, exponential=exponential)
    return float(found.mean()) if len(found) else float("nan")


def _ndcgs(rows: Rows, score: Floats, *, exponential: bool = False) -> Floats:
    """NDCG@10 of each request with a positive, ties counted as their mean."""
    sizes = np.bincount(rows.request, minlength=rows.requests)
    mask = np.arange(int(sizes.max(initial=0))) < sizes[:, None]
    gains, scores = np.zeros(mask.shape), np.zeros(mask.shape)
    gains[mask] = np.exp2(rows.grade) - 1.0 if exponential else rows.grade
    scores[mask] = score
    found = ndcg(gains, scores, mask, 10, ties="expected")
    return found[~np.isnan(found)]
