"""Which page an action follows: what feedback may refer to by request_id, and feedback whose page has not come.

Letters: P rows of any kind, A actions, M those whose page is found, C columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.features.declared import Declarations, wanted
from pipeline.features.ids import Keys
from pipeline.features.tail import SMALL, appended
from pipeline.features.ticks import TICK_MS

REFERRED: Final = {
    "request_id": pl.String(),
    "page_tick": pl.Int64(),
    "query_key": pl.Int64(),
    "segment_key": pl.Int64(),
}
WAITING: Final = {
    "request_id": pl.String(),
    "tick": pl.Int64(),
    "item": pl.Int32(),
    "action": pl.String(),
    "positive": pl.Boolean(),
}
_DAY = 24  # ticks
REFERABLE: Final = 7 * _DAY  # ticks after a page's that an action still counts for it
PATIENCE: Final = 2 * _DAY  # ticks that an action waits for its page
_PIECES: Final = 64  # of names before they are put together

Ints = NDArray[np.int64]
Column = NDArray[Any]
_Found = tuple[Ints, tuple[Column, ...]]  # places of actions, and the columns of the page of each


def referred_schema(declared: Declarations) -> dict[str, pl.DataType]:
    """The columns of `Pages.referred`."""
    return REFERRED | {f"by.{name}": pl.Int64() for name in wanted(declared).pages}


@dataclass(frozen=True)
class Noted:
    """Rows to be found by their request. columns: `[P]` each, the tick first; names: the requests `[P]`, in pieces.

    They are found by a 64-bit hash of the request: of a million requests any two share one with a chance of 3e-8.
    """

    names: tuple[pl.Series, ...]
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        return len(self.columns[0])

    @property
    def tick(self) -> Ints:
        return self.columns[0]

    @cached_property
    def hashed(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """`[P]` hashes, sorted, and the place of each one's row."""
        hashes = self._names().to_frame().hash_rows().to_numpy()
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order

    def _names(self) -> pl.Series:
        return self.names[0] if len(self.names) == 1 else pl.concat(self.names, rechunk=True)

    def merge(self, other: "Noted") -> "Noted":
        names = self.names + other.names
        columns = (np.concatenate(pair) for pair in zip(self.columns, other.columns, strict=True))
        both = Noted((pl.concat(names, rechunk=True),) if len(names) > _PIECES else names, tuple(columns))
        hashes = np.concatenate([self.hashed[0], other.hashed[0]])
        order = np.argsort(hashes, kind="stable")  # two sorted runs: this merges them
        places = np.concatenate([self.hashed[1], other.hashed[1] + self.rows])
        both.__dict__["hashed"] = hashes[order], places[order]
        return both

    def only(self, rows: Mask) -> "Noted":
        """`rows`: `[P]`."""
        if rows.all():
            return self
        return Noted((self._names().filter(pl.Series(rows)),), tuple(column[rows] for column in self.columns))

    def without(self, places: Ints) -> "Noted":
        if not len(places):
            return self
        rows = np.ones(self.rows, dtype=np.bool_)
        rows[places] = False
        return self.only(rows)

    def since(self, tick: int) -> "Noted":
        return self.only(self.tick >= tick)

    def same(self, other: "Noted") -> tuple[Ints, Ints]:
        """Places in this and in the other of all rows of the same requests."""
        if self.rows > other.rows:
            theirs, mine = other.same(self)
            return mine, theirs
        hashes, order = self.hashed
        found, places = other.hashed
        low = found.searchsorted(hashes)
        count = found.searchsorted(hashes, side="right") - low
        if not count.any():
            return order[:0], places[:0]
        own = np.repeat(np.arange(len(hashes)), count)
        place = np.arange(len(own)) - np.repeat(np.cumsum(count) - count - low, count)
        return order[own], places[place]

    def frame(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        name, *others = schema
        columns = zip(others, self.columns, strict=True)
        told = [pl.Series(other, column, dtype=schema[other]) for other, column in columns]
        return pl.DataFrame([self._names().rename(name), *told])


@dataclass(frozen=True, slots=True)
class Placed:
    """Actions whose page is known, `[M]` each. page: the page's columns after its tick; act: those of the action."""

    page: tuple[Keys, ...]
    act: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Pages:
    """latest: ms, see `_since`; schema: of `referred`. known: pages by tick and keys; awaiting: actions by the columns
    of `WAITING`. Either may still hold what is too old, which counts for nothing."""

    latest: int = 0
    schema: Mapping[str, pl.DataType] = field(default_factory=lambda: REFERRED)
    known: tuple[Noted, ...] = ()
    awaiting: tuple[Noted, ...] = ()

    @classmethod
    def none(cls, declared: Declarations = ()) -> "Pages":
        return cls(schema=referred_schema(declared))

    @classmethod
    def of(cls, referred: pl.DataFrame, waiting: pl.DataFrame, latest: int) -> "Pages":
        """From what `referred` and `waiting` gave."""
        known, awaiting = (() if not len(frame) else (_noted(frame),) for frame in (referred, waiting))
        return cls(latest, referred.schema, known, awaiting)

    def follow(self, shown: Noted, acts: Noted, latest: int) -> tuple[Placed, "Pages"]:
        """Actions that follow a page counted no later than themselves, with its keys; and the pages now.

        Which pages are known depends on delivery; which ones are counted no later does not, for these have come before
        the tick is used. All pages of a request are of one query and one segment.
        """
        kept = _since(self.latest)
        found = [_first(acts, (*self.known, shown), kept - REFERABLE)]
        found += [_first(group, (shown,), kept - REFERABLE, kept) for group in self.awaiting]
        placed = _placed((acts, *self.awaiting), found, len(self.schema) - 2)
        acts, *others = (group.without(hit[0]) for group, hit in zip((acts, *self.awaiting), found, strict=True))
        awaiting = appended(tuple(group for group in others if group.rows), acts)
        latest = max(self.latest, latest)
        kept = _since(latest)
        known = _pruned(appended(self.known, shown), self.known, kept - REFERABLE)
        return placed, Pages(latest, self.schema, known, _pruned(awaiting, self.awaiting, kept))

    @property
    def referred(self) -> pl.DataFrame:
        """Pages by request, in an order that says nothing of how they were delivered."""
        frame = _frame(self.known, self.schema, _since(self.latest) - REFERABLE)
        return frame.sort(pl.all()).unique(["request_id", "page_tick"], keep="first", maintain_order=True)

    @property
    def waiting(self) -> pl.DataFrame:
        return _frame(self.awaiting, WAITING, _since(self.latest)).sort(pl.all())


def _since(latest: int) -> int:
    """The tick before which no later event can change anything, so that what is kept does not grow with the log.

    latest: ms, the time of the latest event. Whether events come in order of time (the days of a log) or as they
    arrive, a later one counts no earlier than at the tick of `latest`: it can neither refer to a page that is more
    than `REFERABLE` older, nor bring the page that an action before that tick waits for. `PATIENCE` makes up for
    events that arrive out of any order.
    """
    return latest // TICK_MS - PATIENCE


def _first(acts: Noted, pages: Sequence[Noted], since: int, waiting: int = 0) -> _Found:
    """Actions that follow a page, and the first page each follows. since, waiting: ticks; what is older of pages that
    were known before, and of actions, counts for nothing. The last of the pages are new."""
    parts: list[tuple[Column, ...]] = []
    for group in pages if acts.rows else ():
        if not group.rows:
            continue
        own, theirs = acts.same(group)
        if len(own):
            page, tick = group.tick[theirs], acts.tick[own]
            age = tick - page
            rows = (age >= 0) & (age <= REFERABLE) & (tick >= waiting) & ((page >= since) | (group is pages[-1]))
            own, theirs = own[rows], theirs[rows]
            parts.append((own, *(column[theirs] for column in group.columns)))
    if not parts:
        return np.empty(0, dtype=np.int64), ()
    place, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(place) > 1:
        order = np.lexsort((*reversed(columns), place))
        first = order[np.append(True, place[order][1:] != place[order][:-1])]
        place, columns = place[first], [column[first] for column in columns]
    return place, tuple(columns)


def _placed(sources: Sequence[Noted], found: Sequence[_Found], keys: int) -> Placed:
    """keys: how many a page has."""
    hits = [(group, *hit) for group, hit in zip(sources, found, strict=True) if len(hit[0])]
    if not hits:
        none = np.empty(0, dtype=np.int64)
        nothing = (none, none.astype(np.int32), none.astype(np.object_), none.astype(np.bool_))
        return Placed((none,) * keys, nothing)
    page = (np.concatenate([columns[key] for _, _, columns in hits]) for key in range(1, keys + 1))
    acted = zip(*([column[places] for column in group.columns] for group, places, _ in hits), strict=True)
    return Placed(tuple(page), tuple(np.concatenate(column) for column in acted))


def _pruned(groups: tuple[Noted, ...], before: tuple[Noted, ...], tick: int) -> tuple[Noted, ...]:
    """Without what is older than `tick`, where a large group is new."""
    if all(group.rows < SMALL or any(group is known for known in before) for group in groups):
        return groups
    pruned = (group if group.rows < SMALL else group.since(tick) for group in groups)
    return tuple(group for group in pruned if group.rows)


def _noted(frame: pl.DataFrame) -> Noted:
    name, *others = frame.columns
    return Noted((frame[name],), tuple(frame[other].to_numpy() for other in others))


def _frame(groups: Sequence[Noted], schema: Mapping[str, pl.DataType], since: int) -> pl.DataFrame:
    if not groups:
        return pl.DataFrame(schema=schema)
    return reduce(Noted.merge, groups).since(since).frame(schema)
