"""Has anybody committed something? Asked fifty times a second, so it must cost next to nothing."""

import threading
from typing import Any, Final

import sqlalchemy as sa

from pipeline.logs.storage.database import named

# SQLite: changes with every commit of another connection, and this one never writes. PostgreSQL: the transactions a
# reader would see, so that whoever saw it change reads what changed it; 13 or newer.
_QUERY: Final = {"sqlite": "PRAGMA data_version", "postgresql": "SELECT pg_current_snapshot()::text"}


class Version:
    """One connection of its own, shared by all threads. On SQLite it also keeps the write-ahead log's index alive."""

    def __init__(self, engine: sa.Engine) -> None:
        self._db = engine
        self._lock = threading.Lock()
        self._connection: Any = None
        self._opened = 0  # versions of two connections do not compare
        self.value()

    def value(self) -> tuple[int, object]:
        with self._lock, named(self._db):
            try:
                return self._ask()
            except Exception:
                self._close()
                raise

    def close(self) -> None:
        with self._lock:
            self._close()

    def _ask(self) -> tuple[int, object]:
        if self._connection is None:
            self._connection = self._db.raw_connection()
            if self._db.dialect.name != "sqlite":
                self._connection.driver_connection.autocommit = True
            self._opened += 1
        cursor = self._connection.cursor()
        try:
            cursor.execute(_QUERY[self._db.dialect.name])
            return self._opened, cursor.fetchone()[0]
        finally:
            cursor.close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
