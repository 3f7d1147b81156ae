"""Items that came after the bundle, searchable at once: scored with the bundle's statistics, so that their scores
compare with those of the index."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from retrieval.bm25 import bm25
from retrieval.documents import FIELDS, documents


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the bundle's items. documents: how many; averages: words of each of FIELDS; containing: field, term -> how
    many items hold it."""

    documents: int
    averages: tuple[float, ...]
    containing: Callable[[str, str], int]


@dataclass(frozen=True, slots=True)
class LiveItems:
    """first: the dense id of the first live item; lengths: `[F, L]` words of each field; postings: (field, term) ->
    places of the items that hold it and how often, both `[P]`."""

    first: int
    lengths: NDArray[np.int64]
    postings: dict[tuple[int, str], tuple[NDArray[np.int64], NDArray[np.int64]]]

    @classmethod
    def of(cls, catalogue: Catalogue, first: int) -> "LiveItems":
        """The items of dense id `first` and above."""
        rows = catalogue.rows[first:]
        lengths = np.zeros((len(FIELDS), len(rows)), dtype=np.int64)
        found: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for place, (words, _) in enumerate(documents(rows)):
            for field, own in enumerate(words):
                lengths[field, place] = len(own)
                for term, often in Counter(own).items():
                    found.setdefault((field, term), []).append((place, often))
        arrays = {key: np.array(pairs, dtype=np.int64).T for key, pairs in found.items()}
        return cls(first, lengths, {key: (pairs[0], pairs[1]) for key, pairs in arrays.items()})

    def search(
        self, terms: Sequence[str], boosts: Sequence[float], allowed: Mask, statistics: Statistics
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Every allowed live item that holds a term, and its score. allowed: `[N]`."""
        score = np.zeros(self.lengths.shape[1])
        for field, name in enumerate(FIELDS):
            for term in terms:
                if (found := self.postings.get((field, term))) is None:
                    continue
                place, often = found
                score[place] += boosts[field] * bm25(
                    often,
                    self.lengths[field, place],
                    documents=statistics.documents,
                    containing=statistics.containing(name, term),
                    average=statistics.averages[field],
                )
        place = np.flatnonzero((score > 0) & allowed[self.first :])
        return (place + self.first).astype(np.int32), score[place].astype(np.float32)
