"""What each subject did last, as of a moment: events with time < t and received < t, in real time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.features.runs import distinct, ranks
from pipeline.stored import read_array

Ms = NDArray[np.int64]
_Columns = tuple[Ms, Ms, NDArray[np.int32], NDArray[np.int8]]  # time, received, item, action
Acts = tuple[NDArray[np.int32], NDArray[np.int8], Ms]  # item, action and time
_LATE_SLACK = 8  # places looked back further, so that a few late arrivals do not shorten the history


@dataclass(frozen=True, slots=True)
class Past:
    """The last actions of R subjects, oldest first, padded at the front. All `[R, H]`; item -1 = none."""

    item: NDArray[np.int32]
    action: NDArray[np.int8]
    time: Ms

    @classmethod
    def of_one(cls, parts: Sequence[Acts], n: int) -> "Past":
        """The last `n` of one subject's actions. parts: each oldest first, none empty."""
        past = _nothing(1, n)
        if not parts:
            return past
        item, action, time = parts[0]
        for more in parts[1:]:
            later = time[-1] < more[2][0]
            item, action = np.concatenate([item, more[0]]), np.concatenate([action, more[1]])
            time = np.concatenate([time, more[2]])
            if not later:
                order = np.lexsort((action, item, time))
                item, action, time = item.take(order), action.take(order), time.take(order)
        size = min(n, len(item))
        past.item[0, -size:], past.action[0, -size:], past.time[0, -size:] = item[-size:], action[-size:], time[-size:]
        return past


@dataclass(frozen=True, slots=True)
class Sequences:
    """Events sorted by (subject, time). keys: `[U]` sorted; start: `[U + 1]`; the rest `[E]`."""

    keys: Keys
    start: NDArray[np.int64]
    time: Ms
    received: Ms
    item: NDArray[np.int32]
    action: NDArray[np.int8]

    @property
    def rows(self) -> int:
        return len(self.item)

    @classmethod
    def of(cls, key: Keys, time: Ms, received: Ms, item: NDArray[np.int32], action: NDArray[np.int8]) -> "Sequences":
        """From events in any order; ties in time are ordered by item, action and arrival, so that delivery does
        not matter."""
        if not len(key):
            return cls(key, np.zeros(1, dtype=np.int64), time, received, item, action)
        return cls._arranged(*ranks(key), (time, received, item, action))

    @classmethod
    def _arranged(cls, keys: Keys, place: NDArray[np.int64], columns: _Columns) -> "Sequences":
        """place: `[E]`, of the key of each event in `keys`."""
        time, received, item, action = columns
        order = _order(place, len(keys), time, (received, action, item))
        start = np.zeros(len(keys) + 1, dtype=np.int64)
        np.bincount(place, minlength=len(keys)).cumsum(out=start[1:])
        return cls(keys, start, time[order], received[order], item[order], action[order])

    @classmethod
    def combined(cls, parts: "Sequence[Sequences]") -> "Sequences":
        """All sets of events, as if built at once."""
        parts = [part for part in parts if part.rows] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        keys = distinct([part.keys for part in parts])
        place = [keys.searchsorted(part.keys).repeat(part.start[1:] - part.start[:-1]) for part in parts]
        time, received = (np.concatenate([getattr(part, name) for part in parts]) for name in ("time", "received"))
        item, action = np.concatenate([part.item for part in parts]), np.concatenate([part.action for part in parts])
        return cls._arranged(keys, np.concatenate(place), (time, received, item, action))

    def merge(self, other: "Sequences") -> "Sequences":
        """Both sets of events, as if built at once."""
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

    def most(self, key: Keys) -> int:
        """How many actions any one of these subjects has, at any time."""
        if not len(self.keys) or not len(key):
            return 0
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        sizes = self.start[place + 1] - self.start[place]
        return int(sizes[self.keys[place] == key].max(initial=0))

    def last(self, key: Keys, now: Ms, n: int, received: Ms | None = None) -> Past:
        """The last `n` actions of each subject before `now`, received before `received` (`now` unless given).

        key, now, received: `[R]`.
        """
        arrived = now if received is None else received
        rows = len(key)
        if not len(self.keys):
            return _nothing(rows, n)
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

    def of_one(self, key: int, now: int, n: int, received: int) -> Acts:
        """As `last`, of one subject and without padding: item, action and time, `[H]` each."""
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return self.item[:0], self.action[:0], self.time[:0]
        low, high = self.start.item(place), self.start.item(place + 1)
        high = low + int(self.time[low:high].searchsorted(now))
        seen = slice(max(low, high - n - _LATE_SLACK), high)
        valid = (self.received[seen] < received).nonzero()[0][-n:]
        return self.item[seen].take(valid), self.action[seen].take(valid), self.time[seen].take(valid)

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


def _order(place: NDArray[np.int64], places: int, time: Ms, ties: tuple[NDArray[np.integer], ...]) -> NDArray[np.intp]:
    """The order by place, time and `ties`, the last of them first; all `[E]`, and there are some."""
    since = time - time.min()
    bits = int(since.max()).bit_length()
    if bits + places.bit_length() > 63:
        return np.lexsort((*ties, time, place))
    packed = (place << bits) | since
    order: NDArray[np.intp] = packed.argsort(kind="stable")  # of a few sorted parts: this merges them
    packed = packed[order]
    same = packed[1:] == packed[:-1]
    if not same.any():
        return order
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    order[tied] = rows[np.lexsort((*(tie[rows] for tie in ties), packed[tied]))]
    return order


def _nothing(rows: int, n: int) -> Past:
    shape = (rows, n)
    return Past(np.full(shape, -1, np.int32), np.full(shape, -1, np.int8), np.zeros(shape, np.int64))
