"""The figures of a replay through the service: its answers, the logged order, and chance where it can be known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.compare import paired_bootstrap
from serving.replay import systems
from serving.replay.answers import Slates
from serving.replay.calibration import calibration
from serving.replay.measures import HEADLINE, METRICS, Values, measure
from serving.replay.modes import groups_of
from serving.replay.requests import Task
from serving.replay.slices import UNITS, summary, tested


def measured_report(
    tasks: Sequence[Task], slates: Mapping[str, Slates], tie: NDArray[np.int32], depth: int, seed: int
) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """`modes` and `compare` of the report. depth: places that were read; metrics that look deeper are left out."""
    modes: dict[str, Any] = {}
    compare: list[dict[str, object]] = []
    for task in tasks:
        groups = groups_of(task)
        values = _values(task, slates[task.mode], tie, depth)
        about: dict[str, Any] = {
            **task.counts(),
            "unanswered": int((~slates[task.mode].asked).sum()),
            "systems": {
                name: {metric: summary(value, seed, groups) for metric, value in metrics.items()}
                for name, metrics in values.items()
            },
        }
        if task.mode == "rank" and (table := calibration(slates[task.mode], task, groups)):
            about["calibration"] = table
        modes[task.mode] = about
        compare += _differences(task.mode, values, groups, seed)
    return modes, compare


def _values(task: Task, podium: Slates, tie: NDArray[np.int32], depth: int) -> dict[str, Values]:
    names = [name for name in METRICS[task.mode] if task.shown is not None or _cut(name) <= depth]
    values = {"podium": measure(task.mode, podium.item, podium.asked, task.labels, only=names)}
    if task.shown is not None:
        everyone = np.ones(task.size, dtype=np.bool_)
        values["random"] = measure(task.mode, task.shown.item, everyone, task.labels, ties="expected", only=names)
        logged = systems.logged(task, task.shown, tie)
        if logged.asked.any():
            values["logged"] = measure(task.mode, logged.item, logged.asked, task.labels, only=names)
    return values


def _cut(name: str) -> int:
    return int(name.partition("@")[2] or 0)


def _differences(
    mode: str, values: Mapping[str, Values], groups: NDArray[np.int64], seed: int
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in (name for name in values if name != "podium"):
        for metric in (metric for metric in HEADLINE[mode] if metric in values[name]):
            found = paired_bootstrap(values["podium"][metric], values[name][metric], seed, groups, units=UNITS)
            rows.append({"mode": mode, "metric": metric, "a": "podium", "b": name, **tested(found)})
    return rows
