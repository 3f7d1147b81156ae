"""Metarank, UBI and Gorse as they are really exported: ids as numbers, prices as text, times of many forms."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.logs.ingest import IngestReport, ingest
from pipeline.logs.read import Log

T0 = 1_740_823_200_000  # 2025-03-01T10:00:00Z


def taken(tmp_path: Path, *records: object, **options: str) -> tuple[IngestReport, Log, dict[int, tuple[str, str]]]:
    """What became of the records, one a line: the report, the log, and by line why others were refused."""
    source = tmp_path / "export.jsonl"
    source.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records))
    report = ingest(None, [source], tmp_path / "log", options=options)
    rows = [json.loads(line) for path in tmp_path.glob("log/quarantine/*") for line in path.read_text().splitlines()]
    return report, Log.open(tmp_path / "log"), {row["line"]: (row["field"], row["reason"]) for row in rows}


def ranking(name: object, **more: object) -> dict[str, Any]:
    known = {"event": "ranking", "id": name, "user": "u1", "timestamp": str(T0), "items": [{"id": "a"}, {"id": "b"}]}
    return known | more


def item(name: object, *fields: tuple[str, object], **more: object) -> dict[str, Any]:
    told = [{"name": field, "value": value} for field, value in fields]
    return {"event": "item", "id": f"e{name}", "item": name, "timestamp": T0, "fields": told} | more


def star(**more: object) -> dict[str, Any]:
    return {"FeedbackType": "star", "UserId": "u1", "ItemId": "a", "Timestamp": "2025-03-01T10:00:00Z"} | more


def query(name: object, **more: object) -> dict[str, Any]:
    known = {"query_id": name, "timestamp": T0, "client_id": "c1", "user_query": "lamp"}
    return known | {"query_response_hit_ids": ["a", "b"]} | more


def click(item_id: object, **more: object) -> dict[str, Any]:
    known = {"action_name": "click", "query_id": "q1", "timestamp": T0, "client_id": "c1"}
    return known | {"event_attributes": {"object": {"object_id": item_id}}} | more


def test_whole_numbers_are_ids_in_metarank(tmp_path: Path) -> None:
    seen = {"event": "interaction", "id": 3, "ranking": 1, "user": 7, "item": 9007199254740993, "type": "click"}
    page = ranking(1, user=7, items=[{"id": 9007199254740993}, {"id": "007"}])
    report, log, _ = taken(tmp_path, page, seen | {"timestamp": T0}, item(42))
    assert report.quarantined == 0
    assert [cell["item_id"] for cell in log.frame("impression")["items"][0]] == ["9007199254740993", "007"]
    told = log.frame("feedback").row(0, named=True)
    assert (told["event_id"], told["user_id"], told["request_id"]) == ("3", "7", "1")
    assert log.frame("item")["item_id"].to_list() == ["42"]


def test_whole_numbers_are_ids_in_ubi(tmp_path: Path) -> None:
    page = query(5, client_id=12345, query_response_hit_ids=[1, "02"], user_query=412)
    report, log, _ = taken(tmp_path, page, click(1, query_id=5, client_id=None, user_id=0))
    assert report.quarantined == 0
    shown = log.frame("impression").row(0, named=True)
    assert (shown["request_id"], shown["user_id"], shown["query"]) == ("5", "12345", "412")
    assert [cell["item_id"] for cell in shown["items"]] == ["1", "02"]
    assert log.frame("feedback").select("request_id", "user_id", "item_id").rows() == [("5", "0", "1")]


def test_whole_numbers_are_ids_in_gorse(tmp_path: Path) -> None:
    user, thing = {"UserId": 2, "Labels": ["fan"]}, {"ItemId": 7, "Labels": {}, "Timestamp": ""}
    report, log, refused = taken(tmp_path, star(UserId=2, ItemId=7), user, thing | {"Timestamp": T0})
    assert (report.quarantined, refused) == (0, {})
    assert log.frame("feedback").select("user_id", "item_id").rows() == [("2", "7")]
    assert (log.frame("user")["user_id"].item(), log.frame("item")["item_id"].item()) == ("2", "7")


@pytest.mark.parametrize(
    ("sound", "bad", "field"),
    [
        (ranking("r1"), ranking("r2", user=10.0), "user"),
        (ranking("r1"), ranking("r2", items=[{"id": "a"}, {"id": 1.10}]), "items[1].id"),
        (item("a"), item(1e3), "item"),
        (query("q1"), query("q2", query_response_hit_ids=["a", 10.0]), "query_response_hit_ids"),
        (query("q1"), query(2.0), "query_id"),
        (click("a"), click(7.5), "event_attributes.object.object_id"),
        (star(), star(UserId=1.0), "UserId"),
        (star(), star(ItemId=2.5), "ItemId"),
    ],
)
def test_a_number_with_a_fraction_is_no_id(tmp_path: Path, sound: object, bad: object, field: str) -> None:
    report, _, refused = taken(tmp_path, sound, bad)
    assert (sum(report.accepted.values()), report.quarantined) == (1, 1)
    assert refused == {2: (field, "must be a text or a whole number: 10.0 may be 10 elsewhere")}


@pytest.mark.parametrize("bad", [None, True, ["a"], {"id": "a"}])
def test_what_names_nothing_is_no_id(tmp_path: Path, bad: object) -> None:
    report, log, refused = taken(tmp_path, query("q1"), query("q2", query_response_hit_ids=["a", bad]), click(bad))
    assert (report.accepted, report.quarantined, list(refused)) == ({"impression": 1}, 2, [2, 3])
    assert log.frame("impression")["request_id"].to_list() == ["q1"]


@pytest.mark.parametrize(
    ("told", "price"),
    [(12.5, 12.5), (8, 8.0), ("12.5", 12.5), ("1,299.00", 1299.0), ("0", 0.0)],
)
def test_a_price_is_read_as_a_number_or_as_text(tmp_path: Path, told: object, price: float) -> None:
    report, log, _ = taken(tmp_path, item("a", ("price", told)))
    assert (log.frame("item")["price"].item(), report.mended) == (price, {})


@pytest.mark.parametrize("told", [-5, "-", "free", "1e999", "", True, [9], "12.5 EUR", "NaN"])
def test_a_price_that_is_none_costs_itself_alone_and_is_counted(tmp_path: Path, told: object) -> None:
    report, log, _ = taken(tmp_path, item("a", ("title", "lamp"), ("price", told)), item("b", ("price", 3)))
    assert log.frame("item").sort("item_id").select("title", "price").rows() == [("lamp", None), (None, 3.0)]
    assert (report.quarantined, report.mended) == (0, {"price: must be a number of at least 0": 1})


FORMS = [
    T0,
    str(T0),
    T0 // 1_000,
    str(T0 // 1_000),
    T0 / 1_000,
    "2025-03-01T10:00:00Z",
    "2025-03-01T11:00:00.000+01:00",
]
FORMS += ["2025-03-01 10:00:00 +0000 UTC", "Sat Mar 01 2025 10:00:00 GMT+0000", "Sat, 01 Mar 2025 10:00:00 GMT"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("of", ["metarank", "ubi", "gorse"])
def test_times_of_all_forms_are_read_whichever_comes_first(tmp_path: Path, of: str, backwards: bool) -> None:
    make = {
        "metarank": lambda n, form: ranking(f"r{n}", timestamp=form),
        "ubi": lambda n, form: query(f"q{n}", timestamp=form),
        "gorse": lambda n, form: star(ItemId=f"i{n}", Timestamp=form),
    }[of]
    records = [make(n, form) for n, form in enumerate(FORMS)]
    report, log, refused = taken(tmp_path, *(records[::-1] if backwards else records))
    assert (refused, report.quarantined) == ({}, 0)
    kind = "feedback" if of == "gorse" else "impression"
    assert log.frame(kind)["time"].to_list() == [T0] * len(FORMS)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("2025-03-01T10:01:00", "--option zone=UTC"),
        ("2025/03/01 10:00", "--option zone=UTC"),
        ("03/01/2025 10:00", "--option dates=mdy"),
        ("0001-01-01T00:00:00Z", "before 1990"),
        ("", "is empty"),
        (5, "before 1990"),
    ],
)
def test_a_time_that_leaves_something_open_is_refused_with_what_settles_it(
    tmp_path: Path, form: object, reason: str
) -> None:
    for at, (sound, bad, field) in enumerate(
        [
            (ranking("r1"), ranking("r2", timestamp=form), "timestamp"),
            (query("q1"), query("q2", timestamp=form), "timestamp"),
            (star(), star(ItemId="b", Timestamp=form), "Timestamp"),
        ]
    ):
        folder = tmp_path / str(at)
        folder.mkdir()
        report, _, refused = taken(folder, sound, bad)
        assert (report.quarantined, refused[2][0]) == (1, field)
        assert reason in refused[2][1]


def test_an_option_says_where_times_without_an_offset_hold(tmp_path: Path) -> None:
    records = [ranking("r1", timestamp="2025-03-01T11:00:00"), ranking("r2", timestamp="2025-03-01T10:00:00Z")]
    report, log, _ = taken(tmp_path, *records, zone="Europe/Berlin")
    assert (report.quarantined, log.frame("impression")["time"].to_list()) == (0, [T0, T0])


def test_where_on_the_page_a_click_was_never_costs_the_click(tmp_path: Path) -> None:
    places = [{"ordinal": 0}, {"ordinal": "2"}, {"ordinal": {"index": 1}}, {"xy": {"x": 1}}, 5, {"ordinal": -1}]
    clicks = [
        click(f"i{n}", event_attributes={"object": {"object_id": f"i{n}"}, "position": p}) for n, p in enumerate(places)
    ]
    report, log, _ = taken(tmp_path, *clicks)
    assert (report.quarantined, len(log.frame("feedback"))) == (0, len(places))


@pytest.mark.parametrize("first", [0, 1])
def test_ubi_views_count_places_from_where_the_file_does(tmp_path: Path, first: int) -> None:
    def view(request: str, name: str, place: object) -> dict[str, Any]:
        about = {"object": {"object_id": name}, "position": {"ordinal": place}}
        return click(name, action_name="view", query_id=request, event_attributes=about)

    views = [view("q1", "a", first), view("q1", "b", str(first + 1)), view("q2", "c", first + 2)]
    _, log, _ = taken(tmp_path, *views)
    pages = log.frame("impression").sort("request_id")["items"].to_list()
    assert [[(cell["item_id"], cell["position"]) for cell in page] for page in pages] == [
        [("a", 0), ("b", 1)],
        [("c", 2)],
    ]


def test_a_metarank_query_of_a_number_is_text_and_of_a_list_is_none(tmp_path: Path) -> None:
    numbered = ranking("r1", fields=[{"name": "query", "value": 12}])
    listed = ranking("r2", fields=[{"name": "query", "value": ["lamp"]}])
    _, log, refused = taken(tmp_path, numbered, listed)
    assert log.frame("impression")["query"].to_list() == ["12"]
    assert refused == {2: ("fields.query", "must be a text")}


def test_a_metarank_export_that_is_cut_off_or_no_utf8_is_told_in_our_words(tmp_path: Path) -> None:
    whole = "".join(json.dumps(ranking(f"r{n}")) + "\n" for n in range(2_000)).encode()
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(InputError, match="JSON lines, or a whole JSON document"):
        ingest("metarank", [path], tmp_path / "log")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(whole + json.dumps(ranking("é"), ensure_ascii=False).encode("latin-1") + b"\n")
    report = ingest(None, [latin], tmp_path / "log")
    assert (report.quarantined, report.reasons) == (1, {"line: must be UTF-8": 1})
