"""Forgetting somebody who was never there writes next to nothing; somebody who was leaves no byte, wherever it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_tools import FOREVER, bytes_of, row

from pipeline.logs.storage import cleaning
from pipeline.logs.store import EventStore
from serving import slates as serving_slates
from serving.ports import Slate
from serving.slates import Kept, Slates


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    opened = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    yield opened
    opened.close()


@pytest.fixture
def rewritten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The databases that were written anew."""
    seen: list[str] = []
    for module in (cleaning, serving_slates):
        real = module.scrub

        def scrub(engine: sa.Engine, real: object = real) -> bool:
            seen.append(str(engine.url.database).rpartition("/")[2])
            return bool(real(engine))  # type: ignore[operator]

        monkeypatch.setattr(module, "scrub", scrub)
    return seen


def written(folder: Path, name: str) -> int:
    """Bytes of a database's write-ahead log."""
    path = folder / f"{name}-wal"
    return path.stat().st_size if path.exists() else 0


def test_somebody_unknown_costs_a_few_pages_and_no_rewrite(
    store: EventStore, tmp_path: Path, rewritten: list[str]
) -> None:
    store.append([row(f"e{n}", user=f"user-{n % 50}", size=2_000) for n in range(2_000)])
    inode, before = (tmp_path / "events.db").stat().st_ino, written(tmp_path, "events.db")
    for name in ("nobody", "nobody", "7", "user-50"):
        assert store.forget(name).result() == 0
    assert rewritten == []
    assert written(tmp_path, "events.db") - before < 200_000  # the rows are 4 MB
    assert (tmp_path / "events.db").stat().st_ino == inode
    assert (store.count(), store.forgotten().times("nobody")) == (2_000, 2)


def test_somebody_known_leaves_no_byte(store: EventStore, tmp_path: Path, rewritten: list[str]) -> None:
    store.append([row(f"e{n}", user="annabel" if n % 3 else "bob") for n in range(300)])
    assert store.forget("annabel").result() == 200
    assert rewritten == ["events.db"]
    assert b"annabel" not in bytes_of(tmp_path / "events.db")


def test_somebody_whose_events_have_left_leaves_no_copy_of_them(
    store: EventStore, tmp_path: Path, rewritten: list[str]
) -> None:
    store.append([row(f"e{n}", user="annabel" if n % 3 else "bob", size=n % 700) for n in range(900)])
    store.release(900, FOREVER)
    assert (store.count(), rewritten) == (0, [])
    assert store.forget("nobody").result() == 0
    assert rewritten == []
    assert store.forget("annabel").result() == 0
    assert rewritten == ["events.db"]
    assert b"annabel" not in bytes_of(tmp_path / "events.db")
    assert store.forget("bob").result() == 0
    assert rewritten == ["events.db"], "one cleaning was enough for all who had left before it"


def test_a_store_of_before_is_cleaned_once(tmp_path: Path, rewritten: list[str]) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    store = EventStore(url)
    store.append([row(f"e{n}", user="annabel") for n in range(9)])
    store.release(9, FOREVER)
    store.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE departed")
        connection.exec_driver_sql("DELETE FROM meta WHERE name = 'departures'")
    engine.dispose()
    for _ in range(2):
        store = EventStore(url)
        store.forget("nobody").result()
        store.close()
    assert rewritten == ["events.db"]


def kept(name: str, user: str) -> Kept:
    return Kept("home", 5, "home", {"user_id": user}, {}, Slate(name, "b", 0, "home"))


def test_kept_answers_of_somebody_unknown_are_not_written_anew(tmp_path: Path, rewritten: list[str]) -> None:
    now = [1_000.0]
    slates = Slates(f"sqlite:///{tmp_path / 'slates.db'}", 600, 100_000, lambda: now[0])
    rewritten.clear()
    for n in range(300):
        slates.keep(kept(f"r{n}", "annabel" if n % 2 else "bob"))
    assert slates.forget("nobody")
    assert rewritten == []
    assert slates.forget("bob")
    assert rewritten == ["slates.db"]
    now[0] += 3_600
    slates.prune()
    assert (slates.count(), slates.forget("nobody"), rewritten) == (0, True, ["slates.db"])
    assert slates.forget("annabel")
    slates.close()
    assert rewritten == ["slates.db"] * 2
    left = bytes_of(tmp_path / "slates.db")
    assert b"annabel" not in left
    assert b"bob" not in left
