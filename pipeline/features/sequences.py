"""What each subject did last, as of a moment: events with time < t and received < t, in real time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.stored import read_array

Ms = NDArray[np.int64]
_LATE_SLACK = 8  # places looked back further, so that a few late arrivals do not shorten the history


@dataclass(frozen=True, slots=True)
class Past:
    """The last actions of R subjects, oldest first, padded at the front. All `[R, H]`; item -1 = none."""

    item: NDArray[np.int32]
    action: NDArray[np.int8]
    time: Ms


@dataclass(frozen=True, slots=True)
class Sequences:
    """Events sorted by (subject, time). keys: `[U]` sorted; start: `[U + 1]`; the rest `[E]`."""

    keys: Keys
    start: NDArray[np.int64]
    time: Ms
    received: Ms
    item: NDArray[np.int32]
    action: NDArray[np.int8]

    @classmethod
    def of(cls, key: Keys, time: Ms, received: Ms, item: NDArray[np.int32], action: NDArray[np.int8]) -> "Sequences":
        """From events in any order; ties in time are ordered by item, action and arrival, so that delivery does
        not matter."""
        order = _order(key, time, (received, action, item))
        keys, first = np.unique(key[order], return_index=True)
        start = np.append(first, len(key)).astype(np.int64)
        return cls(keys, start, time[order], received[order], item[order], action[order])

    @classmethod
    def combined(cls, parts: "Sequence[Sequences]") -> "Sequences":
        """All sets of events, as if built at once."""
        if len(parts) == 1:
            return parts[0]
        return cls.of(*(np.concatenate(column) for column in zip(*(part._events() for part in parts), strict=True)))

    def merge(self, other: "Sequences") -> "Sequences":
        """Both sets of events, as if built at once."""
        if not len(other.item):
            return self
        return Sequences.combined([self, other])

    def parted(self, time: int) -> "tuple[Sequences, Sequences]":
        """The events that happened and arrived before a moment (ms), and the others."""
        early = np.maximum(self.time, self.received) < time
        return self._chosen(early), self._chosen(~early)

    def _chosen(self, rows: NDArray[np.bool_]) -> "Sequences":
        sizes = np.diff(np.append(0, np.cumsum(rows))[self.start])
        some = sizes > 0
        start = np.append(0, np.cumsum(sizes[some]))
        return Sequences(
            self.keys[some], start, self.time[rows], self.received[rows], self.item[rows], self.action[rows]
        )

    def _events(self) -> tuple[Keys, Ms, Ms, NDArray[np.int32], NDArray[np.int8]]:
        return np.repeat(self.keys, np.diff(self.start)), self.time, self.received, self.item, self.action

    def last(self, key: Keys, now: Ms, n: int, received: Ms | None = None) -> Past:
        """The last `n` actions of each subject before `now`, received before `received` (`now` unless given).

        key, now, received: `[R]`.
        """
        arrived = now if received is None else received
        rows = len(key)
        if not len(self.keys):
            return _nothing(rows, n)
        if rows == 1:
            return self._last_of_one(int(key[0]), int(now[0]), n, int(arrived[0]))
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        known = self.keys[place] == key
        if not known.any():
            return _nothing(rows, n)
        low = self.start[place]
        high = self._before(place, now)
        look = n + _LATE_SLACK
        index = high[:, None] + np.arange(-look, 0)[None, :]
        valid = (index >= low[:, None]) & known[:, None]
        index = np.where(valid, index, 0)
        valid &= self.received[index] < arrived[:, None]
        order = np.argsort(valid, axis=1, kind="stable")[:, -n:]
        index, valid = np.take_along_axis(index, order, axis=1), np.take_along_axis(valid, order, axis=1)
        return Past(
            np.where(valid, self.item[index], -1).astype(np.int32),
            np.where(valid, self.action[index], -1).astype(np.int8),
            np.where(valid, self.time[index], 0),
        )

    def _last_of_one(self, key: int, now: int, n: int, received: int) -> Past:
        """As `last`, of one subject: a plain search in its slice."""
        past = _nothing(1, n)
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return past
        low, high = self.start.item(place), self.start.item(place + 1)
        high = low + int(self.time[low:high].searchsorted(now))
        seen = slice(max(low, high - n - _LATE_SLACK), high)
        valid = (self.received[seen] < received).nonzero()[0][-n:]
        if len(valid):
            past.item[0, -len(valid) :] = self.item[seen].take(valid)
            past.action[0, -len(valid) :] = self.action[seen].take(valid)
            past.time[0, -len(valid) :] = self.time[seen].take(valid)
        return past

    def _before(self, place: NDArray[np.intp], now: Ms) -> Ms:
        """`[R]`: the first event of each subject at or after `now`, by bisection on all rows at once."""
        low, high = self.start[place].copy(), self.start[place + 1].copy()
        while np.any(open_ := low < high):
            middle = (low + high) // 2
            earlier = self.time[np.minimum(middle, len(self.time) - 1)] < now
            low = np.where(open_ & earlier, middle + 1, low)
            high = np.where(open_ & ~earlier, middle, high)
        return low

    def save(self, folder: Path, name: str) -> None:
        for part in ("keys", "start", "time", "received", "item", "action"):
            np.save(folder / f"{name}.{part}.npy", getattr(self, part), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, name: str) -> "Sequences":
        """Raises ArtifactError for arrays that cannot be read."""
        parts = ("keys", "start", "time", "received", "item", "action")
        return cls(*(np.asarray(read_array(folder / f"{name}.{part}.npy")) for part in parts))


def _order(key: Keys, time: Ms, ties: tuple[NDArray[np.integer], ...]) -> NDArray[np.intp]:
    """The order by key, time and `ties`, the last of them first; all `[E]`."""
    if not len(key):
        return np.empty(0, dtype=np.intp)
    keys, place = np.unique(key, return_inverse=True)
    since = time - time.min()
    bits = int(since.max()).bit_length()
    if bits + len(keys).bit_length() > 63:
        return np.lexsort((*ties, time, key))
    packed = (place.astype(np.int64) << bits) | since
    order = np.argsort(packed, kind="stable")
    packed = packed[order]
    same = packed[1:] == packed[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    order[tied] = rows[np.lexsort((*(tie[rows] for tie in ties), packed[tied]))]
    return order


def _nothing(rows: int, n: int) -> Past:
    shape = (rows, n)
    return Past(np.full(shape, -1, np.int32), np.full(shape, -1, np.int8), np.zeros(shape, np.int64))
