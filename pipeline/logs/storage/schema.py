"""The tables of the event store, and how a store of an earlier version becomes one of this."""

import secrets
from typing import Final

import sqlalchemy as sa

from pipeline.logs.storage.database import IMMEDIATE, create_tables, lock
from pipeline.logs.storage.forgotten import SIZE, digest

UNCLEAN: Final = "unclean"
_DEPARTURES: Final = "departures"
TABLES: Final = sa.MetaData()
_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts by itself only in an INTEGER key
EVENTS: Final = sa.Table(
    "events",
    TABLES,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(160), nullable=False, unique=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("user_id", sa.String(128), index=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # a number is never given twice, also after its row was forgotten
)
# Events that were here and have left: their ids are still duplicates for a while.
SEEN: Final = sa.Table(
    "seen",
    TABLES,
    sa.Column("hash", sa.LargeBinary(SIZE), primary_key=True),
    sa.Column("received", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)
FORGOTTEN: Final = sa.Table(
    "forgotten",
    TABLES,
    sa.Column("hash", sa.LargeBinary(SIZE), primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
)
# Whose events have left for the log: inside of pages there may be copies of them. at: ns, when the last ones left.
DEPARTED: Final = sa.Table(
    "departed",
    TABLES,
    sa.Column("hash", sa.LargeBinary(SIZE), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)
META: Final = sa.Table(
    "meta",
    TABLES,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
_KEPT = sa.select(META.c.value).where(META.c.name == "head").scalar_subquery()
_HEAD: Final = sa.select(sa.func.max(EVENTS.c.seq), _KEPT)


def settle_schema(engine: sa.Engine) -> dict[str, str]:
    """Bring a store to this version; its `id` and `salt`, made when it was first opened."""
    with engine.connect().execution_options(begin=IMMEDIATE) as connection, connection.begin():
        lock(connection, "events")
        for name, size in (("id", 16), ("salt", 32)):
            if read_meta(connection, name) is None:
                write_meta(connection, name, secrets.token_hex(size))
        told = {name: read_meta(connection, name) or "" for name in ("id", "salt")}
        if read_meta(connection, _DEPARTURES) is None:
            write_meta(connection, _DEPARTURES, "noted")
            if connection.scalar(sa.select(SEEN.c.hash).limit(1)) is not None:
                note_unclean(connection)  # earlier versions did not note whose events left
        columns = {column["name"] for column in sa.inspect(connection).get_columns("forgotten")}
        if "user_id" in columns:
            _hash_forgotten(connection, bytes.fromhex(told["salt"]))
    return told


def read_meta(connection: sa.Connection, name: str) -> str | None:
    value = connection.scalar(sa.select(META.c.value).where(META.c.name == name))
    return None if value is None else str(value)


def write_meta(connection: sa.Connection, name: str, value: str) -> None:
    connection.execute(sa.delete(META).where(META.c.name == name))
    connection.execute(sa.insert(META).values(name=name, value=value))


def head(connection: sa.Connection) -> int:
    """The largest number committed, whether or not its row is still there."""
    last, before = connection.execute(_HEAD).one()
    return max(int(last or 0), int(before or 0))


def note_unclean(connection: sa.Connection) -> None:
    """Something that was removed is to be cleaned away. Each note is another: none is taken for one before it."""
    write_meta(connection, UNCLEAN, secrets.token_hex(8))


def keep_head(connection: sa.Connection) -> int:
    """Note the largest number before rows are removed; returns it."""
    last = head(connection)
    write_meta(connection, "head", str(last))
    return last


def _hash_forgotten(connection: sa.Connection, salt: bytes) -> None:
    """Earlier versions kept the ids themselves, and never made a log anew."""
    old = connection.exec_driver_sql("SELECT user_id, times FROM forgotten").all()
    connection.exec_driver_sql("DROP TABLE forgotten")
    create_tables(connection, TABLES)
    if old:
        last = head(connection)
        rows = [{"hash": digest(salt, user), "times": times, "seq": last, "done": False} for user, times in old]
        connection.execute(sa.insert(FORGOTTEN), rows)
        note_unclean(connection)
