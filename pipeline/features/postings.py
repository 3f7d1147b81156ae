"""Which items have a token and how often: the tokens of a field turned around.

A request asks for few tokens and hundreds of items, so that looking a token's items up beats reading every token of
the items. Letters: V distinct tokens, P pairs of token and item, T tokens asked for, M items.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int32]
Places = NDArray[np.int64]
_KEPT_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Postings:
    """hashes: `[V]` sorted; start: `[V + 1]`, where each token's pairs begin; item: `[P]`, sorted within a token;
    times: `[P]`; read: how many tokens of the field they were made of, what stands behind is not in them; items: one
    more than the largest item."""

    hashes: Hashes
    start: Places
    item: NDArray[np.int32]
    times: NDArray[np.uint16]
    read: int
    items: int
    _spread: dict[int, NDArray[np.uint16]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, words: Hashes, owner: Places, read: int) -> "Postings":
        """words, owner: tokens, none of them negative, and the item of each."""
        pairs = np.sort((words.astype(np.int64) << 32) | owner)
        edge = np.flatnonzero(np.diff(pairs, prepend=-1))
        times = np.diff(edge, append=len(pairs)).astype(np.uint16)
        token = pairs[edge] >> 32
        first = np.flatnonzero(np.diff(token, prepend=-1))
        item = (pairs[edge] & 0xFFFFFFFF).astype(np.int32)
        return cls(
            token[first].astype(np.int32), np.append(first, len(edge)), item, times, read, int(item.max(initial=-1)) + 1
        )

    def times_in(self, hashes: Hashes, item: NDArray[np.int32]) -> NDArray[np.uint16]:
        """`[T, M]`: how often each item has each token."""
        found = np.empty((len(hashes), len(item)), dtype=np.uint16)
        for row, token in enumerate(hashes.tolist()):
            # The last cell, of no item, answers for those that came since.
            self._of(token).take(item, mode="clip", out=found[row])
        return found

    def _of(self, token: int) -> NDArray[np.uint16]:
        """`[items + 1]`: how often each item has a token. Queries share their tokens, so that the last few are kept."""
        times = self._spread.pop(token, None)
        if times is None:
            times = np.zeros(self.items + 1, dtype=np.uint16)
            place = int(self.hashes.searchsorted(token))
            if place < len(self.hashes) and self.hashes[place] == token:
                pairs = slice(self.start[place], self.start[place + 1])
                times[self.item[pairs]] = self.times[pairs]
            while self._spread and len(self._spread) * times.nbytes >= _KEPT_BYTES:
                self._spread.pop(next(iter(self._spread)), None)
        self._spread[token] = times
        return times
