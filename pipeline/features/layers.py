"""History and stream side by side: a large base that is read from disk and a small layer of what came since.

Counts add and sequences merge, so two layers answer exactly as one would.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Counters, Ticks
from pipeline.features.ids import Keys
from pipeline.features.sequences import Ms, Past, Sequences

_FOLD = 50_000  # events in the recent layer before it is folded into the base


@dataclass(frozen=True, slots=True)
class CounterLayers:
    base: Counters
    recent: Counters

    @classmethod
    def of(cls, base: Counters) -> "CounterLayers":
        return cls(base, Counters.empty(base.names))

    @property
    def names(self) -> tuple[str, ...]:
        return self.base.names

    def place(self, name: str) -> int:
        return self.base.names.index(name)

    def add(self, more: Counters) -> "CounterLayers":
        recent = self.recent.merge(more)
        if len(recent.code) > _FOLD:
            return CounterLayers.of(self.base.merge(recent))
        return replace(self, recent=recent)

    def at(self, key: Keys, tick: Ticks) -> NDArray[np.int32]:
        """As `Counters.at`."""
        base = self.base.at(key, tick)
        return base + self.recent.at(key, tick) if len(self.recent.keys) else base

    def first(self, key: Keys) -> Ticks:
        """As `Counters.first`."""
        base = self.base.first(key)
        return np.minimum(base, self.recent.first(key)) if len(self.recent.keys) else base

    def window(self, key: Keys, tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """As `Counters.window`."""
        return self.at(key, tick) - self.at(key, np.asarray(tick) - ticks)


@dataclass(frozen=True, slots=True)
class SequenceLayers:
    base: Sequences
    recent: Sequences | None = None

    def add(self, more: Sequences) -> "SequenceLayers":
        recent = more if self.recent is None else self.recent.merge(more)
        if len(recent.item) > _FOLD:
            return SequenceLayers(self.base.merge(recent))
        return SequenceLayers(self.base, recent)

    def last(self, key: Keys, now: Ms, n: int, received: Ms | None = None) -> Past:
        """As `Sequences.last`."""
        base = self.base.last(key, now, n, received)
        if self.recent is None or not len(self.recent.item):
            return base
        recent = self.recent.last(key, now, n, received)
        item = np.concatenate([base.item, recent.item], axis=1)
        action = np.concatenate([base.action, recent.action], axis=1)
        time = np.concatenate([base.time, recent.time], axis=1)
        order = np.lexsort((action, item, time, item >= 0), axis=1)[:, -n:]
        return Past(*(np.take_along_axis(array, order, axis=1) for array in (item, action, time)))
