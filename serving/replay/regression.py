"""What a bundle changed against its baseline, request by request: how far the lists moved, who won, who lost and why,
and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from pipeline.metrics.statistics.compare import paired_t
from pipeline.metrics.statistics.corrections import holm
from serving.replay import agreement
from serving.replay.answers import Slates
from serving.replay.latency import latency
from serving.replay.measures import K
from serving.replay.ports import ReplayEngine
from serving.replay.report import PAGE_SIZE
from serving.replay.requests import Task
from serving.replay.sides import Reader, Row, Side, extremes, side_by_side
from serving.replay.slices import UNITS, plain, summary, tested
from serving.replay.traces import Trace, Watched, follow

CHANGED: Final = 20  # requests listed of those that lost most, and of those that won most
_TRACED: Final = 5  # relevant items of a listed request
_BY: Final = f"ndcg@{K}"


@dataclass(frozen=True, slots=True)
class Two:
    """Both engines, their slates in the dense ids of the evaluated one, and the metrics `[R]` of both."""

    engine: ReplayEngine
    baseline: ReplayEngine
    task: Task
    slates: Mapping[str, Slates]
    values: Mapping[str, Mapping[str, NDArray[np.float64]]]
    groups: NDArray[np.int64]


def regression(two: Two, seed: int) -> dict[str, Any]:
    """`agreement` of the lists, `tests` of every metric, `losers` and `winners` by change in NDCG@10, `latency`."""
    return {
        "baseline": two.baseline.bundle.id,
        "agreement": _agreement(two, seed),
        "tests": tests(two.values["podium"], two.values["baseline"], two.groups),
        **_changes(two),
        "latency": latency(two.engine, two.baseline, two.task.asks, seed),
    }


def _agreement(two: Two, seed: int) -> dict[str, Any]:
    """Means over all requests, with intervals. Kendall's tau where both order the same items."""
    mine, theirs = (two.slates[name].item for name in ("podium", "baseline"))
    found = {f"rbo@{agreement.PERSISTENCE:g}": agreement.rank_biased_overlap(mine, theirs)}
    if two.task.shown is not None:
        found["kendall_tau"] = agreement.kendall_tau(mine, theirs)
    cuts = (K,) if two.task.shown is not None else (K, PAGE_SIZE, mine.shape[1])
    found |= {f"overlap@{k}": agreement.overlap(mine, theirs, k) for k in cuts}
    found |= {
        "other_first": agreement.other_first(mine, theirs),
        "reordered": agreement.reordered(mine, theirs),
    }
    return {name: summary(value, seed, two.groups) for name, value in found.items()}


def tests(
    mine: Mapping[str, NDArray[np.float64]], theirs: Mapping[str, NDArray[np.float64]], groups: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Student's paired test over subjects in each metric that both have: mean, interval, n, p as it is and after Holm's
    correction for the number of metrics."""
    metrics = [metric for metric in mine if metric in theirs]
    found = [paired_t(mine[metric], theirs[metric], groups, UNITS, len(metrics)) for metric in metrics]
    adjusted = holm(np.array([test.p_value for test in found]))
    return [
        {"metric": metric} | tested(t) | plain({"p_holm": float(corrected)})
        for metric, t, corrected in zip(metrics, found, adjusted, strict=True)
    ]


def _changes(two: Two) -> dict[str, Any]:
    change = two.values["podium"][_BY] - two.values["baseline"][_BY]
    falls, rises = extremes(change, CHANGED)
    reader = Reader(two.task, two.engine.state.catalogue)
    sides = [Side(name, two.slates[name], two.values[name][_BY]) for name in ("podium", "baseline")]
    told = [*falls.tolist(), *rises.tolist()]
    traces = _traces(two, reader, told)
    rows = [{"change": float(change[row]), **side_by_side(reader, row, sides), "relevant": traces[row]} for row in told]
    return {
        "by": _BY,
        "lost": int(np.count_nonzero(change < 0)),
        "won": int(np.count_nonzero(change > 0)),
        "losers": rows[: len(falls)],
        "winners": rows[len(falls) :],
    }


def _traces(two: Two, reader: Reader, rows: list[int]) -> Mapping[int, list[Row]]:
    """Of each listed request its most relevant items, with the way of each through both cascades."""
    pairs = [(place, item, gain) for place, row in enumerate(rows) for item, gain in _best(two.task, row)]
    place, item = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    asks = [two.task.asks[row] for row in rows]
    ways: dict[str, list[Trace]] = {}
    for name, engine, dense in (
        ("podium", two.engine, item.astype(np.int32)),
        ("baseline", two.baseline, translated(item, two.engine.state.catalogue, two.baseline.state.catalogue)),
    ):
        ways[name] = follow(engine, asks, Watched(place, dense)) if pairs else []
    found: dict[int, list[Row]] = {row: [] for row in rows}
    for each, (request, dense_, gain) in enumerate(pairs):
        about: Row = {**reader.item(dense_), "grade": gain}
        found[rows[request]].append(about | {name: ways[name][each] for name in ways})
    return found


def _best(task: Task, row: int) -> list[tuple[int, float]]:
    labels = task.labels
    mine = np.flatnonzero((labels.row == row) & (labels.gain > 0) & (labels.item >= 0))
    mine = mine[np.argsort(-labels.gain[mine], kind="stable")][:_TRACED]
    return [(int(labels.item[each]), float(labels.gain[each])) for each in mine]


def translated(item: NDArray[np.int64], own: Catalogue, other: Catalogue) -> NDArray[np.int32]:
    """`[P]` dense items of one catalogue in another's numbering, -1 = one it does not know."""
    return np.asarray(other.dense(own.rows["item_id"].gather(item)), dtype=np.int32)
