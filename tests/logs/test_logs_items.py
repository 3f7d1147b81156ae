"""Partial rows change what they name and keep the rest; the order of delivery is of no matter, offline and online."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import ArtifactError
from pipeline.logs.decode import decode_events
from pipeline.logs.events import COLUMNS
from pipeline.logs.ingest import ingest
from pipeline.logs.items import FOLDED, folded, merge_patch, standing
from pipeline.logs.migrate import migrate
from pipeline.logs.partitions import day_file, days
from pipeline.logs.read import Log, latest_items
from pipeline.logs.split import split
from tests.examples import examples
from tests.frames import frame

T0 = 1_700_000_000_000
NONE = pl.Series([], dtype=pl.String)
SHOE = {
    "title": "red shoe",
    "brand": "Ada",
    "category": ["shoes"],
    "price": 30.0,
    "attributes": {"color": "red", "size": 9},
}


def rows_of(*events: dict[str, Any]) -> pl.DataFrame:
    """Item rows from the wire, numbered and timed in order unless they say otherwise."""
    told = [{"event_id": f"e{n}", "type": "item", "item_id": "a", "time": n, **event} for n, event in enumerate(events)]
    chunk = decode_events(json.dumps(told).encode())
    assert not chunk.rejects, chunk.rejects
    return chunk.frames["item"].select(list(COLUMNS["item"]))


def shown(*events: dict[str, Any]) -> dict[str, Any]:
    return folded(rows_of(*events)).row(0, named=True)


def test_a_partial_row_keeps_what_it_does_not_name() -> None:
    row = shown(SHOE, {"partial": True, "price": 8})
    assert (row["title"], row["brand"], row["category"], row["price"]) == ("red shoe", "Ada", ["shoes"], 8.0)
    assert (row["kind"], row["available"], row["time"], row["event_id"]) == ("product", True, 1, "e1")


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"brand": None}, {"brand": None}),
        ({"kind": "article", "sponsored": True}, {"kind": "article", "sponsored": True}),
        ({"kind": None}, {"kind": "product"}),
        ({"available": False}, {"available": False}),
        ({"tags": ["new"], "category": []}, {"tags": ["new"], "category": []}),
        ({"title": ""}, {"title": ""}),
        ({}, {}),
    ],
)
def test_null_takes_away_and_anything_else_replaces(patch: dict[str, Any], changed: dict[str, Any]) -> None:
    before = shown(SHOE)
    after = shown(SHOE, {"partial": True, **patch})
    assert {name: after[name] for name in FOLDED if name not in ("time", "event_id")} == {
        name: changed.get(name, before[name]) for name in FOLDED if name not in ("time", "event_id")
    }


@pytest.mark.parametrize(
    ("patches", "attributes"),
    [
        ([{"size": 10}], {"color": "red", "size": 10}),
        ([{"size": None}], {"color": "red"}),
        ([{"of": {"a": 1, "b": 2}}, {"of": {"a": None}}], {"color": "red", "size": 9, "of": {"b": 2}}),
        ([{"size": 1}, {"size": 2}, {"color": "blue"}], {"color": "blue", "size": 2}),
        ([None], {}),
        ([None, {"size": 3}], {"size": 3}),
    ],
)
def test_attributes_are_merged_by_name(patches: list[Any], attributes: dict[str, Any]) -> None:
    assert (
        json.loads(shown(SHOE, *({"partial": True, "attributes": each} for each in patches))["attributes"])
        == attributes
    )


def test_a_removal_lasts_until_the_next_whole_row() -> None:
    gone = shown(SHOE, {"removed": True}, {"partial": True, "price": 3, "available": True})
    assert (gone["removed"], gone["title"]) == (True, None)
    back = shown(SHOE, {"removed": True}, {"title": "again"}, {"partial": True, "price": 3})
    assert (back["removed"], back["title"], back["price"], back["brand"]) == (False, "again", 3.0, None)


def test_a_partial_row_of_what_nobody_described_is_what_it_says() -> None:
    row = shown({"partial": True, "price": 3})
    assert (row["kind"], row["available"], row["price"], row["title"]) == ("product", True, 3.0, None)


def test_what_later_rows_say_again_does_not_pile_up() -> None:
    prices = [{"partial": True, "price": float(n), "attributes": {"stock": n}} for n in range(50)]
    assert len(standing(rows_of(SHOE, *prices))) == 2


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"partial": True, "removed": True}, "removed"),
        ({"partial": "yes"}, "partial"),
        ({"cleared": ["title"]}, "cleared"),
    ],
)
def test_what_cannot_be_is_refused(event: dict[str, Any], field: str) -> None:
    body = json.dumps({"event_id": "e", "type": "item", "item_id": "a", "time": 1, **event}).encode()
    (reject,) = decode_events(body).rejects
    assert reject.field == field


def test_merge_patch_is_that_of_rfc_7396_and_deep_patches_are_no_matter() -> None:
    assert merge_patch({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {
        "a": "z",
        "c": {"d": "e"},
    }
    assert merge_patch({"a": [1]}, {"a": {"b": {"c": None}}}) == {"a": {"b": {}}}
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert merge_patch({}, deep)


EVENT = st.fixed_dictionaries(
    {
        "item_id": st.sampled_from("ab"),
        "time": st.integers(0, 4),
        "kind_of": st.sampled_from(["whole", "partial", "removed"]),
    },
    optional={
        "title": st.sampled_from(["x", "y", None]),
        "price": st.sampled_from([1.0, 2.0, None]),
        "available": st.booleans(),
        "attributes": st.dictionaries(
            st.sampled_from("pq"), st.sampled_from([1, None, {"z": 1}, {"y": None}]), max_size=2
        ),
    },
)


def told(event: dict[str, Any]) -> dict[str, Any]:
    kind = event["kind_of"]
    extra = {"partial": True} if kind == "partial" else {"removed": True} if kind == "removed" else {}
    return {name: value for name, value in event.items() if name != "kind_of"} | extra


def same(left: Catalogue, right: Catalogue) -> None:
    order = [catalogue.rows.sort("item_id") for catalogue in (left, right)]
    assert order[0].equals(order[1])
    for time in range(6):
        shots = [(c.at(time), [c.index[item] for item in sorted(c.ids)]) for c in (left, right)]
        (one, first), (two, second) = shots
        assert np.array_equal(one.available[first], two.available[second])
        assert np.array_equal(one.price[first], two.price[second], equal_nan=True)


@settings(max_examples=examples(100))
@given(st.lists(EVENT, min_size=1, max_size=8), st.randoms(use_true_random=False), st.integers(1, 3))
def test_any_order_of_delivery_in_any_parts_gives_the_same_catalogue(events: list[Any], random: Any, size: int) -> None:
    rows = rows_of(*map(told, events))
    at_once = build_catalogue(rows.sort("time", "event_id"), NONE)
    order = list(range(len(rows)))
    random.shuffle(order)
    grown = build_catalogue(frame("item"), NONE)
    for start in range(0, len(order), size):
        grown = grown.extend(rows[order[start : start + size]].sort("time", "event_id"))
    same(grown, at_once)


def test_a_saved_catalogue_still_takes_late_rows(tmp_path: Path) -> None:
    rows = rows_of(SHOE, {"partial": True, "price": 8.0, "time": 10}, {**SHOE, "title": "late", "time": 5})
    build_catalogue(rows[:2], NONE).save(tmp_path)
    grown = Catalogue.open(tmp_path).extend(rows[2:])
    row = grown.rows.row(grown.index["a"], named=True)
    assert (row["title"], row["price"], row["event_id"]) == ("late", 8.0, "e1")


def test_price_and_availability_are_as_of_the_moment() -> None:
    rows = rows_of(
        SHOE, {"partial": True, "title": "x"}, {"partial": True, "available": False},
        {"partial": True, "available": True}, {"removed": True}, {"partial": True, "price": 1}, SHOE,
    )  # fmt: skip
    catalogue = build_catalogue(rows, NONE)
    shots = [catalogue.at(time) for time in range(7)]
    assert [bool(each.available[1]) for each in shots] == [True, True, False, True, False, False, True]
    assert [float(each.price[1]) for each in shots][:5] == [30.0] * 5


@pytest.fixture
def log(tmp_path: Path) -> Path:
    hour = 3_600_000
    items = [SHOE, {"partial": True, "price": 8}, {"partial": True, "brand": "Bo"}, {"partial": True, "price": 7}]
    events = [
        {"event_id": f"i{n}", "type": "item", "item_id": "a", "time": T0 + n * 60 * hour, **each}
        for n, each in enumerate(items)
    ]
    click = {"type": "feedback", "user_id": "u", "item_id": "a", "action": "click"}
    events += [{"event_id": f"f{n}", "time": T0 + n * hour, **click} for n in range(0, 240, 2)]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)))
    ingest("podium", [tmp_path / "events.jsonl"], tmp_path / "log")
    return tmp_path / "log"


def test_each_side_of_a_split_knows_the_item_as_it_stood(log: Path, tmp_path: Path) -> None:
    split(log, tmp_path / "split", gap_ms=0)
    test = Log.open(tmp_path / "split" / "test")
    for side in (test, test.everything()):
        row = latest_items(side).row(0, named=True)
        assert (row["title"], row["brand"], row["price"]) == ("red shoe", "Bo", 7.0)


@pytest.mark.parametrize("order", list(permutations(range(3)))[:4])
def test_the_log_is_the_same_in_any_order_of_ingest(tmp_path: Path, order: tuple[int, ...]) -> None:
    events = [SHOE, {"partial": True, "price": 8}, {"partial": True, "brand": None}]
    told = [
        {"event_id": f"i{n}", "type": "item", "item_id": "a", "time": T0 + n, **each} for n, each in enumerate(events)
    ]
    for place in order:
        (tmp_path / f"{place}.jsonl").write_text(json.dumps(told[place]))
        ingest("podium", [tmp_path / f"{place}.jsonl"], tmp_path / "log")
    row = latest_items(Log.open(tmp_path / "log")).row(0, named=True)
    assert (row["title"], row["brand"], row["price"]) == ("red shoe", None, 8.0)


def test_a_log_of_before_is_refused_with_the_command_that_mends_it(log: Path) -> None:
    for day in days(log, "item"):
        path = day_file(log, "item", day)
        pl.read_parquet(path).drop("partial", "removed", "cleared").write_parquet(path)
    with pytest.raises(ArtifactError, match="podium migrate"):
        Log.open(log)
    assert migrate(log).rewritten == 4
    assert latest_items(Log.open(log))["price"].to_list() == [7.0]
