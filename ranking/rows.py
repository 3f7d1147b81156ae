"""Training rows: what was shown, what the features said then, and what came of it.

Letters: R requests, n rows, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from ranking.delay import MATURE, full_delays, mature_age, seen_share
from ranking.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Placed:
    """Where items stood: position `[n]`, -1 where the log does not say; chance `[n]`: P(item at its place), where the
    order was drawn with known chances, else nan."""

    position: NDArray[np.int32]
    chance: NDArray[np.float64]

    @property
    def drawn(self) -> Mask:
        return (self.position >= 0) & (self.chance < 1.0)

    @classmethod
    def unknown(cls, size: int) -> "Placed":
        return cls(np.full(size, -1, dtype=np.int32), np.full(size, np.nan))

    def part(self, rows: slice) -> "Placed":
        return Placed(self.position[rows], self.chance[rows])


@dataclass(frozen=True, slots=True)
class Later:
    """What came of clicks. converted: `[n]`; seen: `[n]`, share of the conversions of items shown as long ago that are
    in the log by now."""

    converted: Mask
    seen: NDArray[np.float64]

    @property
    def mature(self) -> Mask:
        """`[n]`: old enough to be learned from."""
        return self.seen >= MATURE

    @classmethod
    def nothing(cls, size: int) -> "Later":
        """No conversion, and none to come."""
        return cls(np.zeros(size, dtype=np.bool_), np.ones(size))

    def part(self, rows: slice) -> "Later":
        return Later(self.converted[rows], self.seen[rows])


@dataclass(frozen=True, slots=True)
class Rows:
    """inputs: what scores them, requests numbered in order of time; grade: `[n]` gain earned; mature_ms: age from which
    on conversions are believed, 0 where time does not say."""

    inputs: Inputs
    grade: NDArray[np.float64]
    placed: Placed
    later: Later
    mature_ms: float = 0.0

    @property
    def features(self) -> NDArray[np.float32]:
        return self.inputs.features

    @property
    def request(self) -> NDArray[np.int64]:
        return self.inputs.request

    @property
    def requests(self) -> int:
        return len(self.inputs.history)

    @property
    def clicked(self) -> NDArray[np.float64]:
        """`[n]`: 1 where anything was earned: a click stands for all that follows from one."""
        return (self.grade > 0).astype(np.float64)

    def between(self, first: int, last: int) -> "Rows":
        """The rows of requests `first` up to, not including, `last`."""
        low, high = np.searchsorted(self.request, [first, last])
        part = slice(int(low), int(high))
        inputs = self.inputs.between(first, last)
        return Rows(inputs, self.grade[part], self.placed.part(part), self.later.part(part), self.mature_ms)

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """One after the other, the requests numbered on; nothing where there is no part. Conversions are left out."""
        if not parts:
            inputs = Inputs.plain(np.empty((0, 0), dtype=np.float32)).between(0, 0)
            return cls(inputs, np.empty(0), Placed.unknown(0), Later.nothing(0))
        position = np.concatenate([part.placed.position for part in parts])
        chance = np.concatenate([part.placed.chance for part in parts])
        grade = np.concatenate([part.grade for part in parts])
        inputs = Inputs.joined([part.inputs for part in parts])
        return cls(inputs, grade, Placed(position, chance), Later.nothing(len(grade)))

    def with_conversions(self, delay: NDArray[np.float64], age: NDArray[np.float64] | None, window: float) -> "Rows":
        """delay: `[n]` ms from the page to the conversion, nan = none; age: `[n]` ms of each row when the log ends,
        None where time does not say; window: ms after which nothing counts as a conversion.
        """
        converted = ~np.isnan(delay) & (self.grade > 0)
        if age is None:
            return replace(self, later=Later(converted, np.ones(len(delay))), mature_ms=0.0)
        known = full_delays(np.where(converted, delay, np.nan), age, window)
        later = Later(converted, seen_share(known, age, window))
        return replace(self, later=later, mature_ms=mature_age(known, window))
