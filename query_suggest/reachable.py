"""Suggestions that lead nowhere are not made: a query is offered as long as an item that it finds may be shown.

Asking the search about each suggestion of each keystroke would cost more than the suggestions. So the item that a
query found is remembered as its witness: while that one may be shown, nothing is asked again.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Ints, Mask
from pipeline.stage import Effect
from query_suggest.index import SuggestIndex

NOBODY = -1


class Shelf(Protocol):
    """What a search would find."""

    @property
    def words(self) -> object:
        """Another object whenever the words of an item have changed."""
        ...

    def available(self, time: int) -> Mask:
        """`[N]`: the items that may be shown; the same object as long as they are the same."""
        ...

    def holder(self, query: str, available: Mask) -> int:
        """An available item that a search for the query finds, -1 for none."""
        ...


@dataclass(slots=True)
class Witnesses:
    """item: `[Q]`, what each query was last seen to find, -1 = not known; dead: queries that find nothing on `of`."""

    item: NDArray[np.int32]
    words: object = None
    of: Mask | None = None
    dead: set[int] = field(default_factory=set)

    @classmethod
    def none(cls, queries: int) -> "Witnesses":
        return cls(np.full(queries, NOBODY, dtype=np.int32))

    def alive(self, query: Ints, index: SuggestIndex, shelf: Shelf, time: int) -> Mask:
        """`[M]`: the queries `[M]`, places in the index, that lead to something."""
        available = shelf.available(time)
        if self.words is not shelf.words:
            self.words, self.of = shelf.words, None
            self.item[:] = NOBODY
        if self.of is not available:
            self.of, self.dead = available, set()
        item = self.item[query]
        alive = (item >= 0) & available[item]
        for place in np.flatnonzero(~alive).tolist():
            asked = int(query[place])
            if asked not in self.dead:
                self.item[asked] = shelf.holder(index.query[asked], available)
                alive[place] = self.item[asked] >= 0
                if not alive[place]:
                    self.dead.add(asked)
        return alive


@dataclass(frozen=True, slots=True)
class Reachable:
    """Drops what leads to nothing; of what remains of a hint, all but the first."""

    index: SuggestIndex
    shelf: Shelf
    memory: Witnesses
    name: str = "reachable"
    effect: Effect = Effect.FILTER
    reads: frozenset[str] = frozenset({"request.placement", "request.time"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        kept = batch.mask.copy()
        for row, (placement, time) in enumerate(zip(batch.request("placement"), batch.request("time"), strict=True)):
            here = np.flatnonzero(kept[row])
            kept[row, here] = self.memory.alive(batch.item[row, here], self.index, self.shelf, int(time))
            if placement == "hint":
                kept[row] &= np.cumsum(kept[row]) == 1
        return batch.keep(kept)
