"""One mode of an evaluation: every system's slates for the same requests, measured against the same labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.ids import key_column
from pipeline.metrics.statistics.compare import paired_bootstrap
from serving.ports import DEPTH
from serving.replay import systems
from serving.replay.answers import Answers, Progress, Slates, answer, answer_baseline
from serving.replay.calibration import calibration
from serving.replay.dimensions import Masks, item_slices, request_slices
from serving.replay.diversity import diversity
from serving.replay.examples import examples
from serving.replay.labels import Labels
from serving.replay.measures import HEADLINE, Values, judged_share, measure, measure_random, true_ndcg
from serving.replay.ports import ReplayEngine
from serving.replay.regression import Two, regression
from serving.replay.report import PAGE_SIZE
from serving.replay.requests import Shown, Task
from serving.replay.slices import UNITS, Summary, slice_report, summary, tested

STAGES: Final = ("retrieval", "ranking", "rerank")
TRUE_NDCG: Final = "true_ndcg@10"
_SLICED = ("podium", "baseline", "logged", "popularity")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a mode is evaluated with. stage: the stage whose order stands for podium ("" = the whole cascade)."""

    engine: ReplayEngine
    baseline: ReplayEngine | None
    stage: str
    truth: Path | None
    by: str
    seed: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Mode:
    """The systems' slates (`random` has none), the metrics of each `[R]`, and what else is known of the mode."""

    task: Task
    answers: Answers
    slates: Mapping[str, Slates]
    values: Mapping[str, Values]
    groups: NDArray[np.int64]
    recovered: Summary | None

    def report(self, seed: int) -> dict[str, object]:
        """What `Task.counts` says, `degraded` and `systems`."""
        rows = {
            name: {metric: summary(value, seed, self.groups) for metric, value in values.items()}
            for name, values in self.values.items()
        }
        if self.recovered is not None:
            rows["podium"]["recovered"] = self.recovered
        return {**self.task.counts(), "degraded": self.answers.degraded, "systems": rows}

    def calibration(self) -> dict[str, object]:
        """`calibration` of shown pages, where podium gives probabilities."""
        table = None
        if self.task.mode == "rank":
            table = calibration(self.answers.final, self.task, self.groups)
        return {} if table is None else {"calibration": table}

    def compare(self, seed: int) -> list[dict[str, object]]:
        """Paired differences of podium and each other system in the headline metrics."""
        rows: list[dict[str, object]] = []
        metrics = [*HEADLINE[self.task.mode], *([TRUE_NDCG] if self.recovered is not None else [])]
        for name in (name for name in self.values if name != "podium"):
            for metric in metrics:
                pair = self.values["podium"][metric], self.values[name][metric]
                found = tested(paired_bootstrap(*pair, seed, self.groups, units=UNITS))
                rows.append({"mode": self.task.mode, "metric": metric, "a": "podium", "b": name, **found})
        return rows

    def slices(self, asked: Asked) -> dict[str, object]:
        """The headline metrics by parts of requests and of items."""
        state, cutoff = asked.engine.state, asked.engine.bundle.cutoff
        masks: tuple[Masks, Masks]
        masks = request_slices(self.task, state, cutoff, asked.by), item_slices(self.task, state, cutoff)
        chosen = {name: self.slates[name] for name in _SLICED if name in self.slates}
        return slice_report(self.task, chosen, masks, self.groups, asked.seed)

    def examples(self, asked: Asked) -> dict[str, object]:
        """Requests to look at."""
        return examples(self.task, self.slates, self.values, asked.engine.state.catalogue)

    def diversity(self, asked: Asked) -> dict[str, object]:
        """Relevance against diversity, where whole slates are made."""
        if self.task.shown is not None:
            return {}
        return diversity(asked.engine, self.task, self.slates, self.groups, asked.seed)

    def regression(self, asked: Asked) -> dict[str, object]:
        """What changed against the baseline; nothing without one."""
        if asked.baseline is None:
            return {}
        two = Two(asked.engine, asked.baseline, self.task, self.slates, self.values, self.groups)
        return regression(two, asked.seed)

    def requests(self) -> pl.DataFrame:
        """Every metric of every system, one row a request and system: `requests.parquet`. subject: what is resampled
        together, by hash of who asked, so that no id leaves the log."""
        about = self.task.requests.select(
            mode=pl.lit(self.task.mode),
            request_id="request_id",
            page=pl.col("page").cast(pl.Int32),
            subject=pl.Series(self.groups),
        )
        # Of metrics without a value nan means the same as null: the request is not in their mean.
        return pl.concat(
            [
                about.with_columns(
                    pl.lit(name).alias("system"), *(pl.Series(m, v, nan_to_null=True) for m, v in values.items())
                )
                for name, values in self.values.items()
            ],
            how="diagonal",
        )

    def run(self, ids: pl.Series) -> pl.DataFrame:
        """podium's slates as rows of `run.parquet`. ids: item ids in dense order."""
        slates = self.slates["podium"]
        row, place = np.nonzero(slates.item >= 0)
        position = pl.Series(place, dtype=pl.Int32)
        page = self.task.requests["page"].gather(row) if self.task.mode == "rank" else position // PAGE_SIZE
        return pl.DataFrame(
            {
                "request_id": self.task.requests["request_id"].gather(row),
                "page": page.cast(pl.Int32),
                "item_id": ids.gather(slates.item[row, place]),
                "position": position,
                "score": slates.score[row, place],
                "mode": pl.Series([self.task.mode]).new_from_index(0, len(row)),
            }
        )


def evaluate_mode(asked: Asked, task: Task) -> Mode:
    """Ask every system and measure what it answers."""
    engine, shown = asked.engine, task.shown
    width = DEPTH if shown is None else shown.item.shape[1]
    answers = answer(engine, task.asks, task.labels.positive, width, asked.progress)
    whole = {"retrieval": answers.fused, "ranking": answers.scored}.get(asked.stage, answers.final)
    slates = {"podium": whole} | ({} if asked.stage in ("retrieval", "ranking") else {"identity": answers.scored})
    if asked.baseline is not None:
        slates["baseline"] = _of_baseline(asked, task, width)
    slates |= _recalled(asked, task) if shown is None else _reordered(asked, task, shown)
    truth = None if asked.truth is None or task.mode not in ("rank", "funnel") else _truth(asked, task, asked.truth)
    if truth is not None:
        slates["oracle"] = _oracle(asked, task, truth)
    values = {name: measure(task.mode, slate.item, slate.asked, task.labels) for name, slate in slates.items()}
    if task.logged is not None:
        for name, slate in slates.items():
            values[name]["judged@10"] = np.where(
                task.unmeasured, np.nan, judged_share(slate.item, slate.asked, task.logged)
            )
    values["random"] = _random(task, answers)
    groups = groups_of(task)
    share = None
    if truth is not None:
        for name, slate in slates.items():
            values[name][TRUE_NDCG] = true_ndcg(slate.item, slate.asked, truth)
        values["random"][TRUE_NDCG] = _random_true(task, answers, truth)
        podium, popular, oracle = (values[name][TRUE_NDCG] for name in ("podium", "popularity", "oracle"))
        share = systems.recovered(podium, popular, oracle, groups, asked.seed)
    return Mode(task, answers, slates, values, groups, share)


def _of_baseline(asked: Asked, task: Task, width: int) -> Slates:
    """The other bundle's slates, in the dense ids of the evaluated one."""
    assert asked.baseline is not None
    final = answer(asked.baseline, task.asks, task.labels.only(task.labels.gain < 0), width, asked.progress).final
    dense = asked.engine.state.catalogue.dense(asked.baseline.state.catalogue.rows["item_id"])
    return replace(final, item=np.where(final.item >= 0, dense[np.maximum(final.item, 0)], -1).astype(np.int32))


def _recalled(asked: Asked, task: Task) -> dict[str, Slates]:
    everyone = np.arange(task.size)
    queried = np.array([row for row, ask in enumerate(task.asks) if ask.query.strip()], dtype=np.intp)
    slates = {"popularity": answer_baseline(asked.engine, task.asks, everyone, "popularity", DEPTH, asked.progress)}
    if len(queried) and "lexical" in asked.engine.bundle.parts:
        slates["bm25"] = answer_baseline(asked.engine, task.asks, queried, "bm25", DEPTH, asked.progress)
    return slates


def _reordered(asked: Asked, task: Task, shown: Shown) -> dict[str, Slates]:
    state = asked.engine.state
    tie, everyone = state.catalogue.tie, np.ones(task.size, dtype=np.bool_)
    queried = np.array([bool(ask.query.strip()) for ask in task.asks], dtype=np.bool_)
    slates = {"popularity": systems.ordered(shown, systems.popularity(state, task, shown), everyone, tie)}
    if queried.any():
        slates["bm25"] = systems.ordered(shown, systems.bm25(state.catalogue, task, shown), queried, tie)
    logged = systems.logged(task, shown, tie)
    return slates | ({"logged": logged} if logged.asked.any() else {})


def _truth(asked: Asked, task: Task, folder: Path) -> Labels:
    truth = systems.read_truth(folder, task, asked.engine.state.catalogue.rows["item_id"])
    return truth if task.shown is None else systems.truth_of_shown(truth, task.shown)


def _oracle(asked: Asked, task: Task, truth: Labels) -> Slates:
    tie = asked.engine.state.catalogue.tie
    if task.shown is None:
        return systems.oracle_slates(truth, tie, DEPTH)
    return systems.ordered(task.shown, truth.gains(task.shown.item), np.ones(task.size, dtype=np.bool_), tie)


def _random(task: Task, answers: Answers) -> Values:
    if task.shown is None:
        return measure_random(task.labels, answers.choices)
    everyone = np.ones(task.size, dtype=np.bool_)
    return measure(task.mode, task.shown.item, everyone, task.labels, ties="expected")


def _random_true(task: Task, answers: Answers, truth: Labels) -> NDArray[np.float64]:
    choices = answers.choices if task.shown is None else (task.shown.item >= 0).sum(axis=1)
    return measure_random(truth, choices)["ndcg@10"]


def groups_of(task: Task) -> NDArray[np.int64]:
    """`[R]`: what is resampled together: a subject's requests; a request of nobody stands alone."""
    subject = task.requests["subject"]
    alone = np.arange(task.size, dtype=np.int64)
    return np.where(subject.is_null().to_numpy(), alone, key_column(subject))
