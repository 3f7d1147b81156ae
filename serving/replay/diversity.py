"""Relevance against diversity: where each system stands, and what podium would give for more of it.

Diversity is measured on category paths, which no bundle has a say in: intra-list distance (Ziegler et al., WWW 2005)
and the entropy of top categories, of the first ten places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Ints
from pipeline.cascade import Step
from pipeline.catalogue import Catalogue
from pipeline.metrics.slates.kernels import entropy as slate_entropy
from pipeline.metrics.slates.kernels import path_distance
from pipeline.stage import Stage
from serving.ports import Ask
from serving.replay.answers import Slates, chunks
from serving.replay.labels import Labels
from serving.replay.measures import K, measure
from serving.replay.ports import ReplayEngine
from serving.replay.requests import Task
from serving.replay.slices import summary
from serving.replay.stretches import stretches

VALUES: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
REQUESTS: Final = 100  # asked again for the curve
_KNOB: Final = "request.diversity"
Floats = NDArray[np.float64]


def distances(item: Ints, catalogue: Catalogue, k: int = K) -> Floats:
    """ild@k `[R]`: the mean over pairs of the first k items of 1 - levels of the category path that they share, over
    the levels of the longer path; nan where no two of them have a category."""
    return path_distance(item, catalogue.category, k)


def entropy(item: Ints, catalogue: Catalogue, k: int = K) -> Floats:
    """entropy@k `[R]` in nats: -sum p ln p over the top categories of the first k items; nan where none has one."""
    return slate_entropy(item, catalogue.top_category - 1, k)


def diversity(
    engine: ReplayEngine, task: Task, slates: Mapping[str, Slates], groups: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """`systems`: NDCG, ILD and entropy of each; `curve`: of podium on a sample at several values of `diversity`, empty
    where no stage reads it; `sample`: its size. Empty for a catalogue without categories."""
    catalogue = engine.state.catalogue
    if not (catalogue.top_category > 0).any():
        return {}
    systems = {name: _figures(s.item, s.asked, task.labels, catalogue, groups, seed) for name, s in slates.items()}
    rows = np.sort(stretches(task.asks, np.flatnonzero(~task.unmeasured), REQUESTS))
    curve = _curve(engine, task, rows, groups[rows], seed)
    return {"k": K, "systems": systems, "curve": curve, "sample": len(rows)}


def _figures(
    item: Ints, asked: NDArray[np.bool_], labels: Labels, catalogue: Catalogue, groups: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    values = {
        **measure("funnel", item, asked, labels, only=(f"ndcg@{K}",)),
        f"ild@{K}": np.where(asked, distances(item, catalogue), np.nan),
        f"entropy@{K}": np.where(asked, entropy(item, catalogue), np.nan),
    }
    return {name: summary(value, seed, groups) for name, value in values.items()}


def _curve(
    engine: ReplayEngine, task: Task, rows: NDArray[np.intp], groups: NDArray[np.int64], seed: int
) -> list[dict[str, Any]]:
    """Only what follows the first stage that reads the knob is run once a value."""
    asks = [task.asks[row] for row in rows]
    slates = {value: np.full((len(rows), K), -1, dtype=np.int32) for value in VALUES}
    turned = False
    for name, some in chunks(engine, asks):
        for value, item in _turned(engine, name, [asks[row] for row in some]):
            turned = True
            slates[value][some[:, None], np.arange(min(K, item.shape[1]))] = item[:, :K]
    if not turned:
        return []
    place = np.full(task.size, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    kept = place[task.labels.row] >= 0
    labels = replace(task.labels.only(kept), requests=len(rows), row=place[task.labels.row[kept]])
    everyone, catalogue = np.ones(len(rows), dtype=np.bool_), engine.state.catalogue
    return [
        {"diversity": value, **_figures(item, everyone, labels, catalogue, groups, seed)}
        for value, item in slates.items()
    ]


def _turned(engine: ReplayEngine, name: str, asks: Sequence[Ask]) -> list[tuple[float, NDArray[np.int32]]]:
    """The slates at each value of the knob; none where no stage reads it."""
    cascade = engine.cascade(name)
    knob = next((place for place, step in enumerate(cascade.steps) if _KNOB in step.stage.reads), None)
    if knob is None:
        return []
    reached: list[Batch] = []

    def observe(stage: Stage, before: Batch, _: Batch) -> None:
        if stage is cascade.steps[knob].stage:
            reached.append(before)

    cascade.run(engine.batch(asks), observe=observe)
    return [(value, _finished(cascade.steps[knob:], reached[0], value)) for value in VALUES]


def _finished(steps: Sequence[Step], batch: Batch, value: float) -> NDArray[np.int32]:
    batch = batch.with_requests(diversity=np.full(batch.size, value, dtype=np.float32))
    for step in steps:
        batch = step.stage.run(batch)
    return batch.item
