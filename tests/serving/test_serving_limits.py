"""What a body may be before anything looks at what it says, and how much is said about one that is refused."""

import json
from pathlib import Path

import orjson
import pytest
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from serving.events import read_posted
from serving.limits import Bound
from serving.problems import Problem

SMALL = Bound(size=1_000, values=20, keys=5, depth=4)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [5, "text", [], {}, nested(4), [1] * 19, {"a": {"b": {"c": {}}}}, {str(n): n for n in range(5)}, "[{,:" * 99],
)
def test_a_body_within_its_bounds_is_read(value: object) -> None:
    body = json.dumps(value).encode()
    if body.count(b"[") <= SMALL.values:
        assert SMALL.read(body) == value
    assert Bound().read(body) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1] * 20, "at most 20 values"),
        ([[1, 2, 3]] * 6, "at most 20 values"),
        ([{}] * 20, "at most 20 values"),
        ({str(n): n for n in range(6)}, "at most 5 keys"),
        ([{"a": {str(n): n for n in range(6)}}], "at most 5 keys"),
        (nested(5), "body: must be nested at most 4 deep"),
        ({"query": "a", "context": {"a": nested(4)}}, "context: must be nested at most 4 deep"),
        ({"filters": [{"a": [{"b": []}]}]}, "filters: must be nested at most 4 deep"),
    ],
)
def test_a_body_out_of_bounds_is_refused(value: object, words: str) -> None:
    with pytest.raises(Problem) as refused:
        SMALL.read(json.dumps(value).encode())
    assert refused.value.status_code == 422
    assert words in refused.value.detail


@pytest.mark.parametrize("body", [b"NaN", b'"\\ud800"', b"[1e999]", b"[" * 20, b"\xff", b""])
def test_what_is_not_json_is_not_read(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        SMALL.read(body)


def test_at_most_twenty_errors_are_told_and_the_others_counted(client: TestClient) -> None:
    answer = client.post("/v1/search", json={f"k{n}": n for n in range(150)})
    said = answer.json()
    assert (answer.status_code, len(said["errors"])) == (422, 20)
    assert "131 more" in said["detail"]  # the query is missing too
    assert len(answer.content) < 4_000


@pytest.mark.parametrize("body", [{"k" * 60_000: 1}, {"query": "a", "filters": {"c" * 50_000: ["x"]}}])
def test_what_was_sent_comes_back_short(client: TestClient, body: object) -> None:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 422
    assert len(answer.content) < 3_000


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/v1/search", 256_000),
        ("/v1/recommend", 256_000),
        ("/v1/recommend/batch", 256_000),
        ("/v1/rank", 1_000_000),
        ("/v1/events", 4_000_000),
        ("/v1/bundle/activate", 64_000),
    ],
)
def test_a_body_has_the_limit_of_its_route(client: TestClient, path: str, size: int) -> None:
    for body in (b" " * (size + 1), iter([b" " * 50_000] * (size // 50_000 + 1))):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, str(size) in answer.json()["detail"]) == (413, True)


@pytest.mark.parametrize("path", ["/v1/suggest?prefix=a", "/v1/rules?id=a", "/healthz?a"])
def test_a_query_string_has_at_most_a_hundred_parameters(client: TestClient, path: str) -> None:
    answer = client.get(path + "&b" * 100)
    assert (answer.status_code, "100 parameters" in answer.text) == (422, True)


@pytest.mark.parametrize("value", ["1" * 5_000, "0" * 20, "9" * 400, "60001", "1e3", "+5", " 5 5"])
def test_a_deadline_of_any_length_is_refused(client: TestClient, value: str) -> None:
    assert client.post("/v1/search", json={"query": "a"}, headers={"X-Deadline-Ms": value}).status_code == 422


def test_an_event_has_a_size_of_its_own() -> None:
    good, large = feedback("e1"), feedback("e2") | {"query": "x" * 256_000}
    posted = read_posted(json.dumps([good, large, feedback("e3")]).encode(), 1_000, 1_767_600_000_000)
    assert [row.event_id for row in posted.rows] == ["e1", "e3"]
    assert [(row["index"], row["field"]) for row in posted.rejected] == [(1, "event")]
    assert "256000 bytes" in str(posted.rejected[0]["reason"])


def test_a_post_of_too_many_values_is_refused_whole(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        body = b"[" + b"1," * 250_001 + b"1]"
        answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "250000 values" in answer.text) == (422, True)
