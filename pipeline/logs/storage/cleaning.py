"""After a user was forgotten: no copy of the rows stays in the database's files.

A note in the table `meta` is committed with the forgetting, so that whoever opens the store after a crash goes on.
"""

import logging
import threading
import time
from typing import Final

import sqlalchemy as sa

from pipeline.logs.storage.database import IMMEDIATE, reason, scrub, truncate, without_transaction
from pipeline.logs.storage.schema import DEPARTED, META, UNCLEAN, read_meta

LOG = logging.getLogger("podium.logs")
_TABLES: Final = ("events", "forgotten")
_PATIENCE_SECONDS: Final = 10.0  # for a VACUUM at work when the store is closed


class Cleaner:
    """Called by the writer's thread; true when there is nothing left to do, false to be called again."""

    def __init__(self, engine: sa.Engine) -> None:
        self._db = engine
        self._rewritten = ""  # the note for which the file was written anew
        self._began = 0  # ns, when that was begun
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
        if self._rewritten == note:
            clean = truncate(self._db)
        else:
            self._began = time.time_ns()
            clean = scrub(self._db)
            self._rewritten = note
        if clean:
            self._done(note, self._began)
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
        began = time.time_ns()
        try:
            with without_transaction(self._db) as connection:
                for table in _TABLES:
                    connection.exec_driver_sql(f"VACUUM {table}")
            self._done(note, began)
        except Exception as error:  # tried again
            LOG.warning("what was forgotten is not cleaned away yet: %s", reason(error))

    def _done(self, note: str, began: int) -> None:
        """Nothing is left of what was removed before the cleaning began."""
        with self._db.connect().execution_options(begin=IMMEDIATE) as connection, connection.begin():
            connection.execute(sa.delete(META).where(META.c.name == UNCLEAN, META.c.value == note))
            connection.execute(sa.delete(DEPARTED).where(DEPARTED.c.at < began))
