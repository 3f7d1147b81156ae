"""The plain features: one function from a batch and a state to `[R, K, F]`, for training and serving alike.

Everything is read as of the request's tick or time, the subject's past as of the tick as well. What cannot be known
is nan. What is fitted (priors, usual prices, how common words are) is frozen in the bundle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Mask
from pipeline.catalogue import LEVELS, Catalogue
from pipeline.features.behaviour import ITEM_NAMES, KNOWN_NAME, RECENT_NAMES, hours_known, item_columns
from pipeline.features.content import Vectors
from pipeline.features.context import (
    ACTIONS_NAME,
    QUERY_NAMES,
    SEGMENT_NAMES,
    TASTE_NAMES,
    Few,
    query_columns,
    segment_columns,
    taste_columns,
)
from pipeline.features.declared import Declarations, declared_names
from pipeline.features.declared_values import Call, declared_columns
from pipeline.features.facts import HOUR_MS, STATIC_NAMES, Facts
from pipeline.features.fitted import Fitted
from pipeline.features.match import MATCH_NAMES, Matcher
from pipeline.features.memory import Memory
from pipeline.features.personal import PERSONAL_NAMES, Candidates, past_of, personal_columns
from pipeline.features.prices import Kinds, log_of
from pipeline.features.table import ItemTable, Sheet
from pipeline.state import State

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
SURFACES: Final = ("search", "recommend", "similar")
_SURFACE: Final[Mapping[str, int]] = {name: place for place, name in enumerate(SURFACES)}
_THURSDAY: Final = 3  # the weekday of the first of January 1970; Monday is 0

COST_NAMES: Final = ("log_price", "relative_price", "price_place")
REGION: Final = "region_match"
AGE: Final = "log_age_hours"
SEED_NAMES: Final = ("seed_categories", "seed_brand", "seed_content")
REQUEST_NAMES: Final = ("surface", "query_terms", "query_letters")
TIME_NAMES: Final = ("hour_of_day", "day_of_week")
# A log without clock time knows neither windows nor ages nor hours.
CLOCK_NAMES: Final = (*RECENT_NAMES, KNOWN_NAME, AGE, *TIME_NAMES)
# In this order: what a tick says of items, what an item's description says, and what is asked for.
DESCRIBED: Final = (
    *STATIC_NAMES,
    *COST_NAMES,
    REGION,
    AGE,
    *SEED_NAMES,
    *TASTE_NAMES,
    *PERSONAL_NAMES,
    *MATCH_NAMES,
)
EVERY: Final = (
    *ITEM_NAMES,
    *RECENT_NAMES,
    *DESCRIBED,
    KNOWN_NAME,
    *QUERY_NAMES,
    *SEGMENT_NAMES,
    ACTIONS_NAME,
    *REQUEST_NAMES,
    *TIME_NAMES,
)
NEEDS: Final = frozenset(
    f"request.{name}"
    for name in (
        *("time", "tick", "subject", "subject_key", "query_key", "segment_key", "context_keys"),
        *("surface", "seed", "terms"),
    )
)


@cache
def names(clock: str, declared: Declarations = ()) -> tuple[str, ...]:
    """The features of a log of this clock, in the order of the last axis; those a user declared come last."""
    own = (name for name in EVERY if clock == "exact" or name not in CLOCK_NAMES)
    return (*own, *declared_names(declared, clock))


@cache
def _places(clock: str, declared: Declarations) -> Mapping[str, int]:
    return {name: place for place, name in enumerate(names(clock, declared))}


@cache
def _counted(clock: str) -> tuple[str, ...]:
    return tuple(name for name in (*ITEM_NAMES, *RECENT_NAMES) if name in names(clock))


def left_out(clock: str) -> tuple[str, ...]:
    """The features such a log cannot have, for the report."""
    return tuple(name for name in EVERY if name not in names(clock))


@dataclass
class Asked:
    """One call: what its parts read, and `out` `[R, K, F]`, which they write. item: `[R, K]`, the candidates sorted;
    order: `[R, K]`, where they stood in the batch, counted through all of it."""

    batch: Batch
    state: State
    kinds: Kinds
    out: NDArray[np.float32]
    order: NDArray[np.intp]

    def __post_init__(self) -> None:
        self.item = self.batch.item.take(self.order)
        self.time, self.tick = self.batch.request("time"), self.batch.request("tick")
        self.places = _places(self.state.clock, self.state.declared)
        self.sheet: Sheet | None = None

    def put(self, columns: Columns) -> None:
        """Write columns, each of a shape that broadcasts to `[R, K]`; those the clock has no place for are left."""
        for name, values in columns.items():
            if name in self.places:
                self.out[..., self.places[name]] = values

    def unsorted(self) -> NDArray[np.float32]:
        """`out` in the order of the request."""
        place = np.empty(self.order.shape, dtype=np.intp)
        place.reshape(-1)[self.order] = np.arange(place.size).reshape(place.shape)
        found: NDArray[np.float32] = self.out.reshape(-1, self.out.shape[2]).take(place, axis=0)
        return found

    def column(self, name: str) -> Floats:
        return self.out[..., self.places[name]].astype(np.float64)

    @property
    def facts(self) -> Facts:
        return self.kinds.facts

    @cached_property
    def created(self) -> NDArray[np.int64]:
        """`[R, K]`, as in `Facts`."""
        return self.facts.created.take(self.item)

    @cached_property
    def described(self) -> Mask:
        """`[R, K]`: whether the item had a row by then."""
        if self.state.clock != "exact":
            return np.ones(self.item.shape, dtype=np.bool_)
        return self.created <= self.time[:, None]

    @cached_property
    def all_described(self) -> bool:
        return bool(self.described.all())

    @cached_property
    def group(self) -> NDArray[np.intp]:
        """`[L + 1, R, K]`, as in `Facts`."""
        group = self.facts.group.take(self.item, axis=0)
        return np.ascontiguousarray(group.transpose(2, 0, 1), dtype=np.intp)

    @cached_property
    def few(self) -> Few:
        return Few(self.group, self.facts.groups)

    @cached_property
    def subject_key(self) -> NDArray[np.int64]:
        """`[R]`, 0 = nobody."""
        return np.where(self.batch.request("subject") != "", self.batch.request("subject_key"), 0)

    @cached_property
    def log_price(self) -> Floats:
        return log_of(self.facts.price(self.item, self.time[:, None]))


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """fitted: what training froze; matcher: the words. Open one a process and share it."""

    fitted: Fitted
    matcher: Matcher
    memory: Memory = field(repr=False)

    @classmethod
    def of(cls, fitted: Fitted) -> "FeatureSet":
        return cls(fitted, Matcher(fitted.text), Memory(fitted))

    def values(self, batch: Batch, state: State) -> NDArray[np.float32]:
        """`[R, K, F]`, F as `names`; nan where a feature is unknown or there is no candidate."""
        asked = self.asked(batch, state)
        if batch.item.size and asked.facts.size:
            for part in self.parts.values():
                part(asked)
        return asked.unsorted()

    def asked(self, batch: Batch, state: State) -> Asked:
        """A call nothing is written to yet. Look-ups are quickest in order of items, so that they are sorted here."""
        rows, width = batch.item.shape
        order = batch.item.argsort(axis=1) + width * np.arange(rows)[:, None]
        size = len(names(state.clock, state.declared))
        out = np.full((*batch.item.shape, size), np.nan, dtype=np.float32)
        return Asked(batch, state, self.memory.kinds(self.memory.facts.of(state.catalogue), self.fitted), out, order)

    @property
    def parts(self) -> Mapping[str, Callable[[Asked], None]]:
        """What fills a call, in this order: by name, to be timed apart."""
        return {
            "items": self._items,
            "descriptions": self._descriptions,
            "seed": self._seed,
            "tastes": self._tastes,
            "past": self._past,
            "words": self._words,
            "queries": self._queries,
            "request": _request,
            "declared": self._declared,
            "unknown": _unknown,
        }

    def vectors(self, catalogue: Catalogue) -> Vectors:
        """`[N, D]` unit vectors of what the items are, for likeness between items."""
        return self.memory.vectors(catalogue, self.matcher.memory.of(catalogue))

    def ahead(self, state: State, tick: int) -> Callable[[], ItemTable]:
        """What makes the table of a tick, in any thread, for `memory.table.take`."""
        kinds = self.memory.kinds(self.memory.facts.of(state.catalogue), self.fitted)
        return partial(self.memory.table.ahead, state, tick, kinds.top, self.fitted.priors, _counted(state.clock))

    def _items(self, asked: Asked) -> None:
        """What is counted of the items; from the table of the tick where all is as the table takes it to be."""
        state, item, tick, top = asked.state, asked.item, asked.tick, asked.kinds.top
        counted, priors, layers = _counted(state.clock), self.fitted.priors, state.counters["items"]
        alone = len(tick) == 1 or bool((tick == tick[0]).all())
        if alone and (asked.all_described or (asked.described | (top[item] == 0) | (item < 0)).all()):
            sheet = self.memory.table.at(state, int(tick[0]), top, priors, counted)
            asked.sheet = sheet
            if sheet is not None:
                asked.out[..., : len(counted)] = sheet.values.take(item, axis=0)
                asked.put({KNOWN_NAME: hours_known(sheet.first.take(item), tick[:, None])})
                return
        wide = item.astype(np.int64)
        asked.put(item_columns(state, wide, tick, np.where(asked.described, top[item], 0), priors))
        asked.put({KNOWN_NAME: hours_known(layers.first(wide), tick[:, None])})

    def _descriptions(self, asked: Asked) -> None:
        """What the items are, and what they cost."""
        facts, item, kinds = asked.facts, asked.item, asked.kinds
        first, cost = asked.places[STATIC_NAMES[0]], asked.places[COST_NAMES[0]]
        if len(item) == 1:
            known = self.memory.described(kinds, asked.state.catalogue.at(int(asked.time[0])).price)
            asked.out[..., first : cost + len(COST_NAMES)] = known.values.take(item, axis=0)
        else:
            asked.out[..., first:cost] = facts.static.take(item, axis=0)
            prices = (asked.log_price, kinds.dearness(item, asked.log_price), kinds.place(item, asked.log_price))
            asked.put(dict(zip(COST_NAMES, prices, strict=True)))
        age = asked.time[:, None] - asked.created
        asked.put({AGE: np.log1p(np.maximum(age, 0) / HOUR_MS)})
        if asked.state.segment == "region":
            region, segment = facts.region.take(item), asked.batch.request("segment_key")[:, None]
            asked.put({REGION: np.where((region != 0) & (segment != 0), region == segment, np.nan)})

    def _seed(self, asked: Asked) -> None:
        """Likeness to the item of a `similar` request."""
        seed, facts = asked.batch.request("seed"), asked.facts
        if not (seed >= 0).any():
            return
        same = (asked.group == facts.group[seed].T[..., None]) & (facts.groups[asked.group] != 0)
        vectors = self.vectors(asked.state.catalogue)
        cosine = np.einsum("rkd,rd->rk", vectors.take(asked.item, axis=0), vectors[seed])
        values = (same[:LEVELS].sum(axis=0), same[LEVELS], cosine)
        seeded = ((seed >= 0) & (facts.created[seed] <= asked.time))[:, None]
        asked.put({name: np.where(seeded, value, np.nan) for name, value in zip(SEED_NAMES, values, strict=True)})

    def _tastes(self, asked: Asked) -> None:
        asked.put(taste_columns(asked.state, asked.few, asked.tick, asked.subject_key))

    def _past(self, asked: Asked) -> None:
        past = past_of(asked.state, asked.subject_key, asked.time)
        dear, place = (asked.out[..., asked.places[name]] for name in ("relative_price", "price_place"))
        own = Candidates(asked.item, asked.group, dear, place)
        asked.put(personal_columns(past, asked.time, own, asked.kinds, self.vectors(asked.state.catalogue)))

    def _words(self, asked: Asked) -> None:
        first = asked.places[MATCH_NAMES[0]]
        words = asked.out[..., first : first + len(MATCH_NAMES)]
        self.matcher.features(asked.batch.request("terms").tolist(), asked.item, asked.state.catalogue, words)

    def _queries(self, asked: Asked) -> None:
        """What people did for the query, and within the segment."""
        state, item, tick, batch = asked.state, asked.item, asked.tick, asked.batch
        asked.put(query_columns(state, item, tick, batch.request("query_key"), asked.column("ctr")))
        segment = batch.request("segment_key")
        if len(segment) == 1 and asked.sheet is not None and segment[0] != 0:
            table = self.memory.segments.of(state, asked.sheet, int(segment[0]))
            if table is not None:
                first = asked.places[SEGMENT_NAMES[0]]
                asked.out[..., first : first + len(SEGMENT_NAMES)] = table.take(item, axis=0)
                return
        asked.put(segment_columns(state, item, tick, segment, asked.column("log_positive")))

    def _declared(self, asked: Asked) -> None:
        if asked.state.declared:
            known = (asked.described, asked.subject_key, asked.log_price)
            batch = Batch(asked.batch.requests, asked.item, {})
            asked.put(declared_columns(Call(batch, asked.state, self.fitted.declared, *known)))


def _request(asked: Asked) -> None:
    """What the request is, the same for all its candidates: `[R, 1]`."""
    surface, terms = asked.batch.request("surface"), asked.batch.request("terms")
    told = [
        (_SURFACE.get(name, len(SURFACES)), len(line), sum(map(len, line)))
        for name, line in zip(surface, terms, strict=True)
    ]
    hours = asked.time // HOUR_MS
    times = (hours % 24, (hours // 24 + _THURSDAY) % 7)
    values = (*np.array(told, dtype=np.float64).reshape(-1, 3).T, *times)
    asked.put({name: value[:, None] for name, value in zip((*REQUEST_NAMES, *TIME_NAMES), values, strict=True)})


def _unknown(asked: Asked) -> None:
    """Nothing is known of what an item is before its first row, and of what is no candidate."""
    if not asked.all_described:
        first = asked.places[DESCRIBED[0]]
        asked.out[..., first : asked.places[DESCRIBED[-1]] + 1][~asked.described] = np.nan
    there = asked.item >= 0
    if not there.all():
        asked.out[~there] = np.nan
