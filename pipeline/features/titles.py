"""The tokens of titles as places in a vocabulary: one short row an item, read at once.

Letters: N items, W tokens of the longest title, V distinct tokens, M items asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.int32]


class Token(Protocol):
    @property
    def hash(self) -> int: ...

    @property
    def shape(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Titles:
    """words: `[N, W]` places in the vocabulary, 0 past the end; places: of each token's hash, from 1 on; shapes:
    `[V + 1]` letter pairs as bits; sizes: `[V + 1]`, how many there are."""

    words: Words
    places: dict[int, int]
    shapes: NDArray[np.uint64]
    sizes: NDArray[np.float32]

    @classmethod
    def empty(cls) -> "Titles":
        return cls(np.zeros((0, 1), dtype=np.int32), {}, np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.float32))

    def grown(self, lines: Sequence[Sequence[Token]], place: NDArray[np.intp], items: int) -> "Titles":
        """With the titles of the items at `place`, of `items` in all."""
        fresh = {token.hash: token.shape for line in lines for token in line if token.hash not in self.places}
        places = self.places | {token: number for number, token in enumerate(fresh, len(self.shapes))}
        width = max(self.words.shape[1], max(map(len, lines), default=0))
        words = np.zeros((items, width), dtype=np.int32)
        words[: len(self.words), : self.words.shape[1]] = self.words
        padded = [[places[token.hash] for token in line] + [0] * (width - len(line)) for line in lines]
        words[place] = np.array(padded, dtype=np.int32).reshape(len(lines), width)
        shapes = np.concatenate([self.shapes, np.array(list(fresh.values()), dtype=np.uint64)])
        return Titles(words, places, shapes, np.bitwise_count(shapes).astype(np.float32))

    def of(self, item: NDArray[np.int32], longest: int) -> Words:
        """`[W, M]`: the first tokens of items whose titles are no longer than `longest`."""
        return np.ascontiguousarray(self.words.take(item, axis=0)[:, :longest].T)

    def closest(self, words: Words, shapes: NDArray[np.uint64]) -> NDArray[np.float32]:
        """`[T, M]`: the largest Dice coefficient of letter pairs between a term and a token `[W, M]`. shapes: `[T, 1]`
        or `[T, M]`, of the terms."""
        shared = np.bitwise_count(self.shapes.take(words) & shapes[:, None]).astype(np.float32)
        shared /= self.sizes.take(words) + np.maximum(np.bitwise_count(shapes), 1).astype(np.float32)[:, None]
        return np.asarray(np.float32(2.0) * np.maximum.reduce(shared, axis=1))
