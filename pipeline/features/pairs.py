"""Cumulative counts per pair of keys: a major one (a query, a segment, a subject) and what is counted under it.

A request has one major key and hundreds of minor ones, so the major key is found once and its minor keys lie in one
sorted slice: a look-up touches little memory, however large the whole is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.counters import Ticks
from pipeline.features.ids import Keys
from pipeline.features.runs import TICK_BITS, TICK_MASK, Names, Run, coded


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
        known = np.flatnonzero(self.keys[place] == major)
        wanted = np.broadcast_to(coded(minor, tick[:, None]), found.shape[:2])
        if len(known):
            last = self._last(place[known], wanted[known])
            row, column = (last >= 0).nonzero()
            found[known[row], column] = self.total.take(last[row, column], axis=0)
        return found

    def _last(self, place: NDArray[np.intp], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """`[H, K]`: the row of each wanted code's minor key up to its tick, -1 where there is none; place: `[H]`, the
        major keys. All are bisected at once: a call for each would cost more than the searching."""
        low, high = self.start[place][:, None], self.start[place + 1][:, None]
        last = np.repeat(low - 1, wanted.shape[1], axis=1)
        top = len(self.code) - 1
        step = 1 << (int((high - low).max()).bit_length() - 1)
        while step:
            ahead = last + step
            fits = (self.code.take(np.minimum(ahead, top)) <= wanted) & (ahead < high)
            last = np.where(fits, ahead, last)
            step >>= 1
        same = self.code.take(np.maximum(last, 0)) >> TICK_BITS == wanted >> TICK_BITS
        return np.where(same & (last >= low), last, -1)

    def under(self, major: int, wanted: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """The places `[H]` in `wanted`, codes `[K]` of minor keys and ticks, of what is known of one major key, and
        the counts `[H, A]`; quickest for sorted codes."""
        place = int(self.keys.searchsorted(major))
        if place == len(self.keys) or self.keys[place] != major:
            return np.empty(0, dtype=np.intp), np.empty((0, len(self.names)), dtype=np.int32)
        low, high = self.start.item(place), self.start.item(place + 1)
        own = self.code[low:high]
        last = own.searchsorted(wanted, side="right") - 1
        # Of a place before the first, the last is taken, which is later than what is wanted or of another minor key.
        ahead = wanted - own.take(last)
        hit = (ahead.view(np.uint64) <= (wanted & TICK_MASK).view(np.uint64)).nonzero()[0]
        return hit, self.total[low:high].take(last.take(hit), axis=0)

    def latest(self, major: int, tick: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All minor keys `[H]` that anything is known of under one major key at a tick, and the counts `[H, A]`."""
        place = int(self.keys.searchsorted(major))
        if place == len(self.keys) or self.keys[place] != major:
            return np.empty(0, dtype=np.int64), np.empty((0, len(self.names)), dtype=np.int32)
        own = slice(self.start.item(place), self.start.item(place + 1))
        early = ((self.code[own] & TICK_MASK) <= tick).nonzero()[0]
        minor = self.code[own].take(early) >> TICK_BITS
        last = np.append(minor[1:] != minor[:-1], True)[: len(minor)].nonzero()[0]
        return minor.take(last), self.total[own].take(early.take(last), axis=0)

    def window(self, major: Keys, minor: NDArray[np.integer], tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """Counts of the `ticks` ticks up to `tick`; shapes as `at`."""
        return self.at(major, minor, tick) - self.at(major, minor, tick - ticks)
