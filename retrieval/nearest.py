"""Nearest vectors by inner product, exactly; and what every vector index promises.

Letters: R requests, N items, D dimensions, k wanted.

Every index ends in one arithmetic, `ranked`: however candidates were found (a matrix product, inverted lists, a GPU),
their final scores come from the same row-wise sum over the same stored vectors. So one request and a batch of 256,
one processor and another, agree bit for bit on the scores and the order of the items they both found.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Ints, Mask

Vectors = NDArray[np.float32]
Items = NDArray[np.int32]
Found = tuple[NDArray[np.float32], Items]
Allowed = Sequence[Mask] | None

_CELLS: Final = 1 << 22  # products held at once: 16 MB, small enough for the caches to help, changes no number
_GATHERED: Final = 0.2  # share of the rows up to which copying them beats multiplying all (measured)


class VectorIndex(Protocol):
    """Immutable for the one who asks; `search` may be called from any thread."""

    @property
    def size(self) -> int:
        """N."""
        ...

    @property
    def dim(self) -> int:
        """D."""
        ...

    def search(self, queries: Vectors, k: int, allowed: Allowed = None) -> Found:
        """Scores `[R, k]` float32 and items `[R, k]` int32, best first, ties by the smaller item; where there are
        fewer than k, items end in -1 and scores in -inf.

        queries: `[R, D]`; allowed: for each request the items it may find, `[N]`; requests of equal filters should
        share one array, they are searched together. Raises ValueError for arguments of other shapes, k < 1, and
        queries that are not finite.
        """
        ...

    def reconstruct(self, items: Ints) -> Vectors:
        """The vectors `[M, D]` of items `[M]`."""
        ...

    def describe(self) -> Mapping[str, object]:
        """What answers, and how well it is: for `podium doctor`, `/readyz` and metrics."""
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """Every item is looked at. vectors: `[N, D]`, may be mapped from a file; longest: the largest norm of a row."""

    vectors: Vectors
    longest: float

    @classmethod
    def of(cls, vectors: Vectors) -> "Exact":
        return cls(vectors, longest(vectors))

    @property
    def size(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def search(self, queries: Vectors, k: int, allowed: Allowed = None) -> Found:
        queries = checked(queries, k, allowed, self.size, self.dim)
        found = nothing(len(queries), k)
        everywhere: list[int] = []
        for mask, rows in grouped(allowed, len(queries)):
            if mask is None or np.count_nonzero(mask) > _GATHERED * self.size:
                everywhere += rows
            else:
                self._among(np.flatnonzero(mask), rows, queries, k, found)
        for part, product in _products(queries, everywhere, self.vectors):
            for row, score in zip(part, product, strict=True):
                query = queries[row]
                items = likely(score, k, self._slack(query), None if allowed is None else allowed[row])
                put(found, row, ranked(self.vectors, query, items, k))
        return found

    def reconstruct(self, items: Ints) -> Vectors:
        return np.asarray(self.vectors[items])

    def describe(self) -> Mapping[str, object]:
        return {"kind": "exact", "device": "cpu", "size": self.size}

    def _among(self, items: Ints, rows: Sequence[int], queries: Vectors, k: int, found: Found) -> None:
        for part, product in _products(queries, rows, self.vectors[items]):
            for row, score in zip(part, product, strict=True):
                chosen = items[likely(score, k, self._slack(queries[row]))]
                put(found, row, ranked(self.vectors, queries[row], chosen, k))

    def _slack(self, query: Vectors) -> float:
        """How far rounding may move a product of D terms, at the very most."""
        return float(self.dim * np.finfo(np.float32).eps * self.longest * np.linalg.norm(query))


@dataclass(frozen=True, slots=True)
class WithLive:
    """An index, and vectors that came after it was built: the first of `live` are those of the items `replaced`
    (ascending), whatever the index holds of them, the others those of the items behind the last of the index."""

    base: VectorIndex
    live: Exact
    replaced: Items = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    @property
    def size(self) -> int:
        return self.base.size + self.live.size - len(self.replaced)

    @property
    def dim(self) -> int:
        return self.base.dim

    def search(self, queries: Vectors, k: int, allowed: Allowed = None) -> Found:
        queries = checked(queries, k, allowed, self.size, self.dim)
        split, replaced = self.base.size, self.replaced
        held = [np.ones(split, np.bool_)] * len(queries) if allowed is None and len(replaced) else allowed
        score, item = self.base.search(queries, k, _each(held, lambda mask: _without(mask[:split], replaced)))
        own = _each(allowed, lambda mask: np.concatenate([mask[replaced], mask[split:]]))
        late_score, late = self.live.search(queries, k, own)
        both = np.concatenate([score, late_score], axis=1)
        items = np.concatenate([item, self._named(late)], axis=1)
        order = np.lexsort((items, -both), axis=1)[:, :k]
        return np.take_along_axis(both, order, axis=1), np.take_along_axis(items, order, axis=1)

    def reconstruct(self, items: Ints) -> Vectors:
        items = np.asarray(items)
        out = np.empty((len(items), self.dim), np.float32)
        late = items >= self.base.size
        out[~late] = self.base.reconstruct(items[~late])
        out[late] = self.live.reconstruct(items[late] - self.base.size + len(self.replaced))
        anew = np.isin(items, self.replaced)
        out[anew] = self.live.reconstruct(np.searchsorted(self.replaced, items[anew]))
        return out

    def describe(self) -> Mapping[str, object]:
        return {**self.base.describe(), "live": self.live.size}

    def _named(self, late: Items) -> Items:
        """The items at places of `live`; -1 stays."""
        if not len(self.replaced):
            return np.where(late >= 0, late + np.int32(self.base.size), late)
        every = np.arange(self.base.size, self.size, dtype=np.int32)
        return np.where(late >= 0, np.concatenate([self.replaced, every])[late], late)


def extended(index: VectorIndex, extra: Vectors, replaced: Items | None = None) -> VectorIndex:
    """The index and `extra` `[M, D]` behind its items; the index given stays as it is. replaced: the items, ascending,
    that the first of `extra` belong to, in place of what the index holds of them. Raises ValueError for vectors of
    another dimension or that are not finite."""
    extra = np.ascontiguousarray(extra, dtype=np.float32)
    if extra.ndim != 2 or extra.shape[1] != index.dim or not np.isfinite(extra).all():
        raise ValueError(f"live vectors must be finite, of shape [M, {index.dim}]; received {extra.shape}")
    if not len(extra):
        return index
    if replaced is not None and len(replaced):
        return WithLive(index, Exact.of(extra), replaced)
    if isinstance(index, WithLive) and not len(index.replaced):
        return WithLive(index.base, Exact.of(np.concatenate([index.live.vectors, extra])))
    return WithLive(index, Exact.of(extra))


def ranked(vectors: Vectors, query: Vectors, items: Ints, k: int) -> Found:
    """The k best of `items` `[M]` (each once) and their scores, ties by the smaller item. query: `[D]`.

    A sum along each row, because BLAS adds up in an order that depends on how many rows and queries there are.
    """
    score = (vectors[items] * query).sum(axis=1)
    order = np.lexsort((items, -score))[:k]
    return score[order], items[order].astype(np.int32)


def likely(score: NDArray[np.float32], k: int, slack: float, allowed: Mask | None = None) -> NDArray[np.intp]:
    """Places of the k largest of `score` `[N]`, and of all so near them that rounding or a tie could decide."""
    if allowed is not None:
        score = np.where(allowed, score, np.float32(-np.inf))
    if k < len(score):
        edge = np.partition(score, len(score) - k)[len(score) - k]
        if edge > -np.inf:
            return np.flatnonzero(score >= edge - 2 * slack)
    return np.flatnonzero(score > -np.inf)


def grouped(allowed: Allowed, rows: int) -> list[tuple[Mask | None, list[int]]]:
    """Rows that share one mask object, with it, in the order of their first row."""
    if allowed is None:
        return [(None, list(range(rows)))] if rows else []
    found: dict[int, tuple[Mask | None, list[int]]] = {}
    for row, mask in enumerate(allowed):
        found.setdefault(id(mask), (mask, []))[1].append(row)
    return list(found.values())


def nothing(rows: int, k: int) -> Found:
    return np.full((rows, k), -np.inf, np.float32), np.full((rows, k), -1, np.int32)


def put(found: Found, row: int, best: Found) -> None:
    for into, values in zip(found, best, strict=True):
        into[row, : len(values)] = values


def longest(vectors: Vectors) -> float:
    """The largest norm of a row of `[N, D]`."""
    blocks = range(0, len(vectors), _CELLS // 64)
    squares = [np.square(vectors[low : low + _CELLS // 64], dtype=np.float64).sum(axis=1).max() for low in blocks]
    return float(np.sqrt(max(squares, default=0.0)))


def checked(queries: Vectors, k: int, allowed: Allowed, size: int, dim: int) -> Vectors:
    """The queries as contiguous float32. Raises ValueError as `VectorIndex.search` says."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries must have the shape [R, {dim}]; received {queries.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1; received {k}")
    if not np.isfinite(queries).all():
        raise ValueError("queries must be finite")
    if allowed is not None and (len(allowed) != len(queries) or any(mask.shape != (size,) for mask in allowed)):
        raise ValueError(f"allowed must be {len(queries)} masks of shape [{size}]")
    return queries


def _products(queries: Vectors, rows: Sequence[int], block: Vectors) -> Iterator[tuple[Sequence[int], Vectors]]:
    step = max(1, _CELLS // max(1, len(block)))
    for low in range(0, len(rows), step):
        part = rows[low : low + step]
        yield part, queries[part] @ block.T


def _each(allowed: Allowed, part: Callable[[Mask], Mask]) -> Allowed:
    """A part of each mask; masks that were one object stay one."""
    if allowed is None:
        return None
    parts = {id(mask): part(mask) for mask in {id(mask): mask for mask in allowed}.values()}
    return [parts[id(mask)] for mask in allowed]


def _without(mask: Mask, items: Items) -> Mask:
    if not len(items):
        return mask
    rest = mask.copy()
    rest[items] = False
    return rest
