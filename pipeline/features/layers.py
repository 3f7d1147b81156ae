"""History and stream side by side: a large base that is read from disk and small runs of what came since.

Counts add and sequences merge, so layers answer exactly as one would.
"""

from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Counters, Ticks
from pipeline.features.ids import Keys
from pipeline.features.pairs import PairCounters
from pipeline.features.runs import Run
from pipeline.features.sequences import Ms, Past, Sequences
from pipeline.features.tail import appended

_Counts = TypeVar("_Counts", bound=Run)


@dataclass(frozen=True, slots=True)
class _Layers(Generic[_Counts]):
    """recent: what came since, in runs none of which is empty; the first `stored` of them lie on disk as the base
    does, and are left as they are."""

    base: _Counts
    recent: tuple[_Counts, ...] = ()
    stored: int = 0

    @classmethod
    def of(cls, base: _Counts) -> Self:
        return cls(base)

    @classmethod
    def opened(cls, base: _Counts, recent: _Counts) -> Self:
        runs = (recent,) if recent.rows else ()
        return cls(base, runs, len(runs))

    @property
    def names(self) -> tuple[str, ...]:
        return self.base.names

    def place(self, name: str) -> int:
        """The column that counts `name`. Raises ValueError when these counters do not."""
        return self.base.names.index(name)

    def add(self, more: _Counts) -> Self:
        recent = appended(self.recent, more, self.stored)
        return self if recent is self.recent else type(self)(self.base, recent, self.stored)

    def whole(self) -> _Counts:
        return type(self.base).combined([self.base, *self.recent])


class CounterLayers(_Layers[Counters]):
    """Counts of one key."""

    __slots__ = ()

    def at(self, key: Keys, tick: Ticks) -> NDArray[np.int32]:
        """As `Counters.at`."""
        found = self.base.at(key, tick)
        for run in self.recent:
            found = found + run.at(key, tick)
        return found

    def of_one(self, key: int, tick: int) -> NDArray[np.int32]:
        """As `Counters.of_one`."""
        found = self.base.of_one(key, tick)
        for run in self.recent:
            found = found + run.of_one(key, tick)
        return found

    def first(self, key: Keys) -> Ticks:
        """As `Counters.first`."""
        first = self.base.first(key)
        for run in self.recent:
            first = np.minimum(first, run.first(key))
        return first

    def window(self, key: Keys, tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """As `Counters.window`."""
        return self.at(key, tick) - self.at(key, np.asarray(tick) - ticks)


class PairLayers(_Layers[PairCounters]):
    """Counts of pairs of keys."""

    __slots__ = ()

    def at(self, major: Keys, minor: NDArray[np.integer], tick: Ticks) -> NDArray[np.int32]:
        """As `PairCounters.at`."""
        found = self.base.at(major, minor, tick)
        for run in self.recent:
            found = found + run.at(major, minor, tick)
        return found

    def of_one(self, major: int, wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """`[K, A]`: counts under one major key. wanted: `[K]` codes of minor keys and ticks."""
        found = np.zeros((len(wanted), len(self.names)), dtype=np.int32)
        for run in (self.base, *self.recent):
            place, counts = run.under(major, wanted)
            if len(place):
                found[place] += counts
        return found

    def of_all(self, major: int, tick: int, size: int) -> NDArray[np.int32]:
        """`[size, A]`: counts under one major key at a tick of the minor keys below `size`."""
        found = np.zeros((size, len(self.names)), dtype=np.int32)
        for run in (self.base, *self.recent):
            minor, counts = run.latest(major, tick)
            known = slice(0, int(minor.searchsorted(size)))
            found[minor[known]] += counts[known]
        return found

    def window(self, major: Keys, minor: NDArray[np.integer], tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """As `PairCounters.window`."""
        return self.at(major, minor, tick) - self.at(major, minor, tick - ticks)


@dataclass(frozen=True, slots=True)
class SequenceLayers:
    """recent, stored: as of counts."""

    base: Sequences
    recent: tuple[Sequences, ...] = ()
    stored: int = 0

    @classmethod
    def opened(cls, base: Sequences, recent: Sequences) -> "SequenceLayers":
        runs = (recent,) if recent.rows else ()
        return cls(base, runs, len(runs))

    def add(self, more: Sequences) -> "SequenceLayers":
        recent = appended(self.recent, more, self.stored)
        return self if recent is self.recent else SequenceLayers(self.base, recent, self.stored)

    def __len__(self) -> int:
        """Events."""
        return self.base.rows + sum(run.rows for run in self.recent)

    def whole(self) -> Sequences:
        return Sequences.combined([self.base, *self.recent])

    def most(self, key: Keys) -> int:
        """So many actions suffice to read all of any one of these subjects."""
        return sum(run.most(key) for run in (self.base, *self.recent))

    def last(self, key: Keys, now: Ms, n: int, received: Ms | None = None) -> Past:
        """As `Sequences.last`."""
        if len(key) == 1:
            arrived = now if received is None else received
            each = (run.of_one(int(key[0]), int(now[0]), n, int(arrived[0])) for run in (self.base, *self.recent))
            return Past.of_one([acts for acts in each if len(acts[0])], n)
        past = self.base.last(key, now, n, received)
        for run in self.recent:
            past = _latest(past, run.last(key, now, n, received), n)
        return past


def _latest(some: Past, more: Past, n: int) -> Past:
    """The last `n` actions of both."""
    if (more.item[:, -1] < 0).all():
        return some
    if (some.item[:, -1] < 0).all():
        return more
    item = np.concatenate([some.item, more.item], axis=1)
    action = np.concatenate([some.action, more.action], axis=1)
    time = np.concatenate([some.time, more.time], axis=1)
    order = np.lexsort((action, item, time, item >= 0), axis=1)[:, -n:]
    return Past(*(np.take_along_axis(array, order, axis=1) for array in (item, action, time)))
