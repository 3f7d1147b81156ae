"""After a user was forgotten: no copy of the rows stays in the database's files.

A note in the table `meta` is committed with the forgetting, so that whoever opens the store after a crash goes on.
"""

import logging
import threading
from typing import Final

import sqlalchemy as sa

from pipeline.logs.storage.database import IMMEDIATE, reason, scrub, truncate, without_transaction
from pipeline.logs.storage.schema import META, UNCLEAN, read_meta

LOG = logging.getLogger("podium.logs")
_TABLES: Final = ("events", "forgotten")
_PATIENCE_SECONDS: Final = 10.0  # for a VACUUM at work when the store is closed


class Cleaner:
    """Called by the writer's thread; true when there is nothing left to do, false to be called again."""

    def __init__(self, engine: sa.Engine) -> None:
        self._db = engine
        self._rewritten = ""  # the note for which the file was written anew
        self._thread: threading.Thread | None = None

    def __call__(self) -> bool:
        try:
            with self._db.connect() as connection:
                note = read_meta(connection, UNCLEAN)
            if note is None:
                return True
            return self._scrub(note) if self._db.dialect.name == "sqlite" else self._vacuum(note)
        except Exception as error:  # the writer must go on, whatever it is
            LOG.warning("what was forgotten is not cleaned away yet: %s", reason(error))
            return False

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)

    def _scrub(self, note: str) -> bool:
        clean = truncate(self._db) if self._rewritten == note else scrub(self._db)
        self._rewritten = note
        if clean:
            self._done(note)
        return clean

    def _vacuum(self, note: str) -> bool:
        """On a thread of its own: PostgreSQL lets others write meanwhile."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._vacuum_all, args=[note], name="event-store-vacuum", daemon=True
            )
            self._thread.start()
        return False

    def _vacuum_all(self, note: str) -> None:
        try:
            with without_transaction(self._db) as connection:
                for table in _TABLES:
                    connection.exec_driver_sql(f"VACUUM {table}")
            self._done(note)
        except Exception as error:  # tried again
            LOG.warning("what was forgotten is not cleaned away yet: %s", reason(error))

    def _done(self, note: str) -> None:
        with self._db.connect().execution_options(begin=IMMEDIATE) as connection, connection.begin():
            connection.execute(sa.delete(META).where(META.c.name == UNCLEAN, META.c.value == note))
