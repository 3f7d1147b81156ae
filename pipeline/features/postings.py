"""Which items have a token and how often: the tokens of a field turned around.

A request asks for few tokens and hundreds of items, so that looking a token's items up beats reading every token of
the items. Letters: V distinct tokens, P pairs of token and item, T tokens asked for, M items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Postings:
    """hashes: `[V]` sorted; start: `[V + 1]`, where each token's pairs begin; item: `[P]`, sorted within a token;
    times: `[P]`; read: how many tokens of the field they were made of, what stands behind is not in them."""

    hashes: Hashes
    start: Places
    item: NDArray[np.int32]
    times: NDArray[np.float32]
    read: int

    @classmethod
    def of(cls, words: Hashes, owner: Places, read: int) -> "Postings":
        """words, owner: tokens, none of them negative, and the item of each."""
        pairs = np.sort((words.astype(np.int64) << 32) | owner)
        edge = np.flatnonzero(np.diff(pairs, prepend=-1))
        times = np.diff(edge, append=len(pairs)).astype(np.float32)
        token = pairs[edge] >> 32
        first = np.flatnonzero(np.diff(token, prepend=-1))
        item = (pairs[edge] & 0xFFFFFFFF).astype(np.int32)
        return cls(token[first].astype(np.int32), np.append(first, len(edge)), item, times, read)

    def times_in(self, hashes: Hashes, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """`[T, M]`: how often each item has each token."""
        found = np.zeros((len(hashes), len(item)), dtype=np.float32)
        places = self.hashes.searchsorted(hashes)
        for row, (token, place) in enumerate(zip(hashes, places, strict=True)):
            if place == len(self.hashes) or self.hashes[place] != token:
                continue
            low, high = self.start[place], self.start[place + 1]
            own = self.item[low:high]
            at = np.minimum(own.searchsorted(item), high - low - 1)
            np.multiply(self.times[low:high].take(at), own.take(at) == item, out=found[row])
        return found
