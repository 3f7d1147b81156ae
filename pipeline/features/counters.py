"""Cumulative integer counts per key, stored only at the ticks where they change.

A window is the difference of two look-ups, and adding events gives the same bits as counting everything at once,
so history and stream cannot drift apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.stored import read_array

Ticks = NDArray[np.int64]
_TICK_BITS = 20
UNCOUNTED = 2**62


@dataclass(frozen=True, slots=True)
class Counters:
    """names: the A things counted; keys: `[U]` sorted; code: `[E]` sorted, (place in keys, tick) in one number;
    total: `[E, A]` int32, the count of everything up to and including that tick."""

    names: tuple[str, ...]
    keys: Keys
    code: NDArray[np.int64]
    total: NDArray[np.int32]

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> "Counters":
        none = np.empty(0, dtype=np.int64)
        return cls(names, none, none, np.empty((0, len(names)), dtype=np.int32))

    @classmethod
    def count(cls, names: tuple[str, ...], key: Keys, tick: Ticks, what: NDArray[np.integer]) -> "Counters":
        """Count events. key, tick: `[E]`; what: `[E]`, the place of each event's name in `names`."""
        keys, place = np.unique(key, return_inverse=True)
        code, row = np.unique((place.astype(np.int64) << _TICK_BITS) | tick, return_inverse=True)
        flat = np.bincount(row * len(names) + what, minlength=len(code) * len(names))
        added = flat.reshape(len(code), len(names)).astype(np.int32)
        return cls(names, keys, code, _cumulate(code, added))

    def merge(self, other: "Counters") -> "Counters":
        """Both sets of events counted together, bit for bit as if counted at once."""
        if not len(other.keys):
            return self
        if not len(self.keys):
            return other
        keys = np.union1d(self.keys, other.keys)
        parts = [_recode(side, keys) for side in (self, other)]
        code, row = np.unique(np.concatenate([code for code, _ in parts]), return_inverse=True)
        added = np.zeros((len(code), len(self.names)), dtype=np.int32)
        start = 0
        for side_code, side_added in parts:
            added[row[start : start + len(side_code)]] += side_added
            start += len(side_code)
        return Counters(self.names, keys, code, _cumulate(code, added))

    def at(self, key: Keys, tick: Ticks) -> NDArray[np.int32]:
        """Counts up to a tick. key and tick broadcast to `[...]`; returns `[..., A]`, zeros for unknown keys."""
        key, tick = np.asarray(key), np.asarray(tick)
        shape = np.broadcast_shapes(key.shape, tick.shape)
        found = np.zeros((*shape, len(self.names)), dtype=np.int32)
        if not len(self.keys):
            return found
        place = np.minimum(self.keys.searchsorted(key), len(self.keys) - 1)
        # Most keys of pairs are unknown: only the known ones are looked for again.
        known = self.keys[place] == key
        asked = np.flatnonzero(known if known.shape == shape else np.broadcast_to(known, shape))
        if len(asked):
            limit = np.minimum(np.maximum(tick, 0), (1 << _TICK_BITS) - 1)
            wanted = ((place << _TICK_BITS) | limit).reshape(-1)[asked]
            row = self.code.searchsorted(wanted, side="right") - 1
            own = (row >= 0) & (self.code[np.maximum(row, 0)] >> _TICK_BITS == wanted >> _TICK_BITS)
            found.reshape(-1, len(self.names))[asked[own]] = self.total[row[own]]
        return found

    def first(self, key: Keys) -> Ticks:
        """The first tick that counts anything of a key, `UNCOUNTED` for unknown keys; shape as `key`."""
        if not len(self.keys):
            return np.full(np.shape(key), UNCOUNTED)
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        row = np.searchsorted(self.code, place << _TICK_BITS)
        return np.where(self.keys[place] == key, self.code[row] & ((1 << _TICK_BITS) - 1), UNCOUNTED)

    def window(self, key: Keys, tick: Ticks, ticks: int) -> NDArray[np.int32]:
        """Counts of the `ticks` ticks up to `tick`; shapes as `at`."""
        return self.at(key, tick) - self.at(key, np.asarray(tick) - ticks)

    def save(self, folder: Path, name: str) -> None:
        for part, array in self._arrays().items():
            np.save(folder / f"{name}.{part}.npy", array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, name: str, names: tuple[str, ...]) -> "Counters":
        """Raises ArtifactError for arrays that cannot be read."""
        # As plain arrays over the mapped file: the class of memory maps makes every small look-up slower.
        parts = {part: np.asarray(read_array(folder / f"{name}.{part}.npy")) for part in ("keys", "code", "total")}
        return cls(names, **parts)

    def _arrays(self) -> Mapping[str, NDArray[np.integer]]:
        return {"keys": self.keys, "code": self.code, "total": self.total}


def _recode(side: Counters, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """A side's codes over the common keys, and what each row adds to the one before."""
    place = np.searchsorted(keys, side.keys)[side.code >> _TICK_BITS]
    code = (place << _TICK_BITS) | (side.code & ((1 << _TICK_BITS) - 1))
    added = side.total.copy()
    same = (side.code[1:] >> _TICK_BITS) == (side.code[:-1] >> _TICK_BITS)
    added[1:][same] -= side.total[:-1][same]
    return code, added


def _cumulate(code: NDArray[np.int64], added: NDArray[np.int32]) -> NDArray[np.int32]:
    """Running sums within each key."""
    if not len(code):
        return added
    total = np.cumsum(added, axis=0, dtype=np.int64)
    place = code >> _TICK_BITS
    starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    before = np.where(starts[:, None] > 0, total[starts - 1], 0)
    lengths = np.diff(np.r_[starts, len(code)])
    result: NDArray[np.int32] = (total - np.repeat(before, lengths, axis=0)).astype(np.int32)
    return result
