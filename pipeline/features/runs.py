"""Counts in sorted runs: what counters of one key and counters of a pair of keys have in common.

A row is a key and a code, which is a minor key and a tick in one number; a counter of one key has the minor key 0.
Rows are sorted by (key, code), so that all that is known of one key lies together. Letters: U keys, E rows, A things
counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.ids import Keys
from pipeline.stored import read_array

Ints = NDArray[np.int64]
Names = tuple[str, ...]
TICK_BITS = 20
TICK_MASK = (1 << TICK_BITS) - 1
_MINOR_MASK = (1 << (63 - TICK_BITS)) - 1
_SPARE = 4  # bits of a packed number for what is counted
_DENSE = 4  # numbers in a range of up to so many times as many are ranked by a table
_FEW_MORE = 1.7  # times the longest run: up to here the others are put in their places in it
_PARTS = ("keys", "start", "code", "total")


def coded(minor: NDArray[np.integer], tick: NDArray[np.integer]) -> Ints:
    """A minor key (its low 43 bits) and a tick as one number; they broadcast."""
    moment = np.minimum(np.maximum(tick, 0), TICK_MASK)
    code: Ints = ((minor.astype(np.int64) & _MINOR_MASK) << TICK_BITS) | moment
    return code


@dataclass(frozen=True, slots=True)
class Run:
    """names: the A things counted; keys: `[U]` sorted; start: `[U + 1]`, where each key's rows begin; code: `[E]`
    sorted within its key; total: `[E, A]` int32, the count of everything of key and minor key up to and including
    that tick."""

    names: Names
    keys: Keys
    start: Ints
    code: Ints
    total: NDArray[np.int32]

    @property
    def rows(self) -> int:
        return len(self.code)

    @classmethod
    def empty(cls, names: Names) -> Self:
        none = np.empty(0, dtype=np.int64)
        return cls(names, none, np.zeros(1, dtype=np.int64), none, np.empty((0, len(names)), dtype=np.int32))

    @classmethod
    def counted(cls, names: Names, key: Keys, code: Ints, what: NDArray[np.integer]) -> Self:
        """Count events. key, code: `[E]`; what: `[E]`, the place of each event's name in `names`."""
        if not len(key):
            return cls.empty(names)
        keys, place = ranks(key)
        packing, minor = _Packing.of(len(keys), code)
        if not packing.fits:  # half of it does
            half = len(key) // 2
            some = cls.counted(names, key[:half], code[:half], what[:half])
            return some.merge(cls.counted(names, key[half:], code[half:], what[half:]))
        packed = (packing.pack(place, minor, code) << _SPARE) | what
        packed.sort()
        edge = _changes(packed).nonzero()[0]
        times = _gaps(edge, len(packed))
        what, packed = packed[edge] & ((1 << _SPARE) - 1), packed[edge] >> _SPARE
        new = _changes(packed)
        row = new.cumsum() - 1
        added = np.zeros((int(row[-1]) + 1, len(names)), dtype=np.int32)
        added[row, what] = times
        start, code, group = packing.unpack(packed[new], keys)
        return cls(names, keys, start, code, _cumulated(added, group))

    @classmethod
    def combined(cls, runs: Sequence[Self]) -> Self:
        """All sets of events counted together, as `merge` does with two."""
        runs = [run for run in runs if len(run.code)] or list(runs[:1])
        rows = [len(run.code) for run in runs]
        if sum(rows) <= _FEW_MORE * max(rows):
            return cls._merged(runs)
        keys, code = distinct([run.keys for run in runs]), np.concatenate([run.code for run in runs])
        packing, minor = _Packing.of(len(keys), code)
        if not packing.fits:
            return cls._merged(runs)
        place = np.concatenate([np.repeat(np.searchsorted(keys, run.keys), np.diff(run.start)) for run in runs])
        packed = packing.pack(place, minor, code)
        order = np.argsort(packed, kind="stable")  # few sorted runs: this merges them
        packed = packed[order]
        added = np.concatenate([run._added() for run in runs])[order]
        new = _changes(packed)
        if not new.all():
            added, packed = np.add.reduceat(added, np.flatnonzero(new), axis=0, dtype=np.int32), packed[new]
        start, code, group = packing.unpack(packed, keys)
        return cls(runs[0].names, keys, start, code, _cumulated(added, group))

    @classmethod
    def _merged(cls, runs: Sequence[Self]) -> Self:
        return reduce(lambda left, right: left.merge(right), sorted(runs, key=lambda run: len(run.code)))

    def _added(self) -> NDArray[np.int32]:
        """`[E, A]`: what each row adds to the one before it of the same keys."""
        added = np.array(self.total)
        same = ~self._begins()[1:]
        np.subtract(self.total[1:], self.total[:-1], out=added[1:], where=same[:, None])
        return added

    def merge(self, other: Self) -> Self:
        """Both sets of events counted together, bit for bit as if counted at once; linear in the rows of both."""
        large, small = (self, other) if len(self.code) >= len(other.code) else (other, self)
        return type(self)(self.names, *_inserted(large, small)) if len(small.code) else large

    def parted(self, tick: int) -> tuple[Self, Self]:
        """What is counted up to and including a tick, and what is counted later, from zero."""
        early = (self.code & TICK_MASK) <= tick
        if early.all():
            return self, self.empty(self.names)
        # The last early row of the same keys, whose count everything later goes on from.
        place = np.arange(len(early))
        before = np.maximum.accumulate(np.where(early, place, -1))
        first = np.maximum.accumulate(np.where(self._begins(), place, 0))
        late = ~early
        later = self.total[late.nonzero()[0]]
        known = before[late] >= first[late]
        later[known] -= self.total[before[late][known]]
        return self._chosen(early, self.total[early.nonzero()[0]]), self._chosen(late, later)

    def _chosen(self, rows: NDArray[np.bool_], total: NDArray[np.int32]) -> Self:
        sizes = np.diff(np.append(0, np.cumsum(rows))[self.start])
        some = sizes > 0
        start = np.append(0, np.cumsum(sizes[some]))
        return type(self)(self.names, self.keys[some], start, self.code[rows], total)

    def _begins(self) -> NDArray[np.bool_]:
        """`[E]`: where the rows of a key and minor key begin."""
        begins = _changes(self.code >> TICK_BITS)
        begins[self.start[:-1]] = True
        return begins

    def save(self, folder: Path, name: str) -> None:
        for part in _PARTS:
            np.save(folder / f"{name}.{part}.npy", getattr(self, part), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, name: str, names: Names) -> Self:
        """Raises ArtifactError for arrays that cannot be read or do not belong together."""
        # As plain arrays over the mapped file: the class of memory maps makes every small look-up slower.
        parts = {part: np.asarray(read_array(folder / f"{name}.{part}.npy")) for part in _PARTS}
        run = cls(names, **parts)
        if odd := run._odd():
            raise ArtifactError(f"{name}.{odd}.npy", "counts as they are saved; train again", place=str(folder))
        return run

    def _odd(self) -> str | None:
        """The first part that does not fit the others. Rows are not read: that would read all of the file."""
        shapes = {"keys": 1, "start": 1, "code": 1, "total": 2}
        for part, dimensions in shapes.items():
            array = getattr(self, part)
            if array.ndim != dimensions or array.dtype != (np.int32 if part == "total" else np.int64):
                return part
        if (self.keys[1:] <= self.keys[:-1]).any():
            return "keys"
        if len(self.start) != len(self.keys) + 1 or self.start[0] != 0 or (self.start[1:] <= self.start[:-1]).any():
            return "start"
        if len(self.code) != self.start[-1]:
            return "code"
        return None if self.total.shape == (len(self.code), len(self.names)) else "total"


def positions(run: Run, place: NDArray[np.integer], wanted: Ints) -> Ints:
    """The last row of a key with a code no later than `wanted`, one before the key's first row where there is none.

    place: places in `run.keys`; of the shape of `wanted`. All rows are bisected at once.
    """
    low, high = run.start[place], run.start[place + 1]
    row: Ints = high - 1
    # A service mostly asks for the latest tick: the last row of the key.
    open_ = np.flatnonzero((run.code[row] > wanted) & (low < high))
    if not len(open_):
        return row
    low, high, wanted = low[open_], row[open_], wanted[open_]
    while np.any(unsettled := low < high):
        middle = (low + high) >> 1
        right = unsettled & (run.code[middle] <= wanted)
        low, high = np.where(right, middle + 1, low), np.where(unsettled & ~right, middle, high)
    row[open_] = low - 1
    return row


@dataclass(frozen=True, slots=True)
class _Packing:
    """How (place of the key, code) becomes one sortable number. minors: `[M]` the minor keys, None = as they are;
    first: a tick; bits of the place, the minor key and the tick."""

    minors: Ints | None
    first: int
    bits: tuple[int, int, int]

    @classmethod
    def of(cls, places: int, code: Ints) -> "tuple[_Packing, Ints]":
        """The packing for these codes, `[E]`, and their minor keys as it packs them."""
        minor, tick = code >> TICK_BITS, code & TICK_MASK
        minors, first = None, int(tick.min())
        bits = ((places - 1).bit_length(), int(minor.max()).bit_length(), (int(tick.max()) - first).bit_length())
        if sum(bits) + _SPARE > 63:
            minors, minor = ranks(minor)
            bits = (bits[0], (len(minors) - 1).bit_length(), bits[2])
        return cls(minors, first, bits), minor

    @property
    def fits(self) -> bool:
        return sum(self.bits) + _SPARE <= 63

    def pack(self, place: Ints, minor: Ints, code: Ints) -> Ints:
        return (((place << self.bits[1]) | minor) << self.bits[2]) | ((code & TICK_MASK) - self.first)

    def unpack(self, packed: Ints, keys: Keys) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """start, code, and where a key and minor key begin, of distinct sorted numbers."""
        tick, pair = (packed & ((1 << self.bits[2]) - 1)) + self.first, packed >> self.bits[2]
        minor, place = pair & ((1 << self.bits[1]) - 1), pair >> self.bits[1]
        code = ((minor if self.minors is None else self.minors[minor]) << TICK_BITS) | tick
        return place.searchsorted(np.arange(len(keys) + 1)), code, _changes(pair)


def _changes(values: Ints) -> NDArray[np.bool_]:
    changes = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _gaps(edge: Ints, end: int) -> Ints:
    """From each edge to the next, and from the last to the end."""
    gaps = np.empty_like(edge)
    np.subtract(edge[1:], edge[:-1], out=gaps[:-1])
    gaps[-1:] = end - edge[-1:]
    return gaps


def distinct(sets: Sequence[Keys]) -> Keys:
    """The union of sorted sets of keys."""
    together = np.concatenate(sets)
    together.sort(kind="stable")
    return together[_changes(together)]


def ranks(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values, sorted, and the place of each one's among them."""
    low = int(values.min())
    if int(values.max()) - low < _DENSE * len(values):
        seen = np.zeros(int(values.max()) - low + 1, dtype=np.bool_)
        seen[values - low] = True
        return seen.nonzero()[0] + low, (seen.cumsum() - 1)[values - low]
    # Neighbours are often equal, as the items of one page: they are ranked once.
    head = np.flatnonzero(_changes(values))
    if len(head) == len(values):
        known, place = np.unique(values, return_inverse=True)
        return known, place.astype(np.int64)
    known, place = np.unique(values[head], return_inverse=True)
    return known, place.astype(np.int64).repeat(_gaps(head, len(values)))


def _cumulated(added: NDArray[np.int32], group: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Running sums within each group, mod 2**32. added: `[E, A]`; group: `[E]`, where one begins."""
    # Sums over everything may wrap around; their differences do not, as long as a count itself fits.
    total = added.cumsum(axis=0, dtype=np.int32)
    starts = group.nonzero()[0]
    before = total[starts] - added[starts]
    result: NDArray[np.int32] = total - before.repeat(_gaps(starts, len(group)), axis=0)
    return result


def _inserted(large: Run, small: Run) -> tuple[Keys, Ints, Ints, NDArray[np.int32]]:
    """Keys, start, code and total of both: the rows of `small` put in their places among those of `large`."""
    keys, owner = _both(large.keys, small.keys)
    edges = np.zeros(len(keys) + 1, dtype=np.int64)
    edges[keys.searchsorted(large.keys) + 1] = large.start[1:] - large.start[:-1]
    within = Run(large.names, keys, edges.cumsum(), large.code, large.total)  # keys without rows among them
    place = owner.repeat(small.start[1:] - small.start[:-1])
    before = positions(within, place, small.code)
    beginning = within.start[place]
    known = before >= beginning
    known[known] = (large.code[before[known]] >> TICK_BITS) == (small.code[known] >> TICK_BITS)
    total = small.total.copy()
    total[known] += large.total[before[known]]
    same = known.copy()
    same[known] = large.code[before[known]] == small.code[known]
    base = _raised(within, small, place, before)
    if same.any():
        base = np.array(base) if base is large.total else base
        base[before[same]] = total[same]
    fresh = ~same
    at = before[fresh] + 1
    at += np.arange(len(at))
    old = np.ones(len(large.code) + len(at), dtype=np.bool_)
    old[at] = False
    code = np.empty(len(old), dtype=np.int64)
    code[old], code[at] = large.code, small.code[fresh]
    merged = np.empty((len(old), len(large.names)), dtype=np.int32)
    merged[old.nonzero()[0]], merged[at] = base, total[fresh]  # of whole rows, places are quicker than a mask
    edges[1:] += np.bincount(place[fresh], minlength=len(keys))
    return keys, edges.cumsum(), code, merged


def _both(large: Keys, small: Keys) -> tuple[Keys, Ints]:
    """The union of two sorted sets of keys, and the places of `small` in it."""
    place = large.searchsorted(small)
    fresh = np.ones(len(small), dtype=np.bool_)
    inside = place < len(large)
    fresh[inside] = large[place[inside]] != small[inside]
    if not fresh.any():
        return large, place
    owner = place + fresh.cumsum() - fresh
    old = np.ones(len(large) + int(fresh.sum()), dtype=np.bool_)
    old[owner[fresh]] = False
    keys = np.empty(len(old), dtype=np.int64)
    keys[old], keys[owner[fresh]] = large, small[fresh]
    return keys, owner


def _raised(within: Run, small: Run, place: Ints, before: Ints) -> NDArray[np.int32]:
    """The totals of `within` where rows of `small` come before them: events that arrived late."""
    minor = small.code >> TICK_BITS
    after = before + 1
    inside = after < within.start[place + 1]
    if not (within.code[after[inside]] >> TICK_BITS == minor[inside]).any():
        return within.total  # as what came since mostly does, every row comes after those of its keys
    last = np.ones(len(place), dtype=np.bool_)
    last[:-1] = (place[1:] != place[:-1]) | (minor[1:] != minor[:-1])
    # Up to the next row of `small` of the same keys, or to their last row.
    end = positions(within, place, (minor << TICK_BITS) | TICK_MASK)
    end[~last] = before[1:][~last[:-1]]
    count = end - before
    total = within.total
    if count.any():
        total = np.array(total)
        row = np.repeat(np.arange(len(count)), count)
        total[np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + before[row] + 1] += small.total[row]
    return total
