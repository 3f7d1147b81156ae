"""Items that came, or were described anew, after the bundle: searchable at once.

They are scored with the bundle's statistics, so that their scores compare with those of the index. That is an
approximation: how common a word is, and how long fields are, stays as it was when the index was built.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.reworded import WORDS, differing
from retrieval.bm25 import bm25
from retrieval.documents import FIELDS, documents

Items = NDArray[np.int32]
Places = NDArray[np.int64]
_SPARE = 64  # unused slots that are always put up with
_READ = (*WORDS, "price")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the bundle's items. documents: how many; averages: words of each of FIELDS; containing: field, term -> how
    many items hold it."""

    documents: int
    averages: tuple[float, ...]
    containing: Callable[[str, str], int]


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of live items. item: `[L]` dense ids, ascending: `stale` ones, which an index holds with other
    words, then those it does not hold; rows: `[L]`."""

    item: Items
    rows: pl.DataFrame
    stale: Items

    @classmethod
    def of(cls, catalogue: Catalogue, held: int) -> "Described":
        """held: how many items the index holds."""
        stale = catalogue.reworded.item
        stale = stale[stale < held]
        item = np.concatenate([stale, np.arange(held, len(catalogue), dtype=np.int32)])
        return cls(item, catalogue.rows.select(_READ)[item], stale)

    def holds(self, before: "Described") -> bool:
        """Whether all items of `before` are among these."""
        return bool(np.isin(before.item, self.item).all())

    def since(self, before: "Described") -> Mask:
        """`[L]`: the items that `before`, all of whose items are held, did not have, or not with these words."""
        place = np.searchsorted(self.item, before.item)
        new = np.ones(len(self.item), dtype=np.bool_)
        new[place] = differing(before.rows, self.rows[place], _READ)
        return new


@dataclass(frozen=True, slots=True)
class LiveItems:
    """owner: `[S]`, the dense id each slot describes, -1 where a later slot does; lengths: `[F, S]` words of fields;
    postings: (field, term) -> slots that hold it and how often, both `[P]`."""

    described: Described
    owner: Items
    lengths: Places
    postings: dict[tuple[int, str], tuple[Places, Places]]

    @classmethod
    def of(cls, catalogue: Catalogue, held: int) -> "LiveItems":
        """The items that an index of `held` items does not hold, or holds with other words."""
        described = Described.of(catalogue, held)
        none = Described(described.item[:0], described.rows[:0], described.stale[:0])
        nothing = np.empty((len(FIELDS), 0), dtype=np.int64)
        return cls(none, none.item, nothing, {})._with(described)

    def grown(self, catalogue: Catalogue, held: int) -> "LiveItems":
        """The live items of another catalogue; those that are here already are not read again. This one where its words
        are no others."""
        described = Described.of(catalogue, held)
        if len(self.owner) > 2 * len(self.described.item) + _SPARE or not described.holds(self.described):
            return LiveItems.of(catalogue, held)
        return self._with(described)

    def _with(self, described: Described) -> "LiveItems":
        new = np.flatnonzero(described.since(self.described))
        if not len(new):
            return self
        item, first = described.item[new], len(self.owner)
        lengths = np.zeros((len(FIELDS), len(new)), dtype=np.int64)
        found: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for place, (words, _) in enumerate(documents(described.rows[new])):
            for field, own in enumerate(words):
                lengths[field, place] = len(own)
                for term, often in Counter(own).items():
                    found.setdefault((field, term), []).append((first + place, often))
        postings = dict(self.postings)
        for key, pairs in found.items():
            slot, often = np.array(pairs, dtype=np.int64).T
            had = postings.get(key)
            postings[key] = (slot, often) if had is None else _joined(had, (slot, often))
        owner = np.concatenate([np.where(np.isin(self.owner, item), -1, self.owner), item]).astype(np.int32)
        return LiveItems(described, owner, np.concatenate([self.lengths, lengths], axis=1), postings)

    def held(self, allowed: Mask) -> Mask:
        """The allowed items `[N]` less those that the index knows by other words."""
        stale = self.described.stale
        if not len(stale):
            return allowed
        held = allowed.copy()
        held[stale] = False
        return held

    def search(
        self, terms: Sequence[str], boosts: Sequence[float], allowed: Mask, statistics: Statistics
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Every allowed live item that holds a term, and its score. allowed: `[N]`."""
        score = np.zeros(len(self.owner))
        for field, name in enumerate(FIELDS):
            for term in terms:
                if (found := self.postings.get((field, term))) is None:
                    continue
                slot, often = found
                score[slot] += boosts[field] * bm25(
                    often,
                    self.lengths[field, slot],
                    documents=statistics.documents,
                    containing=statistics.containing(name, term),
                    average=statistics.averages[field],
                )
        slot = np.flatnonzero((score > 0) & (self.owner >= 0) & allowed[self.owner])
        return self.owner[slot], score[slot].astype(np.float32)


def _joined(left: tuple[Places, Places], right: tuple[Places, Places]) -> tuple[Places, Places]:
    return np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]])
