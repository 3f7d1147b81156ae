"""An index on a GPU, shared by many threads: one owner thread, micro-batches, filters made right, and the CPU when
the GPU is lost. Knows no Faiss: a device is any function that finds the nearest of all items.

Why so: Faiss's GPU resources may be used by one thread at a time; a GPU answers 64 queries in the time of one; its
classic indexes ignore filters of ids; and a lost device fails every later call of the process.
"""

import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Ints
from retrieval.nearest import Allowed, Found, VectorIndex, Vectors, checked, grouped, nothing, put, ranked

DEEPEST: Final = 2048  # nearest items that Faiss finds at once on a GPU

# queries `[R, D]`, k -> scores and item numbers `[R, k]`, best first, of all items, -1 = none.
Device = Callable[[Vectors, int], tuple[NDArray[Any], NDArray[Any]]]

_SPARE: Final = 1.3  # over-fetched for a filter, above its share: what it lets through varies
_MORE: Final = 16  # and at least: room for ties, rounding and items found twice


class LostDeviceError(RuntimeError):
    """The device failed, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Job:
    queries: Vectors
    k: int
    answer: "Future[NDArray[np.int64]]" = field(default_factory=Future)


class Owner:
    """The one thread that makes a device's index and alone touches it.

    most: queries in one call; wait: seconds to wait for company after the first. Only a crowd is waited for: when the
    call before answered a single request, the next is not held up. Raises LostDeviceError when `make` fails.
    """

    def __init__(self, make: Callable[[], Device], *, most: int = 256, wait: float = 200e-6) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        ready: Future[None] = Future()
        threading.Thread(target=_own, args=(self._jobs, make, ready, most, wait), daemon=True).start()
        # The thread knows the queue alone, so an owner nobody holds any more ends its thread and frees the device.
        self._end = weakref.finalize(self, self._jobs.put, None)
        if (error := ready.exception()) is not None:
            raise LostDeviceError(str(error)) from error

    def submit(self, queries: Vectors, k: int) -> "Future[NDArray[np.int64]]":
        """Items `[R, k]` to come; the future fails with what the device raised. Raises LostDeviceError when closed."""
        job = Job(queries, k)
        with self._lock:
            if not self._end.alive:
                raise LostDeviceError("closed")
            self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """End the thread, after what was submitted before."""
        with self._lock:
            self._end()


class OnDevice:
    """A vector index whose items are looked up on a device, and on the CPU where the device cannot be right.

    host: the CPU form of the same items; vectors: `[N, D]`; make: gives the device's index, called in the thread that
    owns it; patience: seconds after which a silent device counts as lost. A lost device is not tried again: reopen
    the index. `fallbacks` counts the searches that the host answered for a lost device.
    """

    def __init__(
        self, host: VectorIndex, vectors: Vectors, make: Callable[[], Device], name: str, patience: float = 5.0
    ) -> None:
        self._host, self._vectors, self._name, self._patience = host, vectors, name, patience
        self._lock = threading.Lock()
        self.lost, self.fallbacks = "", 0
        self._owner: Owner | None = None
        try:
            self._owner = Owner(make)
        except LostDeviceError as error:
            self.lost = str(error) or "no device"

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def dim(self) -> int:
        return self._host.dim

    def search(self, queries: Vectors, k: int, allowed: Allowed = None) -> Found:
        queries = checked(queries, k, allowed, self.size, self.dim)
        if self.lost:
            return self._fall_back(queries, k, allowed)
        depth = np.zeros(len(queries), dtype=np.int64)
        counts = np.zeros(len(queries), dtype=np.int64)
        for mask, rows in grouped(allowed, len(queries)):
            counts[rows] = self.size if mask is None else np.count_nonzero(mask)
            depth[rows] = self._depth(int(counts[rows[0]]), k)
        asked = np.flatnonzero(depth)
        found = nothing(len(queries), k)
        left = np.flatnonzero(depth == 0).tolist()
        if len(asked):
            try:
                near = self._ask(queries[asked], int(depth.max()))
            except Exception as error:  # whatever a driver raises, the answer must come
                self._lose(error)
                return self._fall_back(queries, k, allowed)
            for row, items in zip(asked.tolist(), near, strict=True):
                if not self._keep(items, row, queries, k, allowed, int(counts[row]), found):
                    left.append(row)
        if left:
            masks = None if allowed is None else [allowed[row] for row in left]
            for row, score, item in zip(left, *self._host.search(queries[left], k, masks), strict=True):
                put(found, row, (score, item))
        return found

    def reconstruct(self, items: Ints) -> Vectors:
        return self._host.reconstruct(items)

    def describe(self) -> Mapping[str, object]:
        told = {**self._host.describe(), "fallbacks": self.fallbacks}
        return {**told, "lost": self.lost} if self.lost else {**told, "kind": self._name, "device": "cuda"}

    def close(self) -> None:
        """Free the device; the host answers from now on."""
        self._lose(LostDeviceError("closed"))

    def _depth(self, count: int, k: int) -> int:
        """How many of all items hold k of the `count` allowed, most probably; 0 when the device cannot find as many."""
        times = 1.0 if count == self.size else _SPARE * self.size / max(count, 1)
        depth = min(ceil(k * times) + _MORE, self.size)
        return depth if depth <= DEEPEST else 0

    def _ask(self, queries: Vectors, depth: int) -> NDArray[np.int64]:
        owner = self._owner
        if owner is None:
            raise LostDeviceError("closed")
        answer = owner.submit(queries, depth)
        try:
            return answer.result(self._patience)
        finally:
            answer.cancel()  # nobody waits for it any more

    def _keep(
        self, items: NDArray[np.int64], row: int, queries: Vectors, k: int, allowed: Allowed, count: int, found: Found
    ) -> bool:
        """Write the best of what the device found for a row; False when too few of it may be shown."""
        items = items[(items >= 0) & (items < self.size)]
        if allowed is not None:
            items = items[allowed[row][items]]
        items = np.unique(items)
        if len(items) < min(k, count):
            return False
        score, best = ranked(self._vectors, queries[row], items, len(items))
        if k < len(best) < count and score[k - 1] == score[-1]:
            return False  # more are tied than the device was asked for: which are the smaller items it did not say
        put(found, row, (score[:k], best[:k]))
        return True

    def _lose(self, error: Exception) -> None:
        with self._lock:
            self.lost = self.lost or f"{type(error).__name__}: {error}".strip(": ")
            owner, self._owner = self._owner, None
        if owner is not None:
            owner.close()

    def _fall_back(self, queries: Vectors, k: int, allowed: Allowed) -> Found:
        with self._lock:
            self.fallbacks += 1
        return self._host.search(queries, k, allowed)


def _own(
    jobs: "SimpleQueue[Job | None]", make: Callable[[], Device], ready: "Future[None]", most: int, wait: float
) -> None:
    try:
        device = make()
    except Exception as error:  # handed to the one who waits for it
        ready.set_exception(error)
        return
    ready.set_result(None)
    crowd = ended = False
    while not ended and (first := jobs.get()) is not None:
        batch, ended = _company(jobs, first, most, wait if crowd else 0.0)
        crowd = len(batch) > 1
        _answer(device, batch)


def _company(jobs: "SimpleQueue[Job | None]", first: Job, most: int, wait: float) -> tuple[list[Job], bool]:
    """The jobs that come within `wait` seconds, up to `most` queries; and whether the end came among them."""
    batch, rows, until = [first], len(first.queries), monotonic() + wait
    while rows < most:
        left = until - monotonic()
        try:
            job = jobs.get(timeout=left) if left > 0 else jobs.get_nowait()
        except Empty:
            break
        if job is None:
            return batch, True
        batch.append(job)
        rows += len(job.queries)
    return batch, False


def _answer(device: Device, batch: list[Job]) -> None:
    live = [job for job in batch if job.answer.set_running_or_notify_cancel()]
    if not live:
        return
    try:
        _, items = device(np.concatenate([job.queries for job in live]), max(job.k for job in live))
        found = np.asarray(items, dtype=np.int64)
    except Exception as error:  # belongs to those who asked
        for job in live:
            job.answer.set_exception(error)
        return
    low = 0
    for job in live:
        job.answer.set_result(found[low : low + len(job.queries), : job.k])
        low += len(job.queries)
