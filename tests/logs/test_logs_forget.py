"""Forgetting in logs: no byte of the user is left in any file, and nobody else loses one."""

import json
from pathlib import Path

import pytest
from compact_tools import (
    DAY,
    TODAY,
    about,
    click,
    holds,
    ingested,
    item,
    page,
    parquet,
    refused,
    row,
    suggestion,
    take,
)

from pipeline.errors import ArtifactError, InputError
from pipeline.logs.compact import compact
from pipeline.logs.forget import Leaving, forget_in, is_gone, stranger
from pipeline.logs.ingest import ingest
from pipeline.logs.partitions import day_file, locked, read_manifest
from pipeline.logs.read import Log
from pipeline.logs.split import split
from pipeline.logs.store import EventStore

ANN = "ann-7d1e"  # an id that no other bytes spell
OTHERS = [click("c2", "bob"), click("c3", None), page("p2", "bob"), page("p3", None), item("i1")]


def forget(store: EventStore, log: Path, bundles: Path, *rewrite: Path) -> dict[str, dict[str, int]]:
    store.forget(ANN).result()
    return compact(store, log, bundles=bundles, rewrite=rewrite).forgotten


def leaving(store: EventStore) -> Leaving:
    return Leaving(store.id, store.forgotten())


def test_every_type_loses_the_user_and_has_the_bytes_it_had_without(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path
) -> None:
    hers = [click("c1", ANN), page("p1", ANN), suggestion("s1", ANN), about("u1", ANN)]
    take(store, *hers, *OTHERS)
    compact(store, log, bundles=bundles)
    assert len(holds(log, ANN)) == 4
    assert forget(store, log, bundles) == {str(log): {"impression": 1, "feedback": 1, "suggest": 1, "user": 1}}
    assert parquet(log) == parquet(ingested(tmp_path / "expected", OTHERS))
    assert holds(log, ANN) == []
    assert not store.pending()


def test_a_session_without_the_user_is_not_theirs(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, page("p1", ANN), page("p2", None))  # both of the session `browser`
    compact(store, log, bundles=bundles)
    forget(store, log, bundles)
    assert Log.open(log).frame("impression")["event_id"].to_list() == ["p2"]


def test_days_without_the_user_are_not_written_again(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN), click("c2", "bob"), click("c3", "bob", time=TODAY - DAY))
    compact(store, log, bundles=bundles)
    day = TODAY // DAY
    before = [day_file(log, "feedback", each).stat().st_ino for each in (day, day - 1)]
    forget(store, log, bundles)
    after = [day_file(log, "feedback", each).stat().st_ino for each in (day, day - 1)]
    assert after[1] == before[1]
    assert after[0] != before[0]


def test_a_day_of_nobody_else_vanishes(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN), click("c2", "bob", time=TODAY - DAY))
    compact(store, log, bundles=bundles)
    forget(store, log, bundles)
    assert Log.open(log).days("feedback") == [TODAY // DAY - 1]
    assert read_manifest(log)["events"] == {"feedback": 1}


def test_an_event_that_never_reached_the_log_never_will(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN), click("c2", "bob"))
    forget(store, log, bundles)
    assert Log.open(log).frame("feedback")["event_id"].to_list() == ["c2"]
    assert store.append([row(click("c1", ANN))]).duplicates == 1


def test_who_comes_back_is_somebody_new_and_can_be_forgotten_again(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN))
    compact(store, log, bundles=bundles)
    store.forget(ANN).result()
    take(store, click("c4", ANN))
    compact(store, log, bundles=bundles)
    (name,) = Log.open(log).frame("feedback")["user_id"]
    assert name == stranger(ANN, store.forgotten()) != ANN
    compact(store, log, bundles=bundles)
    assert Log.open(log).frame("feedback")["event_id"].to_list() == ["c4"]
    forget(store, log, bundles)
    assert holds(log, ANN) == []


def test_names_tell_who_is_gone(store: EventStore) -> None:
    store.forget(ANN).result()
    assert store.forget(ANN).result() == 0
    told = store.forgotten()
    assert stranger(ANN, told) == f"{ANN}\x1f2"
    assert [is_gone(name, told) for name in (ANN, f"{ANN}\x1f1", f"{ANN}\x1f2", f"{ANN}\x1fx", "bob")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_who_is_forgotten_again_while_the_log_is_written_is_not_settled(
    store: EventStore, log: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, click("c1", ANN), click("c2", "bob"))
    since = store.since

    def meanwhile(seq: int, limit: int) -> object:
        found = since(seq, limit)
        store.forget(ANN).result()
        return found

    monkeypatch.setattr(store, "since", meanwhile)
    compact(store, log, bundles=bundles)
    monkeypatch.undo()
    assert holds(log, ANN)  # it was read a moment before
    assert store.pending().times(ANN) == 1
    assert compact(store, log, bundles=bundles).forgotten == {str(log): {"feedback": 1}}
    assert holds(log, ANN) == []
    assert not store.pending()


def test_what_a_killed_job_left_beside_the_log_goes_as_well(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN))
    compact(store, log, bundles=bundles)
    draft = log.with_name(".log.draft") / ".work"
    draft.mkdir(parents=True)
    (draft / "feedback-0.parquet").write_bytes(ANN.encode())
    log.with_name(".log.old").mkdir()
    (log.with_name(".log.old") / "part").write_bytes(ANN.encode())
    assert len(holds(log, ANN)) == 3
    forget(store, log, bundles)
    assert holds(log, ANN) == []


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(click("x", ANN, quantity=0)),
        f'{{"user_id": "{ANN}"',
        '{"user_id": "ann\\u002d7d1e", "type": 5}',
        f'{{"user_id": "{ANN}',
        f"nonsense, {ANN}",
        f'{{"user_id": "{ANN}", "type": "' + "x" * 5_000,
        '{"type": "' + "x" * 2_030 + f'", "user_id": "{ANN}"}}',
    ],
    ids=["sound", "broken", "escaped", "open", "words", "cut", "cut in the id"],
)
def test_refused_rows_of_the_user_leave_the_quarantine(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path, raw: str
) -> None:
    (tmp_path / "events.jsonl").write_text(raw + '\n{"user_id": "bob"}\n')
    assert ingest("podium", [tmp_path / "events.jsonl"], log).quarantined == 2
    assert "ann" in "".join(path.read_text() for path in (log / "quarantine").iterdir()) or len(raw) > 2_000
    assert forget(store, log, bundles) == {str(log): {"quarantine": 1}}
    left = [json.loads(line) for path in (log / "quarantine").iterdir() for line in path.read_text().splitlines()]
    assert [json.loads(each["raw"]) for each in left] == [{"user_id": "bob"}]
    assert holds(log, "ann") == []


def test_a_quarantine_of_nobody_else_vanishes(store: EventStore, log: Path, bundles: Path) -> None:
    store.append([refused("bad", ANN)])
    compact(store, log, bundles=bundles)
    assert holds(log, ANN)
    forget(store, log, bundles)
    assert not (log / "quarantine").exists()


def test_other_logs_and_their_states_lose_the_user_too(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path
) -> None:
    events = [click(f"{who}{hour}", who, time=TODAY + hour * 3_600_000) for hour in range(20) for who in (ANN, "bob")]
    split(ingested(tmp_path / "all", events), tmp_path / "split", gap_ms=0)
    sides = [tmp_path / "split" / side for side in ("train", "valid", "test")]
    assert all(holds(side, ANN) for side in sides)
    told = [read_manifest(side) for side in sides]
    forget(store, log, bundles, *sides)
    assert [holds(side, ANN) for side in sides] == [[], [], []]
    for side, before in zip(sides, told, strict=True):
        after = read_manifest(side)
        assert (after["side"], after["split"]) == (before["side"], before["split"])
        assert after["events"] == {kind: rows // 2 for kind, rows in before["events"].items()}  # type: ignore[attr-defined]
    state = Log.open(sides[1]).state
    assert state is not None
    assert set(state.frame("feedback")["user_id"]) == {"bob"}


def test_another_log_loses_who_was_forgotten_before_it_was_named(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path
) -> None:
    copy = ingested(tmp_path / "copy", [click("c1", ANN), click("c2", "bob")])
    forget(store, log, bundles)
    assert compact(store, log, bundles=bundles, rewrite=[copy]).forgotten == {str(copy): {"feedback": 1}}
    folder = copy.stat().st_ino
    assert compact(store, log, bundles=bundles, rewrite=[copy]).forgotten == {}
    assert copy.stat().st_ino == folder


def test_a_log_that_names_nobody_forgotten_is_left_alone(store: EventStore, tmp_path: Path) -> None:
    copy = ingested(tmp_path / "copy", [click("c2", "bob")])
    folder = copy.stat().st_ino
    assert forget_in(copy, leaving(store)) == {}
    store.forget(ANN).result()
    assert forget_in(copy, leaving(store)) == {}
    assert copy.stat().st_ino == folder


def test_what_is_ingested_again_leaves_again(store: EventStore, log: Path, bundles: Path, tmp_path: Path) -> None:
    forget(store, log, bundles)
    ingest("podium", [ingested(tmp_path / "old", [click("c1", ANN), click("c2", "bob")])], log)
    assert holds(log, ANN)
    assert compact(store, log, bundles=bundles).forgotten == {str(log): {"feedback": 1}}
    assert holds(log, ANN) == []


def test_a_log_at_work_or_none_at_all_is_refused(store: EventStore, tmp_path: Path) -> None:
    store.forget(ANN).result()
    copy = ingested(tmp_path / "copy", [click("c1", ANN)])
    with locked(copy), pytest.raises(InputError, match="no other job"):
        forget_in(copy, leaving(store))
    with pytest.raises(ArtifactError, match="a log"):
        forget_in(tmp_path / "absent", leaving(store))


def test_a_user_whose_forgetting_was_not_noted_in_another_log_stays_pending(
    store: EventStore, log: Path, bundles: Path, tmp_path: Path
) -> None:
    copy = ingested(tmp_path / "copy", [click("c1", ANN)])
    store.forget(ANN).result()
    with locked(copy), pytest.raises(InputError, match="no other job"):
        compact(store, log, bundles=bundles, rewrite=[copy])
    assert store.pending().times(ANN) == 1
    compact(store, log, bundles=bundles, rewrite=[copy])
    assert not store.pending()
    assert holds(copy, ANN) == []


def test_an_empty_log_is_what_is_left_of_a_log_of_one(store: EventStore, log: Path, bundles: Path) -> None:
    take(store, click("c1", ANN))
    compact(store, log, bundles=bundles)
    forget(store, log, bundles)
    assert parquet(log) == {}
    assert read_manifest(log)["events"] == {}
