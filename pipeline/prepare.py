"""PREPARE stages: what a request says and what its subject did, written down once for every later stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, Mask
from pipeline.exclusions import USUAL, Exclusions
from pipeline.features.ids import keys
from pipeline.features.text import normalise, tokens
from pipeline.filters import Filters, matching
from pipeline.stage import Effect
from pipeline.state import State

_MARKS = 10_000  # latest hides and purchases of a subject that count, which a subject made of many may exceed
Columns = frozenset[str]


@dataclass(frozen=True, slots=True)
class Normalise:
    """The tick the request may use; its query in the one spelling everything keys by."""

    state: State
    name: str = "normalise"
    effect: Effect = Effect.PREPARE
    reads: Columns = frozenset({"request.time", "request.query"})
    writes: Columns = frozenset({"request.tick", "request.normalised", "request.query_key"})

    def run(self, batch: Batch) -> Batch:
        normalised = [normalise(query) for query in batch.request("query")]
        key = np.where([query != "" for query in normalised], keys(normalised), 0)
        return batch.with_requests(
            tick=self.state.tick(batch.request("time")), normalised=_objects(normalised), query_key=key
        )


@dataclass(frozen=True, slots=True)
class NoCorrection:
    """Takes every query as typed."""

    name: str = "no_correction"
    effect: Effect = Effect.PREPARE
    reads: Columns = frozenset()
    writes: Columns = frozenset({"request.corrected"})

    def run(self, batch: Batch) -> Batch:
        return batch.with_requests(corrected=_objects([""] * batch.size))


@dataclass(frozen=True, slots=True)
class Analyse:
    """The terms to look for. synonyms: terms of a whole query, joined by blanks, or one term -> further texts."""

    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    name: str = "analyse"
    effect: Effect = Effect.PREPARE
    reads: Columns = frozenset({"request.normalised", "request.corrected"})
    writes: Columns = frozenset({"request.terms"})

    def run(self, batch: Batch) -> Batch:
        pairs = zip(batch.request("normalised"), batch.request("corrected"), strict=True)
        return batch.with_requests(terms=_objects([self.terms(corrected or query) for query, corrected in pairs]))

    def terms(self, query: str) -> list[str]:
        """Of one text."""
        own = tokens(query)
        if not self.synonyms:
            return own
        asked = dict.fromkeys([" ".join(own), *own])
        return own + [term for key in asked for text in self.synonyms.get(key, ()) for term in tokens(text)]


@dataclass(frozen=True, slots=True)
class History:
    """The subject's latest positive actions before the request, oldest first."""

    state: State
    length: int = 50
    name: str = "history"
    effect: Effect = Effect.PREPARE
    reads: Columns = frozenset({"request.subject_key", "request.time"})
    writes: Columns = frozenset({"request.history", "request.history_action", "request.history_time"})

    def run(self, batch: Batch) -> Batch:
        past = self.state.history.last(batch.request("subject_key"), batch.request("time"), self.length)
        return batch.with_requests(history=past.item, history_action=past.action, history_time=past.time)


@dataclass(frozen=True, slots=True)
class Allow:
    """Which items may be shown, and at what price, as of the request's time.

    Left out: what is not available or does not meet the filters, what the subject hid or bought as far as `exclude`
    says so, and the item a `similar` request starts from.
    """

    state: State
    exclude: Exclusions = USUAL
    name: str = "allow"
    effect: Effect = Effect.PREPARE
    reads: Columns = frozenset(f"request.{name}" for name in ("time", "filters", "surface", "seed", "subject_key"))
    writes: Columns = frozenset({"request.allowed", "request.price"})

    def run(self, batch: Batch) -> Batch:
        masks, prices = self._matching(batch.request("time"), batch.request("filters"))
        unwanted, item = self._unwanted(batch)
        for row in np.flatnonzero(unwanted.any(axis=1)):
            masks[row] = masks[row].copy()
            masks[row][item[row][unwanted[row]]] = False
        return batch.with_requests(allowed=_objects(masks), price=_objects(prices))

    def _matching(self, time: NDArray[np.int64], filters: Array) -> tuple[list[Mask], list[Array]]:
        """Mask and prices of each request; those of equal filters at one moment of the catalogue are one array."""
        catalogue = self.state.catalogue
        known: dict[tuple[Filters, int], Mask] = {}
        masks: list[Mask] = [np.empty(0, np.bool_)] * len(time)
        prices: list[Array] = [np.empty(0)] * len(time)
        for row in np.argsort(time, kind="stable"):
            snapshot = catalogue.at(int(time[row]))
            key = (filters[row], snapshot.version)
            if key not in known:
                known[key] = matching(filters[row], catalogue, snapshot)
            masks[row], prices[row] = known[key], snapshot.price
        return masks, prices

    def _unwanted(self, batch: Batch) -> tuple[Mask, NDArray[np.int32]]:
        """Items that one subject's request must not show: whether, and which; both `[R, marks + 1]`."""
        time, surface, seed, subject = (batch.request(name) for name in ("time", "surface", "seed", "subject_key"))
        known = self.state.marks
        marks = known.last(subject, time, min(max(1, known.most(subject)), _MARKS))
        excluded = self.exclude.of(surface, marks.action, time[:, None] - marks.time) & (marks.item >= 0)
        similar = (surface == "similar") & (seed >= 0)
        return np.column_stack([excluded, similar]), np.column_stack([marks.item, seed])


def _objects(values: list[Any]) -> Array:
    """One object a request; never an array of arrays, whatever their lengths."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return column
