"""The statements of the event store: rows go in once each, leave when they are elsewhere, or are forgotten."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.logs.storage.forgotten import digest
from pipeline.logs.storage.schema import DEPARTED, EVENTS, FORGOTTEN, SEEN, keep_head, note_unclean

# One statement a row on SQLite, one statement a group on PostgreSQL, where each is a trip to the server.
_INSERT_SQLITE: Final = """
INSERT INTO events (event_id, type, user_id, time, received, body) SELECT ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM seen WHERE hash = ?) ON CONFLICT (event_id) DO NOTHING
"""
_INSERT_POSTGRESQL: Final = """
INSERT INTO events (event_id, type, user_id, time, received, body)
SELECT event_id, type, user_id, time, received, body
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bytea[])
    WITH ORDINALITY AS new (event_id, type, user_id, time, received, body, hash, place)
WHERE NOT EXISTS (SELECT 1 FROM seen WHERE seen.hash = new.hash)
ORDER BY place ON CONFLICT (event_id) DO NOTHING RETURNING event_id
"""


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


def insert(connection: sa.Connection, salt: bytes, batches: Sequence[Sequence[Row]]) -> list[int]:
    """Keep the rows whose `event_id` was never seen, in order; how many that were of each batch."""
    if connection.dialect.name == "postgresql":
        return _insert_together(connection, salt, batches)
    cursor = connection.connection.cursor()  # the driver's: what SQLAlchemy adds to a statement is more than the row
    try:
        rows = ([_values(row, salt) for row in batch] for batch in batches)
        return [cursor.executemany(_INSERT_SQLITE, each).rowcount if each else 0 for each in rows]
    finally:
        cursor.close()


def _insert_together(connection: sa.Connection, salt: bytes, batches: Sequence[Sequence[Row]]) -> list[int]:
    columns = [list(column) for column in zip(*(_values(row, salt) for batch in batches for row in batch), strict=True)]
    if not columns:
        return [0] * len(batches)
    new = set(connection.exec_driver_sql(_INSERT_POSTGRESQL, tuple(columns)).scalars())
    accepted = []
    for batch in batches:  # of several rows with one id the first was kept
        mine = {row.event_id for row in batch} & new
        accepted.append(len(mine))
        new -= mine
    return accepted


def _values(row: Row, salt: bytes) -> tuple[object, ...]:
    return row.event_id, row.type, row.user_id, row.time, row.received, row.body, digest(salt, row.event_id)


def read_since(connection: sa.Connection, seq: int, limit: int) -> list[Stored]:
    columns = (EVENTS.c.seq, EVENTS.c.type, EVENTS.c.received, EVENTS.c.body)
    wanted = sa.select(*columns).where(EVENTS.c.seq > seq).order_by(EVENTS.c.seq).limit(limit)
    return [Stored(*row) for row in connection.execute(wanted)]


def release(
    connection: sa.Connection, salt: bytes, after: int, seq: int, before: int, limit: int
) -> tuple[int, int | None]:
    """Let go of at most `limit` rows in (after, seq] that happened and came before `before` (ms).

    Returns how many there were, and where to go on."""
    wanted = (
        sa.select(EVENTS.c.seq, EVENTS.c.event_id, EVENTS.c.received, EVENTS.c.user_id)
        .where(EVENTS.c.seq > after, EVENTS.c.seq <= seq, *_before(before))
        .order_by(EVENTS.c.seq)
        .limit(limit)
    )
    rows = connection.execute(wanted).all()
    if not rows:
        return 0, None
    keep_head(connection)
    _remember(connection, ((digest(salt, event_id), received) for _, event_id, received, _ in rows))
    _depart(connection, [digest(salt, user) for user in {row.user_id for row in rows} if user is not None])
    last = int(rows[-1].seq)
    gone = sa.delete(EVENTS).where(EVENTS.c.seq > after, EVENTS.c.seq <= last, *_before(before))
    connection.execute(gone)
    return len(rows), last if len(rows) == limit else None


def _before(moment: int) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return EVENTS.c.received < moment, EVENTS.c.time < moment


def drop_seen(connection: sa.Connection, before: int) -> None:
    """Ids of events that came before `before` (ms) are new again."""
    connection.execute(sa.delete(SEEN).where(SEEN.c.received < before))


def forget(connection: sa.Connection, salt: bytes, user_id: str) -> int:
    """Remove a user's rows, and note that and when it was done, but not of whom.

    Only of somebody who ever had a row there is something to be cleaned away.
    """
    last = keep_head(connection)
    mine = EVENTS.c.user_id == user_id
    rows = connection.execute(sa.select(EVENTS.c.event_id, EVENTS.c.received).where(mine)).all()
    _remember(connection, ((digest(salt, event_id), received) for event_id, received in rows))
    connection.execute(sa.delete(EVENTS).where(mine))
    this = FORGOTTEN.c.hash == digest(salt, user_id)
    again = sa.update(FORGOTTEN).where(this).values(times=FORGOTTEN.c.times + 1, seq=last, done=False)
    if not connection.execute(again).rowcount:
        once = {"hash": digest(salt, user_id), "times": 1, "seq": last, "done": False}
        connection.execute(sa.insert(FORGOTTEN).values(once))
    if rows or connection.scalar(sa.select(DEPARTED.c.at).where(DEPARTED.c.hash == digest(salt, user_id))):
        note_unclean(connection)
    return len(rows)


def _depart(connection: sa.Connection, users: Sequence[bytes]) -> None:
    if users:
        now = time.time_ns()
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        insertion = make(DEPARTED)
        again = insertion.on_conflict_do_update(index_elements=["hash"], set_={"at": now})
        connection.execute(again, [{"hash": user, "at": now} for user in users])


def _remember(connection: sa.Connection, ids: Iterable[tuple[bytes, int]]) -> None:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = [{"hash": hashed, "received": received} for hashed, received in ids]
    if rows:
        connection.execute(make(SEEN).on_conflict_do_nothing(index_elements=["hash"]), rows)
