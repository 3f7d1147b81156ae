import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import ArtifactError
from pipeline.logs.events import COLUMNS
from pipeline.logs.ingest import ingest
from pipeline.logs.migrate import migrate
from pipeline.logs.partitions import day_file, days
from pipeline.logs.read import Log

NEWER = ("page", "order", "explored", "tick", "arm", "bundle")
PAGE = {"type": "impression", "event_id": "i1", "time": 1_700_000_000_000, "request_id": "r1", "surface": "search"}
CLICK = {"type": "feedback", "event_id": "f1", "time": 1_700_000_001_000, "user_id": "u", "item_id": "a"}
EVENTS = [
    PAGE | {"user_id": "u", "items": [{"item_id": "a", "position": 0}]},
    CLICK | {"action": "click", "request_id": "r1"},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)))
    ingest("podium", [tmp_path / "events.jsonl"], tmp_path / "log")
    return tmp_path / "log"


def contents(log: Path) -> dict[str, bytes]:
    return {path.relative_to(log).as_posix(): path.read_bytes() for path in log.rglob("*.parquet")}


def age(log: Path, schema: int) -> None:
    """Take from a log what earlier versions did not write."""
    for day in days(log, "impression"):
        path = day_file(log, "impression", day)
        pl.read_parquet(path).drop(NEWER).write_parquet(path)
    facts = json.loads((log / "manifest.json").read_text())
    (log / "manifest.json").write_text(json.dumps(facts | {"schema": schema}))


def test_an_old_log_is_refused_until_it_is_migrated_and_then_reads_as_a_new_one(log: Path) -> None:
    fresh = contents(log)
    age(log, schema=0)
    with pytest.raises(ArtifactError, match="schema"):
        Log.open(log)
    done = migrate(log)
    assert (done.schema, done.rewritten, done.rows) == (0, 2, {"impression": 1, "feedback": 1})
    assert contents(log) == fresh
    page = Log.open(log).frame("impression")
    assert page.schema == COLUMNS["impression"]
    assert page.select("page", "order", "explored", "tick").row(0) == (0, "shown", False, None)


def test_days_without_a_newer_column_are_brought_up_and_the_others_left_as_they_are(log: Path) -> None:
    fresh = contents(log)
    age(log, schema=1)
    inode = day_file(log, "feedback", days(log, "feedback")[0]).stat().st_ino
    assert migrate(log).rewritten == 1
    assert contents(log) == fresh
    assert day_file(log, "feedback", days(log, "feedback")[0]).stat().st_ino == inode


def test_a_log_of_this_version_is_not_touched(log: Path) -> None:
    before = log.stat().st_ino
    assert migrate(log).rewritten == 0
    assert log.stat().st_ino == before


def test_a_log_of_a_later_version_is_refused(log: Path) -> None:
    age(log, schema=7)
    with pytest.raises(ArtifactError, match="can be reached"):
        migrate(log)


def test_rows_that_do_not_fit_leave_the_log_as_it_was(log: Path) -> None:
    path = day_file(log, "feedback", days(log, "feedback")[0])
    pl.read_parquet(path).with_columns(time=pl.lit("noon")).write_parquet(path)
    before = contents(log)
    with pytest.raises(ArtifactError, match="feedback"):
        migrate(log)
    assert contents(log) == before


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """Signs that other programs take for patterns are letters of a name."""
    log = tmp_path / "a[b]*c?{d}" / "log"
    source = tmp_path / "a[b]*c?{d}" / "[x]*.jsonl"
    source.parent.mkdir()
    source.write_text("".join(json.dumps({**EVENTS[1], "event_id": name}) + "\n" for name in ("f1", "f2")))
    for known in (0, 2):
        assert ingest("podium", [source], log).duplicates["feedback"] == known
    assert migrate(log).rewritten == 0
    assert Log.open(log).everything().frame("feedback")["event_id"].to_list() == ["f1", "f2"]
