"""Where the means come from: the headline metrics for parts of the requests, and for parts of what is relevant."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import NEVER
from pipeline.features.ids import key_column
from pipeline.metrics.compare import bootstrap_interval
from pipeline.state import State
from serving.replay.answers import Slates
from serving.replay.labels import Labels
from serving.replay.measures import HEADLINE, measure
from serving.replay.requests import Task

NEW_MS = 2 * 86_400_000
Masks = dict[str, dict[str, Mask]]  # dimension -> value -> mask
Summary = dict[str, float | int | None]


def summary(values: NDArray[np.float64], seed: int, groups: NDArray[np.int64] | None = None) -> Summary:
    """Mean with its bootstrap interval as plain JSON values, null where there is none."""
    interval = bootstrap_interval(values, seed, groups)
    return plain({"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n})


def plain(values: Mapping[str, float | int]) -> Summary:
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}


def request_slices(task: Task, state: State, cutoff: int, by: str) -> Masks:
    """Parts of the requests, each `[R]`: by surface, with and without a query, by what was known of the user at the
    cutoff, and by the column `by` ("" = none)."""
    requests = task.requests
    asked = (requests["query"].fill_null("") != "").to_numpy()
    named = requests["subject"].is_not_null().to_numpy()
    keys = key_column(requests["subject"])
    past = state.history.last(keys, np.full(len(keys), cutoff if state.clock == "exact" else 2**62), 1)
    known = past.item[:, 0] >= 0
    masks: Masks = {
        "surface": _values(requests["surface"]),
        "query": {"with a query": asked, "without": ~asked},
        "user": {"known": known & named, "new": ~known & named, "nobody": ~named},
    }
    return masks | ({by: _values(requests[by].fill_null("none"))} if by else {})


def _values(column: pl.Series) -> dict[str, Mask]:
    return {str(value): (column == value).to_numpy() for value in column.unique().sort()}


def item_slices(task: Task, state: State, cutoff: int) -> Masks:
    """Parts of the relevant pairs, each `[P]`: items described less than 2 days before the request, and items by
    how often they were shown before the cutoff: head, torso and tail hold a third of all showings each."""
    labels, item = task.labels, np.maximum(task.labels.item, 0)
    masks: Masks = {"popularity": {name: tier[item] for name, tier in tiers(_shown(state, cutoff)).items()}}
    if state.clock == "exact":
        created = state.catalogue.created[item]
        time = task.requests["time"].to_numpy()[labels.row]
        new = (created != NEVER) & (time - created < NEW_MS)
        masks["item"] = {"new": new, "older": ~new}
    return masks


def _shown(state: State, cutoff: int) -> NDArray[np.int64]:
    """`[N]`: times each item was shown before the cutoff; positive actions on a log that shows no pages."""
    layers = state.counters["items"]
    tick = state.tick(np.array([cutoff], dtype=np.int64))
    counts = layers.at(np.arange(len(state.catalogue), dtype=np.int64), tick).astype(np.int64)
    shown = counts[:, layers.place("shown")]
    return shown if shown.any() else counts[:, layers.place("positive")]


def tiers(shown: NDArray[np.int64]) -> dict[str, Mask]:
    """Head, torso and tail `[N]`: the most shown items that make the first third of all showings, and so on.

    An item that was never shown is tail.
    """
    order = np.argsort(-shown, kind="stable")
    before = np.empty(len(shown))
    before[order] = np.cumsum(shown[order]) - shown[order]
    share = before / max(int(shown.sum()), 1)
    head, tail = (share < 1 / 3) & (shown > 0), (share >= 2 / 3) | (shown == 0)
    return {"head": head, "torso": ~head & ~tail, "tail": tail}


def slice_report(
    task: Task, slates: Mapping[str, Slates], masks: tuple[Masks, Masks], groups: NDArray[np.int64], seed: int
) -> dict[str, object]:
    """dimension -> value -> {requests, systems: {NAME: {metric: summary}}}.

    masks: those of requests and those of relevant pairs. In a part of the items only these are relevant, and the
    mean is over the requests that have one.
    """
    of_requests, of_items = masks
    names = HEADLINE[task.mode]
    report: dict[str, object] = {}
    whole = {
        name: measure(task.mode, slate.item, slate.asked, task.labels, only=names) for name, slate in slates.items()
    }

    def part(values: Mapping[str, Mapping[str, NDArray[np.float64]]], kept: Mask) -> dict[str, object]:
        systems = {
            name: {metric: summary(np.where(kept, value, np.nan), seed, groups) for metric, value in metrics.items()}
            for name, metrics in values.items()
        }
        return {"requests": int(kept.sum()), "systems": systems}

    for dimension, parts in of_requests.items():
        report[dimension] = {value: part(whole, kept) for value, kept in parts.items() if kept.any()}
    for dimension, parts in of_items.items():
        report[dimension] = _item_parts(task, slates, parts, part)
    return report


def _item_parts(
    task: Task,
    slates: Mapping[str, Slates],
    parts: Mapping[str, Mask],
    part: Callable[[Mapping[str, Mapping[str, NDArray[np.float64]]], Mask], dict[str, object]],
) -> dict[str, object]:
    found: dict[str, object] = {}
    for value, kept in parts.items():
        labels: Labels = task.labels.only(kept)
        has = labels.positive.count > 0
        if has.any():
            names = HEADLINE[task.mode]
            values = {
                name: measure(task.mode, slate.item, slate.asked, labels, only=names) for name, slate in slates.items()
            }
            found[value] = part(values, has)
    return found
