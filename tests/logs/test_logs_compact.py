"""Compaction: every acknowledged event is in the log once, whatever happened on the way, and then leaves the store."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from compact_tools import DAY, NOW, TODAY, bundle, click, holds, ingested, item, page, parquet, refused, row, take

from pipeline.bundle import Taken
from pipeline.errors import ArtifactError, InputError
from pipeline.logs import compact as compacting
from pipeline.logs import partitions
from pipeline.logs.compact import compact
from pipeline.logs.ingest import ingest
from pipeline.logs.partitions import locked, read_manifest
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore


def ids(log: Path) -> list[str]:
    opened = Log.open(log)
    return sorted(name for kind in ("feedback", "impression", "item") for name in opened.frame(kind)["event_id"])


def test_the_log_of_the_store_is_the_log_of_the_same_events_ingested(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path
) -> None:
    events = [click("c1"), page("p1", time=TODAY - DAY), click("c2", None, value=12), item("i1")]
    take(store, *events)
    done = compact(store, log, bundles=bundles)
    assert parquet(log) == parquet(ingested(tmp_path / "expected", events))
    assert (done.read, done.accepted) == (4, {"feedback": 2, "impression": 1, "item": 1})
    assert read_manifest(log)["stored"] == {"id": store.id, "seq": 4}


def test_what_came_is_told_by_the_store_not_by_the_event(store: EventStore, log: Path) -> None:
    store.append([row(click("c1") | {"received": 7}, received=NOW)])
    compact(store, log, bundles=None)
    assert Log.open(log).frame("feedback")["received"].to_list() == [NOW]


def test_a_second_run_changes_nothing_and_reads_nothing(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1"), page("p1"))
    compact(store, log, bundles=bundles)
    before, folder = parquet(log), log.stat().st_ino
    again = compact(store, log, bundles=bundles)
    assert (again.read, again.released) == (0, 0)
    assert (parquet(log), log.stat().st_ino) == (before, folder)


def test_the_next_run_goes_on_where_the_last_one_ended_and_links_the_other_days(store: EventStore, log: Path) -> None:
    take(store, click("c1", time=TODAY - DAY))
    compact(store, log, bundles=None)
    (old,) = log.rglob("*.parquet")
    inode = old.stat().st_ino
    take(store, click("c2"))
    done = compact(store, log, bundles=None)
    assert (done.read, done.seq, ids(log)) == (1, 2, ["c1", "c2"])
    assert old.stat().st_ino == inode


def test_rows_leave_the_store_when_no_bundle_has_to_be_told_of_them(
    store: EventStore, log: Path, tmp_path: Path
) -> None:
    bundle(tmp_path / "bundles", TODAY - DAY)
    bundle(tmp_path / "bundles", TODAY)
    take(store, *(click(f"c{day}", time=TODAY - day * DAY) for day in range(4)))
    assert compact(store, log, bundles=tmp_path / "bundles").released == 2  # of two and of three days ago
    assert [event.seq for event in store.since(0)] == [1, 2]
    assert ids(log) == ["c0", "c1", "c2", "c3"]


def test_a_bundle_that_says_what_of_the_store_it_knows_needs_no_more_of_that_whatever_its_time(
    store: EventStore, log: Path, tmp_path: Path
) -> None:
    bundle(tmp_path / "bundles", TODAY, Taken(store.id, 2))
    take(store, click("c1"), click("ahead", time=TODAY + DAY), click("missed", time=TODAY - DAY))
    assert compact(store, log, bundles=tmp_path / "bundles").released == 2
    assert [event.seq for event in store.since(0)] == [3]


def test_what_happens_after_a_cutoff_stays_though_it_came_before(store: EventStore, log: Path, tmp_path: Path) -> None:
    bundle(tmp_path / "bundles", TODAY, Taken("another store", 9))
    store.append([row(click("ahead", time=TODAY + DAY), received=TODAY - 1)])
    assert compact(store, log, bundles=tmp_path / "bundles").released == 0


def test_without_a_bundle_everything_stays_in_the_store(store: EventStore, log: Path, tmp_path: Path) -> None:
    take(store, click("c1"))
    assert compact(store, log, bundles=tmp_path / "none").released == 0
    assert store.count() == 1


def test_a_copy_takes_nothing_from_the_store(store: EventStore, log: Path) -> None:
    take(store, click("c1"))
    store.forget("ann").result()
    assert compact(store, log, bundles=None).released == 0
    assert store.pending()


def test_what_has_left_the_store_is_still_a_duplicate(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1"))
    assert compact(store, log, bundles=bundles).released == 1
    assert store.append([row(click("c1"))]).duplicates == 1
    assert compact(store, log, bundles=bundles).read == 0


def test_an_event_the_store_has_forgotten_to_have_seen_is_a_duplicate_of_the_log(
    store: EventStore, log: Path, bundles: Path
) -> None:
    old = click("c1", time=TODAY - 40 * DAY)
    take(store, old)
    compact(store, log, bundles=bundles)
    before = parquet(log)
    assert store.append([row(old)]).accepted == 1
    done = compact(store, log, bundles=bundles)
    assert (done.read, done.accepted, done.duplicates) == (1, {"feedback": 0}, {"feedback": 1})
    assert parquet(log) == before


def test_what_no_log_takes_goes_to_quarantine_under_its_number(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1"))
    store.append([refused("bad")])
    done = compact(store, log, bundles=bundles)
    assert (done.read, done.accepted, done.quarantined) == (2, {"feedback": 1}, 1)
    (path,) = (log / "quarantine").iterdir()
    assert '"file": "store", "line": 2, "field": "quantity"' in path.read_text()
    compact(store, log, bundles=bundles)
    assert len(list((log / "quarantine").iterdir())) == 1


def test_an_ingest_in_between_keeps_how_far_the_store_was_read(store: EventStore, log: Path, tmp_path: Path) -> None:
    take(store, click("c1"))
    compact(store, log, bundles=None)
    ingest("podium", [ingested(tmp_path / "other", [click("c2")])], log)
    assert read_manifest(log)["stored"] == {"id": store.id, "seq": 1}
    assert compact(store, log, bundles=None).read == 0
    assert ids(log) == ["c1", "c2"]


def test_another_store_is_read_from_its_beginning(store: EventStore, log: Path, tmp_path: Path) -> None:
    take(store, click("c1"), click("c2"))
    compact(store, log, bundles=None)
    other = EventStore(f"sqlite:///{tmp_path / 'other.db'}")
    take(other, click("c2"), click("c3"))
    done = compact(other, log, bundles=None)
    assert (done.accepted, done.duplicates, ids(log)) == ({"feedback": 1}, {"feedback": 1}, ["c1", "c2", "c3"])
    other.close()


def test_a_store_that_went_back_behind_its_log_is_read_again(store: EventStore, log: Path) -> None:
    take(store, click("c1"), click("c2"))
    compact(store, log, bundles=None)
    manifest = (log / "manifest.json").read_text()
    (log / "manifest.json").write_text(manifest.replace('"seq": 2', '"seq": 9'))
    done = compact(store, log, bundles=None)
    assert (done.read, done.seq, done.duplicates) == (2, 2, {"feedback": 2})


def test_days_that_are_too_old_leave_and_what_is_known_stays(store: EventStore, log: Path) -> None:
    old = TODAY - 5 * DAY
    take(store, click("c1", time=old), page("p1", time=old), item("i1", time=old), click("c2"))
    done = compact(store, log, bundles=None, keep_days=3, now=NOW)
    assert done.expired == {"feedback": 1, "impression": 1}
    assert ids(log) == ["c2", "i1"]
    assert compact(store, log, bundles=None, keep_days=3, now=NOW).expired == {}
    assert compact(store, log, bundles=None, keep_days=3, now=NOW + 4 * DAY).expired == {"feedback": 1}
    assert ids(log) == ["i1"]


def test_only_one_job_works_on_a_log(store: EventStore, log: Path, tmp_path: Path) -> None:
    take(store, click("c1"))
    other = ingested(tmp_path / "other", [click("c2")])
    with locked(log):
        with pytest.raises(InputError, match="no other job"):
            compact(store, log, bundles=None)
        with pytest.raises(InputError, match="no other job"):
            ingest("podium", [other], log)
    compact(store, log, bundles=None)
    assert ids(log) == ["c1"]
    assert not list(tmp_path.glob(".*"))


def test_jobs_that_meet_lose_none_of_each_others_rows(store: EventStore, log: Path, tmp_path: Path) -> None:
    sources = [ingested(tmp_path / f"s{n}", [click(f"s{n}", time=TODAY - n * DAY)]) for n in range(4)]

    def until_done(work: Callable[[], object]) -> None:
        while True:
            try:
                work()
            except InputError:  # the other one is at work
                continue
            return

    def stream() -> None:
        for n in range(4):
            take(store, click(f"c{n}", time=TODAY - n * DAY))
            until_done(lambda: compact(store, log, bundles=None))

    def files() -> None:
        for source in sources:
            until_done(lambda source=source: ingest("podium", [source], log))  # type: ignore[misc]

    threads = [threading.Thread(target=work) for work in (stream, files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(log) == [*(f"c{n}" for n in range(4)), *(f"s{n}" for n in range(4))]


STEPS = [
    (compacting, "lasting"),
    (compacting, "without"),
    (compacting, "grow"),
    (compacting, "expire"),
    (compacting, "write_manifest"),
    (partitions, "exchanged"),
    (compacting, "forget_in"),
    (EventStore, "settled"),
    (EventStore, "release"),
]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
def test_a_crash_at_any_step_leaves_the_old_log_or_the_new_one_and_the_next_run_completes(
    store: EventStore,
    log: Path,
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    late: bool,
) -> None:
    take(store, click("c1", "ann"), click("c2", "bob", time=TODAY - DAY))
    compact(store, log, bundles=None)
    copy = ingested(tmp_path / "copy", [click("c1", "ann"), click("c3", "eve")])
    take(store, click("c4", "eve"))
    store.forget("ann").result()
    old, new = ids(log), ["c2", "c4"]
    whole = vars(owner)[step]

    def cut(*arguments: object, **named: object) -> object:
        if late:
            whole(*arguments, **named)
        raise KeyboardInterrupt

    def run() -> None:
        compact(store, log, bundles=bundles, rewrite=[copy], keep_days=30, now=NOW)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, cut)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert ids(log) in (old, new)
    assert ids(log) == new or (store.count(), store.pending().times("ann")) == (2, 1)
    run()
    assert (ids(log), ids(copy), store.count()) == (new, ["c3"], 0)
    assert not store.pending()
    assert not [path.name for path in (*tmp_path.glob(".*"), *copy.parent.glob(".*"))]
    assert not holds(log, "ann")
    assert not holds(copy, "ann")


def test_where_two_folders_cannot_be_exchanged_a_crash_between_two_renames_is_mended(
    store: EventStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "exchanged", lambda one, other: False)
    take(store, click("c1"))
    compact(store, log, bundles=None)
    take(store, click("c2"))
    compact(store, log, bundles=None)
    assert ids(log) == ["c1", "c2"]
    log.rename(log.with_name(".log.old"))  # and no further
    take(store, click("c3"))
    compact(store, log, bundles=None)
    assert ids(log) == ["c1", "c2", "c3"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_the_log_is_there_at_every_moment_of_a_change(
    store: EventStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, click("c1"))
    compact(store, log, bundles=None)
    take(store, click("c2"))

    def renamed(self: Path, to: Path) -> Path:
        raise AssertionError(f"{self} was renamed to {to}")

    monkeypatch.setattr(Path, "rename", renamed)
    compact(store, log, bundles=None)
    assert ids(log) == ["c1", "c2"]


def test_what_cannot_be_is_refused_in_a_sentence(store: EventStore, log: Path, tmp_path: Path) -> None:
    take(store, click("c1"))
    with pytest.raises(InputError, match="--keep-days: 1 or more"):
        compact(store, log, bundles=None, keep_days=0)
    with pytest.raises(ArtifactError, match=r"a log with manifest\.json"):
        compact(store, log, bundles=None, rewrite=[tmp_path / "absent"])
    compact(store, log, bundles=None)
    with pytest.raises(InputError, match="--rewrite: logs other than"):
        compact(store, log, bundles=None, rewrite=[log])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="--out"):
        compact(store, tmp_path / "mine", bundles=None)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    partitions.write_manifest(tmp_path / "order", "order")
    with pytest.raises(InputError, match="clock"):
        compact(store, tmp_path / "order", bundles=None)
    bundle(tmp_path / "bundles", NOW)
    (path,) = tmp_path.glob("bundles/b-*/bundle.json")
    path.write_text(path.read_text().replace(str(NOW), str(NOW + 1)))  # it learned more than it says, or less
    with pytest.raises(ArtifactError, match=r"follows from what is in it.*remove that bundle"):
        compact(store, log, bundles=tmp_path / "bundles")
    assert store.count() == 1


@pytest.mark.full
def test_a_store_on_postgresql_gives_the_log_of_one_on_sqlite(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path, postgres_url: str
) -> None:
    other = EventStore(postgres_url)
    events = [click("c1", "ann"), page("p1", "bob"), click("c2", "bob"), item("i1")]
    for each, out in ((store, log), (other, tmp_path / "second")):
        take(each, *events[:2])
        compact(each, out, bundles=bundles)
        each.forget("ann").result()
        take(each, *events)
        done = compact(each, out, bundles=bundles)
        assert (done.read, done.forgotten, each.count()) == (2, {str(out): {"feedback": 1}}, 0)
        assert not each.pending()
    assert parquet(log) == parquet(tmp_path / "second")
    other.close()
