"""The parts that a mean is made of: of the requests, and of what is relevant to them."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import NEVER
from pipeline.features.ids import key_column
from pipeline.features.text import spelt
from pipeline.state import State
from serving.replay.labels import Labels
from serving.replay.requests import Task

NEW_MS: Final = 2 * 86_400_000
OF_REQUESTS: Final = ("surface", "query", "user", "query_frequency", "category", "arm")
OF_ITEMS: Final = ("popularity", "item")
DIMENSIONS: Final = (*OF_REQUESTS, *OF_ITEMS)
NONE: Final = "none"  # the value of what has no value
Masks = dict[str, dict[str, Mask]]  # dimension -> value -> mask


def request_slices(task: Task, state: State, cutoff: int, by: str) -> Masks:
    """Parts of the requests, each `[R]`: by surface, with and without a query, by what was known of the user at the
    cutoff, by how often the query was asked before it, by the top category of the best relevant item, by arm where the
    log has any, and by the column `by` ("" = none)."""
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
        "query_frequency": _frequency(requests["query"], state, cutoff),
        "category": _values(_category(task.labels, state)),
    }
    arms = by == "arm" or requests["arm"].is_not_null().any()
    shown = {name: parts for name, parts in masks.items() if any(kept.any() for kept in parts.values())}
    return shown | ({"arm": _values(requests["arm"].fill_null(NONE))} if arms else {})


def _values(column: pl.Series) -> dict[str, Mask]:
    """A part a value; a null is in none."""
    return {str(value): (column == value).fill_null(False).to_numpy() for value in column.drop_nulls().unique().sort()}


def _frequency(queries: pl.Series, state: State, cutoff: int) -> dict[str, Mask]:
    """Head, torso and tail of the queries that are evaluated, a third of their searches before the cutoff each."""
    texts = spelt(queries.fill_null(""))
    distinct = texts.unique().sort()
    distinct = distinct.filter(distinct != "")
    if not len(distinct):
        return {}
    tick = state.tick(np.full(len(distinct), cutoff, dtype=np.int64))
    counts = state.counters["queries"].at(key_column(distinct), tick)
    parts = tiers(counts[:, state.counters["queries"].place("shown")].astype(np.int64))
    return {name: texts.is_in(distinct.filter(pl.Series(kept)).implode()).to_numpy() for name, kept in parts.items()}


def _category(labels: Labels, state: State) -> pl.Series:
    """`[R]`: the top category of the relevant item with the largest gain, of equals the first by item_id; null where
    nothing known is relevant, and for a catalogue without categories."""
    catalogue = state.catalogue
    best = labels.only((labels.gain > 0) & (labels.item >= 0))
    order = np.lexsort((catalogue.tie[best.item], -best.gain, best.row))
    row, first = np.unique(best.row[order], return_index=True)
    code = catalogue.top_category[best.item[order][first]]
    names = [catalogue.top_categories[place] or NONE for place in code]
    found: list[str | None] = [None] * labels.requests
    if not (catalogue.top_category > 0).any():
        return pl.Series(found, dtype=pl.String)
    for place, name in zip(row.tolist(), names, strict=True):
        found[place] = name
    return pl.Series(found, dtype=pl.String)


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
