"""Cumulative integer counts per key, stored only at the ticks where they change.

A window is the difference of two look-ups, and adding events gives the same bits as counting everything at once,
so history and stream cannot drift apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.features.runs import TICK_MASK, Names, Run, positions

Ticks = NDArray[np.int64]
UNCOUNTED = 2**62


@dataclass(frozen=True, slots=True)
class Counters(Run):
    """Counts of one key."""

    @classmethod
    def count(cls, names: Names, key: Keys, tick: Ticks, what: NDArray[np.integer]) -> "Counters":
        """Count events. key, tick: `[E]`; what: `[E]`, the place of each event's name in `names`."""
        return cls.counted(names, np.asarray(key), np.asarray(tick, dtype=np.int64), what)

    def at(self, key: Keys, tick: Ticks) -> NDArray[np.int32]:
        """Counts up to a tick. key and tick broadcast to `[...]`; returns `[..., A]`, zeros for unknown keys."""
        key, tick = np.asarray(key), np.asarray(tick)
        shape = np.broadcast_shapes(key.shape, tick.shape)
        found = np.zeros((*shape, len(self.names)), dtype=np.int32)
        if not len(self.keys):
            return found
        place = np.minimum(self.keys.searchsorted(key), len(self.keys) - 1)
        known = self.keys[place] == key
        asked = np.flatnonzero(np.broadcast_to(known, shape))
        if len(asked):
            where = np.broadcast_to(place, shape).reshape(-1)[asked]
            limit = np.clip(np.broadcast_to(tick, shape).reshape(-1)[asked], 0, TICK_MASK)
            row = positions(self, where, limit)
            own = row >= self.start[where]
            found.reshape(-1, len(self.names))[asked[own]] = self.total[row[own]]
        return found

    def of_one(self, key: int, tick: int) -> NDArray[np.int32]:
        """`[A]`: as `at`, of one key."""
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return np.zeros(len(self.names), dtype=np.int32)
        low, high = self.start.item(place), self.start.item(place + 1)
        row = low + int(self.code[low:high].searchsorted(min(max(tick, 0), TICK_MASK), side="right")) - 1
        return self.total[row] if row >= low else np.zeros(len(self.names), dtype=np.int32)

    def first(self, key: Keys) -> Ticks:
        """The first tick that counts anything of a key, `UNCOUNTED` for unknown keys; shape as `key`."""
        if not len(self.keys):
            return np.full(np.shape(key), UNCOUNTED)
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[place] == key, self.code[self.start[place]], UNCOUNTED)

    def window(self, key: Keys, tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """Counts of the `ticks` ticks up to `tick`; shapes as `at`."""
        return self.at(key, tick) - self.at(key, np.asarray(tick) - ticks)
