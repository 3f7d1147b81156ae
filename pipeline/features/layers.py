"""History and stream side by side: a large base that is read from disk and a small layer of what came since.

Counts add and sequences merge, so two layers answer exactly as one would.
"""

from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Counters, Ticks
from pipeline.features.ids import Keys
from pipeline.features.pairs import PairCounters
from pipeline.features.runs import Run, coded
from pipeline.features.sequences import Ms, Past, Sequences

_FOLD = 50_000  # rows in the recent layer before it is folded into the base
_Counts = TypeVar("_Counts", bound=Run)


@dataclass(frozen=True, slots=True)
class _Layers(Generic[_Counts]):
    base: _Counts
    recent: _Counts

    @classmethod
    def of(cls, base: _Counts) -> Self:
        return cls(base, type(base).empty(base.names))

    @property
    def names(self) -> tuple[str, ...]:
        return self.base.names

    def place(self, name: str) -> int:
        """The column that counts `name`. Raises ValueError when these counters do not."""
        return self.base.names.index(name)

    def add(self, more: _Counts) -> Self:
        recent = self.recent.merge(more)
        if len(recent.code) > _FOLD:
            return self.of(self.base.merge(recent))
        return type(self)(self.base, recent)

    def whole(self) -> _Counts:
        return self.base.merge(self.recent)


class CounterLayers(_Layers[Counters]):
    """Counts of one key."""

    __slots__ = ()

    def at(self, key: Keys, tick: Ticks) -> NDArray[np.int32]:
        """As `Counters.at`."""
        base = self.base.at(key, tick)
        return base + self.recent.at(key, tick) if len(self.recent.keys) else base

    def of_one(self, key: int, tick: int) -> NDArray[np.int32]:
        """As `Counters.of_one`."""
        base = self.base.of_one(key, tick)
        return base + self.recent.of_one(key, tick) if len(self.recent.keys) else base

    def first(self, key: Keys) -> Ticks:
        """As `Counters.first`."""
        base = self.base.first(key)
        return np.minimum(base, self.recent.first(key)) if len(self.recent.keys) else base

    def window(self, key: Keys, tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """As `Counters.window`."""
        return self.at(key, tick) - self.at(key, np.asarray(tick) - ticks)


class PairLayers(_Layers[PairCounters]):
    """Counts of pairs of keys."""

    __slots__ = ()

    def at(self, major: Keys, minor: NDArray[np.integer], tick: Ticks) -> NDArray[np.int32]:
        """As `PairCounters.at`."""
        base = self.base.at(major, minor, tick)
        return base + self.recent.at(major, minor, tick) if len(self.recent.keys) else base

    def under(self, major: int, minor: NDArray[np.integer], tick: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Of one major key: the places `[H]` in `minor` `[K]` that anything may be known of, and the counts `[H, A]`;
        all others have none."""
        wanted = coded(minor, np.array(tick))
        place, counts = self.base.under(major, wanted)
        if not len(self.recent.keys):
            return place, counts
        more, counted = self.recent.under(major, wanted)
        if not len(more):
            return place, counts
        both, known = np.zeros((len(wanted), len(self.names)), dtype=np.int32), np.zeros(len(wanted), dtype=np.bool_)
        both[place] = counts
        both[more] += counted
        known[place] = known[more] = True
        place = known.nonzero()[0]
        return place, both.take(place, axis=0)

    def window(self, major: Keys, minor: NDArray[np.integer], tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """As `PairCounters.window`."""
        return self.at(major, minor, tick) - self.at(major, minor, tick - ticks)


@dataclass(frozen=True, slots=True)
class SequenceLayers:
    base: Sequences
    recent: Sequences | None = None

    def add(self, more: Sequences) -> "SequenceLayers":
        recent = more if self.recent is None else self.recent.merge(more)
        if len(recent.item) > _FOLD:
            return SequenceLayers(self.base.merge(recent))
        return SequenceLayers(self.base, recent)

    def __len__(self) -> int:
        """Events."""
        return len(self.base.item) + (0 if self.recent is None else len(self.recent.item))

    def whole(self) -> Sequences:
        return self.base if self.recent is None else self.base.merge(self.recent)

    def last(self, key: Keys, now: Ms, n: int, received: Ms | None = None) -> Past:
        """As `Sequences.last`."""
        base = self.base.last(key, now, n, received)
        if self.recent is None or not len(self.recent.item):
            return base
        recent = self.recent.last(key, now, n, received)
        if (recent.item[:, -1] < 0).all():
            return base
        if (base.item[:, -1] < 0).all():
            return recent
        item = np.concatenate([base.item, recent.item], axis=1)
        action = np.concatenate([base.action, recent.action], axis=1)
        time = np.concatenate([base.time, recent.time], axis=1)
        order = np.lexsort((action, item, time, item >= 0), axis=1)[:, -n:]
        if len(order) == 1:
            return Past(*(array.take(order[0], axis=1) for array in (item, action, time)))
        return Past(*(np.take_along_axis(array, order, axis=1) for array in (item, action, time)))
