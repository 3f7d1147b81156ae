"""Indexes of every kind over the same vectors, and a device that stands in for a GPU."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from retrieval.gpu import DEEPEST, Device, OnDevice
from retrieval.nearest import Exact, Found, VectorIndex, Vectors, WithLive
from retrieval.vectors import VectorConfig, build_index, open_index

DIM = 16
EXACT = "exact", "with live", "device", "gpu flat"
KINDS = (*EXACT, "ivf", "ivf with live", "gpu ivf", "gpu cagra")
LISTS = VectorConfig(exact_below=0)


@dataclass
class FakeDevice:
    """As a GPU index: finds the nearest of all items, knows no filters, belongs to one thread, and may fail.

    calls: queries of each call; fails: what to raise; held: blocks each call until it is set.
    """

    vectors: Vectors
    fails: Exception | None = None
    held: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    calls: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def make(self) -> Device:
        self.threads.add(threading.get_ident())
        return self.search

    def search(self, queries: Vectors, k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        self.threads.add(threading.get_ident())
        self.calls.append(len(queries))
        self.entered.set()
        if self.held is not None:
            assert self.held.wait(10)
        if self.fails is not None:
            raise self.fails
        assert k <= DEEPEST
        product = queries @ self.vectors.T
        items = np.full((len(queries), k), -1, np.int64)
        items[:, : product.shape[1]] = np.argsort(-product, axis=1, kind="stable")[:, :k]
        return items, items


def vectors_of(size: int, seed: int = 0) -> Vectors:
    """Clusters of unit vectors, as items of a catalogue lie."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, DIM))
    points = centres[rng.integers(0, 20, size)] + 0.5 * rng.standard_normal((size, DIM))
    return np.ascontiguousarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


def queries_of(count: int) -> Vectors:
    return vectors_of(count, seed=1)


def index_of(kind: str, vectors: Vectors, folder: Path) -> VectorIndex:
    if kind == "exact":
        return Exact.of(vectors)
    if kind == "device":
        return OnDevice(Exact.of(vectors), vectors, FakeDevice(vectors).make, "fake")
    if kind.endswith("with live"):
        half = len(vectors) // 2
        base = index_of("ivf" if kind.startswith("ivf") else "exact", vectors[:half], folder)
        return WithLive(base, Exact.of(vectors[half:]))
    build_index(vectors, LISTS, folder)
    if kind == "ivf":
        return open_index(folder, "cpu")
    return open_index(folder, "cuda", "flat" if kind == "gpu flat" else "ivf" if kind == "gpu ivf" else "cagra")


def brute_force(vectors: Vectors, queries: Vectors, k: int, allowed: list[Mask] | None = None) -> Found:
    """By the definition, in double precision and without cleverness."""
    score = np.full((len(queries), k), -np.inf, np.float32)
    item = np.full((len(queries), k), -1, np.int32)
    for row, query in enumerate(queries):
        may = range(len(vectors)) if allowed is None else np.flatnonzero(allowed[row])
        pairs = sorted((-float(np.float32((vectors[i] * query).sum())), int(i)) for i in may)[:k]
        score[row, : len(pairs)] = [-value for value, _ in pairs]
        item[row, : len(pairs)] = [place for _, place in pairs]
    return score, item


def in_threads(count: int, work: Callable[[int], None]) -> list[Exception]:
    """Run work(0), work(1), ... at the same time; what they raised."""
    raised: list[Exception] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            gate.wait(10)
            work(number)
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised
