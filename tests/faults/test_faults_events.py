"""Bad events: each ends in the quarantine with its line, field and reason, and in exit code 2 under --strict."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fault_checks import check_quarantined, check_refused, jsonl, podium

NO = object()  # the field is left out
TIME = 1_767_600_000_000
GOOD: dict[str, dict[str, Any]] = {
    "item": {"event_id": "e", "type": "item", "time": TIME, "item_id": "i1", "title": "Red shoes", "price": 9.5},
    "user": {"event_id": "e", "type": "user", "time": TIME, "user_id": "ann"},
    "impression": {"event_id": "e", "type": "impression", "time": TIME, "request_id": "r1", "surface": "search"}
    | {"user_id": "ann", "items": [{"item_id": "i1", "position": 0}, {"item_id": "i2", "position": 1}]},
    "feedback": {"event_id": "e", "type": "feedback", "time": TIME, "user_id": "ann", "item_id": "i1"}
    | {"action": "click"},
    "suggest": {"event_id": "e", "type": "suggest", "time": TIME, "request_id": "r1", "placement": "complete"}
    | {"shown": [{"query": "red shoes", "position": 0}]},
    "judgment": {"event_id": "e", "type": "judgment", "time": TIME, "query": "red", "item_id": "i1", "grade": 2},
}


def shown(**changes: object) -> list[dict[str, object]]:
    return [{"item_id": "i1", "position": 0}, {"item_id": "i2", "position": 1} | changes]


# type, what is changed, the field that is named, part of the reason
FIELDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("item", {"event_id": NO}, "event_id", "missing required field"),
    ("item", {"event_id": ""}, "event_id", "length >= 1"),
    ("item", {"event_id": "x" * 129}, "event_id", "length <= 128"),
    ("item", {"event_id": 7}, "event_id", "Expected `str`"),
    ("item", {"event_id": None}, "event_id", "Expected `str`"),
    ("item", {"type": NO}, "type", "missing required field"),
    ("item", {"type": "itme"}, "type", "Invalid value 'itme'"),
    ("item", {"type": 3}, "type", "Expected `str`"),
    ("item", {"time": NO}, "time", "missing required field"),
    ("item", {"time": None}, "time", "Expected"),
    ("item", {"time": -1}, "time", ">= 0"),
    ("item", {"time": TIME * 1000}, "time", "<= 4102444799999"),
    ("item", {"time": 10**30}, "time", "<= 4102444799999"),
    ("item", {"time": 1.5}, "time", "before 1990"),
    ("item", {"time": TIME // 1000}, "time", "epoch seconds"),
    ("feedback", {"time": "2098-01-05T10:00:00Z"}, "time", "after it was received"),
    ("item", {"time": "yesterday"}, "time", "RFC3339"),
    ("item", {"time": "2026-13-01T00:00:00Z"}, "time", "RFC3339"),
    ("item", {"time": "2026-01-05T10:00:00"}, "time", "timezone"),
    ("item", {"time": "1969-12-31T23:59:59Z"}, "time", "1970"),
    ("item", {"received": "soon"}, "received", "RFC3339"),
    ("item", {"item_id": NO}, "item_id", "missing required field"),
    ("item", {"item_id": None}, "item_id", "Expected `str`"),
    ("item", {"title": 5}, "title", "Expected `str | null`"),
    ("item", {"colour": "red"}, "colour", "unknown field"),
    ("item", {"price": "9.50"}, "price", "Expected `float | null`"),
    ("item", {"price": -1}, "price", ">= 0"),
    ("item", {"available": "yes"}, "available", "Expected `bool"),
    ("item", {"category": "Shoes"}, "category", "Expected `array | null`"),
    ("item", {"category": ["Shoes", None]}, "category[1]", "Expected `str`"),
    ("item", {"tags": [1]}, "tags[0]", "Expected `str`"),
    ("item", {"attributes": ["size"]}, "attributes", "must be a JSON object"),
    ("item", {"vector": ["a"]}, "vector[0]", "Expected `float`"),
    ("user", {"user_id": NO}, "user_id", "missing required field"),
    ("user", {"attributes": "tall"}, "attributes", "must be a JSON object"),
    ("impression", {"request_id": NO}, "request_id", "missing required field"),
    ("impression", {"surface": ""}, "surface", "length >= 1"),
    ("impression", {"user_id": NO}, "user_id", "is required, or a session_id"),
    ("impression", {"user_id": None, "session_id": None}, "user_id", "is required, or a session_id"),
    ("impression", {"items": NO}, "items", "missing required field"),
    ("impression", {"items": []}, "items", "length >= 1"),
    ("impression", {"items": {"item_id": "i1"}}, "items", "Expected `array`"),
    ("impression", {"items": shown(item_id="")}, "items[1].item_id", "length >= 1"),
    ("impression", {"items": shown(position=-1)}, "items[1].position", ">= 0"),
    ("impression", {"items": shown(position=2**31)}, "items[1].position", "<= 2147483647"),
    ("impression", {"items": shown(position="first")}, "items[1].position", "Expected `int`"),
    ("impression", {"items": shown(propensity=0)}, "items[1].propensity", "> 0"),
    ("impression", {"items": shown(propensity=1.5)}, "items[1].propensity", "<= 1"),
    ("impression", {"items": shown(marginal=-0.1)}, "items[1].marginal", "> 0"),
    ("impression", {"items": shown(rank=1)}, "items[1].rank", "unknown field"),
    ("impression", {"items": [{"item_id": "i1"}]}, "items[0].position", "missing required field"),
    ("impression", {"order": "random"}, "order", "Invalid enum value"),
    ("impression", {"page": -1}, "page", ">= 0"),
    ("impression", {"filters": [1]}, "filters", "must be a JSON object"),
    ("impression", {"context": "phone"}, "context", "must be a JSON object"),
    ("feedback", {"user_id": NO}, "user_id", "is required, or a session_id"),
    ("feedback", {"action": NO}, "action", "missing required field"),
    ("feedback", {"quantity": 0}, "quantity", ">= 1"),
    ("feedback", {"value": 9.5}, "value", "Expected `int | null`"),
    ("feedback", {"value": 2**63}, "value", "<= 9223372036854775807"),
    ("feedback", {"dwell_ms": -5}, "dwell_ms", ">= 0"),
    ("suggest", {"shown": NO}, "shown", "missing required field"),
    ("suggest", {"shown": [{"query": None, "position": 0}]}, "shown[0].query", "Expected `str`"),
    ("suggest", {"shown": [{"query": "a", "position": -1}]}, "shown[0].position", ">= 0"),
    ("judgment", {"query": ""}, "query", "length >= 1"),
    ("judgment", {"grade": "good"}, "grade", "Expected `float`"),
]

# the line as it stands, the field that is named, part of the reason
LINES: dict[str, tuple[bytes, str, str]] = {
    "text": (b"hello", "line", "malformed"),
    "cut short": (b'{"event_id": "e", "type": "item"', "line", "truncated"),
    "an array": (b"[]", "line", "Expected `object`"),
    "a number": (b"42", "line", "Expected `object`"),
    "null": (b"null", "line", "Expected `object`"),
    "two objects": (json.dumps(GOOD["user"]).encode() + b" {}", "line", "trailing"),
    "single quotes": (b"{'event_id': 'e'}", "line", "malformed"),
    "not UTF-8": (json.dumps(GOOD["item"]).encode().replace(b"Red", b"R\xe9d"), "line", "UTF-8"),
    "NaN": (json.dumps(GOOD["judgment"] | {"grade": float("nan")}).encode(), "line", "malformed"),
    "Infinity": (json.dumps(GOOD["judgment"] | {"grade": float("inf")}).encode(), "line", "malformed"),
    "a number too large": (
        json.dumps(GOOD["judgment"]).encode().replace(b": 2}", b": 1e999}"),
        "grade",
        "out of range",
    ),
    "NUL": (b"\x00" * 20, "line", "malformed"),
    "nested deeply": (
        json.dumps(GOOD["user"]).encode()[:-1] + b', "attributes": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        "line",
        "too deeply",
    ),
    "ten megabytes": (b'{"event_id": "' + b"x" * 10_000_000 + b'"}', "type", "missing required field"),
}


def with_one_bad(bad: object) -> bytes:
    """Three events, the second of which is bad."""
    return jsonl(GOOD["item"] | {"event_id": "first"}, bad, GOOD["user"] | {"event_id": "last"})


def changed(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (GOOD[kind] | changes).items() if value is not NO}


def check_one_row(events: Path, log: Path, field: str, reason: str) -> None:
    """The bad row of `with_one_bad` is quarantined, the other two are kept, and --strict refuses the file."""
    done = podium("ingest", "podium", events, "--out", log, "--json")
    check_quarantined(done, log, 2, field, reason)
    assert sum(json.loads(done.out)["accepted"].values()) == 2, done.out
    strict = podium("ingest", "podium", events, "--out", log.with_name("strict"), "--strict", "--json")
    check_refused(strict, "rows", str(events), "1 of 3")


def name_of(case: object) -> str | None:
    if isinstance(case, dict):
        return ",".join(f"{name}={'absent' if value is NO else value}" for name, value in case.items())[:60]
    return case if isinstance(case, str) else None


@pytest.mark.parametrize(("kind", "changes", "field", "reason"), FIELDS, ids=name_of)
def test_a_bad_field_sends_its_row_to_quarantine(
    kind: str, changes: dict[str, Any], field: str, reason: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(with_one_bad(changed(kind, changes)))
    check_one_row(events, tmp_path / "log", field, reason)


@pytest.mark.parametrize(("line", "field", "reason"), LINES.values(), ids=LINES)
def test_a_bad_line_goes_to_quarantine(line: bytes, field: str, reason: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(with_one_bad(line))
    check_one_row(events, tmp_path / "log", field, reason)


@pytest.mark.parametrize("kind", GOOD)
def test_the_events_the_tables_spoil_are_good(kind: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(jsonl(GOOD[kind]))
    done = podium("ingest", "podium", events, "--out", tmp_path / "log", "--strict", "--json")
    assert (done.code, json.loads(done.out)["accepted"]) == (0, {kind: 1}), done.err


def parquet(frame: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.write_parquet(data)
    return data.getvalue()


ROW: dict[str, list[Any]] = {"event_id": ["e"], "type": ["feedback"], "time": [TIME], "user_id": ["ann"]}
ROW |= {"item_id": ["i1"], "action": ["click"]}
TWO = gzip.compress(jsonl(*({**GOOD["item"], "event_id": f"e{n}"} for n in range(50))), mtime=0)

# name of the file -> its bytes, words of the error
FILES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "gzip that is none": ("events.jsonl.gz", jsonl(GOOD["item"]), ("file", "gzip")),
    "gzip cut short": ("events.jsonl.gz", TWO[:-20], ("file", "gzip")),
    "gzip with a broken block": ("events.jsonl.gz", TWO[:40] + b"\x00" * 20 + TWO[60:], ("file", "gzip")),
    "parquet that is none": ("events.parquet", b"PAR1 nothing", ("source", "with event_id, time and type")),
    "parquet cut short": (
        "events.parquet",
        parquet(pl.DataFrame(ROW))[:-30],
        ("source", "with event_id, time and type"),
    ),
    "parquet without time": ("events.parquet", parquet(pl.DataFrame(ROW).drop("time")), ("source", "time")),
    "parquet of an unknown type": (
        "events.parquet",
        parquet(pl.DataFrame(ROW | {"type": ["click"]})),
        ("type", "one of", "'click'"),
    ),
    "parquet whose time is a list": (
        "events.parquet",
        parquet(pl.DataFrame(ROW | {"time": [[TIME]]})),
        ("time", "Int64"),
    ),
    "parquet whose id is a struct": (
        "events.parquet",
        parquet(pl.DataFrame(ROW | {"item_id": [{"a": 1}]})),
        ("item_id", "String"),
    ),
    "parquet whose page is text": (
        "events.parquet",
        parquet(pl.DataFrame(ROW | {"type": ["impression"], "items": ["i1"], "request_id": ["r"], "surface": ["s"]})),
        ("events.parquet", "impression"),
    ),
    "a file of another ending": ("events.txt", jsonl(GOOD["item"]), ("source", ".jsonl")),
}


@pytest.mark.parametrize(("name", "data", "words"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_no_log(
    name: str, data: bytes, words: tuple[str, ...], tmp_path: Path
) -> None:
    path, log = tmp_path / name, tmp_path / "log"
    path.write_bytes(data)
    check_refused(podium("ingest", "podium", path, "--out", log, "--json"), name, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


# a column of a Parquet file -> the field and the reason its row is refused for
COLUMNS: dict[str, tuple[dict[str, list[Any]], str, str]] = {
    "text in a number": ({"quantity": ["many"]}, "quantity", "must be Int64"),
    "null id": ({"item_id": pl.Series([None], dtype=pl.String).to_list()}, "item_id", "1 to 128"),
    "negative time": ({"time": [-5]}, "time", "1970"),
    "no action": ({"action": [""]}, "action", "1 to 128"),
}


def check_table(case: str, folder: Path) -> None:
    """The one row of a table is quarantined."""
    changes, field, reason = COLUMNS[case]
    path = folder / "events.parquet"
    path.write_bytes(parquet(pl.DataFrame(ROW | changes)))
    done = podium("ingest", "podium", path, "--out", folder / "log", "--json")
    check_quarantined(done, folder / "log", 1, field, reason, alone=True)


@pytest.mark.parametrize("case", COLUMNS)
def test_a_bad_row_of_a_table_goes_to_quarantine(case: str, tmp_path: Path) -> None:
    check_table(case, tmp_path)


# what is asked, with {src} a folder with sound events; words of the error
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown format": (("ingest", "avro", "{src}"), ("format", "one of", "'avro'")),
    "missing source": (("ingest", "podium", "{src}/absent"), ("source", "existing file or folder", "absent")),
    "missing source, format to be found": (("ingest", "auto", "{src}/absent"), ("source", "absent")),
    "nothing to recognise": (("ingest", "movielens", "{src}"), ("source", "movielens")),
    "option without =": (("ingest", "csv", "{src}", "--option", "time"), ("--option", "KEY=VALUE", "'time'")),
    "no source": (("ingest", "podium"), ("SOURCES",)),
}


@pytest.mark.parametrize(("args", "words"), ASKED.values(), ids=ASKED)
def test_a_wrong_question_to_ingest_is_refused(args: tuple[str, ...], words: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "events.jsonl").write_bytes(jsonl(GOOD["item"]))
    given = [arg.format(src=source) for arg in args]
    check_refused(podium(*given, "--out", tmp_path / "log", "--json"), *words)


def test_a_file_without_events_is_a_log_without_events(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"")
    done = podium("ingest", "podium", events, "--out", tmp_path / "log", "--strict", "--json")
    check_refused(done, "rows", "at least one row")
    assert json.loads(done.out)["read"] == 0
    assert (tmp_path / "log" / "manifest.json").is_file()


def test_a_byte_order_mark_does_not_cost_the_first_event(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\xef\xbb\xbf" + jsonl(GOOD["item"]))
    done = podium("ingest", "podium", events, "--out", tmp_path / "log", "--strict", "--json")
    assert (done.code, json.loads(done.out)["accepted"]) == (0, {"item": 1}), done.err


def test_blank_lines_and_carriage_returns_are_no_events(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\r\n" + jsonl(GOOD["item"]).replace(b"\n", b"\r\n") + b"\n\n")
    done = podium("ingest", "podium", events, "--out", tmp_path / "log", "--strict", "--json")
    assert (done.code, json.loads(done.out)["read"]) == (0, 1), done.err


def check_over_a_file(folder: Path) -> None:
    """A file of the user's is no place for a log, and stays as it is."""
    events, out = folder / "events.jsonl", folder / "thesis.txt"
    events.write_bytes(jsonl(GOOD["item"]))
    out.write_text("mine")
    check_refused(podium("ingest", "podium", events, "--out", out, "--json"), "--out", str(out))
    assert out.read_text() == "mine"


def test_a_log_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    check_over_a_file(tmp_path)


def test_a_log_never_takes_the_place_of_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(jsonl(GOOD["item"]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    args = ("ingest", "podium", tmp_path / "events.jsonl", "--out", tmp_path / "out", "--json")
    check_refused(podium(*args), "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
