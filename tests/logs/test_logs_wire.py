"""The wire: what is refused, why, and what an accepted event becomes."""

import json
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.logs.decode import MAX_RAW, decode_events, decode_lines
from pipeline.logs.events import COLUMNS

CLICK: dict[str, Any] = {
    "type": "feedback",
    "event_id": "f1",
    "time": 1_700_000_000_000,
    "user_id": "u1",
    "item_id": "i1",
    "action": "click",
}
PAGE: dict[str, Any] = {
    "type": "impression",
    "event_id": "r1:0",
    "time": 1_700_000_000_000,
    "request_id": "r1",
    "surface": "search",
    "user_id": "u1",
    "items": [{"item_id": "i1", "position": 0}, {"item_id": "i2", "position": 1}],
}
ITEM: dict[str, Any] = {"type": "item", "event_id": "e1", "time": 0, "item_id": "i1"}
JUDGMENT: dict[str, Any] = {
    "type": "judgment",
    "event_id": "j1",
    "time": 0,
    "query": "q",
    "item_id": "i1",
    "grade": 2.0,
}
SUGGEST: dict[str, Any] = {
    "type": "suggest",
    "event_id": "s1",
    "time": 0,
    "request_id": "r1",
    "placement": "complete",
    "shown": [],
}


def shown(**changes: object) -> dict[str, Any]:
    """A page whose second item is changed."""
    return PAGE | {"items": [PAGE["items"][0], PAGE["items"][1] | changes]}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


REFUSED = [
    (without(CLICK, "type"), "type", "missing required"),
    (CLICK | {"type": "tap"}, "type", "Invalid value 'tap'"),
    (CLICK | {"tyme": 1}, "tyme", "unknown field"),
    (CLICK | {"schema": 2}, "schema", "2"),
    (without(CLICK, "event_id"), "event_id", "missing required"),
    (CLICK | {"event_id": ""}, "event_id", "length >= 1"),
    (CLICK | {"event_id": "x" * 129}, "event_id", "length <= 128"),
    (CLICK | {"event_id": 7}, "event_id", "got `int`"),
    (CLICK | {"time": None}, "time", "null"),
    (CLICK | {"time": "yesterday"}, "time", "RFC3339"),
    (CLICK | {"time": "2024-01-01T00:00:00"}, "time", "timezone"),
    (CLICK | {"time": "1960-01-01T00:00:00Z"}, "time", "from 1970"),
    (CLICK | {"time": -1}, "time", ">= 0"),
    (CLICK | {"time": 1_700_000_000_000_000}, "time", "4102444799999"),
    (without(CLICK, "user_id"), "user_id", "or a session_id"),
    (without(CLICK, "item_id"), "item_id", "missing required"),
    (CLICK | {"action": ""}, "action", "length >= 1"),
    (CLICK | {"value": 9.99}, "value", "Expected `int | null`"),
    (CLICK | {"value": 2**63}, "value", "9223372036854775807"),
    (CLICK | {"quantity": 0}, "quantity", ">= 1"),
    (CLICK | {"dwell_ms": -5}, "dwell_ms", ">= 0"),
    (PAGE | {"items": []}, "items", "length >= 1"),
    (without(PAGE, "user_id"), "user_id", "or a session_id"),
    (PAGE | {"page": -1}, "page", ">= 0"),
    (PAGE | {"order": "random"}, "order", "random"),
    (PAGE | {"context": ["phone"]}, "context", "JSON object"),
    (PAGE | {"filters": "red"}, "filters", "JSON object"),
    (shown(item_id=""), "items[1].item_id", "length >= 1"),
    (shown(position=-1), "items[1].position", ">= 0"),
    (shown(propensity=0), "items[1].propensity", "> 0"),
    (shown(marginal=1.01), "items[1].marginal", "<= 1"),
    (shown(place=1), "items[1].place", "unknown field"),
    (ITEM | {"price": -0.01}, "price", ">= 0"),
    (ITEM | {"attributes": 3}, "attributes", "JSON object"),
    (ITEM | {"vector": [1.0, 1e300]}, "vector", "finite"),
    (ITEM | {"tags": "red"}, "tags", "got `str`"),
    (JUDGMENT | {"grade": "high"}, "grade", "got `str`"),
    (without(SUGGEST, "shown"), "shown", "missing required"),
]


@pytest.mark.parametrize(("event", "field", "reason"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_malformed_event_is_refused_with_field_and_reason(event: dict[str, Any], field: str, reason: str) -> None:
    chunk = decode_lines(json.dumps(event).encode(), "file")
    assert chunk.frames == {}
    (reject,) = chunk.rejects
    assert reject.field == field
    assert reason in reject.reason
    assert json.loads(reject.raw) == event


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[]", b'{"type":', b"\xff", b'"feedback"', b'{"type":"feedback","time":1e400}', b"[" * 200_000],
)
def test_a_line_that_is_no_event_is_refused_and_its_neighbours_are_kept(line: bytes) -> None:
    good = json.dumps(CLICK).encode()
    chunk = decode_lines(b"\n".join([good, line, json.dumps(PAGE).encode()]) + b"\n", "file")
    assert [reject.line for reject in chunk.rejects] == [2]
    assert chunk.frames["feedback"]["line"].to_list() == [1]
    assert chunk.frames["impression"]["line"].to_list() == [3]
    assert len(chunk.rejects[0].raw) <= MAX_RAW


def test_bad_text_inside_a_free_form_object_is_refused() -> None:
    line = json.dumps(PAGE | {"context": {"device": "X"}}).encode().replace(b"X", b"\xff")
    (reject,) = decode_lines(line, "file").rejects
    assert (reject.field, reject.reason) == ("line", "must be UTF-8")


def test_blank_lines_are_no_events_and_keep_the_numbering() -> None:
    chunk = decode_lines(b"\n\n" + json.dumps(CLICK).encode() + b"\n\nbad\n", "file")
    assert chunk.frames["feedback"]["line"].to_list() == [3]
    assert [reject.line for reject in chunk.rejects] == [5]
    assert chunk.events == 2
    assert chunk.lines == 5


@pytest.mark.parametrize("event", [CLICK, PAGE, ITEM, JUDGMENT, SUGGEST], ids=lambda e: e["type"])
def test_an_accepted_event_has_the_stored_columns(event: dict[str, Any]) -> None:
    (frame,) = decode_lines(json.dumps(event).encode(), "file").frames.values()
    assert dict(frame.drop("line").schema) == COLUMNS[event["type"]]


def test_time_may_be_rfc3339_and_received_is_time_when_absent() -> None:
    event = CLICK | {"time": "2024-01-01T02:00:00.250+02:00"}
    row = decode_lines(json.dumps(event).encode(), "file").frames["feedback"].row(0, named=True)
    assert row["time"] == row["received"] == 1_704_067_200_250


def test_absent_fields_take_their_declared_meaning() -> None:
    page = decode_lines(json.dumps(PAGE).encode(), "file").frames["impression"].row(0, named=True)
    assert (page["order"], page["page"], page["context"], page["explored"]) == ("shown", 0, "{}", False)
    assert page["items"][1] == {
        "item_id": "i2",
        "position": 1,
        "score": None,
        "propensity": None,
        "marginal": None,
        "channel": None,
    }
    item = decode_lines(json.dumps(ITEM).encode(), "file").frames["item"].row(0, named=True)
    assert (item["kind"], item["available"], item["sponsored"], item["price"]) == ("product", True, False, None)


def test_free_form_objects_stay_the_text_that_was_sent() -> None:
    line = b'{"type":"item","event_id":"e","time":0,"item_id":"i","attributes":{"b": [1, {"c": null}], "a": 1.50}}'
    assert decode_lines(line, "file").frames["item"]["attributes"][0] == '{"b": [1, {"c": null}], "a": 1.50}'


def test_a_posted_array_is_judged_event_by_event_with_its_index() -> None:
    body = json.dumps([CLICK, CLICK | {"quantity": 0}, PAGE, without(CLICK, "user_id")]).encode()
    chunk = decode_events(body)
    assert {kind: frame["line"].to_list() for kind, frame in chunk.frames.items()} == {
        "feedback": [0],
        "impression": [2],
    }
    assert [(r.line, r.field) for r in chunk.rejects] == [(1, "quantity"), (3, "user_id")]


def test_a_posted_event_needs_no_array() -> None:
    assert decode_events(json.dumps(CLICK).encode()).frames["feedback"]["event_id"].to_list() == ["f1"]


@pytest.mark.parametrize("body", [b"[1,", b'[{"a":1}'])
def test_a_posted_array_that_is_cut_off_is_an_input_error(body: bytes) -> None:
    with pytest.raises(InputError, match="JSON array of events"):
        decode_events(body)
