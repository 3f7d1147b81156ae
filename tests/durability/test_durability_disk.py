"""The instruments themselves: a disk that forgets what was not synced, a reader of traces, a checker of histories."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.logs.store import EventStore
from tests.durability.disk import Inode, Naming, Recorded, Sync, Variant, Write, snapshot
from tests.durability.history import History, LostError, check, row
from tests.durability.strace import NEVER, read


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def found(run: Recorded, moment: int, variant: Variant, into: Path) -> dict[str, bytes]:
    run.lose_power(moment, variant, 0, into)
    return {path.name: path.read_bytes() for path in into.iterdir()}


@pytest.fixture
def run(root: Path) -> Recorded:
    """`a` holds `old`; steps 1 to 2 write `new` over it, 3 to 4 sync it, 5 to 6 rename it to `b`, 7 to 8 sync that."""
    (root / "a").write_bytes(b"old")
    run = snapshot(root)
    a = run.before[run.top]["a"]
    run.writes.append(Write(a, 0, b"new", 1, 2))
    run.syncs.append(Sync(a, 3, 4))
    run.namings.append(Naming(((run.top, "a", None), (run.top, "b", a)), 5, 6))
    run.syncs.append(Sync(run.top, 7, 8))
    return run


@pytest.mark.parametrize(
    ("moment", "variant", "expected"),
    [
        (1, "most", {"a": b"old"}),  # the write has not begun
        (3, "least", {"a": b"old"}),
        (3, "most", {"a": b"new"}),
        (4, "least", {"a": b"new"}),  # the sync has ended
        (7, "least", {"a": b"new"}),
        (7, "names", {"b": b"new"}),
        (7, "data", {"a": b"new"}),
        (8, "least", {"b": b"new"}),
    ],
)
def test_only_what_was_synced_is_sure_to_be_there(
    run: Recorded, tmp_path: Path, moment: int, variant: Variant, expected: dict[str, bytes]
) -> None:
    assert found(run, moment, variant, tmp_path / "image") == expected


def test_a_sync_that_began_before_the_write_ended_promises_nothing(run: Recorded, tmp_path: Path) -> None:
    run.syncs[0] = Sync(run.syncs[0].inode, 2, 4)
    assert found(run, 4, "least", tmp_path / "image") == {"a": b"old"}


def test_a_new_file_without_its_name_is_gone(root: Path, tmp_path: Path) -> None:
    run, file = snapshot(root), Inode("file")
    run.namings.append(Naming(((run.top, "x", file),), 1, 2))
    run.writes.append(Write(file, 0, b"data", 3, 4))
    run.syncs.append(Sync(file, 5, 6))
    assert found(run, 9, "least", tmp_path / "least") == {}
    assert found(run, 9, "names", tmp_path / "names") == {"x": b"data"}


def test_of_an_unsynced_write_any_sectors_may_have_reached_the_disk(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(b"o" * 2048)
    run = snapshot(root)
    run.writes.append(Write(run.before[run.top]["a"], 0, b"n" * 2048, 1, 2))
    images = set()
    for seed in range(40):
        run.lose_power(3, "some", seed, tmp_path / str(seed))
        content = (tmp_path / str(seed) / "a").read_bytes()
        images.add("".join(chr(content[at]) for at in range(0, 2048, 512)))
        assert all(len(set(content[at : at + 512])) == 1 for at in range(0, 2048, 512))
    assert {"oooo", "nnnn"} < images


def test_calls_are_read_from_a_trace_also_those_that_waited_for_others(tmp_path: Path) -> None:
    lines = [
        f'7 pwrite64(4<{hexed("/r/f")}>, "{hexed("abc")}", 3, 10) = 3',
        f"7 fsync(4<{hexed('/r/f')}> <unfinished ...>",
        f'8 rename("{hexed("/r/f")}", "{hexed("/r/g")}") = -1 ENOENT (No such file or directory)',
        "7 <... fsync resumed>)              = 0",
        f'8 writev(1<{hexed("pipe:[5]")}>, [{{iov_base="{hexed("ab")}", iov_len=2}}, {{iov_base="{hexed("cd")}", '
        "iov_len=2}], 2) = 3",
        f'8 write(5<{hexed("/r/h")}>, "{hexed("lost")}", 4 <unfinished ...>',
        "8 +++ killed by SIGKILL +++",
    ]
    (tmp_path / "trace").write_text("\n".join(lines) + "\n", encoding="ascii")
    write, rename, sync, told, cut = read(tmp_path / "trace")
    assert (write.path(0), write.data(1), write.arguments[3]) == ("/r/f", b"abc", "10")
    assert (sync.name, sync.began, sync.ended) == ("fsync", 1, 3)
    assert (rename.path(1), rename.error) == ("/r/g", "ENOENT")
    assert (told.path(0), told.data(1)) == ("pipe:[5]", b"abc")
    assert (cut.data(1), cut.ended) == (b"lost", NEVER)


def test_a_history_finds_what_is_lost_doubled_invented_or_changed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    store = EventStore(url)
    last = store.append([row("a"), row("b")]).last
    store.close()
    history = History()
    history.note("offer a b c")
    history.note(f"ack {last} a b")
    assert sorted(check(history, url).all) == ["a", "b"]
    assert history.open == ["c"]
    for line, says in (("ack 2 c", "lost: c"), ("ack 9 a", "counts from 2, but 9")):
        other = History(set(history.offered), set(history.acknowledged))
        other.note(line)
        with pytest.raises(LostError, match=says):
            check(other, url)
    with pytest.raises(LostError, match="invented: b"):
        check(History({"a"}, {"a"}), url)
    _spoil(url, "UPDATE events SET body = replace(body, 'click', 'clack') WHERE event_id = 'b'")
    with pytest.raises(LostError, match="b: other values than were sent in action"):
        check(history, url)


def test_a_history_finds_who_is_still_there_after_being_forgotten(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    store = EventStore(url)
    made = row("a")
    store.append([made])
    history = History({"a"}, {"a"})
    history.note(f"forget {made.user_id}")
    check(history, url)
    history.note(f"forgotten {made.user_id}")
    with pytest.raises(LostError, match="forgotten: a"):
        check(history, url)
    store.forget(str(made.user_id)).result()
    store.close()
    assert not check(history, url).all


def _spoil(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
