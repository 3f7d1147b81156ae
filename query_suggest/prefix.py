"""Completion over a sorted array: a prefix is a range of it, and the best of a range are found by their rank.

Ranges of more than HEAVY entries, which short prefixes have, carry their best TOP precomputed, so that the slowest
look-up stays as fast as the usual one. Arrays in, arrays out; a memory-mapped array will do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEAVY = 1000
TOP = 64
_PARTS = ("keys", "owner", "start", "rank", "heavy", "heavy_top")


@dataclass(frozen=True, slots=True)
class PrefixIndex:
    """E entries. keys: `[E]` sorted UTF-8 bytes; owner: the query an entry belongs to; start: where in the query the
    entry begins, in characters; rank: place of the owner by popularity, 0 = best; heavy: `[H]` sorted prefixes of
    more than HEAVY entries; heavy_top: `[H, TOP]` the places of their best."""

    keys: NDArray[np.bytes_]
    owner: NDArray[np.int32]
    start: NDArray[np.int16]
    rank: NDArray[np.int32]
    heavy: NDArray[np.bytes_]
    heavy_top: NDArray[np.int32]

    def ranges(self, prefixes: Sequence[str]) -> NDArray[np.intp]:
        """`[P, 2]`: from and to in `keys` of the entries that begin with each prefix."""
        raw = [prefix.encode() for prefix in prefixes]
        width = self.keys.dtype.itemsize
        fits = np.array([len(prefix) < width for prefix in raw], dtype=np.bool_)
        # No UTF-8 text holds the byte FF, so prefix + FF stands behind all that begins with the prefix.
        ends = np.array([[prefix[:width], (prefix + b"\xff")[:width]] for prefix in raw], dtype=self.keys.dtype)
        found = np.searchsorted(self.keys, ends.reshape(-1, 2))
        return np.asarray(np.where(fits[:, None], found, 0), dtype=np.intp)

    def top(self, prefix: str, k: int) -> NDArray[np.intp]:
        """Places of the k most popular entries that begin with the prefix, best first; k at most TOP."""
        low, high = self.ranges([prefix])[0].tolist()
        if high - low > HEAVY:
            row = int(np.searchsorted(self.heavy, np.array(prefix.encode(), dtype=self.heavy.dtype)))
            return self.heavy_top[row, :k].astype(np.intp)
        best: NDArray[np.intp] = low + best_of(self.rank[low:high], k)
        return best

    def save(self, folder: Path, name: str) -> None:
        arrays: tuple[NDArray[np.generic], ...] = (
            self.keys,
            self.owner,
            self.start,
            self.rank,
            self.heavy,
            self.heavy_top,
        )
        for part, array in zip(_PARTS, arrays, strict=True):
            np.save(folder / f"{name}.{part}.npy", array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, name: str) -> "PrefixIndex":
        """Memory-mapped. Raises OSError or ValueError for files that are not such arrays."""
        parts = [np.load(folder / f"{name}.{part}.npy", mmap_mode="r", allow_pickle=False) for part in _PARTS]
        return cls(*(np.asarray(part) for part in parts))


def best_of(rank: NDArray[np.int32], k: int) -> NDArray[np.intp]:
    """Places of the k smallest, smallest first."""
    best = np.argpartition(rank, k - 1)[:k] if len(rank) > k else np.arange(len(rank))
    order: NDArray[np.intp] = best[np.argsort(rank[best], kind="stable")]
    return order


def heads(texts: Sequence[str], rank: NDArray[np.int32]) -> PrefixIndex:
    """Entries for the start of every text."""
    owner = np.arange(len(texts), dtype=np.int32)
    return _index([text.encode() for text in texts], owner, np.zeros(len(texts), np.int16), rank)


def tails(texts: Sequence[str], rank: NDArray[np.int32]) -> PrefixIndex:
    """Entries for every later word of every text: from there to its end."""
    found = [
        (text[start:].encode(), owner, start)
        for owner, text in enumerate(texts)
        for start in (place + 1 for place, letter in enumerate(text) if letter == " ")
    ]
    keys, owners, starts = zip(*found, strict=True) if found else ((), (), ())
    owner = np.array(owners, dtype=np.int32)
    return _index(list(keys), owner, np.array(starts, dtype=np.int16), rank[owner])


def _index(
    keys: list[bytes], owner: NDArray[np.int32], start: NDArray[np.int16], rank: NDArray[np.int32]
) -> PrefixIndex:
    width = max(map(len, keys), default=0) + 1  # room for the byte that ends a range
    array = np.array(keys, dtype=f"S{width}")
    order = np.argsort(array, kind="stable")
    array, rank = array[order], rank[order].astype(np.int32)
    heavy, top = _precompute(array, rank)
    return PrefixIndex(array, owner[order], start[order], rank, heavy, top)


def _precompute(keys: NDArray[np.bytes_], rank: NDArray[np.int32]) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Every prefix, by bytes, of more than HEAVY entries, and the places of their best TOP."""
    width = keys.dtype.itemsize
    letters = keys.view(np.uint8).reshape(len(keys), width)
    same = letters[1:] == letters[:-1]
    common = np.where(same.all(axis=1), width, np.argmin(same, axis=1))  # leading bytes shared with the one before
    found: list[tuple[bytes, NDArray[np.intp]]] = []
    for length in range(width):
        starts = np.flatnonzero(np.r_[True, common < length]) if len(keys) else np.empty(0, np.intp)
        sizes = np.diff(np.r_[starts, len(keys)])
        big = np.flatnonzero(sizes > HEAVY)
        if not len(big):
            break
        for low, size in zip(starts[big].tolist(), sizes[big].tolist(), strict=True):
            prefix = keys[low][:length]
            if len(prefix) == length:
                found.append((prefix, low + best_of(rank[low : low + size], TOP)))
    found.sort(key=lambda pair: pair[0])
    top = np.array([places for _, places in found], dtype=np.int32).reshape(len(found), TOP)
    return np.array([prefix for prefix, _ in found], dtype=f"S{width}"), top
