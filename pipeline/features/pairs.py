"""Cumulative counts per pair of keys: a major one (a query, a segment, a subject) and what is counted under it.

A request has one major key and hundreds of minor ones, so the major key is found once and its minor keys lie in one
sorted slice: a look-up touches little memory, however large the whole is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Ticks
from pipeline.features.ids import Keys
from pipeline.features.runs import TICK_MASK, Names, Run, coded


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
        wanted = np.broadcast_to(coded(minor, tick[:, None]), found.shape[:2])
        for row, each in enumerate(major.tolist()):
            hit, counts = self.under(each, wanted[row])
            found[row, hit] = counts
        return found

    def under(self, major: int, wanted: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """The places `[H]` in `wanted`, codes `[K]` of minor keys and ticks, of what is known of one major key, and
        the counts `[H, A]`. A search in the slice of one beats bisecting all at once, which walks through the whole;
        it is quickest for sorted codes."""
        place = int(self.keys.searchsorted(major))
        if place == len(self.keys) or self.keys[place] != major:
            return np.empty(0, dtype=np.intp), np.empty((0, len(self.names)), dtype=np.int32)
        low, high = self.start.item(place), self.start.item(place + 1)
        own = self.code[low:high]
        last = np.maximum(own.searchsorted(wanted, side="right") - 1, 0)
        code = own.take(last)
        hit = ((code <= wanted) & ((code ^ wanted) <= TICK_MASK)).nonzero()[0]
        return hit, self.total[low:high].take(last.take(hit), axis=0)

    def window(self, major: Keys, minor: NDArray[np.integer], tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """Counts of the `ticks` ticks up to `tick`; shapes as `at`."""
        return self.at(major, minor, tick) - self.at(major, minor, tick - ticks)
