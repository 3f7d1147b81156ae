"""Items as unit vectors of what they are: category, brand, tags and title words, hashed with signs.

Feature hashing (Weinberger et al., ICML 2009): no vocabulary to keep in step, the same on every machine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import LEVELS, Catalogue
from pipeline.features.ids import Keys
from pipeline.features.texts import Texts
from pipeline.reworded import differing
from pipeline.timeline import Timeline

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ContentWeights:
    """What each part adds to an item's vector before normalising. category: a level; title: all its words."""

    category: float = 1.0
    brand: float = 0.7
    tags: float = 0.7
    title: float = 1.0


DEFAULT_WEIGHTS = ContentWeights()


def item_vectors(
    catalogue: Catalogue, texts: Texts | None = None, dim: int = 64, weights: ContentWeights = DEFAULT_WEIGHTS
) -> Vectors:
    """`[N, dim]` of unit length; all zero for an item nothing is known of.

    texts: the catalogue's words when they are at hand, else they are read here.
    """
    texts = Texts.of(catalogue) if texts is None else texts
    items = len(catalogue)
    every = np.arange(items, dtype=np.int32)
    words, owner = texts.title.flat(every)
    labels, labelled = catalogue.labels
    parts: list[tuple[Keys, NDArray[Any], NDArray[np.float64]]] = [
        (words.astype(np.int64), owner, weights.title / np.sqrt(np.maximum(texts.title.length[owner], 1))),
        (labels, labelled, np.full(len(labels), weights.tags)),
        (catalogue.brand, every, np.where(catalogue.brand != 0, weights.brand, 0.0)),
    ]
    for level in range(LEVELS):
        prefix = catalogue.category[:, level]
        parts.append((prefix, every, np.where(prefix != 0, weights.category, 0.0)))
    vectors = np.zeros(items * dim)
    for keys, item, weight in parts:
        column, sign = _hashed(keys, dim)
        vectors += np.bincount(item.astype(np.int64) * dim + column, weights=sign * weight, minlength=items * dim)
    return unit(vectors.reshape(items, dim))


def grown_vectors(catalogue: Catalogue, texts: Texts, before: tuple[Texts, Vectors]) -> Vectors:
    """As `item_vectors`; items whose words are as they were `before` keep their vectors, which are the same bits."""
    old, vectors = before
    known = len(old.rows)
    if known > len(catalogue) or known != len(vectors):
        return item_vectors(catalogue, texts)
    anew = np.ones(len(catalogue), dtype=np.bool_)
    anew[:known] = differing(old.rows, texts.rows.head(known), texts.rows.columns)
    place = np.flatnonzero(anew)
    grown = np.empty((len(catalogue), vectors.shape[1]), dtype=vectors.dtype)
    grown[:known] = vectors
    grown[place] = item_vectors(Catalogue(catalogue.rows[place], Timeline.empty(), 0), dim=vectors.shape[1])
    return grown


def unit(vectors: NDArray[np.float64]) -> Vectors:
    """Rows scaled to length 1; zero rows stay zero."""
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)


def _hashed(keys: Keys, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Column and sign of each key, from different bits of a mix of it (SplitMix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = keys.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    column = ((mixed >> np.uint64(1)) % np.uint64(dim)).astype(np.int64)
    return column, np.where(mixed & np.uint64(1), 1.0, -1.0)
