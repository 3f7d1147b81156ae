"""Ingest: nothing lost, nothing doubled, the same bytes however events were delivered."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ArtifactError, InputError
from pipeline.logs import ingest as ingesting
from pipeline.logs import merge as merging
from pipeline.logs.importers import podium
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from tests.examples import examples

DAY = 86_400_000
NOW = 1_700_000_000_000


def click(event_id: str, time: int = NOW, item: str = "i1", **more: object) -> dict[str, Any]:
    event = {"type": "feedback", "event_id": event_id, "time": time, "user_id": "u1"}
    return event | {"item_id": item, "action": "click"} | more


def page(event_id: str, time: int = NOW, items: Sequence[str] = ("i1",)) -> dict[str, Any]:
    shown = [{"item_id": item, "position": place, "score": 0.5} for place, item in enumerate(items)]
    event = {"type": "impression", "event_id": event_id, "time": time, "user_id": "u1", "items": shown}
    return event | {"request_id": event_id, "surface": "search", "context": {"device": "phone"}}


def write(path: Path, events: Sequence[dict[str, Any] | str]) -> Path:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def stored(log: Path) -> dict[str, bytes]:
    return {str(path.relative_to(log)): path.read_bytes() for path in sorted(log.rglob("*.parquet"))}


def test_events_lie_by_type_and_day_in_order_of_time(tmp_path: Path) -> None:
    events = [click("b", NOW + DAY), click("a", NOW + 5), click("c", NOW), page("p", NOW)]
    report = ingest(None, [write(tmp_path / "events.jsonl", events)], tmp_path / "log")
    assert sorted(stored(tmp_path / "log")) == [
        "feedback/2023-11-14/part-0.parquet",
        "feedback/2023-11-15/part-0.parquet",
        "impression/2023-11-14/part-0.parquet",
    ]
    log = Log.open(tmp_path / "log")
    assert log.frame("feedback")["event_id"].to_list() == ["c", "a", "b"]
    assert (report.read, report.accepted, report.quarantined) == (4, {"feedback": 3, "impression": 1}, 0)
    assert log.manifest["events"] == {"feedback": 3, "impression": 1}
    assert log.span() == (NOW, NOW + DAY)


def test_bad_rows_go_to_quarantine_with_line_field_and_reason(tmp_path: Path) -> None:
    source = write(tmp_path / "events.jsonl", [click("a"), click("b", quantity=0), "nonsense", click("c")])
    report = ingest("podium", [source], tmp_path / "log")
    (path,) = (tmp_path / "log" / "quarantine").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["file"], row["line"], row["field"]) for row in rows] == [
        (str(source), 2, "quantity"),
        (str(source), 3, "line"),
    ]
    assert json.loads(rows[0]["raw"]) == click("b", quantity=0)
    assert (report.read, report.accepted["feedback"], report.quarantined) == (4, 2, 2)


def test_strict_refuses_only_after_writing(tmp_path: Path) -> None:
    source = write(tmp_path / "events.jsonl", [click("a"), "nonsense"])
    with pytest.raises(InputError, match="1 of 2 are in"):
        ingest("podium", [source], tmp_path / "log", strict=True)
    assert len(Log.open(tmp_path / "log").frame("feedback")) == 1


def test_ingesting_again_changes_nothing_but_the_count_of_duplicates(tmp_path: Path) -> None:
    source = write(tmp_path / "events.jsonl", [click("a"), page("p"), "nonsense"])
    ingest(None, [source], tmp_path / "log")
    before = stored(tmp_path / "log")
    report = ingest(None, [source], tmp_path / "log")
    assert stored(tmp_path / "log") == before
    assert report.duplicates == {"feedback": 1, "impression": 1}
    assert report.accepted == {"feedback": 0, "impression": 0}
    assert len(list((tmp_path / "log" / "quarantine").iterdir())) == 1


def test_days_without_new_events_are_linked_not_rewritten(tmp_path: Path) -> None:
    ingest(None, [write(tmp_path / "a.jsonl", [click("a", NOW)])], tmp_path / "log")
    path = tmp_path / "log" / "feedback" / "2023-11-14" / "part-0.parquet"
    inode = path.stat().st_ino
    ingest(None, [write(tmp_path / "b.jsonl", [click("b", NOW + DAY)])], tmp_path / "log")
    assert path.stat().st_ino == inode


def test_a_duplicate_on_another_day_leaves_the_one_received_first(tmp_path: Path) -> None:
    ingest(None, [write(tmp_path / "late.jsonl", [click("a", NOW + 40 * DAY, "late")])], tmp_path / "log")
    report = ingest(None, [write(tmp_path / "early.jsonl", [click("a", NOW, "early")])], tmp_path / "log")
    assert Log.open(tmp_path / "log").frame("feedback")["item_id"].to_list() == ["early"]
    assert (report.duplicates, report.conflicts) == ({"feedback": 0}, {"feedback": 1})


EVENTS = st.builds(
    lambda kind, name, day, second, item: (
        click(f"c{name}", NOW + day * DAY + second * 1000, item)
        if kind
        else page(f"p{name}", NOW + day * DAY + second * 1000, (item, "other"))
    ),
    st.booleans(),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from(["i1", "i2"]),
)
BAD = st.sampled_from(["nonsense", '{"type":"feedback"}', json.dumps(click("x", quantity=0))])


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), events=st.lists(EVENTS, min_size=1, max_size=12))
def test_any_order_any_batches_and_repeats_give_equal_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, events: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("delivery")
    ingest(None, [write(folder / "all.jsonl", events)], folder / "expected")
    shuffled = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4))))
    cut = data.draw(st.integers(1, len(shuffled)))
    merging_rows = data.draw(st.sampled_from([1, 200_000]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "BATCH_ROWS", merging_rows)
        for number, part in enumerate((shuffled[:cut], shuffled[cut:])):
            if part:
                ingest(None, [write(folder / f"{number}.jsonl", part)], folder / "log")
    assert stored(folder / "log") == stored(folder / "expected")


@settings(max_examples=examples(25), deadline=None)
@given(rows=st.lists(EVENTS | BAD, min_size=1, max_size=15))
def test_every_row_is_accepted_quarantined_a_duplicate_or_a_conflict(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any] | str]
) -> None:
    folder = tmp_path_factory.mktemp("count")
    report = ingest("podium", [write(folder / "rows.jsonl", rows)], folder / "log")
    assert report.read == len(rows)
    assert report.read == report.known + report.quarantined
    said = [
        {json.dumps(row) for row in rows if _named(row, name)} for name in {r["event_id"] for r in rows if _named(r)}
    ]
    assert sum(report.conflicts.values()) >= sum(len(contents) - 1 for contents in said)
    assert report.quarantined == sum(isinstance(row, str) for row in rows)
    distinct = {row["event_id"] for row in rows if isinstance(row, dict)}
    assert sum(report.accepted.values()) == len(distinct)


def _named(row: dict[str, Any] | str, name: str | None = None) -> bool:
    return isinstance(row, dict) and name in (None, row["event_id"])


def test_units_of_a_file_cover_each_line_once_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [click(f"c{n}") if n % 7 else "bad" for n in range(1, 100)]
    source = write(tmp_path / "events.jsonl", rows)
    monkeypatch.setattr(podium, "UNIT_BYTES", 333)
    report = ingest("podium", [source], tmp_path / "log")
    (path,) = (tmp_path / "log" / "quarantine").iterdir()
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == list(range(7, 100, 7))
    assert report.accepted == {"feedback": 85}


def test_two_processes_give_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [click(f"c{n}", NOW + n * 3_600_000) if n % 7 else "bad" for n in range(1, 60)]
    source = write(tmp_path / "events.jsonl", rows)
    one = ingest("podium", [source], tmp_path / "one")
    monkeypatch.setattr(podium, "UNIT_BYTES", 2_000)
    monkeypatch.setattr(ingesting, "PARALLEL_BYTES", 0)
    two = ingest("podium", [source], tmp_path / "two")
    assert stored(tmp_path / "one") == stored(tmp_path / "two")
    assert (one.read, one.reasons) == (two.read, two.reasons)
    quarantined = [sorted(p.name for p in (tmp_path / n / "quarantine").iterdir()) for n in ("one", "two")]
    assert quarantined[0] == quarantined[1]


def test_gzip_and_parquet_sources_give_the_same_log(tmp_path: Path) -> None:
    events = [click("a"), page("p"), click("b", NOW + DAY)]
    plain = write(tmp_path / "events.jsonl", events)
    ingest(None, [plain], tmp_path / "plain")
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    ingest(None, [tmp_path / "events.jsonl.gz"], tmp_path / "gzipped")
    ingest(None, [tmp_path / "plain"], tmp_path / "copied")
    assert stored(tmp_path / "plain") == stored(tmp_path / "gzipped") == stored(tmp_path / "copied")


def test_a_parquet_row_is_refused_for_the_wire_s_reasons(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "type": ["feedback"] * 3,
            "event_id": ["a", "b", "c"],
            "time": [NOW, -1, NOW],
            "user_id": ["u", "u", None],
            "item_id": ["i"] * 3,
            "action": ["click"] * 3,
        }
    )
    frame.write_parquet(tmp_path / "events.parquet")
    report = ingest(None, [tmp_path / "events.parquet"], tmp_path / "log")
    assert report.accepted == {"feedback": 1}
    assert {reason.split(":")[0] for reason in report.reasons} == {"time", "user_id"}


def test_an_interrupted_ingest_leaves_the_log_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(None, [write(tmp_path / "a.jsonl", [click("a")])], tmp_path / "log")
    before = stored(tmp_path / "log")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ingesting, "write_manifest", interrupted)
    more = write(tmp_path / "b.jsonl", [click("b")])
    with pytest.raises(KeyboardInterrupt):
        ingest(None, [more], tmp_path / "log")
    assert stored(tmp_path / "log") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "log"]
    monkeypatch.undo()
    ingest(None, [more], tmp_path / "log")
    assert Log.open(tmp_path / "log").frame("feedback")["event_id"].to_list() == ["a", "b"]


def test_a_log_that_a_crash_set_aside_is_put_back(tmp_path: Path) -> None:
    ingest(None, [write(tmp_path / "a.jsonl", [click("a")])], tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / ".log.old")
    ingest(None, [write(tmp_path / "b.jsonl", [click("b")])], tmp_path / "log")
    assert Log.open(tmp_path / "log").frame("feedback")["event_id"].to_list() == ["a", "b"]


def test_a_log_keeps_one_clock(tmp_path: Path) -> None:
    ingest(None, [write(tmp_path / "a.jsonl", [click("a")])], tmp_path / "log")
    (tmp_path / "order").mkdir()
    write(tmp_path / "order" / "b.jsonl", [click("b", 1)])
    (tmp_path / "order" / "manifest.json").write_text('{"schema": 1, "clock": "order"}')
    with pytest.raises(InputError, match="clock: a source whose clock is `exact`"):
        ingest(None, [tmp_path / "order"], tmp_path / "log")


@pytest.mark.parametrize("manifest", ['{"schema": 2}', "[]", "{"])
def test_events_of_another_schema_are_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "events").mkdir()
    write(tmp_path / "events" / "a.jsonl", [click("a")])
    (tmp_path / "events" / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=r"schema|manifest\.json"):
        ingest(None, [tmp_path / "events"], tmp_path / "log")


def test_an_unknown_source_names_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"tells what it looks for: movielens, .* mind"):
        ingest(None, [tmp_path / "notes.txt"], tmp_path / "log")
    with pytest.raises(InputError, match="movielens: ratings"):
        ingest("movielens", [tmp_path / "notes.txt"], tmp_path / "log")
    with pytest.raises(InputError, match="format: one of movielens"):
        ingest("spotify", [tmp_path], tmp_path / "log")
    with pytest.raises(InputError, match="existing file"):
        ingest(None, [tmp_path / "absent"], tmp_path / "log")


def test_a_folder_that_is_no_log_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="--out"):
        ingest(None, [write(tmp_path / "a.jsonl", [click("a")])], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("text", ['{"schema": 2, "clock": "exact"}', '{"schema": 1, "clock": "solar"}', "nope"])
def test_opening_what_is_no_log_of_ours_is_an_artifact_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArtifactError, match=r"a log with manifest\.json"):
        Log.open(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError):
        Log.open(tmp_path)


def test_a_frame_is_cut_by_time_and_columns(tmp_path: Path) -> None:
    events = [click(name, NOW + n * DAY) for n, name in enumerate("abcd")]
    ingest(None, [write(tmp_path / "a.jsonl", events)], tmp_path / "log")
    log = Log.open(tmp_path / "log")
    cut = log.frame("feedback", since=NOW + DAY, before=NOW + 3 * DAY, columns=["event_id"])
    assert cut.to_dict(as_series=False) == {"event_id": ["b", "c"]}
    assert log.frame("judgment").is_empty()
    assert not log.has("judgment")
    with pytest.raises(InputError, match="columns of `feedback`"):
        log.frame("feedback", columns=["colour"])


def test_the_digest_changes_with_the_events_only(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [click("a")])
    ingest(None, [source], tmp_path / "one")
    ingest(None, [source], tmp_path / "two")
    assert Log.open(tmp_path / "one").digest() == Log.open(tmp_path / "two").digest()
    ingest(None, [write(tmp_path / "b.jsonl", [click("b")])], tmp_path / "two")
    assert Log.open(tmp_path / "one").digest() != Log.open(tmp_path / "two").digest()
