"""Every error has one shape: `application/problem+json` with type, title, status, detail, errors [{field, reason}]."""

from pathlib import Path

import pytest
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from pipeline.errors import StageError

SEARCH, RECOMMEND, RANK, BATCH = "/v1/search", "/v1/recommend", "/v1/rank", "/v1/recommend/batch"
SIMILAR = {"surface": "similar"}
HOME = {"surface": "home"}
LONG = "x" * 129

MALFORMED = [
    (SEARCH, {}, "query"),
    (SEARCH, {"query": 3}, "query"),
    (SEARCH, {"query": "x" * 513}, "query"),
    (SEARCH, {"query": "a", "colour": "red"}, "colour"),
    (SEARCH, {"query": "a", "page": -1}, "page"),
    (SEARCH, {"query": "a", "page": "1"}, "page"),
    (SEARCH, {"query": "a", "page": True}, "page"),
    (SEARCH, {"query": "a", "page": 1}, "request_id"),
    (SEARCH, {"query": "a", "page_size": 0}, "page_size"),
    (SEARCH, {"query": "a", "page_size": 101}, "page_size"),
    (SEARCH, {"query": "a", "sort": "cheapest"}, "sort"),
    (SEARCH, {"query": "a", "filters": {"colour": ["red"]}}, "filters.colour"),
    (SEARCH, {"query": "a", "filters": {"brand": "acme"}}, "filters.brand"),
    (SEARCH, {"query": "a", "filters": {"price": {"min": 5, "max": 1}}}, "filters.price"),
    (SEARCH, {"query": "a", "filters": {"category": ["shoes"]}}, "filters.category[0]"),
    (SEARCH, {"query": "a", "filters": []}, "filters"),
    (SEARCH, {"query": "a", "kinds": ["ad"], "filters": {"kind": ["product"]}}, "kinds"),
    (SEARCH, {"query": "a", "kinds": "ad"}, "kinds"),
    (SEARCH, {"query": "a", "diversity": 1.5}, "diversity"),
    (SEARCH, {"query": "a", "weights": {"click": -1}}, "weights.click"),
    (SEARCH, {"query": "a", "weights": {"click": "much"}}, "weights.click"),
    (SEARCH, {"query": "a", "context": "phone"}, "context"),
    (SEARCH, {"query": "a", "explain": "yes"}, "explain"),
    (SEARCH, {"query": "a", "user_id": ""}, "user_id"),
    (SEARCH, {"query": "a", "user_id": LONG}, "user_id"),
    (SEARCH, {"query": "a", "at": "yesterday"}, "at"),
    (SEARCH, {"query": "a", "at": "2024-01-01T00:00:00"}, "at"),
    (SEARCH, {"query": "a", "at": -1}, "at"),
    (SEARCH, {"query": "a", "request_id": "x" * 121}, "request_id"),
    (SEARCH, [], "body"),
    (RECOMMEND, {}, "surface"),
    (RECOMMEND, SIMILAR, "item_id"),
    (RECOMMEND, HOME | {"query": "a"}, "query"),
    (BATCH, HOME | {"user_ids": []}, "user_ids"),
    (BATCH, HOME | {"user_ids": ["a", "a"]}, "user_ids"),
    (BATCH, HOME | {"user_ids": [str(n) for n in range(101)]}, "user_ids"),
    (BATCH, SIMILAR | {"user_ids": ["a"]}, "item_id"),
    (RANK, {}, "items"),
    (RANK, {"items": []}, "items"),
    (RANK, {"items": [{"item_id": "a"}, {"item_id": "a"}]}, "items"),
    (RANK, {"items": [{"item_id": "a"}, {}]}, "items[1].item_id"),
    (RANK, {"items": ["a"]}, "items[0]"),
    ("/v1/events", [{}] * 1001, "body"),
    ("/v1/bundle/activate", {}, "bundle"),
]
QUERIES = [
    ("/v1/suggest", "prefix"),
    ("/v1/suggest?placement=complete", "prefix"),
    ("/v1/suggest?placement=nearby&prefix=a", "placement"),
    ("/v1/suggest?placement=rescue", "query"),
    ("/v1/suggest?placement=back&item_id=a", "item_id"),
    ("/v1/suggest?prefix=a&limit=0", "limit"),
    ("/v1/suggest?prefix=a&limit=many", "limit"),
    ("/v1/suggest?prefix=a&colour=red", "colour"),
    (f"/v1/requests/{LONG}/explain", "request_id"),
    ("/v1/requests/r/explain?item_id=", "item_id"),
]


def check(response: object, status: int, field: str | None = None) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["detail"]
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
        assert all(error["reason"] for error in body["errors"])
    return body


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """One app for all malformed requests: none of them may change it."""
    with calling(FakeEngine(), settings(tmp_path_factory.mktemp("root"))) as client:
        yield client


@pytest.mark.parametrize(("path", "body", "field"), MALFORMED)
def test_a_malformed_body_is_refused_by_the_name_of_its_field(
    service: TestClient, path: str, body: object, field: str
) -> None:
    check(service.post(path, json=body), 422, field)


@pytest.mark.parametrize(("url", "field"), QUERIES)
def test_a_malformed_query_string_is_refused_by_the_name_of_its_field(
    service: TestClient, url: str, field: str
) -> None:
    check(service.get(url), 422, field)


@pytest.mark.parametrize(
    "text", [b"{", b"", b'{"query": NaN}', b'{"query": "\\ud800"}', b'{"query": "\xff"}', b"[" * 100_000]
)
def test_what_is_not_json_is_refused(service: TestClient, text: bytes) -> None:
    check(service.post(SEARCH, content=text, headers={"Content-Type": "application/json"}), 422, "body")


@pytest.mark.parametrize("text", [b"{", b"", b"[{]", b"\xff"])
def test_events_that_are_not_json_are_refused(service: TestClient, text: bytes) -> None:
    check(service.post("/v1/events", content=text, headers={"Content-Type": "application/json"}), 422, "body")


@pytest.mark.parametrize("path", [SEARCH, "/v1/events"])
def test_a_form_of_a_foreign_page_is_refused(service: TestClient, path: str) -> None:
    check(service.post(path, content=b'{"query": "a"}', headers={"Content-Type": "text/plain"}), 415)


@pytest.mark.parametrize("value", ["0", "-5", "60001", "soon", "1.5", "²"])
def test_a_deadline_is_a_positive_number_of_at_most_a_minute(service: TestClient, value: str) -> None:
    response = service.post(SEARCH, json={"query": "a"}, headers={"X-Deadline-Ms": value.encode()})
    check(response, 422, "X-Deadline-Ms")


@pytest.mark.parametrize("path", ["/v2/search", "/v1", "/v1/user/", "/playground/secret.py", "/v1/search/"])
def test_an_unknown_path_is_a_404(service: TestClient, path: str) -> None:
    check(service.get(path), 404)


def test_a_wrong_method_is_a_405_that_says_which_are_right(service: TestClient) -> None:
    response = service.get(SEARCH)
    check(response, 405)
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", [SEARCH, RECOMMEND])
def test_a_page_of_an_unknown_request_is_gone(service: TestClient, path: str) -> None:
    body = {"query": "a"} if path == SEARCH else HOME
    check(service.post(path, json=body | {"page": 1, "request_id": "never"}), 410, "request_id")


def test_an_unknown_request_cannot_be_explained(service: TestClient) -> None:
    check(service.get("/v1/requests/never/explain"), 410, "request_id")


def test_a_slate_expires(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, serving={"slate_minutes": 1e-9})) as client:
        request_id = client.post(SEARCH, json={"query": "a"}).json()["request_id"]
        check(client.post(SEARCH, json={"query": "a", "page": 1, "request_id": request_id}), 410, "request_id")


def test_a_body_above_the_limit_is_a_413_whether_it_says_its_length_or_not(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, serving={"body_bytes": 1_000})) as client:
        big = b'{"query": "' + b"a" * 2_000 + b'"}'
        pieces = (big[at : at + 100] for at in range(0, len(big), 100))
        for path in (SEARCH, "/v1/events"):
            check(client.post(path, content=big, headers={"Content-Type": "application/json"}), 413)
        check(client.post(SEARCH, content=pieces, headers={"Content-Type": "application/json"}), 413)


def test_too_many_waiting_requests_are_turned_away(client: TestClient) -> None:
    client.app.state.service._gate.inside = 64  # as many as may wait
    response = client.post(SEARCH, json={"query": "a"})
    check(response, 429)
    assert response.headers["retry-after"] == "1"


def test_a_service_that_is_not_ready_says_so(client: TestClient) -> None:
    client.app.state.service.ready = False
    check(client.get("/readyz"), 503)
    check(client.post(SEARCH, json={"query": "a"}), 503)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("error", [RuntimeError("secret"), StageError("rank", "secret")])
def test_a_failure_of_ours_says_nothing_of_the_inside(
    client: TestClient, engine: FakeEngine, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fails = error
    response = client.post(SEARCH, json={"query": "a"})
    check(response, 500)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "secret" in caplog.text  # but the log has it
    engine.fails = None
    assert client.post(SEARCH, json={"query": "a"}).status_code == 200


def test_one_bad_event_is_named_and_the_others_are_taken(client: TestClient) -> None:
    events = [feedback("e1"), feedback("e2", action=None), {"type": "rumour"}, 7]
    answer = client.post("/v1/events", json=events)
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    rejected = answer.json()["rejected"]
    assert rejected[0]["field"] == "action"
    assert [bad["index"] for bad in rejected] == [1, 2, 3]
