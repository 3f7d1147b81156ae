"""How a database is opened, SQLite or PostgreSQL, and what its failures are called."""

import contextlib
import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from pipeline.errors import InputError, PodiumError

BUSY_MS: Final = 10_000  # how long a writer waits for another process
IMMEDIATE: Final = "BEGIN IMMEDIATE"
_LOCK: Final = 0x506F6469  # "Podi": our class of PostgreSQL's advisory locks
_PROBE: Final = bytes(65_536)

_FULL: Final = {sqlite3.SQLITE_FULL, "53100"}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, "55P03", "40P01"}
_DISK: Final = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}
# Classes of SQLSTATE: connection, resources, operator, system, internal; and a server that only reads.
_SERVER: Final = ("08", "53", "57", "58", "XX", "25006")


class StoreFullError(PodiumError):
    """More events wait for the disk than are allowed to: nothing is wrong, post again in a moment."""


class DiskFullError(PodiumError):
    """The disk, or a quota on it, is full. What was acknowledged before is kept."""


class StoreBrokenError(PodiumError):
    """The database cannot be written or read now: a failing disk, a lost server, a lock that is not let go."""


def open_database(url: str, synchronous: str, tables: sa.MetaData, busy_ms: int = BUSY_MS) -> sa.Engine:
    """A SQLAlchemy engine with these tables; on SQLite in WAL mode with the given `synchronous` (FULL, OFF, ...).

    A transaction begins as the execution option `begin` of its connection says (IMMEDIATE for writers on SQLite).
    Raises InputError when there is no database to be opened; passwords of `url` are not told.
    """
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise InputError("database", f"a URL of SQLite or PostgreSQL whose driver is installed ({error})") from error
    settings: tuple[str, ...]
    if engine.dialect.name == "sqlite":
        settings = (f"busy_timeout={busy_ms}", "journal_mode=WAL", f"synchronous={synchronous}", "secure_delete=ON")
        settings = tuple(f"PRAGMA {setting}" for setting in settings)
        sa.event.listen(engine, "begin", _begin)
    else:
        settings = (
            f"SET lock_timeout = {busy_ms}",
            f"SET idle_in_transaction_session_timeout = {3 * busy_ms}",  # a frozen writer holds nobody up for ever
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        )

    def configure(connection: Any, _: object) -> None:
        if engine.dialect.name == "sqlite":
            connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(setting)
        cursor.close()
        connection.commit()

    sa.event.listen(engine, "connect", configure)
    try:
        with engine.connect().execution_options(begin=IMMEDIATE) as connection, connection.begin():
            create_tables(connection, tables)
    except (sa.exc.DBAPIError, _driver(engine).Error) as error:
        engine.dispose()
        raise InputError("database", f"one that can be opened ({reason(error)})", place=str(engine.url)) from error
    return engine


def create_tables(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Make the tables and indexes that are not there yet; of workers that start together one makes them."""
    lock(connection, None)
    for table in tables.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def lock(connection: sa.Connection, table: str | None) -> None:
    """On PostgreSQL: one transaction at a time, among those that ask, until it is committed and visible.

    An advisory lock, since a lock of the table would wait for VACUUM.
    """
    if connection.dialect.name == "postgresql":
        what = "0" if table is None else f"'{table}'::regclass::oid::int4"
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK}, {what})")


@contextlib.contextmanager
def named(engine: sa.Engine) -> Iterator[None]:
    """Failures of the database inside are raised under our names."""
    try:
        yield
    except (sa.exc.DBAPIError, _driver(engine).Error) as error:
        raise failure(error, engine) from error


def failure(error: Exception, engine: sa.Engine) -> Exception:
    """What an exception of the driver is to the caller: one of ours, or itself when it is none of the database's."""
    if not isinstance(error, (sa.exc.DBAPIError, _driver(engine).Error)):
        return error
    why, code = reason(error), _code(error, engine)
    if code in _FULL:
        return DiskFullError(f"the disk of the event store is full ({why}): make room, then post again")
    if code in _BUSY:
        return StoreBrokenError(f"another process holds the event store ({why}): nothing was kept, post again")
    lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    if lost or code in _DISK or (isinstance(code, str) and code.startswith(_SERVER)) or code is None:
        if full := _no_room(engine):
            return DiskFullError(f"the disk of the event store is full ({full}): make room, then post again")
        return StoreBrokenError(f"the event store cannot be used ({why}): mend its disk or server, then post again")
    if isinstance(getattr(error, "orig", error), (_driver(engine).IntegrityError, _driver(engine).DataError)):
        return InputError("events", f"values the database can keep ({why})")
    return error


def reason(error: Exception) -> str:
    """The first line of what the driver said: the others may hold data."""
    said = str(getattr(error, "orig", error)).strip()
    return said.splitlines()[0] if said else type(error).__name__


def scrub(engine: sa.Engine) -> bool:
    """Write a SQLite database anew without what was deleted from it, and empty its write-ahead log.

    `secure_delete` overwrites deleted rows, but rebalancing a tree leaves copies of rows in the unused middle of
    pages; only VACUUM has none. False when readers hold the log: call `truncate` later.
    """
    with without_transaction(engine) as connection:
        connection.exec_driver_sql("VACUUM")
    return truncate(engine)


def truncate(engine: sa.Engine, patience_ms: int = 100) -> bool:
    """Move SQLite's write-ahead log into the file and cut it to nothing. False when somebody still reads from it."""
    with without_transaction(engine) as connection:
        usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
        try:
            return connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar() == 0
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={usual}")


def without_transaction(engine: sa.Engine) -> sa.Connection:
    """A connection on which each statement is a transaction, as VACUUM must be."""
    options = {"begin": ""} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    return engine.connect().execution_options(**options)


def _begin(connection: sa.Connection) -> None:
    if how := connection.get_execution_options().get("begin", "BEGIN"):
        connection.exec_driver_sql(how)


def _driver(engine: sa.Engine) -> Any:
    """The module of the driver. What runs outside of SQLAlchemy's own statements raises its errors unwrapped."""
    return engine.dialect.loaded_dbapi


def _code(error: Exception, engine: sa.Engine) -> int | str | None:
    """SQLite's primary result code, PostgreSQL's SQLSTATE, or None for a connection that says nothing."""
    cause, driver = getattr(error, "orig", error), _driver(engine)
    if engine.dialect.name == "sqlite":
        return int(getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
    state = getattr(cause, "sqlstate", None)
    return state or (None if isinstance(cause, (driver.OperationalError, driver.InterfaceError)) else "?")


def _no_room(engine: sa.Engine) -> str:
    """Why a file cannot be written beside a SQLite database, which itself tells a quota as any other failure."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return ""
    try:
        with tempfile.TemporaryFile(dir=Path(engine.url.database).parent, buffering=0) as probe:
            probe.write(_PROBE)
    except OSError as error:
        return str(error.strerror) if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return ""
