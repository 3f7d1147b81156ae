"""Where the means come from: the headline metrics for parts of the requests, and for parts of what is relevant."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.metrics.statistics.compare import Difference, Interval, bootstrap_interval, mean_error
from pipeline.metrics.statistics.distributions import t_quantile
from pipeline.metrics.statistics.enough import Lacking, lacking
from serving.replay.answers import Slates
from serving.replay.dimensions import Masks
from serving.replay.labels import Labels
from serving.replay.measures import HEADLINE, measure
from serving.replay.requests import Task

Summary = dict[str, float | int | str | None]
UNITS = "subjects"  # what intervals count: requests of one subject are alike
Values = Mapping[str, Mapping[str, NDArray[np.float64]]]  # system -> metric -> [R]


def summary(values: NDArray[np.float64], seed: int, groups: NDArray[np.int64] | None = None) -> Summary:
    """Mean with its bootstrap interval as plain JSON values, null where there is none, with the reason."""
    interval = bootstrap_interval(values, seed, groups, units=UNITS)
    numbers = {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
    return plain(numbers) | why(interval)


def plain(values: Mapping[str, float | int]) -> Summary:
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}


def why(found: Interval | Difference | Lacking | None) -> Summary:
    """`refused`: why there is no interval, and `needed`: how many subjects would do; neither where there is one, or
    nothing to be sure of."""
    reason = found.reason if isinstance(found, Lacking) else found.refused if found is not None else None
    if found is None or reason is None or (isinstance(found, Interval | Difference) and not found.n):
        return {}
    return {"refused": reason, "needed": found.needed}


def tested(found: Difference) -> Summary:
    """A paired test as plain JSON values: mean, interval, p and n, or `why` there is none."""
    numbers = {"mean": found.mean, "low": found.low, "high": found.high, "p": found.p_value, "n": found.n}
    return plain(numbers) | why(found)


def paired(a: NDArray[np.float64], b: NDArray[np.float64], groups: NDArray[np.int64]) -> Summary:
    """Mean of a - b `[R]` with its 95 % interval (Student's t over `groups`), n, how many groups there are, and the
    standard error and degrees of freedom, with which `upper` gives a bound of any confidence; `why` there is none."""
    difference = a - b
    known = ~np.isnan(difference)
    difference, own = difference[known], groups[known]
    lack = lacking(difference, own, "t", UNITS, "difference") if len(difference) else None
    mean = float(difference.mean()) if len(difference) else float("nan")
    error, dof = mean_error(difference, own)
    half = t_quantile(0.975, dof) * error if dof > 0 and lack is None else float("nan")
    numbers = {"mean": mean, "low": mean - half, "high": mean + half, "n": len(difference)}
    return plain({**numbers, "groups": len(np.unique(own)), "se": error, "dof": dof}) | why(lack)


def upper(found: Mapping[str, float], confidence: float) -> float:
    """What the difference is below with that confidence, one-sided. found: as `paired` gives it, with an interval."""
    return found["mean"] + t_quantile(confidence, found["dof"]) * found["se"]


def slice_report(
    task: Task, slates: Mapping[str, Slates], masks: tuple[Masks, Masks], groups: NDArray[np.int64], seed: int
) -> dict[str, object]:
    """dimension -> value -> {requests, systems: {NAME: {metric: summary}}, difference: {NAME: {metric: paired}}}.

    masks: those of requests and those of relevant pairs. In a part of the items only these are relevant, and the
    mean is over the requests that have one. difference: podium less each other system, on the same requests.
    """
    of_requests, of_items = masks
    report: dict[str, object] = {}
    whole = _measured(task, slates, task.labels)

    def part(values: Values, kept: Mask) -> dict[str, object]:
        mine = {
            name: {metric: np.where(kept, value, np.nan) for metric, value in metrics.items()}
            for name, metrics in values.items()
        }
        systems = {
            name: {metric: summary(value, seed, groups) for metric, value in metrics.items()}
            for name, metrics in mine.items()
        }
        apart = {
            name: {metric: paired(mine["podium"][metric], value, groups) for metric, value in metrics.items()}
            for name, metrics in mine.items()
            if name != "podium"
        }
        return {"requests": int(kept.sum()), "systems": systems, "difference": apart}

    for dimension, parts in of_requests.items():
        report[dimension] = {value: part(whole, kept) for value, kept in parts.items() if kept.any()}
    for dimension, parts in of_items.items():
        report[dimension] = _item_parts(task, slates, parts, part)
    return report


def _measured(task: Task, slates: Mapping[str, Slates], labels: Labels) -> Values:
    names = HEADLINE[task.mode]
    return {name: measure(task.mode, slate.item, slate.asked, labels, only=names) for name, slate in slates.items()}


def _item_parts(
    task: Task,
    slates: Mapping[str, Slates],
    parts: Mapping[str, Mask],
    part: Callable[[Values, Mask], dict[str, object]],
) -> dict[str, object]:
    found: dict[str, object] = {}
    for value, kept in parts.items():
        labels: Labels = task.labels.only(kept)
        has = labels.positive.count > 0
        if has.any():
            found[value] = part(_measured(task, slates, labels), has)
    return found
