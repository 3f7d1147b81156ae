"""The index over item vectors: exact while small, inverted lists when large, on a GPU where there is one.

The only home of Faiss (Douze et al., "The Faiss library", 2024; inverted lists: Jegou et al., PAMI 2011), imported
when it is needed: an exact index on the CPU needs none of its three builds.

Untrusted files: sizes, shapes, metric and item numbers are checked here, but a crafted `index.faiss` could still crash
Faiss while it reads it. What holds against that is the manifest: open the artifact, which compares the SHA-256 of every
file, before this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pipeline.artifacts import write_json
from pipeline.batch import Ints, Mask
from pipeline.config import Config
from pipeline.errors import ArtifactError, ConfigError, InputError
from pipeline.stored import read_array
from retrieval.gpu import DEEPEST, Device, OnDevice
from retrieval.nearest import (
    Allowed,
    Exact,
    Found,
    VectorIndex,
    Vectors,
    WithLive,
    checked,
    extended,
    grouped,
    longest,
    nothing,
    put,
    ranked,
)
from retrieval.probing import Probing

__all__ = ["Exact", "Inverted", "VectorConfig", "VectorIndex", "WithLive", "build_index", "extended", "open_index"]

ABOUT: Final = "index.json"
LISTS: Final = "index.faiss"
VECTORS: Final = "vectors.npy"

_FEW: Final = 0.01  # share of the items up to which looking at each beats looking through lists (measured)
_FEW_ITEMS: Final = 5_000  # and as many items, whatever the share
_WIDER: Final = 4  # times as many lists for a request that found too few
_SHARES: Final = (1.0, 0.1, 0.01)  # of items allowed, for which the lists to look through are measured
_HEADER: Final = 4096  # bytes of a Faiss file beside vectors, numbers and centroids, at most

OnGpu = Literal["flat", "ivf", "cagra"]


class VectorConfig(Config):
    exact_below: int = Field(default=100_000, ge=0, description="fewer items than this are searched exactly")
    lists: int | None = Field(default=None, ge=1, description="inverted lists; unset: about 4 sqrt(items)")
    depth: int = Field(default=100, ge=1, description="nearest items whose recall is measured")
    recall_goal: float = Field(
        default=0.95, gt=0, le=1, description="recall against exact search that sets how many lists are looked through"
    )
    queries: int = Field(default=200, ge=1, description="held-out queries the recall is measured on")
    seed: int = Field(default=0, ge=0, description="of the clustering and of the queries")


class About(Config):
    """`index.json`. probes: (share of the items allowed, lists to look through), shares falling; longest: the largest
    norm of a vector; recall: at the first share."""

    kind: Literal["exact", "ivf"]
    size: int = Field(ge=0)
    dim: int = Field(ge=1)
    longest: float = Field(ge=0)
    lists: int = Field(default=0, ge=0)
    depth: int = Field(default=1, ge=1)
    probes: tuple[tuple[float, int], ...] = ()
    recall: float = Field(default=1.0, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Inverted:
    """Looks only through the lists nearest to the query; through all items where a filter leaves few, or where the
    lists hold too few. The centroids of a batch and of one query may differ in the last bit, so once in many
    thousand requests a batch may look through another last list."""

    lists: Any
    exact: Exact
    about: About
    probing: Probing

    @property
    def size(self) -> int:
        return self.exact.size

    @property
    def dim(self) -> int:
        return self.exact.dim

    def search(self, queries: Vectors, k: int, allowed: Allowed = None) -> Found:
        queries = checked(queries, k, allowed, self.size, self.dim)
        found = nothing(len(queries), k)
        for mask, rows in grouped(allowed, len(queries)):
            count = self.size if mask is None else int(np.count_nonzero(mask))
            few = mask is not None and count <= max(_FEW * self.size, _FEW_ITEMS)
            left = rows if few or count <= k else self._listed(mask, count, rows, queries, k, found)
            if left:
                best = self.exact.search(queries[left], k, None if mask is None else [mask] * len(left))
                for row, score, item in zip(left, *best, strict=True):
                    put(found, row, (score, item))
        return found

    def reconstruct(self, items: Ints) -> Vectors:
        return self.exact.reconstruct(items)

    def describe(self) -> Mapping[str, object]:
        about = self.about
        return {"kind": "ivf", "device": "cpu", "size": self.size, "lists": about.lists, "recall": about.recall}

    def _listed(
        self, mask: Mask | None, count: int, rows: list[int], queries: Vectors, k: int, found: Found
    ) -> list[int]:
        """Fill in what the lists find; the rows for which they held fewer than there are."""
        if mask is None:
            probes = np.full(len(rows), self.probing.wanted(1.0, k))
        else:
            probes = self.probing.lists(queries[rows], mask, count / self.size, k)
        left = np.array(rows)
        for times in (1, _WIDER):
            wide = np.minimum(probes * times, self.about.lists)
            short = []
            for lists in np.unique(wide):
                own = left[wide == lists]
                for row, near in zip(own, _nearest(self.lists, queries[own], k, int(lists), mask), strict=True):
                    items = near[near >= 0]
                    if len(items) < min(k, count):
                        short.append(int(row))
                    else:
                        put(found, row, ranked(self.exact.vectors, queries[row], items, k))
            again = np.isin(left, short)
            left, probes = left[again], probes[again]
        return [int(row) for row in left]


def build_index(
    vectors: Vectors, config: VectorConfig, folder: Path, queries: Vectors | None = None
) -> Mapping[str, float]:
    """Write the index of `vectors` `[N, D]` and return its metrics.

    queries: `[Q, D]`, such as will be asked; without, items moved by noise stand in. The lists to look through are
    the fewest that reach `recall_goal` on them, for each of three shares of allowed items. The same input gives the
    same bytes. Raises InputError for vectors that are not finite or not a table.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise InputError("vectors", "finite numbers of shape [items, dimensions]", received=vectors.shape)
    np.save(folder / VECTORS, vectors, allow_pickle=False)
    size, dim = vectors.shape
    about = About(kind="exact", size=size, dim=dim, longest=longest(vectors))
    if size >= max(config.exact_below, 1):
        about = _build_lists(Exact(vectors, about.longest), config, folder, queries)
    write_json(folder / ABOUT, about.model_dump(mode="json"))
    probes = {f"probes_at_{share:g}": float(count) for share, count in about.probes}
    recall = {f"recall@{config.depth}": about.recall}
    return {"items": float(size), "dim": float(dim), "lists": float(about.lists), **recall, **probes}


def open_index(folder: Path, device: str = "auto", on_gpu: OnGpu = "flat") -> VectorIndex:
    """Open what `build_index` wrote.

    device: `cpu`; `cuda`; `auto` takes the GPU for an index that is too large for exact search on the CPU, where
    Faiss sees one, and the CPU otherwise (`describe` says which). on_gpu: how a GPU searches; `flat` is exact.
    Raises ArtifactError for files that are not those of an index, ConfigError when Faiss or the GPU is missing.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigError("device", "auto, cpu or cuda", received=device)
    about = _read_about(folder / ABOUT)
    exact = Exact(_read_vectors(folder / VECTORS, about), about.longest)
    host: VectorIndex = exact
    if about.kind == "ivf":
        lists, probing = _read_lists(folder / LISTS, about)
        host = Inverted(lists, exact, about, probing)
    if device == "cpu" or (device == "auto" and (about.kind == "exact" or not _gpus())):
        return host
    if not _gpus():
        raise ConfigError("device", "auto or cpu: the installed Faiss sees no GPU", received=device)
    kind: OnGpu = "flat" if about.kind == "exact" else on_gpu
    index = OnDevice(host, exact.vectors, _on_gpu(exact.vectors, host, kind), kind)
    if device == "cuda" and index.lost:
        raise ConfigError("device", f"auto or cpu: the GPU did not take the index ({index.lost})", received=device)
    return index


def _build_lists(exact: Exact, config: VectorConfig, folder: Path, queries: Vectors | None) -> About:
    faiss = _faiss()
    count = min(config.lists or 4 * isqrt(exact.size), exact.size)
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(exact.dim), exact.dim, count, faiss.METRIC_INNER_PRODUCT)
    lists.cp.seed, lists.cp.niter, lists.cp.spherical = config.seed + 1, 10, True
    # More points move no centroid by much; fewer than Faiss likes would only make it print.
    lists.cp.max_points_per_centroid, lists.cp.min_points_per_centroid = 64, 1
    lists.train(exact.vectors)
    lists.add(exact.vectors)
    faiss.write_index(lists, str(folder / LISTS))
    rng = np.random.default_rng(config.seed)
    asked = _held_out(exact.vectors, queries, config.queries, rng)
    probes: list[tuple[float, int]] = []
    recalls: list[float] = []
    for share in _SHARES:
        mask = None if share == 1 else rng.random(exact.size) < share
        fewest = probes[-1][1] if probes else 1
        chosen, recall = _fewest_probes(lists, exact, asked, mask, config, fewest)
        probes.append((share, chosen))
        recalls.append(recall)
    return About(
        kind="ivf",
        size=exact.size,
        dim=exact.dim,
        longest=exact.longest,
        lists=count,
        depth=config.depth,
        probes=tuple(probes),
        recall=recalls[0],
    )


def _fewest_probes(
    lists: Any, exact: Exact, queries: Vectors, mask: Mask | None, config: VectorConfig, fewest: int
) -> tuple[int, float]:
    """The first of 1, 2, 3, 4, 6, 8, 12, ... lists that reaches the goal, and the recall there."""
    _, truth = exact.search(queries, config.depth, None if mask is None else [mask] * len(queries))
    most = int(lists.nlist)
    steps = sorted({min(most, step << power) for power in range(most.bit_length() + 1) for step in (2, 3)} | {1})
    recall = 0.0
    for probes in (step for step in steps if step >= fewest):
        found = _nearest(lists, queries, config.depth, probes, mask)
        hits = [np.isin(own[own >= 0], got).sum() for own, got in zip(truth, found, strict=True)]
        recall = float(np.sum(hits) / max(1, np.count_nonzero(truth >= 0)))
        if recall >= config.recall_goal:
            return probes, recall
    return most, recall


def _held_out(vectors: Vectors, queries: Vectors | None, most: int, rng: np.random.Generator) -> Vectors:
    if queries is not None and len(queries):
        return np.ascontiguousarray(queries[rng.permutation(len(queries))[:most]], dtype=np.float32)
    near = vectors[rng.permutation(len(vectors))[:most]]
    noise = rng.standard_normal(near.shape, dtype=np.float32)
    scale = np.linalg.norm(near, axis=1, keepdims=True) / np.sqrt(near.shape[1]) / 2
    return np.asarray(near + noise * scale, dtype=np.float32)


def _nearest(lists: Any, queries: Vectors, k: int, probes: int, mask: Mask | None) -> NDArray[np.int64]:
    """Items `[R, k]`, -1 = none, of the nearest `probes` lists."""
    faiss = _faiss()
    options: dict[str, Any] = {"nprobe": probes}
    if mask is not None:
        options["sel"] = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    _, items = lists.search(queries, k, params=faiss.SearchParametersIVF(**options))
    return np.asarray(items, dtype=np.int64)


def _read_about(path: Path) -> About:
    try:
        about = About.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise ArtifactError(path.name, f"the description of an index; train again ({error})", place=str(path)) from None
    shares = [share for share, _ in about.probes]
    sound = all(0 < share <= 1 and 1 <= count <= about.lists for share, count in about.probes)
    if about.kind == "ivf" and not (shares and sound and shares == sorted(set(shares), reverse=True)):
        raise ArtifactError("probes", "lists to look through, by falling shares; train again", place=str(path))
    return about


def _read_vectors(path: Path, about: About) -> Vectors:
    vectors = read_array(path)
    if vectors.dtype != np.float32 or vectors.shape != (about.size, about.dim) or not vectors.flags.c_contiguous:
        expected = f"float32 of shape {(about.size, about.dim)}; train again"
        raise ArtifactError(path.name, expected, place=str(path), received=f"{vectors.dtype} {vectors.shape}")
    return np.asarray(vectors)


def _read_lists(path: Path, about: About) -> tuple[Any, Probing]:
    faiss = _faiss()
    wanted = (about.size + about.lists) * (4 * about.dim + 8)
    try:
        size = path.stat().st_size
        if not wanted <= size <= wanted + _HEADER:
            raise ArtifactError(path.name, f"about {wanted} bytes; train again", place=str(path), received=size)
        lists = faiss.read_index(str(path))
    except (OSError, RuntimeError) as error:
        raise ArtifactError(path.name, f"a readable Faiss index; train again ({error})", place=str(path)) from None
    if not isinstance(lists, faiss.IndexIVFFlat):
        raise ArtifactError(path.name, "inverted lists; train again", place=str(path), received=type(lists).__name__)
    have = lists.ntotal, lists.d, lists.nlist, lists.metric_type
    if have != (about.size, about.dim, about.lists, faiss.METRIC_INNER_PRODUCT):
        raise ArtifactError(path.name, "the size of index.json; train again", place=str(path), received=have)
    held = lists.invlists
    filled = [number for number in range(lists.nlist) if held.list_size(number)]
    items = [faiss.rev_swig_ptr(held.get_ids(each), held.list_size(each)).copy() for each in filled]
    item = np.concatenate([*items, np.empty(0, np.int64)])
    inside = len(item) == about.size and ((item >= 0) & (item < about.size)).all()
    home = np.full(about.size, -1, np.int32)
    if inside:
        home[item] = np.repeat(filled, [len(own) for own in items])
    if not inside or (home < 0).any() or lists.quantizer.ntotal != about.lists:
        raise ArtifactError(path.name, "each item in one list; train again", place=str(path))
    return lists, Probing.of(lists.quantizer.reconstruct_n(0, about.lists), home, about.probes, about.depth)


def _gpus() -> int:
    """GPUs that Faiss can use; 0 for its CPU build."""
    return int(_faiss().get_num_gpus())


def _on_gpu(vectors: Vectors, host: VectorIndex, kind: OnGpu) -> Callable[[], Device]:
    """What makes the index on the first GPU; to be called in the thread that will own it."""

    def make() -> Device:
        faiss = _faiss()
        resources = faiss.StandardGpuResources()
        options: dict[str, Any] = {}
        if kind == "cagra":
            if "CUVS" not in faiss.get_compile_options().upper():
                raise ConfigError("on_gpu", "flat or ivf: this Faiss build has no cuVS; install gpu-cuvs")
            index = faiss.GpuIndexCagra(resources, vectors.shape[1], faiss.METRIC_INNER_PRODUCT)
            index.train(vectors)
            options["params"] = faiss.SearchParametersCagra(itopk_size=DEEPEST)
        elif kind == "ivf" and isinstance(host, Inverted):
            index = faiss.index_cpu_to_gpu(resources, 0, host.lists)
            index.nprobe = min(host.about.probes[-1][1], DEEPEST)
        else:
            index = faiss.GpuIndexFlatIP(resources, vectors.shape[1])
            index.add(vectors)
        # Resources must live as long as the index that uses them: the closure keeps both.
        return lambda queries, k: (resources, *index.search(queries, k, **options))[1:]

    return make


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError("faiss", f"install one of the extras cpu, gpu, gpu-cuvs ({error})") from None
    return faiss
