"""What SQLite's file promises: settings, a full disk, a failing one, no byte of who was forgotten, earlier versions."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_tools import FOREVER, bytes_of, ids, row

from pipeline.errors import InputError
from pipeline.logs.storage.database import failure, reason
from pipeline.logs.store import DiskFullError, EventStore, StoreBrokenError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def store(path: Path) -> Iterator[EventStore]:
    opened = EventStore(f"sqlite:///{path}")
    yield opened
    opened.close()


@dataclass
class Disk:
    pages: int = 1_000_000


@pytest.fixture
def disk() -> Iterator[Disk]:
    """SQLite is told in each transaction how many pages the disk has room for."""
    disk = Disk()

    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={disk.pages}")

    sa.event.listen(sa.Engine, "begin", limit)
    yield disk
    sa.event.remove(sa.Engine, "begin", limit)


def test_a_commit_is_on_the_disk_and_what_is_deleted_is_overwritten(store: EventStore) -> None:
    settings = [store.pragma(name) for name in ("journal_mode", "synchronous", "secure_delete")]
    assert settings == ["wal", "2", "1"]  # 2 is FULL


def test_a_full_disk_loses_nothing_and_the_store_works_again_when_there_is_room(store: EventStore, disk: Disk) -> None:
    large = [row(f"large-{n}", size=5_000) for n in range(100)]
    store.append([row("a")])
    disk.pages = 1
    for _ in range(2):
        with pytest.raises(DiskFullError, match="make room"):
            store.append(large)
    assert store.count() == 1  # and reads go on
    disk.pages = 1_000_000
    assert store.append([row("a"), *large]).accepted == 100


def test_a_forgotten_user_leaves_no_byte_in_the_files(store: EventStore, path: Path) -> None:
    users = [f"user-{number:04}-known-by-name" for number in range(60)]
    for start in range(0, 6_000, 200):  # trees split and merge, which leaves copies of rows inside their pages
        rows = [row(f"e{n}-{users[n * 7 % 60]}", users[n * 7 % 60], size=n % 900) for n in range(start, start + 200)]
        store.append(rows)
    store.release(1_500, FOREVER)
    for user in users[:3]:
        assert user.encode() in bytes_of(path)
        assert store.forget(user).result() == 75  # 4,500 rows of 60 users
        assert user.encode() not in bytes_of(path)
    assert users[3].encode() in bytes_of(path)


def test_a_reader_delays_the_cleaning_but_not_the_forgetting(path: Path) -> None:
    store = EventStore(f"sqlite:///{path}")
    store.append([row("a", "somebody")])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
    assert store.forget("somebody").result() == 1
    assert b"somebody" in bytes_of(path)
    reader.close()
    store.close()
    again = EventStore(f"sqlite:///{path}")  # whoever comes next goes on
    again.forget("nobody").result()
    assert b"somebody" not in bytes_of(path)
    again.close()


def test_a_store_of_an_earlier_version_is_brought_to_this_one(path: Path) -> None:
    with sqlite3.connect(path) as old:
        old.executescript(
            """
            CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id VARCHAR(160) NOT NULL UNIQUE,
                type VARCHAR(16) NOT NULL, user_id VARCHAR(128), time BIGINT NOT NULL, received BIGINT NOT NULL,
                body TEXT NOT NULL);
            CREATE INDEX ix_events_user_id ON events (user_id);
            CREATE TABLE forgotten (user_id VARCHAR(128) NOT NULL PRIMARY KEY, times INTEGER NOT NULL);
            INSERT INTO events VALUES (1, 'a', 'feedback', 'bob', 5, 6, '{}');
            INSERT INTO forgotten VALUES ('somebody', 2);
            """
        )
    old.close()
    store = EventStore(f"sqlite:///{path}")
    assert (store.append([row("a")]).duplicates, ids(store), len(store.id)) == (1, [1], 32)
    assert store.forgotten().mark("somebody") == store.pending().mark("somebody") == (2, 1)
    store.forget("nobody").result()
    assert b"somebody" not in bytes_of(path)
    store.close()


def test_two_stores_do_not_share_a_name_or_a_key(store: EventStore, tmp_path: Path) -> None:
    other = EventStore(f"sqlite:///{tmp_path / 'other.db'}")
    for each in (store, other):
        each.forget("ann").result()
    assert store.id != other.id
    assert store.forgotten().marks.keys().isdisjoint(other.forgotten().marks)
    other.close()


def test_what_cannot_be_opened_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but a text that is longer than a header would be" * 20)
    for url in (f"sqlite:///{tmp_path / 'text.db'}", f"sqlite:///{tmp_path / 'none/e.db'}", "nothing", "x://y"):
        with pytest.raises(InputError, match="database"):
            EventStore(url)


def told(code: int) -> sa.exc.DBAPIError:
    """As SQLAlchemy hands on what SQLite said."""
    error = sqlite3.OperationalError("disk I/O error\nwith a row")
    error.sqlite_errorcode = code
    return sa.exc.OperationalError("COMMIT", {}, error)


def test_failures_have_the_names_that_callers_can_act_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'events.db'}")
    assert isinstance(failure(told(sqlite3.SQLITE_FULL), engine), DiskFullError)
    assert isinstance(failure(told(sqlite3.SQLITE_IOERR_FSYNC), engine), StoreBrokenError)
    assert isinstance(failure(told(sqlite3.SQLITE_BUSY_SNAPSHOT), engine), StoreBrokenError)
    assert reason(told(sqlite3.SQLITE_IOERR)) == "disk I/O error"
    other = ValueError()
    assert failure(other, engine) is other

    def no_quota(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(tempfile, "TemporaryFile", no_quota)
    assert isinstance(failure(told(sqlite3.SQLITE_IOERR_WRITE), engine), DiskFullError)
