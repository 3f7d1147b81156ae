"""Coming from OpenSearch's User Behavior Insights and from Gorse: small dumps whose events are readable."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.logs.config import LogsConfig
from pipeline.logs.importers.formats import FORMATS, choose
from pipeline.logs.ingest import IngestReport, ingest
from pipeline.logs.moments import Moments
from pipeline.logs.read import Log

T0 = 1_700_000_000_000  # 2023-11-14T22:13:20Z

QUERY: dict[str, Any] = {
    "application": "shop",
    "query_id": "q1",
    "client_id": "browser-1",
    "user_query": "toner",
    "timestamp": "2023-11-14T22:13:20Z",
    "query_response_id": "r1",
    "query_response_hit_ids": ["a", "b", 7],
    "query_attributes": {"device": "mobile"},
}


def about(item: str | int, ordinal: object = None, **more: object) -> dict[str, Any]:
    position = {} if ordinal is None else {"position": {"ordinal": ordinal}}
    return {"event_attributes": {"object": {"object_id": item, "object_id_field": "sku"}, **position, **more}}


def event(action: str, seconds: int, item: str | int, ordinal: object = None, **fields: object) -> dict[str, Any]:
    known = {"action_name": action, "query_id": "q1", "client_id": "browser-1", "timestamp": T0 + 1000 * seconds}
    return known | about(item, ordinal) | fields


EVENTS = [
    event("click_through", 3, "b", 2),
    event("add_to_cart", 9, 7, 3, timestamp="2023-11-14 22:13:29+00:00"),
    event("watch", 12, "b", client_id=None, user_id="ann", user_query="toner"),
]
LIKE = {"FeedbackType": "like", "UserId": "ann", "ItemId": "i1", "Value": 0, "Timestamp": "2023-11-14T22:13:20Z"}
ITEM = {
    "ItemId": "i1",
    "IsHidden": True,
    "Categories": ["games", "indie"],
    "Timestamp": "2023-11-14T22:13:19.5Z",
    "Labels": {"studio": "tiny", "vector": [0.5]},
    "Comment": "Balloon Trip",
}
USER = {"UserId": "ann", "Labels": ["fan"], "Comment": "Ann"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "dump"
    folder.mkdir()
    return folder


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def imported(folder: Path, fmt: str | None = None, **options: str) -> Log:
    report = ingest(fmt, [folder], folder.parent / "log", options=options)
    assert report.quarantined == 0
    return Log.open(folder.parent / "log")


def refused(folder: Path, **options: str) -> tuple[IngestReport, list[tuple[int, str, str]]]:
    report = ingest(None, [folder], folder.parent / "log", options=options)
    (path,) = (folder.parent / "log" / "quarantine").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return report, [(row["line"], row["field"], row["reason"]) for row in rows]


def places(log: Log) -> list[list[tuple[str, int]]]:
    return [[(cell["item_id"], cell["position"]) for cell in page] for page in log.frame("impression")["items"]]


def test_a_ubi_query_is_a_page_of_its_hits_and_its_events_are_feedback_on_them(source: Path) -> None:
    (source / "ubi_queries.jsonl").write_text(lines(QUERY))
    (source / "ubi_events.jsonl").write_text(lines(*EVENTS))
    log = imported(source)
    page = log.frame("impression").row(0, named=True)
    assert {name: page[name] for name in ("request_id", "surface", "user_id", "query", "time", "order")} == {
        "request_id": "q1",
        "surface": "search",
        "user_id": "browser-1",
        "query": "toner",
        "time": T0,
        "order": "shown",
    }
    assert json.loads(page["context"]) == {"device": "mobile", "application": "shop"}
    assert places(log) == [[("a", 0), ("b", 1), ("7", 2)]]
    told = log.frame("feedback", columns=["time", "user_id", "item_id", "action", "request_id", "query"])
    assert told.rows() == [
        (T0 + 3_000, "browser-1", "b", "click", "q1", None),
        (T0 + 9_000, "browser-1", "7", "cart", "q1", None),
        (T0 + 12_000, "ann", "b", "watch", "q1", "toner"),
    ]


@pytest.mark.parametrize("form", ["lines", "array", "search", "elasticdump", "pretty"])
def test_ubi_is_read_in_every_form_it_is_dumped_in(source: Path, form: str) -> None:
    records = [QUERY, *EVENTS]
    hits = [{"_index": "ubi", "_id": str(n), "_source": record} for n, record in enumerate(records)]
    text = {
        "lines": lines(*records),
        "array": json.dumps(records),
        "search": json.dumps({"took": 1, "hits": {"total": {"value": 4}, "hits": hits}}),
        "elasticdump": lines(*hits),
        "pretty": json.dumps(records, indent=2),
    }[form]
    (source / "dump.json").write_text(text)
    log = imported(source)
    assert places(log) == [[("a", 0), ("b", 1), ("7", 2)]]
    assert log.frame("feedback")["action"].to_list() == ["click", "cart", "watch"]
    again = ingest("ubi", [source], source.parent / "log")
    assert again.accepted == {"impression": 0, "feedback": 0}


def test_where_only_the_client_logged_the_page_is_what_came_into_view_at_its_ordinals(source: Path) -> None:
    seen = [
        event("impression", 1, "a", 1),
        event("impression", 2, "c", {"index": 3}, user_query="toner"),
        event("impression", 5, "a", 9),  # an item keeps the place it was first seen at
        event("impression", 6, "x"),  # nobody knows where
        event("click", 7, "c", 3),
    ]
    (source / "events.jsonl.gz").write_bytes(gzip.compress(lines(*seen).encode()))
    log = imported(source)
    assert places(log) == [[("a", 0), ("c", 2)]]
    assert log.frame("impression", columns=["time", "query", "surface"]).rows() == [(T0 + 1_000, "toner", "search")]
    assert log.frame("feedback")["action"].to_list() == ["view", "view", "view", "view", "click"]


def test_bad_ubi_records_are_quarantined_with_line_field_and_reason(source: Path) -> None:
    records = [
        QUERY,
        QUERY | {"query_id": "q2", "query_response_hit_ids": []},
        {"action_name": "login", "query_id": "q1", "client_id": "c", "timestamp": T0},
        event("click", 1, "a", timestamp="yesterday"),
        event("click", 1, "a", client_id=None),
        QUERY | {"query_id": "q3", "query_response_hit_ids": ["a", "a"]},
    ]
    (source / "ubi.jsonl").write_text(lines(*records) + "{broken\n")
    report, found = refused(source)
    assert (report.read, report.accepted, report.quarantined) == (7, {"impression": 2}, 5)
    assert report.mended == {"items: an item twice on one page": 1}
    assert found == [
        (2, "query_response_hit_ids", "is required: a search without hits showed no page"),
        (3, "event_attributes.object.object_id", "is required: an event about no item is no feedback"),
        (4, "timestamp", found[2][2]),
        (5, "user_id", "is required, or a session_id"),
        (7, "line", found[-1][2]),
    ]


def test_names_of_actions_are_mapped_by_options_ahead_of_the_usual_ones(source: Path) -> None:
    (source / "ubi.jsonl").write_text(lines(QUERY, *EVENTS))
    log = imported(source, "ubi", like="watch")
    assert log.frame("feedback")["action"].to_list() == ["click", "cart", "like"]


def test_gorse_feedback_items_and_users_become_ours(source: Path) -> None:
    bought = LIKE | {"FeedbackType": "buy", "Value": 2, "Timestamp": "2023-11-14T23:13:30+01:00", "Comment": "gift"}
    (source / "feedback.jsonl").write_text(lines(LIKE, bought, LIKE | {"FeedbackType": "share", "UserId": "bob"}))
    (source / "items.jsonl").write_text(lines(ITEM, {"ItemId": "i2", "Labels": ["rpg"], "Timestamp": "0001-01-01"}))
    (source / "users.jsonl").write_text(lines(USER))
    log = imported(source)
    told = log.frame("feedback", columns=["time", "user_id", "item_id", "action", "quantity", "request_id"])
    assert sorted(told.rows()) == [
        (T0, "ann", "i1", "like", 1, None),
        (T0, "bob", "i1", "share", 1, None),
        (T0 + 10_000, "ann", "i1", "purchase", 2, None),
    ]
    items = log.frame("item", columns=["item_id", "time", "title", "category", "tags", "available", "attributes"])
    first = T0 - 500  # the first moment the dump tells of: of i2 and of users it tells none
    assert sorted(items.rows()) == [
        ("i1", first, "Balloon Trip", ["games"], ["indie"], False, '{"studio":"tiny","vector":[0.5]}'),
        ("i2", first, None, [], ["rpg"], True, "{}"),
    ]
    users = log.frame("user", columns=["user_id", "time", "attributes"])
    assert users.rows() == [("ann", first, '{"labels":["fan"],"comment":"Ann"}')]


@pytest.mark.parametrize("form", ["array", "page", "pages"])
def test_gorse_is_read_as_its_api_answers(source: Path, form: str) -> None:
    read = [LIKE | {"FeedbackType": "read", "UserId": name} for name in ("ann", "bob", "cy")]
    text = {
        "array": json.dumps(read),
        "page": json.dumps({"Cursor": "", "Feedback": read}, indent=1),
        "pages": lines({"Cursor": "x", "Feedback": read[:2]}, {"Cursor": "", "Feedback": read[2:]}),
    }[form]
    (source / "feedback.json").write_text(text)
    told = imported(source).frame("feedback", columns=["user_id", "action"])
    assert sorted(told.rows()) == [("ann", "view"), ("bob", "view"), ("cy", "view")]


def test_gorses_own_comparisons_say_which_value_is_which_action(source: Path) -> None:
    read = [LIKE | {"FeedbackType": "read", "UserId": f"u{value}", "Value": value} for value in (2, 3, 4.5)]
    (source / "feedback.json").write_text(json.dumps(read))
    told = imported(source, "gorse", like="star, read>=3").frame("feedback", columns=["user_id", "action"])
    assert sorted(told.rows()) == [("u2", "view"), ("u3", "like"), ("u4.5", "like")]


def test_a_rule_that_cannot_be_is_an_input_error(source: Path) -> None:
    (source / "feedback.json").write_text(json.dumps([LIKE]))
    with pytest.raises(InputError, match="--option: ACTION=NAME,NAME>=NUMBER; received 'like=read>=often'"):
        ingest("gorse", [source], source.parent / "log", options={"like": "read>=often"})


def test_bad_gorse_records_are_quarantined_with_line_field_and_reason(source: Path) -> None:
    records = [
        LIKE,
        LIKE | {"Timestamp": "soon"},
        {"FeedbackType": "like", "UserId": "ann"},
        LIKE | {"UserId": ""},
        {"Labels": [], "Comment": "nobody"},
        LIKE | {"Value": "much"},
    ]
    (source / "feedback.jsonl").write_text(lines(*records[:1]) + "\n" + lines(*records[1:]))
    report, found = refused(source)
    assert (report.read, report.accepted, report.quarantined) == (6, {"feedback": 1}, 5)
    assert [(line, field) for line, field, _ in found] == [
        (3, "Timestamp"),
        (4, "ItemId"),
        (5, "user_id"),
        (6, "ItemId"),
        (7, "Value"),
    ]


def test_importing_twice_adds_nothing_and_a_changed_item_is_added(source: Path) -> None:
    for name, record in (("feedback", LIKE), ("items", ITEM), ("users", USER)):
        (source / f"{name}.jsonl").write_text(lines(record))
    imported(source)
    again = ingest(None, [source], source.parent / "log")
    assert (again.format, again.accepted) == ("gorse", {"feedback": 0, "item": 0, "user": 0})
    (source / "items.jsonl").write_text(lines(ITEM | {"IsHidden": False}))
    assert ingest(None, [source], source.parent / "log").accepted["item"] == 1


def test_each_dump_is_recognised_as_its_own_format_and_no_other(source: Path) -> None:
    ranking = {"event": "ranking", "id": "1", "timestamp": T0, "items": [{"id": "a"}]}
    own = {"event_id": "e", "type": "item", "time": T0, "item_id": "i"}
    dumps = {"ubi": QUERY, "gorse": LIKE, "metarank": ranking, "podium": own}
    paths = {name: source / f"{name}.jsonl" for name in dumps}
    for name, record in dumps.items():
        paths[name].write_text(lines(record))
    told_apart = [FORMATS[name] for name in ("ubi", "gorse", "metarank")]
    for name, path in paths.items():
        assert choose(None, [path]).name == name
        assert [one.name for one in told_apart if one.recognises([path])] == [name] * (name != "podium")


def test_a_dump_that_is_cut_off_is_an_input_error(source: Path) -> None:
    (source / "ubi.json").write_text(json.dumps([QUERY])[:-1])
    with pytest.raises(InputError, match="JSON lines, or a whole JSON document"):
        list(FORMATS["ubi"].chunks([source], {}, Moments.of({}, LogsConfig())))
    (source / "ubi.json").unlink()
    (source / "ubi.jsonl.gz").write_bytes(gzip.compress(lines(QUERY).encode())[:-4])
    with pytest.raises(InputError, match="JSON lines, or a whole JSON document"):
        list(FORMATS["ubi"].chunks([source], {}, Moments.of({}, LogsConfig())))
