"""Bad requests to the real service over a trained bundle: each is a problem that names the field, or a documented
answer."""

import json
from typing import Any

import pytest
from fault_checks import Caller, check_problem

Words = tuple[str, ...]


# path, body, what the problem names; all are 422
BODIES: list[tuple[str, object, Words]] = [
    ("search", {}, ("query", "is required")),
    ("search", [], ("body", "must be a JSON object")),
    ("search", "red", ("body", "must be a JSON object")),
    ("search", 5, ("body", "must be a JSON object")),
    ("search", None, ("body",)),
    ("search", {"query": None}, ("query", "string")),
    ("search", {"query": 5}, ("query", "string")),
    ("search", {"query": ["red"]}, ("query", "string")),
    ("search", {"query": "x" * 100_000}, ("query", "at most 512")),
    ("search", {"query": "red", "colour": 1}, ("colour", "not a field")),
    ("search", {"query": "red", "page": -1, "request_id": "r"}, ("page", "greater than or equal to 0")),
    ("search", {"query": "red", "page": "0"}, ("page", "integer")),
    ("search", {"query": "red", "page": 0.5}, ("page", "integer")),
    ("search", {"query": "red", "page": 10**30, "request_id": "r"}, ("page",)),
    ("search", {"query": "red", "page": 1}, ("request_id", "is required for a page above 0")),
    ("search", {"query": "red", "page_size": 0}, ("page_size", "greater than or equal to 1")),
    ("search", {"query": "red", "page_size": 1000}, ("page_size", "less than or equal to 100")),
    ("search", {"query": "red", "sort": "random"}, ("sort", "relevance")),
    ("search", {"query": "red", "explain": "yes"}, ("explain", "boolean")),
    ("search", {"query": "red", "user_id": ""}, ("user_id", "at least 1")),
    ("search", {"query": "red", "user_id": "u" * 129}, ("user_id", "at most 128")),
    ("search", {"query": "red", "user_id": 7}, ("user_id", "string")),
    ("search", {"query": "red", "context": "phone"}, ("context", "dictionary")),
    ("search", {"query": "red", "diversity": 2}, ("diversity", "less than or equal to 1")),
    ("search", {"query": "red", "diversity": "much"}, ("diversity", "number")),
    ("search", {"query": "red", "weights": {"click": -1}}, ("weights.click", "greater than or equal to 0")),
    ("search", {"query": "red", "weights": {"click": "x"}}, ("weights.click", "number")),
    ("search", {"query": "red", "weights": {"purchase": -0.001}}, ("weights.purchase", "greater than or equal to 0")),
    ("search", {"query": "red", "weights": {"purchase": 1e300}}, ("weights.purchase", "less than or equal to")),
    ("search", {"query": "red", "weights": {"wave": 1.0}}, ("weights.wave", "these are click, purchase")),
    ("search", {"query": "red", "weights": {"hide": -1}}, ("weights.hide", "these are click, purchase")),
    ("search", {"query": "red", "weights": {"click": 1, "cart": 2}}, ("weights.cart", "these are click, purchase")),
    ("search", {"query": "red", "weights": {"Click": 1}}, ("weights.Click", "these are click, purchase")),
    ("search", {"query": "red", "weights": {"x" * 100_000: 1}}, ("weights.xxx", "these are click, purchase")),
    ("search", {"query": "red", "weights": [1]}, ("weights", "object")),
    ("recommend/batch", {"surface": "home", "user_ids": ["a"], "weights": {"like": 1}}, ("weights.like", "click")),
    ("rank", {"items": [{"item_id": "a"}], "weights": {"like": 1}}, ("weights.like", "click, purchase")),
    ("search", {"query": "red", "kinds": "product"}, ("kinds", "list")),
    ("search", {"query": "red", "kinds": ["ad"], "filters": {"kind": ["ad"]}}, ("kinds", "filters.kind")),
    ("search", {"query": "red", "filters": []}, ("filters", "dictionary")),
    ("search", {"query": "red", "filters": {"colour": ["red"]}}, ("filters.colour", "one of category")),
    ("search", {"query": "red", "filters": {"brand": "Aria"}}, ("filters.brand", "list of texts")),
    ("search", {"query": "red", "filters": {"brand": [1]}}, ("filters.brand", "list of texts")),
    ("search", {"query": "red", "filters": {"category": ["Shoes"]}}, ("filters.category[0]", "list of texts")),
    ("search", {"query": "red", "filters": {"category": [["a"] * 9]}}, ("filters.category", "1 to 4 levels")),
    ("search", {"query": "red", "filters": {"category": [[]]}}, ("filters.category", "1 to 4 levels")),
    ("search", {"query": "red", "filters": {"category": {"a": 1}}}, ("filters.category", "list of paths")),
    ("search", {"query": "red", "filters": {"price": {"min": 9, "max": 1}}}, ("filters.price", "min <= max")),
    ("search", {"query": "red", "filters": {"price": {"low": 9}}}, ("filters.price", "`min` and `max`")),
    ("search", {"query": "red", "filters": {"price": [1, 9]}}, ("filters.price", "`min` and `max`")),
    ("search", {"query": "red", "filters": {"price": {"min": "9"}}}, ("filters.price.min", "a number")),
    ("search", {"query": "red", "filters": {"attributes": ["size"]}}, ("filters.attributes", "object of lists")),
    ("search", {"query": "red", "filters": {"attributes": {"size": "M"}}}, ("filters.attributes.size", "list")),
    ("search", {"query": "red", "filters": {"exclude_items": "i1"}}, ("filters.exclude_items", "list of texts")),
    ("recommend", {}, ("surface", "is required")),
    ("recommend", {"surface": ""}, ("surface", "at least 1")),
    ("recommend", {"surface": "home", "user_id": "a\x00"}, ("user_id", "control characters")),
    ("recommend", {"surface": "similar"}, ("item_id", "required when the surface is `similar`")),
    ("recommend/batch", {"surface": "home"}, ("user_ids", "is required")),
    ("recommend/batch", {"surface": "home", "user_ids": []}, ("user_ids", "at least 1")),
    ("recommend/batch", {"surface": "home", "user_ids": ["a", "a"]}, ("user_ids", "only once", "'a'")),
    ("recommend/batch", {"surface": "home", "user_ids": [f"u{n}" for n in range(101)]}, ("user_ids", "at most 100")),
    ("recommend/batch", {"surface": "similar", "user_ids": ["a"]}, ("item_id", "similar")),
    ("rank", {}, ("items", "is required")),
    ("rank", {"items": []}, ("items", "at least 1")),
    ("rank", {"items": ["i1"]}, ("items[0]",)),
    ("rank", {"items": [{}]}, ("items[0].item_id", "is required")),
    ("rank", {"items": [{"item_id": ""}]}, ("items[0].item_id", "at least 1")),
    ("rank", {"items": [{"item_id": "a"}, {"item_id": "a"}]}, ("items", "only once", "'a'")),
    (
        "rank",
        {"items": [{"item_id": f"i{n}"} for n in range(1001)]},
        ("items: must have at most 1000 items, not 1001",),
    ),
    ("events", {"event_id": "e"}, ("type",)),
]


@pytest.mark.parametrize(
    ("path", "body", "words"), BODIES, ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None
)
def test_a_bad_body_is_refused_by_field(path: str, body: object, words: Words, call: Caller) -> None:
    if path == "events":
        check_problem(call("POST", "/v1/events", scope="write", json=body), 422, *words)
        return
    check_problem(call("POST", f"/v1/{path}", json=body), 422, *words)


# the bytes of a body, its content type, the status, what the problem names
RAW: dict[str, tuple[bytes, str, int, Words]] = {
    "no JSON": (b"query=red", "application/json", 422, ("body", "valid JSON")),
    "cut short": (b'{"query": "red"', "application/json", 422, ("body", "valid JSON")),
    "nothing": (b"", "application/json", 422, ("body",)),
    "NaN": (b'{"query": "red", "diversity": NaN}', "application/json", 422, ("body", "valid JSON")),
    "Infinity": (b'{"query": "red", "diversity": Infinity}', "application/json", 422, ("body", "valid JSON")),
    "half a character": (b'{"query": "\\ud800"}', "application/json", 422, ("body", "valid JSON")),
    "Latin-1": (b'{"query": "caf\xe9"}', "application/json", 422, ("body", "valid JSON")),
    "nested deeply": (b'{"query": ' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json", 422, ("body",)),
    "a large number": (b'{"query": "red", "diversity": 1e999}', "application/json", 422, ("body", "infinity")),
    "a form": (b"query=red", "application/x-www-form-urlencoded", 415, ("application/json",)),
    "text": (b'{"query": "red"}', "text/plain", 415, ("application/json",)),
    "no type": (b'{"query": "red"}', "", 415, ("application/json",)),
    "too large": (b'{"query": "' + b"x" * 4_000_000 + b'"}', "application/json", 413, ("256000 bytes",)),
}


@pytest.mark.parametrize(("body", "content", "status", "words"), RAW.values(), ids=RAW)
def test_bytes_that_are_no_request_are_refused(
    body: bytes, content: str, status: int, words: Words, call: Caller
) -> None:
    check_problem(call.raw("/v1/search", body, content), status, *words)


# method, path, scope, what comes along, the status, what the problem names
CALLS: dict[str, tuple[str, str, str, dict[str, Any], int, Words]] = {
    "an unknown path": ("GET", "/v1/nothing", "read", {}, 404, ("GET /docs",)),
    "a slash too many": ("POST", "/v1/search/", "read", {"json": {"query": "red"}}, 404, ("GET /docs",)),
    "another method": ("GET", "/v1/search", "read", {}, 405, ("Allow",)),
    "an unknown key": ("POST", "/v1/search", "read", {"headers": {"X-API-Key": "x"}}, 401, ("API key",)),
    "reading without events' scope": ("POST", "/v1/events", "read", {"json": []}, 403, ("`write` scope",)),
    "reading without admin's scope": ("GET", "/v1/bundle", "read", {}, 403, ("`admin` scope",)),
    "a time of one's own": (
        *("POST", "/v1/search", "read", {"json": {"query": "red", "at": 1_767_600_000_000}}),
        *(403, ("at", "admin scope")),
    ),
    "a request_id of one's own": (
        *("POST", "/v1/search", "read", {"json": {"query": "red", "request_id": "mine"}}),
        *(403, ("request_id", "admin scope")),
    ),
    "a time that is none": ("POST", "/v1/search", "admin", {"json": {"query": "red", "at": "now"}}, 422, ("at", "RFC")),
    "a time before 1970": ("POST", "/v1/search", "admin", {"json": {"query": "red", "at": -5}}, 422, ("at", "0")),
    "a time in microseconds": (
        *("POST", "/v1/search", "admin", {"json": {"query": "red", "at": 1_767_600_000_000_000}}),
        *(422, ("at", "less than")),
    ),
    "a page of an answer that is gone": (
        *("POST", "/v1/search", "read", {"json": {"query": "red", "page": 1, "request_id": "gone"}}),
        *(410, ("request_id", "ask page 0 again")),
    ),
    "an explanation of nothing": ("GET", "/v1/requests/gone/explain", "read", {}, 410, ("request_id",)),
    "a deadline of words": (
        *("POST", "/v1/search", "read", {"json": {"query": "red"}, "headers": {"X-Deadline-Ms": "soon"}}),
        *(422, ("X-Deadline-Ms", "whole number")),
    ),
    "a deadline in the past": (
        *("POST", "/v1/search", "read", {"json": {"query": "red"}, "headers": {"X-Deadline-Ms": "-1"}}),
        *(422, ("X-Deadline-Ms", "1 to 60000")),
    ),
    "a deadline of nothing": (
        *("POST", "/v1/search", "read", {"json": {"query": "red"}, "headers": {"X-Deadline-Ms": "0"}}),
        *(422, ("X-Deadline-Ms", "1 to 60000")),
    ),
    "an unknown placement": ("GET", "/v1/suggest?placement=top", "read", {}, 422, ("placement", "complete")),
    "no prefix": ("GET", "/v1/suggest", "read", {}, 422, ("prefix", "required")),
    "a limit of 0": ("GET", "/v1/suggest?prefix=r&limit=0", "read", {}, 422, ("limit", "greater than or equal to 1")),
    "a limit of many": (
        "GET",
        "/v1/suggest?prefix=r&limit=999",
        "read",
        {},
        422,
        ("limit", "less than or equal to 50"),
    ),
    "a limit of text": ("GET", "/v1/suggest?prefix=r&limit=ten", "read", {}, 422, ("limit", "integer")),
    "an unknown parameter": ("GET", "/v1/suggest?prefix=r&size=3", "read", {}, 422, ("size", "not a field")),
    "a placement not built yet": ("GET", "/v1/suggest?placement=back", "read", {}, 422, ("placement", "complete")),
    "events that are no JSON": (
        *("POST", "/v1/events", "write", {"content": b"[{", "headers": {"Content-Type": "application/json"}}),
        *(422, ("body", "JSON array of events")),
    ),
    "events that are no events": ("POST", "/v1/events", "write", {"json": 5}, 422, ("event", "Expected `object`")),
    "a bundle that is not there": (
        *("POST", "/v1/bundle/activate", "admin", {"json": {"bundle": "b-none"}}),
        *(422, ("bundle", "one of")),
    ),
    "a bundle elsewhere": (
        *("POST", "/v1/bundle/activate", "admin", {"json": {"bundle": "../bundles"}}),
        *(422, ("bundle", "one of")),
    ),
    "nothing to go back to": ("POST", "/v1/bundle/rollback", "admin", {}, 422, ("rollback", "there is none")),
    "rules that are no list": ("PUT", "/v1/rules", "admin", {"json": 5}, 422, ("rules", "a list of rules")),
    "a rule that is no rule": ("PUT", "/v1/rules", "admin", {"json": [{"pin": "i1"}]}, 422, ("rules[0]",)),
    "a rule that is text": ("PUT", "/v1/rules", "admin", {"json": ["pin"]}, 422, ("rules[0]", "an object")),
    "a rule to delete that is not there": ("DELETE", "/v1/rules?id=none", "admin", {}, 404, ("id", "'none'")),
}


@pytest.mark.parametrize(("method", "path", "scope", "given", "status", "words"), CALLS.values(), ids=CALLS)
def test_a_call_that_cannot_be_answered_says_why(
    method: str, path: str, scope: str, given: dict[str, Any], status: int, words: Words, call: Caller
) -> None:
    check_problem(call(method, path, scope=scope, **given), status, *words)


# path, body: odd, but a request; all are answered with a page of items or none, and nothing fails
ODD: list[tuple[str, dict[str, Any]]] = [
    ("search", {"query": ""}),
    ("search", {"query": "   \t\n "}),
    ("search", {"query": "👟🔥" * 50}),
    ("search", {"query": "shoes\x00red"}),
    ("search", {"query": "\u202eseohs\u202c \u200f"}),
    ("search", {"query": "A\u0301" * 250}),
    ("search", {"query": '") OR title:* AND ("'}),
    ("search", {"query": "'; DROP TABLE events; --"}),
    ("search", {"query": "<script>alert(1)</script>"}),
    ("search", {"query": "a " * 256}),
    ("search", {"query": "zzzzqqqq xxxxyyyy"}),
    ("search", {"query": "shoes", "user_id": "nobody has heard of me"}),
    ("search", {"query": "shoes", "user_id": "👤"}),
    ("search", {"query": "shoes", "filters": {"brand": []}}),
    ("search", {"query": "shoes", "filters": {"brand": ["no such brand"]}}),
    ("search", {"query": "shoes", "filters": {"price": {"min": -1e308, "max": 1e308}}}),
    ("search", {"query": "shoes", "filters": {"exclude_items": ["absent"] * 1000}}),
    ("search", {"query": "shoes", "kinds": []}),
    ("search", {"query": "shoes", "context": {"region": 5, "a": {"b": [None]}}}),
    ("search", {"query": "shoes", "weights": {}}),
    ("search", {"query": "shoes", "weights": {"click": 0, "purchase": 0}}),
    ("search", {"query": "shoes", "weights": {"click": None}}),
    ("search", {"query": "shoes", "sort": "price_asc", "page_size": 100}),
    ("recommend", {"surface": "a surface nobody knows"}),
    ("recommend", {"surface": "similar", "item_id": "absent"}),
    ("rank", {"items": [{"item_id": "absent", "price": "anything"}]}),
    ("rank", {"query": "👟", "items": [{"item_id": "absent"}]}),
]


@pytest.mark.parametrize(
    ("path", "body"), ODD, ids=lambda value: ascii(value)[:60] if isinstance(value, dict) else None
)
def test_an_odd_request_is_answered(path: str, body: dict[str, Any], call: Caller) -> None:
    check_answered(call("POST", f"/v1/{path}", json=body))


def check_answered(answer: Any) -> None:
    """200 with items in order of position, each once; degraded only in that nothing, or nobody, was known."""
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert [item["position"] for item in said["items"]] == list(range(len(said["items"])))
    assert len({item["item_id"] for item in said["items"]}) == len(said["items"])
    assert set(said["degraded"]) <= {"unknown_item", "no_match"}, said["degraded"]


def test_an_unknown_item_is_said_to_be_unknown(call: Caller) -> None:
    # Ids of their own: an item that a logged page has shown is not unknown any more.
    similar = call("POST", "/v1/recommend", json={"surface": "similar", "item_id": "strange"}).json()
    assert (bool(similar["items"]), similar["degraded"]) == (True, ["unknown_item"])
    ranked = call("POST", "/v1/rank", json={"items": [{"item_id": "stranger"}]}).json()
    assert [(item["item_id"], item["reason"]) for item in ranked["items"]] == [("stranger", "unknown_item")]


@pytest.mark.parametrize("prefix", ["👟", "\x00", "\u202e", "x" * 512, "%", "", "   "])
def test_an_odd_prefix_is_answered(prefix: str, call: Caller) -> None:
    answer = call("GET", "/v1/suggest", params={"prefix": prefix})
    assert answer.status_code == 200, answer.text


def test_one_bad_event_does_not_keep_the_others_out(call: Caller) -> None:
    good = {"type": "feedback", "time": 1_767_600_000_000, "user_id": "ann", "item_id": "i1", "action": "view"}
    posted = [good | {"event_id": "f1"}, good | {"event_id": "f2", "item_id": ""}, good | {"event_id": "f1"}, 5]
    said = call("POST", "/v1/events", scope="write", json=posted).json()
    assert (said["accepted"], said["duplicates"]) == (1, 1), said
    assert [(row["index"], row["field"]) for row in said["rejected"]] == [(1, "item_id"), (3, "event")]


def test_more_events_than_a_post_may_hold_are_refused_whole(call: Caller) -> None:
    answer = call("POST", "/v1/events", scope="write", json=[{}] * 1_001)
    check_problem(answer, 422, "1000")
