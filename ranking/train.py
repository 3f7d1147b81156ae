"""Training: rows from the log, a model of clicks and conversions, its calibration and the held-out report.

From shown items where there are impressions, else from judged grades.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.features.audit import Audit, blank, examined, importances, learnable
from pipeline.features.config import FeaturesConfig
from pipeline.features.plain import FeatureSet, names
from pipeline.features.report import make_report, write_report
from pipeline.logs.attribution import has_labelled
from pipeline.logs.read import Log
from pipeline.stage import Stage
from pipeline.state import State
from ranking.clicks import RATES, bias_metrics, choose_trust, click_metrics, place_ratios
from ranking.config import RankingConfig
from ranking.conversions import Chosen, choose_conversions
from ranking.dataset import judged_rows, shown_rows
from ranking.grades import fit_grades
from ranking.heads import Head
from ranking.inputs import Inputs
from ranking.learners import Codes, Learned, Task, learn_net, learn_trees
from ranking.model import CONVERT_RATE, About, Ranker, surfaces
from ranking.parts import Parts
from ranking.rows import Rows
from ranking.scorers import Trees
from ranking.unexposed import Retrieved, unexposed_rows

Floats = NDArray[np.float64]
USUAL_RULES: Final = FeaturesConfig()
_LOOKED_AT: Final = 200_000  # rows the features are examined on, at most: enough for two digits of every figure
NOTHING: Final = Inputs.plain(np.empty((0, 0), dtype=np.float32))


def train_ranker(
    log: Log,
    known: tuple[State, FeatureSet],
    config: RankingConfig,
    *,
    seed: int,
    folder: Path,
    prepare: Sequence[Stage] = (),
    retrieved: Retrieved = (),
    rules: FeaturesConfig = USUAL_RULES,
    device: str = "auto",
) -> dict[str, float] | None:
    """Write a ranker and its feature report into `folder`; returns held-out metrics, or None when the log has too
    little to learn from.

    known: the state that has read the log, and the features; prepare: the PREPARE stages of the service;
    retrieved: pages of the learning part with the candidates the service would have ranked, for negatives; rules: what
    may be learned from. Raises ConfigError when a feature knows too much to be true.
    """
    state, features = known
    have = names(state.clock, state.declared)
    looked: tuple[Audit, ...] = ()
    if lost := {*RATES, CONVERT_RATE} - set(learnable((*RATES, CONVERT_RATE), rules.forbidden)):
        raise ConfigError("forbidden", "no smoothed rates, which a ranker falls back on", received=sorted(lost))
    ranker: tuple[Ranker, dict[str, float]] | None = None
    if has_labelled(log):
        rows = shown_rows(log, state, features, gains=config.gains, prepare=prepare, most_rows=config.most_rows)
        unexposed = unexposed_rows(retrieved, known, config.unexposed_per_page, seed)
        groups = np.column_stack([state.catalogue.category, state.catalogue.brand])
        latest = rows.request >= rows.requests * (1.0 - config.latest_share)
        if np.count_nonzero(rows.clicked) >= config.least_positives:  # fewer tell nothing, and train nothing
            some = slice(None, None, 1 + len(latest) // _LOOKED_AT)
            looked = examined(rows.features[some], rows.clicked[some], have, latest[some], rules)
        for each in (rows.features, unexposed.features):
            blank(each, have, rules.forbidden)
        ranker = fit_clicks(rows, have, config, seed, unexposed, groups, device)
    if ranker is None and log.has("judgment"):
        rows = judged_rows(log, state, features, prepare=prepare)
        best = rows.grade >= rows.grade.max(initial=0.0)
        open_rules = rules.model_copy(update={"auc_alarm": 1.0})  # a match may tell a judged grade as well as it can
        looked = examined(rows.features, best, have, np.zeros(len(best), dtype=np.bool_), open_rules)
        blank(rows.features, have, rules.forbidden)
        ranker = fit_grades(rows, have, config, seed)
    if ranker is None:
        return None
    ranker[0].save(folder)
    write_report(folder, make_report(looked, _gains(ranker[0]), rules, len(rows.features)))
    return ranker[1]


def _gains(ranker: Ranker) -> Mapping[str, float]:
    """Share of the gain of each feature the trees were given; empty for other models."""
    if not isinstance(ranker.scorer, Trees):
        return {}
    return importances(ranker.about.used, ranker.scorer.click.booster.feature_importance("gain"))


def fit_clicks(
    rows: Rows,
    have: tuple[str, ...],
    config: RankingConfig,
    seed: int,
    unexposed: Inputs = NOTHING,
    groups: Codes | None = None,
    device: str = "auto",
) -> tuple[Ranker, dict[str, float]] | None:
    """A scorer of clicks, blended with a smoothed rate as far as the latest requests say so, and of conversions.

    The blend is the gate: where the scorer does not clearly order better than the rate, the rate alone is shipped.
    Position bias, where pages in a drawn order tell it, is taken out of the order. It stays in the calibration:
    p_click is the chance of a click at the places where the log shows such items.
    unexposed: candidates that were not shown; they teach the scorer alone: nothing is chosen or reported by them.
    groups: what the deep model embeds of each item; device: where it is trained.
    """
    if rows.requests < config.least_requests or np.count_nonzero(rows.grade) < config.least_positives:
        return None
    parts = Parts.of(rows, config.latest_share)
    if any(part.clicked.min(initial=1) == part.clicked.max(initial=0) for part in (parts.learn, parts.choose)):
        return None
    mature = Parts.mature(rows, config.latest_share)
    ratios = place_ratios(parts.learn) if config.position_bias == "explored" else np.empty(0)
    task = Task(parts, mature, ratios, unexposed, have, config, seed, groups, device)
    learned = learn_net(task) if config.model == "deep" else learn_trees(task)
    raw = learned.scorer.raw(parts.choose.inputs, config.threads)[0]
    rate, trust = choose_trust(parts, raw, task.ratios, have)
    chosen = choose_conversions(mature, learned.options, have, config.calibration)
    return _shipped(task, learned, chosen, rate, trust)


def _shipped(task: Task, learned: Learned, chosen: Chosen, rate: str, trust: float) -> tuple[Ranker, dict[str, float]]:
    """The ranker, calibrated on both held-out parts, and what the last part says of it calibrated on the other."""
    have, config = task.have, task.config
    used = have if trust > 0 or chosen.name != "rate" else ()
    about = About(
        target="click",
        model=config.model,
        all=have,
        used=used,
        rate=rate,
        trust=trust,
        click=Head(),
        converts=chosen.name,
        convert=chosen.head,
        gains=dict(config.gains),
        runtime=config.runtime,
    )
    ranker = Ranker(about, learned.finished(chosen.name) if used else None)
    parts, threads = task.parts, config.threads

    def head(part: Rows, raw: Floats) -> Head:
        return Head.fitted(raw, part.clicked, surfaces(part.inputs, have), config.calibration)

    chosen_by, reported = (ranker.raw(part.inputs, threads)[0] for part in (parts.choose, parts.report))
    early = head(parts.choose, chosen_by)
    p = early.probability(reported, surfaces(parts.report.inputs, have))
    alone = learned.scorer.raw(parts.report.inputs, threads)[0]
    metrics = click_metrics(parts.report, p, alone, have, rate)
    final = _with(ranker, head(parts.latest, np.concatenate([chosen_by, reported])))
    shipped = {"trust": trust, "unexposed": float(len(task.unexposed))}
    return final, metrics | shipped | learned.metrics | chosen.metrics | bias_metrics(parts.learn, task.ratios)


def _with(ranker: Ranker, head: Head) -> Ranker:
    """The ranker with another calibration of clicks."""
    about = ranker.about
    return replace(ranker, about=msgspec.structs.replace(about, click=head))
