"""The item columns of every item at one tick: what the requests of an hour ask for again and again.

The values are those of `item_columns` bit for bit, since the same function fills the table. A bundle brings the table
of its last tick as a file that is mapped into memory; the next tick's is made from the one before, where only items
with events at the edges of the windows differ.
"""

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.behaviour import EDGES, Priors, item_columns
from pipeline.features.counters import Counters, Ticks
from pipeline.features.ids import Keys
from pipeline.features.runs import TICK_MASK
from pipeline.state import State
from pipeline.stored import read_array

Table = NDArray[np.float32]
Items = NDArray[np.int64]
_ITEMS_AT_ONCE: Final = 65_536
_NEAR: Final = 48  # ticks from a table within which another is made at once
_KEPT: Final = 3  # tables kept
_PARTS: Final = ("values", "first", "group")


@dataclass(frozen=True, slots=True)
class Sheet:
    """The columns `names` of all items at a tick. values: `[N, len(names)]`; first: `[N]`, the first tick that counts
    anything of an item; group: `[N]`, the items' top categories; events: how often each thing was counted in all,
    which tells the counters it was made of from any that know more."""

    tick: int
    names: tuple[str, ...]
    events: tuple[int, ...]
    values: Table
    first: Ticks
    group: Keys

    @classmethod
    def of(cls, state: State, tick: int, group: Keys, priors: Priors, names: tuple[str, ...]) -> "Sheet":
        every = np.arange(len(group), dtype=np.int64)
        values = filled(state, every, (tick, group), priors, names)
        return cls(tick, names, _counted(state), values, state.counters["items"].first(every), group)

    def save(self, folder: Path) -> None:
        for part in _PARTS:
            np.save(folder / f"table.{part}.npy", getattr(self, part), allow_pickle=False)
        about = {"tick": self.tick, "names": self.names, "events": self.events}
        (folder / "table.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def open(cls, folder: Path) -> "Sheet":
        """Raises ArtifactError when the files are not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / "table.json").read_bytes(), type=_About)
        except (OSError, msgspec.DecodeError) as error:
            raise ArtifactError("table.json", f"the description of a table ({error})", place=str(folder)) from error
        values, first, group = (np.asarray(read_array(folder / f"table.{part}.npy")) for part in _PARTS)
        whole = values.dtype == np.float32 and first.dtype == group.dtype == np.int64
        if not whole or values.shape != (len(first), len(about.names)) or group.shape != first.shape:
            raise ArtifactError("table.values.npy", "the columns that table.json names", place=str(folder))
        return cls(about.tick, about.names, about.events, values, first, group)


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tick: int
    names: tuple[str, ...]
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A sheet and the counters it was made of."""

    sheet: Sheet
    base: Counters
    recent: tuple[Counters, ...]


class ItemTable:
    """The sheets of the ticks asked for last. A tick far from them all gets its own when asked for twice in a row."""

    def __init__(self, stored: Sheet | None = None) -> None:
        self._stored = stored
        self._asked: tuple[Counters, int] | None = None
        self._kept: tuple[_Kept, ...] = ()
        self._order: tuple[Counters, _Order] | None = None

    @property
    def ready(self) -> bool:
        """Whether a table has been made or taken from the bundle."""
        return bool(self._kept)

    def ahead(self, state: State, tick: int, group: Keys, priors: Priors, names: tuple[str, ...]) -> "ItemTable":
        """A table like this one that also has the sheet of a tick: to be made while others read this one."""
        made = copy(self)
        if made.at(state, tick, group, priors, names) is None:
            made.at(state, tick, group, priors, names)  # asked for twice, it is made whatever it takes
        return made

    def take(self, other: "ItemTable", tick: int) -> None:
        """Take over the sheet of a tick; what does not fit what is counted by now is only a start for the next."""
        known = [kept for kept in other._kept if kept.sheet.tick == tick]
        self._stored = None
        self._kept = (*known, *(kept for kept in self._kept if kept.sheet.tick != tick))[:_KEPT]

    def at(self, state: State, tick: int, group: Keys, priors: Priors, names: tuple[str, ...]) -> Sheet | None:
        """None as long as it is not worth its making. group: `[N]`, each item's top category."""
        layers = state.counters["items"]
        for kept in self._kept:
            if kept.sheet.tick == tick and kept.base is layers.base and kept.recent is layers.recent:
                if kept.sheet.group is group:
                    return kept.sheet
                break
        self._take_stored(state, names)
        known = [kept for kept in self._kept if kept.base is layers.base and len(kept.sheet.group) <= len(group)]
        near = min(known, key=lambda kept: abs(kept.sheet.tick - tick), default=None)
        asked, self._asked = self._asked, (layers.base, tick)
        if near is not None and abs(near.sheet.tick - tick) <= _NEAR:
            sheet = self._from(near, state, tick, group, priors)
        elif asked is not None and asked[0] is layers.base and asked[1] == tick:
            sheet = Sheet.of(state, tick, group, priors, names)
        else:
            return None
        others = (kept for kept in known if kept.sheet.tick != tick)
        self._kept = (_Kept(sheet, layers.base, layers.recent), *others)[:_KEPT]
        return sheet

    def _take_stored(self, state: State, names: tuple[str, ...]) -> None:
        """Take up the bundle's own table if the state is still what it was made of."""
        stored, self._stored = self._stored, None
        if stored is None or stored.names != names or len(stored.group) > len(state.catalogue):
            return
        layers = state.counters["items"]
        known = layers.at(np.arange(len(state.catalogue)), np.array(stored.tick)).sum(axis=0, dtype=np.int64)
        # Counts only grow, so that as many events up to its tick are the same ones.
        if stored.events == tuple(known.tolist()):
            self._kept = (_Kept(stored, layers.base, layers.recent),)

    def _from(self, near: _Kept, state: State, tick: int, group: Keys, priors: Priors) -> Sheet:
        """The sheet of another tick, of more events or of more items, from one of the same base."""
        sheet, size = near.sheet, len(near.sheet.group)
        changed = self._changed(near, state.counters["items"].recent, tick)
        other = np.flatnonzero(group[:size] != sheet.group) if group is not sheet.group else changed[:0]
        item = np.unique(np.concatenate([changed[changed < size], other, np.arange(size, len(group))]))
        if not len(item):
            return replace(sheet, tick=tick, group=group)
        values = np.empty((len(group), len(sheet.names)), dtype=np.float32)
        first = np.empty(len(group), dtype=np.int64)
        values[:size], first[:size] = sheet.values, sheet.first
        values[item] = filled(state, item, (tick, group), priors, sheet.names)
        first[item] = state.counters["items"].first(item)
        return Sheet(tick, sheet.names, sheet.events, values, first, group)

    def _changed(self, near: _Kept, recent: tuple[Counters, ...], tick: int) -> Items:
        """Items whose counts may differ: of events between the two ticks, or as far back as a window reaches."""
        low, high = sorted((near.sheet.tick, tick))
        found = [] if recent is near.recent else [_differing(recent, near.recent, high)]
        if low < high:
            found += [self._ordered(near.base).between(low, high)]
            found += [_Order.of(run).between(low, high) for run in recent]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])

    def _ordered(self, base: Counters) -> "_Order":
        if self._order is None or self._order[0] is not base:
            self._order = (base, _Order.of(base))
        return self._order[1]


@dataclass(frozen=True, slots=True)
class _Order:
    """The rows of counters in order of their ticks: `[E]` each."""

    tick: Ticks
    item: Items

    @classmethod
    def of(cls, counters: Counters) -> "_Order":
        tick = counters.code & TICK_MASK
        order = np.argsort(tick, kind="stable")
        return cls(tick[order], np.repeat(counters.keys, np.diff(counters.start))[order])

    def between(self, low: int, high: int) -> Items:
        """Items with events after `low` and no later than `high`, as they are or as far back as a window's edge."""
        parts = []
        for back in (0, *EDGES):
            start, end = self.tick.searchsorted([low - back, high - back], side="right")
            parts.append(self.item[start:end])
        return np.concatenate(parts)


def filled(state: State, item: Items, at: tuple[int, Keys], priors: Priors, names: tuple[str, ...]) -> Table:
    """`[len(item), len(names)]`. at: the tick, and the top category of every item."""
    tick, group = np.full(1, at[0], dtype=np.int64), at[1]
    table = np.empty((len(item), len(names)), dtype=np.float32)
    for start in range(0, len(item), _ITEMS_AT_ONCE):
        part = item[start : start + _ITEMS_AT_ONCE]
        columns = item_columns(state, part[None], tick, group[part][None], priors)
        for place, name in enumerate(names):
            table[start : start + len(part), place] = columns[name][0]
    return table


def latest_tick(state: State) -> int:
    """The tick that counts all that is known of items; 0 for nothing."""
    layers = state.counters["items"]
    return max(int((part.code & TICK_MASK).max(initial=0)) for part in (layers.base, *layers.recent))


def _differing(left: tuple[Counters, ...], right: tuple[Counters, ...], tick: int) -> Items:
    """Items of which one knows more than the other, up to a tick. Either holds all the other does, and counts only
    grow, so that equal counts are counts of the same events. Runs that both have say nothing."""
    shared = {id(run) for run in left} & {id(run) for run in right}
    mine, theirs = ([run for run in runs if id(run) not in shared] for runs in (left, right))
    none = np.empty(0, dtype=np.int64)
    item, at = np.unique(np.concatenate([none, *(run.keys for run in (*mine, *theirs))])), np.array(tick)
    counts = (sum((run.at(item, at) for run in runs), start=np.zeros(1, dtype=np.int32)) for runs in (mine, theirs))
    differ = np.not_equal(*counts).any(axis=-1)
    return np.asarray(item[np.broadcast_to(differ, item.shape)])


def _counted(state: State) -> tuple[int, ...]:
    return _events(state.counters["items"].whole())


def _events(counters: Counters) -> tuple[int, ...]:
    """How often each thing was counted: events only ever add to it."""
    return tuple(int(total) for total in counters.total[counters.start[1:] - 1].sum(axis=0, dtype=np.int64))
