"""A page that chance had a hand in is in the log before it is given; a dead writer costs the log, never an answer."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from serving_fakes import FakeEngine, TestClient, calling, settings

from pipeline.logs.storage.database import DiskFullError
from pipeline.logs.store import StoreFullError

BODY = {"query": "shoe", "user_id": "ann", "page_size": 2}


def logged(root: Path) -> dict[str, dict]:
    with sqlite3.connect(root / "events.db") as connection:
        return {name: json.loads(body) for name, body in connection.execute("SELECT event_id, body FROM events")}


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.explores = True
    return engine


@pytest.fixture
def client(engine: FakeEngine, tmp_path: Path) -> Iterator[TestClient]:
    with calling(engine, settings(tmp_path)) as client:
        yield client


def fail(client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """The store refuses with an error, or (None) never writes again, as if its thread had been killed."""

    def submit(_: object) -> Future:
        if isinstance(error, StoreFullError):
            raise error
        future: Future = Future()
        if error is not None:
            future.set_exception(error)
        return future

    impressions = client.app.state.service.impressions
    write = impressions.write
    monkeypatch.setattr(impressions, "write", lambda row, _: write(row, 0.01))  # nobody waits for what never comes
    monkeypatch.setattr(client.app.state.service.store, "submit", submit)


def test_an_explored_page_is_on_the_disk_before_its_answer_with_its_real_propensities(
    client: TestClient, tmp_path: Path
) -> None:
    request_id = client.post("/v1/search", json=BODY).json()["request_id"]
    page = logged(tmp_path)[f"{request_id}:0"]
    assert page["explored"] is True
    assert [(shown["propensity"], shown["marginal"]) for shown in page["items"]] == [(0.25, 0.5)] * 2
    client.post("/v1/search", json=BODY | {"page": 1, "request_id": request_id})
    later = logged(tmp_path)[f"{request_id}:1"]
    assert [(shown["position"], shown["propensity"]) for shown in later["items"]] == [(2, 0.25), (3, 0.25)]


@pytest.mark.parametrize("error", [None, StoreFullError("full"), DiskFullError("full")])
def test_an_explored_page_that_cannot_be_logged_is_not_given(
    client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    first = client.post("/v1/search", json=BODY).json()["request_id"]
    fail(client, monkeypatch, error)
    answer = client.post("/v1/search", json=BODY)
    assert (answer.status_code, len(answer.json()["items"])) == (200, 2)
    assert [ask.explore for ask in engine.asks[-2:]] == [True, False]
    assert "podium_explored_withdrawn_total 1.0" in client.get("/metrics").text
    later = client.post("/v1/search", json=BODY | {"page": 1, "request_id": first})
    assert (later.status_code, later.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()


def test_requests_are_answered_though_nothing_can_be_logged_and_the_loss_is_counted(
    client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.explores = False
    fail(client, monkeypatch, StoreFullError("too much waits"))
    for _ in range(3):
        assert client.post("/v1/search", json=BODY).status_code == 200
    client.portal.call(client.app.state.service.impressions.flush)
    assert "podium_impressions_dropped_total 3.0" in client.get("/metrics").text
    monkeypatch.undo()
