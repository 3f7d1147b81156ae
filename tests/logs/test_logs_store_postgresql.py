"""What is PostgreSQL's own: a server that goes away, VACUUM beside writers, text it cannot keep."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_tools import ids, row

from pipeline.errors import InputError
from pipeline.logs.storage.database import failure
from pipeline.logs.store import DiskFullError, EventStore, StoreBrokenError
from tests.postgres import Server, running

pytestmark = pytest.mark.full


def test_a_server_that_crashes_loses_nothing_that_was_acknowledged(postgres_server: Server) -> None:
    with running(postgres_server.programs) as server:
        store = EventStore(server.url)
        store.append([row("a")])
        version = store.version()
        server.stop("immediate")
        for _ in range(2):
            with pytest.raises(StoreBrokenError, match="post again"):
                store.append([row("b")])
        with pytest.raises(StoreBrokenError):
            store.version()
        server.start()
        again = store.append([row("a"), row("b")])
        assert (again.accepted, again.duplicates) == (1, 1)
        assert store.version() != version
        assert len(ids(store)) == 2
        store.close()


def test_a_commit_is_durable_on_a_server_that_would_not_wait_for_the_disk(postgres_server: Server) -> None:
    with running(postgres_server.programs) as server:
        server.stop()
        server.start("-c synchronous_commit=off")
        store = EventStore(server.url)
        with store._db.connect() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        store.close()


def test_workers_that_start_together_make_the_tables_once(postgres_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(EventStore, [postgres_url] * 8))
    assert len({store.id for store in stores}) == 1
    for store in stores:
        store.close()


def test_others_write_while_a_table_is_vacuumed(postgres_url: str) -> None:
    store = EventStore(postgres_url)
    store.append([row("a")])
    # The lock of a VACUUM, held for as long as we like.
    with store._db.connect() as connection, connection.begin():
        connection.exec_driver_sql("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE")
        assert store.append([row("b")]).accepted == 1
    store.close()


def test_rows_of_the_forgotten_are_vacuumed(postgres_url: str) -> None:
    store = EventStore(postgres_url)
    store.append([row(f"e{n}", "ann" if n % 2 else "bob") for n in range(200)])
    assert store.forget("ann").result() == 100
    store.close()  # waits for it
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE EXTENSION pgstattuple")
        assert connection.exec_driver_sql("SELECT dead_tuple_count FROM pgstattuple('events')").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM meta WHERE name = 'unclean'").scalar() == 0
    engine.dispose()


def test_text_that_the_database_cannot_keep_is_refused(postgres_url: str) -> None:
    store = EventStore(postgres_url)
    with pytest.raises(InputError, match="NUL"):
        store.append([row("a\0b")])
    store.close()


def test_states_of_the_server_have_the_names_of_what_they_mean(tmp_path: Path) -> None:
    import psycopg

    engine = sa.create_engine("postgresql+psycopg://nowhere")

    def named(kind: type[psycopg.Error]) -> type[Exception]:
        return type(failure(sa.exc.OperationalError("INSERT", {}, kind("why")), engine))

    assert named(psycopg.errors.DiskFull) is DiskFullError
    for kind in (psycopg.errors.IoError, psycopg.errors.LockNotAvailable, psycopg.errors.AdminShutdown):
        assert named(kind) is StoreBrokenError
    assert named(psycopg.OperationalError) is StoreBrokenError  # the connection is lost
