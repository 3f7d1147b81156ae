"""Splits: no side knows its future, no request is asked twice, state is complete."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.logs.events import TYPES
from pipeline.logs.holdout import hashed_sides, time_boundaries
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log, latest_items
from pipeline.logs.split import split
from tests.examples import examples

HOUR = 3_600_000
START = 1_700_000_000_000


def ingested(folder: Path, events: list[dict[str, Any]], clock: str = "exact") -> Path:
    source = folder / "source"
    source.mkdir()
    (source / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (source / "manifest.json").write_text(json.dumps({"schema": 1, "clock": clock}))
    ingest("podium", [source], folder / "log")
    return folder / "log"


def click(user: str, hour: int, item: str = "i", **more: object) -> dict[str, Any]:
    event = {"type": "feedback", "event_id": f"{user}:{hour}:{item}", "time": START + hour * HOUR}
    return event | {"user_id": user, "item_id": item, "action": "click"} | more


def page(hour: int, query: str = "q") -> dict[str, Any]:
    event = {"type": "impression", "event_id": f"p{hour}", "time": START + hour * HOUR, "user_id": "u"}
    shown = [{"item_id": "i", "position": 0}]
    return event | {"request_id": f"p{hour}", "surface": "search", "query": query, "items": shown}


def item(name: str, hour: int, title: str) -> dict[str, Any]:
    event = {"type": "item", "event_id": f"{name}:{hour}", "time": START + hour * HOUR}
    return event | {"item_id": name, "title": title}


def ids(log: Log | None, kind: str) -> set[str]:
    assert log is not None
    return set(log.frame(kind)["event_id"])


def sides(folder: Path) -> tuple[Log, Log, Log]:
    train, valid, test = (Log.open(folder / side) for side in ("train", "valid", "test"))
    return train, valid, test


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page and a click an hour for 200 hours; item i changes its title at 0, 100 and 190; one late click."""
    folder = tmp_path_factory.mktemp("timed")
    events = [page(hour) for hour in range(200)] + [click("u", hour, request_id=f"p{hour}") for hour in range(200)]
    events += [item("i", hour, f"title {hour}") for hour in (0, 100, 190)]
    events += [click("late", 3, received=START + 150 * HOUR)]
    split(ingested(folder, events), folder / "split", gap_ms=10 * HOUR)
    return folder


def test_a_split_by_time_cuts_where_the_shares_and_gaps_say(timed: Path) -> None:
    """200 pages: test from 170 (15 %), gap 160..169, valid the 20 (10 %) before: 140..159, gap 130..139."""
    train, valid, test = sides(timed / "split")
    hours = [[(t - START) // HOUR for t in side.frame("impression")["time"]] for side in (train, valid, test)]
    assert hours == [list(range(130)), list(range(140, 160)), list(range(170, 200))]


def test_no_side_holds_an_event_of_a_later_one(timed: Path) -> None:
    train, valid, test = sides(timed / "split")
    for kind in ("impression", "feedback"):
        assert train.frame(kind)["time"].max() < valid.frame(kind)["time"].min()
        assert valid.frame(kind)["time"].max() < test.frame(kind)["time"].min()
    assert train.frame("feedback")["received"].max() < START + 130 * HOUR


def test_what_was_received_after_the_end_is_unknown_to_train_and_state_to_test(timed: Path) -> None:
    train, valid, test = sides(timed / "split")
    late = "late:3:i"
    assert late not in ids(train, "feedback")
    assert late in ids(valid.state, "feedback")
    assert late in ids(test.state, "feedback")


@pytest.mark.parametrize("kind", ["impression", "feedback"])
def test_state_is_everything_earlier_gaps_included(timed: Path, kind: str) -> None:
    whole, (_, valid, test) = Log.open(timed / "log"), sides(timed / "split")
    for side, start in ((valid, 140), (test, 170)):
        before = whole.frame(kind, before=START + start * HOUR)
        assert side.state is not None
        assert side.state.frame(kind).equals(before)
    assert test.everything().frame(kind).equals(whole.frame(kind))


def test_each_side_begins_with_the_latest_item_rows(timed: Path) -> None:
    train, valid, test = sides(timed / "split")
    assert train.frame("item")["title"].to_list() == ["title 0", "title 100"]
    assert valid.frame("item")["title"].to_list() == ["title 100"]
    assert test.frame("item")["title"].to_list() == ["title 100", "title 190"]
    assert test.everything().frame("item")["title"].to_list() == ["title 0", "title 100", "title 190"]
    assert latest_items(test.everything())["title"].to_list() == ["title 190"]
    assert latest_items(test, before=START + 180 * HOUR)["title"].to_list() == ["title 100"]


def test_whole_days_of_state_are_links_to_the_log(timed: Path) -> None:
    day = "feedback/2023-11-16/part-0.parquet"
    inode = (timed / "log" / day).stat().st_ino
    assert (timed / "split" / "test" / "state" / day).stat().st_ino == inode


def test_a_split_again_replaces_and_equals_the_first(timed: Path, tmp_path: Path) -> None:
    for _ in range(2):
        split(timed / "log", tmp_path / "again", gap_ms=10 * HOUR)
    first, second = sides(timed / "split"), sides(tmp_path / "again")
    assert [log.digest() for log in first] == [log.digest() for log in second]


@given(
    times=st.lists(st.integers(0, 1_000), min_size=1, max_size=60),
    valid=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    gap=st.integers(0, 200),
)
def test_boundaries_are_in_order_or_refused(times: list[int], valid: float, test: float, gap: int) -> None:
    array = np.array(times, dtype=np.int64)
    try:
        bounds = time_boundaries(array, valid, test, gap)
    except InputError:
        return
    assert bounds.train_end == bounds.valid_start - gap
    assert bounds.valid_end == bounds.test_start - gap
    assert bounds.train_end <= bounds.valid_start < bounds.valid_end <= bounds.test_start
    assert (array < bounds.train_end).any()
    assert ((array >= bounds.valid_start) & (array < bounds.valid_end)).any()
    assert (array >= bounds.test_start).sum() >= round(test * len(times))


@pytest.fixture
def ordered(tmp_path: Path) -> Path:
    """User a has 5 clicks, b has 3, c has 1, d has 2; time is the place in the user's order."""
    counts = {"a": 5, "b": 3, "c": 1, "d": 2}
    events = [
        click(user, 0, f"i{place}") | {"time": place} for user, count in counts.items() for place in range(1, count + 1)
    ]
    return ingested(tmp_path, [*events, item("i1", 0, "one") | {"time": 0}], clock="order")


def held_out(log: Log) -> list[tuple[str, int]]:
    return sorted(log.frame("feedback", columns=["user_id", "time"]).rows())


def test_last_holds_out_one_click_a_user_and_the_one_before_it(ordered: Path, tmp_path: Path) -> None:
    split(ordered, tmp_path / "split", "last")
    train, valid, test = sides(tmp_path / "split")
    assert held_out(test) == [("a", 5), ("b", 3), ("c", 1), ("d", 2)]
    assert held_out(valid) == [("a", 4), ("b", 2), ("d", 1)]
    assert held_out(train) == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert ids(valid.state, "feedback") == ids(train, "feedback")
    assert ids(test.state, "feedback") == ids(train, "feedback") | ids(valid, "feedback")
    assert [side.clock for side in (train, valid, test)] == ["order"] * 3
    assert ids(test, "item") == {"i1:0"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "txt"])
def test_with_users_only_theirs_is_tested_and_the_others_last_validates(
    ordered: Path, tmp_path: Path, ending: str
) -> None:
    users = tmp_path / f"users.{ending}"
    if ending == "parquet":
        pl.DataFrame({"user_id": ["a"]}).write_parquet(users)
    else:
        users.write_text("a\n" if ending == "txt" else "user_id\na\n")
    split(ordered, tmp_path / "split", "last", users=users)
    train, valid, test = sides(tmp_path / "split")
    assert held_out(test) == [("a", 5)]
    assert held_out(valid) == [("a", 4), ("b", 3), ("c", 1), ("d", 2)]
    assert held_out(train) == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("d", 1)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("users.csv", b"user;id\na;1\n", "user_id: a column of that name; there are: id, user"),
        ("users.csv", b"user_id,n\na,1\nb\n", "line 3: --users: sound rows; a row must have as many cells"),
        ("users.csv", "user_id\na\n".encode("utf-16"), None),
        ("users.txt", b"a\r\n\r\n", None),
        ("users.txt", "é".encode("latin-1"), "--users: Parquet, CSV or a text in UTF-8"),
    ],
)
def test_users_are_read_as_any_table_or_refused_with_the_place(
    ordered: Path, tmp_path: Path, name: str, data: bytes, message: str | None
) -> None:
    (tmp_path / name).write_bytes(data)
    if message is not None:
        with pytest.raises(InputError, match=message):
            split(ordered, tmp_path / "split", "last", users=tmp_path / name)
        return
    split(ordered, tmp_path / "split", "last", users=tmp_path / name)
    assert held_out(sides(tmp_path / "split")[2]) == [("a", 5)]


def test_by_query_keeps_a_query_whole_and_feedback_with_its_request(tmp_path: Path) -> None:
    events = [page(hour, f"q{hour % 30}") for hour in range(90)]
    events += [click("u", hour, request_id=f"p{hour}") for hour in range(90)]
    split(ingested(tmp_path, events), tmp_path / "split", "query", valid=0.3, test=0.3)
    parts = [set(side.frame("impression")["query"]) for side in sides(tmp_path / "split")]
    assert set.union(*parts) == {f"q{n}" for n in range(30)}
    assert sum(map(len, parts)) == 30
    for side in sides(tmp_path / "split"):
        assert set(side.frame("feedback")["request_id"]) == set(side.frame("impression")["request_id"])


def test_by_user_keeps_a_subject_whole(tmp_path: Path) -> None:
    events = [click(f"u{hour % 40}", hour) for hour in range(120)]
    split(ingested(tmp_path, events), tmp_path / "split", "user", valid=0.3, test=0.3)
    parts = [set(side.frame("feedback")["user_id"]) for side in sides(tmp_path / "split")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


def test_the_seed_decides_the_side_and_nothing_else_does() -> None:
    keys = pl.Series([f"q{n}" for n in range(2_000)])
    one = hashed_sides(keys, 0.1, 0.15, seed=0)
    assert one.to_list() == hashed_sides(keys.reverse(), 0.1, 0.15, seed=0).reverse().to_list()
    assert one.to_list() != hashed_sides(keys, 0.1, 0.15, seed=1).to_list()
    assert (one == "test").mean() == pytest.approx(0.15, abs=0.03)
    assert (one == "valid").mean() == pytest.approx(0.10, abs=0.03)


@settings(max_examples=examples(15), deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=4, max_size=25, unique=True),
    by=st.sampled_from(["last", "time", "user", "query"]),
)
def test_no_event_is_asked_on_two_sides_nor_both_state_and_own(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], by: str
) -> None:
    folder = tmp_path_factory.mktemp("sides")
    events = [click(user, hour, query=f"q{hour % 7}") for user, hour in rows]
    log = ingested(folder, events)
    try:
        split(log, folder / "split", by, valid=0.3, test=0.3, gap_ms=HOUR)
    except InputError:
        assert not (folder / "split").exists()
        return
    train, valid, test = sides(folder / "split")
    own = [ids(side, "feedback") for side in (train, valid, test)]
    assert sum(map(len, own)) == len(set.union(*own)) <= len(rows)
    assert not ids(test.state, "feedback") & own[2]
    assert own[0] <= ids(valid.state, "feedback") <= ids(test.state, "feedback")
    assert own[1] <= ids(test.state, "feedback")


REFUSED = [
    ({"by": "luck"}, "--by: one of time"),
    ({"valid": 0.0}, "--valid, --test"),
    ({"valid": 0.6, "test": 0.5}, "--valid, --test"),
    ({"gap_ms": -1}, "--gap"),
    ({"gap_ms": 150 * HOUR}, "smaller --gap"),
    ({"users": Path("u.txt")}, "--users"),
    ({"by": "last", "users": Path("absent.txt")}, "existing file"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_cannot_be_split_is_refused_and_nothing_written(
    timed: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split(timed / "log", tmp_path / "split", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_order_is_not_split_by_time(ordered: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--by last"):
        split(ordered, tmp_path / "split", "time")


def test_a_side_of_a_split_is_not_split_again(timed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a whole log"):
        split(timed / "split" / "test", tmp_path / "split")


def test_every_side_s_manifest_counts_its_rows(timed: Path) -> None:
    for side in sides(timed / "split"):
        assert side.manifest["events"] == {kind: len(side.frame(kind)) for kind in TYPES if side.has(kind)}
