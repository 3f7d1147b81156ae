"""The deep ranker as it serves: log-odds of a click and of a conversion once clicked, through ONNX Runtime.

On disk it is a graph, the vectors of the items, and a description; nothing of them is trusted before it is checked.
Letters: n items to score, R requests, K items of the longest, H history, F features, N items of the catalogue,
E numbers of an item.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.onnx import OnnxModel
from pipeline.stored import read_array
from ranking.deep_config import LONGEST
from ranking.inputs import Inputs

GRAPH: Final = "deep.onnx"
INPUTS: Final = ("features", "own", "past", "there")
OUTPUTS: Final = ("click", "convert")
SCHEMA: Final = 1
_VECTORS, _ABOUT = "items.npy", "deep.json"
_CELLS: Final = 4_096  # items of one call: what it computes on the way stays in the cache
Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """features, items, width, history: F, N, E and H; epoch: the one that was kept, from 1; held_out: the loss after
    each; schema: of the files."""

    features: int
    items: int
    width: int
    history: Annotated[int, msgspec.Meta(ge=1, le=LONGEST)]
    epoch: int
    held_out: tuple[float, ...]
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class DeepNet:
    """vectors: `[N, E]`; an item beyond them came after training and is the zero vector; graph: the model's bytes."""

    about: About
    vectors: NDArray[np.float32]
    graph: bytes
    model: OnnxModel

    def raw(self, inputs: Inputs, threads: int = 1) -> tuple[Floats, Floats]:
        """Log-odds of a click, and of a conversion once clicked, `[n]` each; the same for any number of threads."""
        click, convert = np.empty(len(inputs)), np.empty(len(inputs))

        def score(part: tuple[Places, NDArray[np.bool_]]) -> None:
            places, mask = part
            found = self.model.run(**self._arrays(inputs, places))
            for target, values in zip((click, convert), found, strict=True):
                target[places[mask]] = values[mask]

        parts = list(pages(inputs.request))
        if threads == 1 or len(parts) == 1:
            for part in parts:
                score(part)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(score, parts))
        return click, convert

    def _arrays(self, inputs: Inputs, places: Places) -> dict[str, NDArray[np.float32]]:
        """What the graph reads of padded items `[R, K]`."""
        past = cut_history(inputs.history[inputs.request[places[:, 0]]], self.about.history)
        return {
            "features": inputs.features[places],
            "own": self._vectors(inputs.item[places]),
            "past": self._vectors(past),
            "there": (past >= 0).astype(np.float32),
        }

    def _vectors(self, item: NDArray[np.int32]) -> NDArray[np.float32]:
        known = (item >= 0) & (item < len(self.vectors))
        found: NDArray[np.float32] = self.vectors[np.where(known, item, 0)]
        if not known.all():
            found[~known] = 0.0
        return found

    def save(self, folder: Path) -> None:
        (folder / GRAPH).write_bytes(self.graph)
        np.save(folder / _VECTORS, self.vectors, allow_pickle=False)
        (folder / _ABOUT).write_bytes(msgspec.json.encode(self.about))

    @classmethod
    def open(cls, folder: Path, features: int) -> "DeepNet":
        """features: how many it will be given. Raises ArtifactError when the files are not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=About)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(_ABOUT, f"a description of a network ({error})", place=str(folder)) from error
        if about.schema != SCHEMA or about.features != features:
            received = f"schema {about.schema} with {about.features}"
            expected = f"schema {SCHEMA} with {features} features; train again"
            raise ArtifactError(_ABOUT, expected, place=str(folder), received=received)
        vectors = read_array(folder / _VECTORS)
        if vectors.shape != (about.items, about.width) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            expected = f"finite float32 of shape {(about.items, about.width)}"
            raise ArtifactError(_VECTORS, expected, place=str(folder), received=f"{vectors.dtype} {vectors.shape}")
        model = OnnxModel.open(folder / GRAPH, INPUTS, OUTPUTS)
        net = cls(about, vectors, (folder / GRAPH).read_bytes(), model)
        net._prove(folder)
        return net

    def _prove(self, folder: Path) -> None:
        """A graph may take arrays of other shapes than it is going to be given: score two requests of three items."""
        shapes = ((2, 3, self.about.features), (2, 3, self.about.width), (2, self.about.history, self.about.width))
        arrays = [np.zeros(shape, dtype=np.float32) for shape in (*shapes, (2, self.about.history))]
        try:
            found = self.model.run(**dict(zip(INPUTS, arrays, strict=True)))
        except Exception as error:  # the runtime raises classes of its own that share no base
            raise ArtifactError(GRAPH, f"a graph that fits {_ABOUT} ({error})", place=str(folder)) from error
        if any(each.shape != (2, 3) or not np.isfinite(each).all() for each in found):
            raise ArtifactError(GRAPH, "one finite number for each item", place=str(folder))


def cut_history(history: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """The latest `length` of `[R, h]`, padded with -1 in front where there are fewer."""
    missing = max(0, length - history.shape[1])
    return np.pad(history[:, max(0, history.shape[1] - length) :], ((0, 0), (missing, 0)), constant_values=-1)


def pages(request: NDArray[Any], most: int = _CELLS) -> Iterator[tuple[Places, NDArray[np.bool_]]]:
    """Rows by request, requests of like size together: their places `[R, K]`, a mask of which are real, in parts of
    at most about `most` places. request: `[n]` numbers in any order."""
    order = np.argsort(request, kind="stable")
    _, start, sizes = np.unique(request[order], return_index=True, return_counts=True)
    by_size = np.argsort(sizes, kind="stable")
    start, sizes = start[by_size], sizes[by_size]
    first = 0
    while first < len(sizes):
        # The longest of a part is its last; each further request may be longer still.
        cells = np.arange(1, len(sizes) - first + 1) * sizes[first:]
        last = first + max(1, int(np.searchsorted(cells, most, side="right")))
        within = np.arange(int(sizes[last - 1]))
        mask = within < sizes[first:last, None]
        yield order[start[first:last, None] + np.where(mask, within, 0)], mask
        first = last
