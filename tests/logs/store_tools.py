"""What the tests of the event store share."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from pipeline.logs.store import EventStore, Row

NOW = time.time_ns() // 1_000_000
FOREVER = 10**15  # ms: everything came before


def row(event_id: str, user: str | None = "ann", received: int = NOW, size: int = 0) -> Row:
    return Row(event_id, "feedback", user, 5, received, json.dumps({"user_id": user, "x": "x" * size}))


def ids(store: EventStore) -> list[int]:
    return [event.seq for event in store.since(0)]


@contextlib.contextmanager
def held(url: str) -> Iterator[None]:
    """Meanwhile another connection writes, and does not come to an end."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        begin = "BEGIN IMMEDIATE"
    else:
        begin = "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"
    with engine.connect() as connection:
        connection.exec_driver_sql(begin)
        try:
            yield
        finally:
            connection.rollback()
    engine.dispose()


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}", *arguments]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def bytes_of(database: Path) -> bytes:
    """All of a database's files. Read by another process: closing one here would drop SQLite's locks on it."""
    files = [str(path) for path in database.parent.iterdir() if path.name.startswith(database.name)]
    return subprocess.run(["cat", *files], stdout=subprocess.PIPE, check=True).stdout
