"""The events taken over HTTP: durable before anyone is told, counted once each by `event_id`, forgettable.

One thread a process writes, in groups (see `writer`). `seq` is the order of commit in every process that reads the
table: SQLite has one writer at a time, PostgreSQL takes a lock for the length of the transaction.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

import sqlalchemy as sa

from pipeline.logs.storage import rows
from pipeline.logs.storage.cleaning import Cleaner
from pipeline.logs.storage.database import DiskFullError, StoreBrokenError, StoreFullError, named, open_database
from pipeline.logs.storage.forgotten import Forgotten, Mark, digest
from pipeline.logs.storage.rows import Row, Stored
from pipeline.logs.storage.schema import EVENTS, FORGOTTEN, TABLES, head, settle_schema
from pipeline.logs.storage.version import Version
from pipeline.logs.storage.writer import Appended, Limits, Writer

__all__ = [
    "Appended",
    "DiskFullError",
    "EventStore",
    "Forgotten",
    "Limits",
    "Row",
    "StoreBrokenError",
    "StoreFullError",
    "Stored",
    "open_database",
]

SEEN_MS: Final = 30 * 86_400_000  # how long the id of an event that has left is still a duplicate
_RELEASE_ROWS: Final = 2_000  # of one transaction, so that no caller waits for it


class EventStore:
    """Open with a SQLAlchemy URL (`sqlite:///path`, `postgresql+psycopg://...`), close when done.

    Every method may be called from any thread. They raise DiskFullError and StoreBrokenError, or their futures do:
    nothing of that batch was kept as far as the store knows, and posting it again is safe.
    """

    def __init__(self, url: str, limits: Limits = Limits()) -> None:  # noqa: B008  a frozen value
        self._db = open_database(url, "FULL", TABLES, limits.busy_ms)
        try:
            with named(self._db):
                told = settle_schema(self._db)
            self._version = Version(self._db)
        except BaseException:
            self._db.dispose()
            raise
        self.id, self._salt = told["id"], bytes.fromhex(told["salt"])
        self._known: tuple[int, Forgotten] | None = None
        self._cleaner = Cleaner(self._db)
        self._writer = Writer(self._db, self._salt, limits, self._cleaner)

    def submit(self, batch: Sequence[Row]) -> "Future[Appended]":
        """Keep rows; the future is done when they are on the disk. Raises StoreFullError."""
        return self._writer.keep(batch)

    def append(self, batch: Sequence[Row]) -> Appended:
        """Keep rows and wait until they are on the disk."""
        return self.submit(batch).result()

    def version(self) -> object:
        """A value that changes whenever a process has committed something; compare, don't interpret."""
        return self._version.value()

    def since(self, seq: int, limit: int = 50_000) -> list[Stored]:
        """At most `limit` events after `seq`, in order of commit."""
        with named(self._db), self._db.connect() as connection:
            return rows.read_since(connection, seq, limit)

    def head(self) -> int:
        """The largest `seq` ever committed; 0 before the first."""
        with named(self._db), self._db.connect() as connection:
            return head(connection)

    def count(self) -> int:
        with named(self._db), self._db.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) or 0)

    def release(self, seq: int, before: int) -> int:
        """Let go of events up to `seq` that happened and came before `before` (ms); how many there were.

        They are kept elsewhere. Their ids stay duplicates for 30 days after they came. A few thousand leave at a time:
        others write meanwhile.
        """
        total, after = 0, -1

        def some(connection: sa.Connection) -> tuple[int, int | None]:
            return rows.release(connection, self._salt, after, seq, before, _RELEASE_ROWS)

        going: int | None = after
        while going is not None:
            after = going
            left, going = self._writer.do(some).result()
            total += left
        expired = time.time_ns() // 1_000_000 - SEEN_MS
        self._writer.do(lambda connection: rows.drop_seen(connection, expired)).result()
        return total

    def forget(self, user_id: str) -> "Future[int]":
        """Remove a user's events and remember that it was done, but not of whom; how many events there were.

        Of somebody who never had any nothing is to be cleaned away.

        On SQLite no byte of the id is left in the database's files, once nobody reads from the write-ahead log; on
        PostgreSQL the rows are left to a VACUUM that is started at once.
        """
        return self._writer.do(lambda connection: rows.forget(connection, self._salt, user_id), dirties=True)

    def digest(self, user_id: str) -> bytes:
        """What stands for a user without naming one, to whoever lacks the store's key."""
        return digest(self._salt, user_id)

    def forgotten(self) -> Forgotten:
        """Everybody who was ever forgotten; cheap to ask again, since nobody leaves and `times` only grows."""
        with named(self._db), self._db.connect() as connection:
            often = int(connection.scalar(sa.select(sa.func.sum(FORGOTTEN.c.times))) or 0)
        known = self._known
        if known is None or known[0] != often:
            self._known = known = (often, self._forgotten(sa.true()))
        return known[1]

    def pending(self) -> Forgotten:
        """Those whose events may still be in logs."""
        return self._forgotten(sa.not_(FORGOTTEN.c.done))

    def settled(self, forgotten: Forgotten) -> None:
        """Note that logs hold nothing of these users any more, unless they were forgotten again meanwhile."""

        def work(connection: sa.Connection) -> None:
            for hashed, mark in forgotten.marks.items():
                this = (FORGOTTEN.c.hash == hashed) & (FORGOTTEN.c.times == mark.times)
                connection.execute(sa.update(FORGOTTEN).where(this).values(done=True))

        self._writer.do(work).result()

    def pragma(self, name: str) -> str:
        """A setting of the SQLite connection, for checks of durability."""
        with named(self._db), self._db.connect() as connection:
            return str(connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    def close(self) -> None:
        """Write what waits, then stop."""
        self._writer.close()
        self._cleaner.close()
        self._version.close()
        self._db.dispose()

    def _forgotten(self, wanted: sa.ColumnElement[bool]) -> Forgotten:
        columns = (FORGOTTEN.c.hash, FORGOTTEN.c.times, FORGOTTEN.c.seq)
        with named(self._db), self._db.connect() as connection:
            found = connection.execute(sa.select(*columns).where(wanted))
            return Forgotten(self._salt, {bytes(hashed): Mark(times, seq) for hashed, times, seq in found})
