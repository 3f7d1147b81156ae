"""Two trained towers at work: requests and live items become vectors, and the nearest items are looked up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts import sha256
from pipeline.batch import Mask
from pipeline.catalogue import UNKNOWN, Catalogue
from pipeline.errors import ArtifactError
from pipeline.onnx import OnnxModel
from pipeline.stored import read_array
from pipeline.timeline import Timeline
from retrieval.dataset import Asked, Spec, item_bags
from retrieval.live import Described
from retrieval.vectors import VectorIndex, extended, open_index

Vectors = NDArray[np.float32]

ABOUT: Final = "towers.json"
USER: Final = "user.onnx"
ITEM: Final = "item.onnx"
CONTEXTS: Final = "contexts.npy"
HEARD: Final = "heard.npy"
RECOMMENDED: Final = "found.recommended.npy"  # what was found for held-out requests, before they were learned from
SEARCHED: Final = "found.searched.npy"
USER_INPUTS: Final = ("history", "known", "words", "segment", "surface")
ITEM_INPUTS: Final = ("bucket", "weight")
_NORM: Final = 1e-3  # a vector may be longer or shorter than 1 by


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`towers.json`. items: N, the unknown one included; files: what was written together, name -> SHA-256."""

    spec: Spec
    items: int
    dim: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Live:
    """vectors, contexts: `[L, D]` of the items described; index, every: of all items of the catalogue."""

    described: Described
    vectors: Vectors
    contexts: Vectors
    index: VectorIndex
    every: Vectors


class _Latest:
    """Remembers the items of the last catalogue; a catalogue never changes, so its identity is enough."""

    def __init__(self) -> None:
        self.of: tuple[Catalogue, _Live] | None = None


@dataclass(frozen=True, slots=True)
class Towers:
    """contexts: `[N, D]`, items as a history shows them; heard: `[buckets]`, words that came up in training."""

    about: About
    user: OnnxModel
    item: OnnxModel
    index: VectorIndex
    contexts: Vectors
    heard: Mask
    _latest: _Latest = field(default_factory=_Latest, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, device: str = "auto") -> "Towers":
        """Raises ArtifactError for files that are no towers, or that were not written together."""
        about = _read_about(folder)
        for name, digest in about.files.items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise ArtifactError(name, "the file written with these towers; train again", place=str(folder))
        index = open_index(folder, device)
        contexts, heard = (np.asarray(read_array(folder / name)) for name in (CONTEXTS, HEARD))
        shapes = {"index": (index.size, index.dim), CONTEXTS: contexts.shape, HEARD: heard.shape}
        size = (about.items, about.dim)
        wanted = {"index": size, CONTEXTS: size, HEARD: (about.spec.buckets,)}
        if odd := [name for name, shape in shapes.items() if shape != wanted[name]]:
            raise ArtifactError(odd[0], f"the shape {wanted[odd[0]]}", place=str(folder), received=shapes[odd[0]])
        check_norms(index.reconstruct(np.arange(about.items)), folder)
        user = OnnxModel.open(folder / USER, USER_INPUTS, ("vector",))
        item = OnnxModel.open(folder / ITEM, ITEM_INPUTS, ("vector", "context"))
        return cls(about, user, item, index, contexts, heard)

    def at(self, catalogue: Catalogue) -> tuple[VectorIndex, Vectors]:
        """Index and contexts of all items, as they are described now."""
        latest = self._latest.of
        if latest is None or latest[0] is not catalogue:
            latest = self._latest.of = (catalogue, self._live(catalogue, None if latest is None else latest[1]))
        return latest[1].index, latest[1].every

    def _live(self, catalogue: Catalogue, before: _Live | None) -> _Live:
        """before: of another catalogue; what it knows is not computed again."""
        described, size = Described.of(catalogue, self.about.items), (0, self.about.dim)
        if not len(described.item):
            none = np.empty(size, dtype=np.float32)
            return _Live(described, none, none, self.index, self.contexts)
        vectors = np.empty((len(described.item), self.about.dim), dtype=np.float32)
        contexts, new = np.empty_like(vectors), np.ones(len(vectors), dtype=np.bool_)
        if before is not None and described.holds(before.described):
            place, new = np.searchsorted(described.item, before.described.item), described.since(before.described)
            vectors[place], contexts[place] = before.vectors, before.contexts
        if new.any():
            vectors[new], contexts[new] = self._computed(catalogue, described.item[new])
        stale = described.stale
        every = np.concatenate([self.contexts, contexts[len(stale) :]])
        every[stale] = contexts[: len(stale)]
        return _Live(described, vectors, contexts, extended(self.index, vectors, stale), every)

    def _computed(self, catalogue: Catalogue, item: NDArray[np.int32]) -> tuple[Vectors, Vectors]:
        """Vectors and contexts of live items `[M]`, ascending.

        One without a row of its own is what its words say. One that has been described anew keeps what was learned of
        it: its context moves by what its words differ in, exactly; its vector by what that makes of an item without
        a row of its own, which is an approximation.
        """
        vectors, contexts = self._cold(catalogue.rows[item])
        late = np.count_nonzero(item >= self.about.items)
        own = item[: len(item) - late]
        if len(own):
            reworded = catalogue.reworded
            cold, bag = self._cold(reworded.rows[np.searchsorted(reworded.item, own)])
            moved = self.index.reconstruct(own) + vectors[: len(own)] - cold
            vectors[: len(own)] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
            contexts[: len(own)] += self.contexts[own] - bag
        return vectors, contexts

    def _cold(self, rows: pl.DataFrame) -> tuple[Vectors, Vectors]:
        bucket, weight = item_bags(Catalogue(rows, Timeline.empty(), 0), self.about.spec).padded()
        vectors, contexts = self.item.run(bucket=bucket, weight=weight)
        return np.array(vectors), np.array(contexts)

    def encode(self, inputs: Asked, contexts: Vectors) -> Vectors:
        """Unit vectors `[R, D]` of requests."""
        rows = len(inputs.history)
        # One row takes another path through the matrix products than many, which rounds differently.
        whole = inputs.rows(np.zeros(2, dtype=np.int64)) if rows == 1 else inputs
        (vectors,) = self.user.run(
            history=contexts[np.maximum(whole.history, UNKNOWN)],
            known=(whole.history >= 0).astype(np.float32),
            words=whole.words,
            segment=whole.segment,
            surface=whole.surface,
        )
        return vectors[:rows]

    def understands(self, inputs: Asked, asks: Mask) -> Mask:
        """`[R]`: whether there is something to go by: a word that came up in training, or without a query a history.

        asks: `[R]`, whether there is a query.
        """
        heard = (self.heard[inputs.words] & (inputs.words > 0)).any(axis=1)
        return np.where(asks, heard, (inputs.history >= 0).any(axis=1))


def check_norms(vectors: Vectors, folder: Path) -> None:
    """Raises ArtifactError unless every vector but the unknown item's is of length 1."""
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    length[UNKNOWN] += 1.0
    if odd := np.flatnonzero(np.abs(length - 1.0) > _NORM).tolist():
        raise ArtifactError("vectors.npy", f"rows of length 1; row {odd[0]} is not", place=str(folder))


def _read_about(folder: Path) -> About:
    try:
        return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError) as error:
        raise ArtifactError(ABOUT, f"the description of two towers ({error})", place=str(folder)) from error
