"""The events taken over HTTP: one table, durable before anyone is told, idempotent by `event_id`.

One thread a process writes. What waits when it comes round goes into one transaction (group commit), so that many
callers share one fsync. `seq` is the order of commit in every process that reads the table: SQLite has one writer
at a time, PostgreSQL takes a lock for the length of the transaction.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.errors import InputError, PodiumError

_GROUP_ROWS: Final = 20_000  # rows of one transaction, so that no caller waits long for others
_WAITING: Final = 4_096  # batches that may wait for the writer

_TABLES = sa.MetaData()
_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts by itself only in an INTEGER key
_EVENTS = sa.Table(
    "events",
    _TABLES,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(160), nullable=False, unique=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("user_id", sa.String(128), index=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # a number is never given twice, also after its row was forgotten
)
_FORGOTTEN = sa.Table(
    "forgotten",
    _TABLES,
    sa.Column("user_id", sa.String(128), primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
)


class StoreFullError(PodiumError):
    """More batches wait for the disk than are allowed to."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event to keep. `body`: its JSON as it came; `time` and `received` in ms are what counts."""

    event_id: str
    type: str
    user_id: str | None
    time: int
    received: int
    body: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A kept event: `seq` grows with the order of commit."""

    seq: int
    type: str
    received: int
    body: str


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one batch. last: the largest `seq` committed so far."""

    accepted: int
    duplicates: int
    last: int


_Work = Callable[[sa.Connection], Any]


@dataclass(frozen=True, slots=True)
class _Job:
    work: _Work
    rows: int
    done: "Future[Any]"


class EventStore:
    """Open with a SQLAlchemy URL (`sqlite:///path`, `postgresql+psycopg://...`), close when done."""

    def __init__(self, url: str) -> None:
        self._db = open_database(url, "FULL", _TABLES)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, name="event-store", daemon=True)
        self._writer.start()

    def submit(self, rows: Sequence[Row]) -> "Future[Appended]":
        """Keep rows; the future is done when they are on the disk. Raises StoreFullError."""
        return self._queue(lambda connection: _insert(connection, rows), len(rows))

    def append(self, rows: Sequence[Row]) -> Appended:
        """Keep rows and wait until they are on the disk."""
        return self.submit(rows).result()

    def forget(self, user_id: str) -> "Future[int]":
        """Remove a user's events and remember that it was done; how many events there were."""
        return self._queue(lambda connection: _forget(connection, user_id), 1)

    def forgotten(self) -> dict[str, int]:
        """How many times each user was forgotten."""
        with self._db.connect() as connection:
            return {str(user): int(times) for user, times in connection.execute(sa.select(_FORGOTTEN))}

    def since(self, seq: int, limit: int = 50_000) -> list[Stored]:
        """At most `limit` events after `seq`, in order of commit."""
        columns = (_EVENTS.c.seq, _EVENTS.c.type, _EVENTS.c.received, _EVENTS.c.body)
        wanted = sa.select(*columns).where(_EVENTS.c.seq > seq).order_by(_EVENTS.c.seq).limit(limit)
        with self._db.connect() as connection:
            return [Stored(*row) for row in connection.execute(wanted)]

    def count(self) -> int:
        with self._db.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(_EVENTS)) or 0)

    def pragma(self, name: str) -> str:
        """A setting of the SQLite connection, for checks of durability."""
        with self._db.connect() as connection:
            return str(connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    def close(self) -> None:
        """Write what waits, then stop."""
        self._jobs.put(None)
        self._writer.join()
        self._db.dispose()

    def _queue(self, work: _Work, rows: int) -> "Future[Any]":
        job = _Job(work, rows, Future())
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise StoreFullError("too many batches of events wait for the disk") from None
        return job.done

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            group, rows, last = [job], job.rows, False
            while rows < _GROUP_ROWS and not self._jobs.empty():
                waiting = self._jobs.get()
                if waiting is None:
                    last = True
                    break
                group.append(waiting)
                rows += waiting.rows
            self._commit(group)
            if last:
                return

    def _commit(self, taken: Sequence[_Job]) -> None:
        group = [job for job in taken if job.done.set_running_or_notify_cancel()]
        try:
            with self._db.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
                results = [job.work(connection) for job in group]
        except Exception as error:  # whatever failed, nothing was kept, and each caller must learn it
            for job in group:
                job.done.set_exception(error)
            return
        for job, result in zip(group, results, strict=True):
            job.done.set_result(result)


def open_database(url: str, synchronous: str, tables: sa.MetaData) -> sa.Engine:
    """A SQLAlchemy engine with these tables; on SQLite in WAL mode with the given `synchronous` (FULL, OFF, ...).

    Raises InputError when there is no database to be opened; passwords of `url` are not told.
    """
    engine = sa.create_engine(url)

    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for setting in ("busy_timeout=10000", "journal_mode=WAL", f"synchronous={synchronous}"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", configure)
    try:
        with engine.begin() as connection:
            # One statement each, so that workers that start together do not trip over each other's tables.
            for table in tables.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise InputError("database", f"one that can be opened ({error.orig})", place=str(engine.url)) from error
    return engine


def _insert(connection: sa.Connection, rows: Sequence[Row]) -> Appended:
    accepted = 0
    if rows:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(_EVENTS).on_conflict_do_nothing(index_elements=["event_id"])
        accepted = connection.execute(statement, [asdict(row) for row in rows]).rowcount
    last = connection.scalar(sa.select(sa.func.max(_EVENTS.c.seq)))
    return Appended(accepted, len(rows) - accepted, int(last or 0))


def _forget(connection: sa.Connection, user_id: str) -> int:
    removed = connection.execute(sa.delete(_EVENTS).where(_EVENTS.c.user_id == user_id)).rowcount
    again = sa.update(_FORGOTTEN).where(_FORGOTTEN.c.user_id == user_id).values(times=_FORGOTTEN.c.times + 1)
    if not connection.execute(again).rowcount:
        connection.execute(sa.insert(_FORGOTTEN).values(user_id=user_id, times=1))
    return int(removed)
