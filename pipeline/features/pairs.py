"""Cumulative counts per pair of keys: a major one (a query, a segment, a subject) and what is counted under it.

A request has one major key and hundreds of minor ones, so the major key is found once and its minor keys lie in one
sorted slice: a look-up touches little memory, however large the whole is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Ticks
from pipeline.features.ids import Keys
from pipeline.features.runs import TICK_BITS, Names, Run, coded


@dataclass(frozen=True, slots=True)
class PairCounters(Run):
    """Counts of two keys. Minor keys are told apart by their low 43 bits: items are, and of 10,000 hashed ones any
    two share them with a chance of about 6e-6 (birthday bound)."""

    @classmethod
    def count(
        cls, names: Names, major: Keys, minor: NDArray[np.integer], tick: Ticks, what: NDArray[np.integer]
    ) -> "PairCounters":
        """Count events. major, minor, tick: `[E]`; what: `[E]`, the place of each event's name in `names`."""
        return cls.counted(names, np.asarray(major), coded(np.asarray(minor), np.asarray(tick)), what)

    def at(self, major: Keys, minor: NDArray[np.integer], tick: Ticks) -> NDArray[np.int32]:
        """Counts up to a tick. major, tick: `[R]`; minor: `[R, K]`, or `[1, K]` alike for all; returns `[R, K, A]`,
        zeros for pairs that are unknown."""
        rows = len(major)
        found = np.zeros((rows, minor.shape[1], len(self.names)), dtype=np.int32)
        if not len(self.keys) or not rows:
            return found
        place = np.minimum(self.keys.searchsorted(major), len(self.keys) - 1)
        wanted = np.broadcast_to(coded(minor, tick[:, None]), found.shape[:2])
        # A search in each one's slice beats bisecting all of them at once, which has to walk through the whole.
        for row in np.flatnonzero(self.keys[place] == major):
            low, high = self.start[place[row]], self.start[place[row] + 1]
            own, asked = self.code[low:high], wanted[row]
            last = own.searchsorted(asked, side="right") - 1
            hit = np.flatnonzero((last >= 0) & (own[last] >> TICK_BITS == asked >> TICK_BITS))
            found[row, hit] = self.total[low + last[hit]]
        return found

    def window(self, major: Keys, minor: NDArray[np.integer], tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """Counts of the `ticks` ticks up to `tick`; shapes as `at`."""
        return self.at(major, minor, tick) - self.at(major, minor, tick - ticks)
