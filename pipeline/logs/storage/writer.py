"""The one thread of a process that writes to the event store, and those who wait for it.

What waits when it comes round goes into one transaction (group commit; Gray and Reuter 1993), so that many callers
share one fsync. What may wait is bounded in batches and in bytes: a caller is refused before memory grows.
"""

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from pipeline.logs.storage.database import IMMEDIATE, DiskFullError, StoreBrokenError, StoreFullError, failure, lock
from pipeline.logs.storage.rows import Row, insert
from pipeline.logs.storage.schema import head

_RETRY_SECONDS: Final = 1.0  # between the first two tries to clean
_LONGEST_SECONDS: Final = 30.0  # between two tries


@dataclass(frozen=True, slots=True)
class Limits:
    """waiting: batches; waiting_bytes: memory of their bodies; group_rows: rows of one transaction, so that no caller
    waits long for others; busy_ms: how long a transaction waits for those of other processes.
    """

    waiting: int = 4_096
    waiting_bytes: int = 64 * 1024 * 1024
    group_rows: int = 20_000
    busy_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one batch. last: the largest `seq` committed so far."""

    accepted: int
    duplicates: int
    last: int


@dataclass(frozen=True, slots=True)
class _Job:
    """Rows to keep, or other work. dirties: what it removes is to be cleaned away before anyone is told."""

    batch: Sequence[Row] | None
    work: Callable[[sa.Connection], Any] | None = None
    bytes: int = 0
    dirties: bool = False
    done: "Future[Any]" = field(default_factory=Future)


class Writer:
    """clean: called on the thread when a job that dirties was committed, then now and then until it returns true."""

    def __init__(self, engine: sa.Engine, salt: bytes, limits: Limits, clean: Callable[[], bool]) -> None:
        self._db, self._salt, self._limits, self._clean = engine, salt, limits, clean
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._waiting = self._bytes = 0
        self._closed = False
        self._connection: sa.Connection | None = None
        self._clean_at, self._delay = 0.0, _RETRY_SECONDS  # a process before us may have left something
        self._thread = threading.Thread(target=self._run, name="event-store", daemon=True)
        self._thread.start()

    def keep(self, batch: Sequence[Row]) -> "Future[Appended]":
        size = sum(sys.getsizeof(row.body) for row in batch)
        return self._enter(_Job(batch, bytes=size))

    def do(self, work: Callable[[sa.Connection], Any], dirties: bool = False) -> "Future[Any]":
        """Run `work` in a transaction, in its turn."""
        return self._enter(_Job(None, work, dirties=dirties))

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._door:
            closed, self._closed = self._closed, True
            if not closed:
                self._jobs.put(None)
        self._thread.join()

    def _enter(self, job: _Job) -> "Future[Any]":
        limits = self._limits
        with self._door:
            if self._closed:
                raise StoreBrokenError("the event store is closed")
            if self._waiting >= limits.waiting or (self._bytes and self._bytes + job.bytes > limits.waiting_bytes):
                told = f"{self._waiting} batches of {self._bytes / 2**20:.1f} MiB"
                raise StoreFullError(f"{told} of events wait for the disk; post again in a moment")
            self._waiting += 1
            self._bytes += job.bytes
            self._jobs.put(job)
        return job.done

    def _leave(self, group: Iterable[_Job]) -> None:
        with self._door:
            for job in group:
                self._waiting -= 1
                self._bytes -= job.bytes

    def _run(self) -> None:
        going = True
        while going:
            group = self._group()
            jobs = [job for job in group if job is not None]
            going = len(jobs) == len(group)
            running = [job for job in jobs if job.done.set_running_or_notify_cancel()]
            outcomes = self._commit(running)
            self._leave(jobs)
            told = list(zip(running, outcomes, strict=True))
            _tell((job, outcome) for job, outcome in told if not job.dirties)
            if dirtied := [(job, outcome) for job, outcome in told if job.dirties]:
                self._clean_at, self._delay = 0.0, _RETRY_SECONDS
            self._tidy()
            _tell(dirtied)
        self._let_go()

    def _group(self) -> list[_Job | None]:
        """What waits, once something does; empty when it is time to clean. None, the end, is the last of all."""
        group: list[_Job | None] = []
        rows = 0
        patience = None if self._clean_at == math.inf else max(0.0, self._clean_at - time.monotonic())
        with suppress(queue.Empty):  # the end of the group: nobody waits any more
            while rows < self._limits.group_rows:
                job = self._jobs.get_nowait() if group else self._jobs.get(timeout=patience)
                group.append(job)
                if job is None:
                    break
                rows += len(job.batch or ())
        return group

    def _tidy(self) -> None:
        """Clean when it is time to; what readers still hold is tried again, less and less often."""
        if time.monotonic() >= self._clean_at:
            clean = self._clean()
            self._clean_at = math.inf if clean else time.monotonic() + self._delay
            self._delay = min(2 * self._delay, _LONGEST_SECONDS)

    def _commit(self, group: Sequence[_Job]) -> list[Any]:
        """Of each job its result, or the exception its caller is to meet."""
        if not group:
            return []
        try:
            return self._transaction(group)
        except Exception as error:  # nothing of the group was kept, and each caller must learn it
            told = failure(error, self._db)
        if isinstance(told, DiskFullError | StoreBrokenError):
            self._let_go()
        elif len(group) > 1:  # one of them is to blame: the others must not suffer
            return [outcome for job in group for outcome in self._commit([job])]
        return [told] * len(group)

    def _transaction(self, group: Sequence[_Job]) -> list[Any]:
        connection = self._connected()
        results: list[Any] = []
        with connection.begin():
            lock(connection, "events")
            for of_rows, run in groupby(group, key=lambda job: job.batch is not None):
                jobs = list(run)
                results += self._keep(connection, jobs) if of_rows else [self._work(connection, job) for job in jobs]
        return results

    def _keep(self, connection: sa.Connection, jobs: Sequence[_Job]) -> list[Appended]:
        batches = [job.batch or () for job in jobs]
        accepted = insert(connection, self._salt, batches)
        last = head(connection)
        return [Appended(new, len(batch) - new, last) for new, batch in zip(accepted, batches, strict=True)]

    @staticmethod
    def _work(connection: sa.Connection, job: _Job) -> Any:
        return job.work(connection) if job.work else None

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._db.connect().execution_options(begin=IMMEDIATE)
        return self._connection

    def _let_go(self) -> None:
        """Close the connection: what a failed fsync left in its cache, or in the kernel's, is unknown."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _tell(outcomes: Iterable[tuple[_Job, Any]]) -> None:
    for job, outcome in outcomes:
        if isinstance(outcome, Exception):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)
