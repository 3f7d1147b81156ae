"""What the store cannot take is refused by name, and nothing is acknowledged that is not durable."""

from concurrent.futures import Future
from pathlib import Path

import polars as pl
import pytest
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from pipeline.logs.store import DiskFullError, StoreBrokenError, StoreFullError

SECRET = "ann-the-forgotten"


@pytest.mark.parametrize(
    ("error", "status", "title", "retry"),
    [
        (StoreFullError("4096 batches wait for the disk; post again in a moment"), 429, "Too Many Requests", "1"),
        (DiskFullError("the disk is full (/secret/path)"), 507, "Insufficient Storage", None),
        (StoreBrokenError("disk I/O error (/secret/path)"), 503, "Service Unavailable", "5"),
    ],
)
def test_a_store_that_cannot_keep_events_says_how_to_go_on(
    client: TestClient,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    title: str,
    retry: str | None,
) -> None:
    def submit(_: object) -> Future:
        if isinstance(error, StoreFullError):
            raise error
        future: Future = Future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(client.app.state.service.store, "submit", submit)
    answer = client.post("/v1/events", json=feedback("e1"))
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry
    assert "/secret/path" not in answer.text
    assert engine.absorbed == []
    monkeypatch.undo()
    assert client.post("/v1/events", json=feedback("e1")).json()["accepted"] == 1


def test_the_documentation_tells_what_the_store_may_answer(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/v1/events"]["post"]["responses"]
    assert {"202", "413", "422", "429", "503", "507"} <= set(answers)
    assert "application/problem+json" in answers["507"]["content"]


def test_not_a_byte_of_a_forgotten_user_is_left_in_the_files(tmp_path: Path) -> None:
    body = {"query": "shoe", "user_id": SECRET}
    with calling(FakeEngine(), settings(tmp_path, snapshot_share=1.0)) as client:
        for n in range(30):
            client.post("/v1/events", json=feedback(f"e{n}", user_id=SECRET, item_id=f"i{n:03d}"))
            request_id = client.post("/v1/search", json=body).json()["request_id"]
            client.post("/v1/search", json={"query": "shoe", "user_id": "bob"})
        service = client.app.state.service
        client.portal.call(service.impressions.flush)
        client.portal.call(service.snapshots.flush)
        assert _holds(tmp_path, SECRET)
        answer = client.delete(f"/v1/users/{SECRET}").json()
        assert answer["events_removed"] >= 60  # what was posted, and the pages
        assert "compact" in answer["note"]
        assert "bundle" in answer["note"]
        assert client.post("/v1/search", json=body | {"page": 1, "request_id": request_id}).status_code == 410
        assert _holds(tmp_path, SECRET) == []
        assert _holds(tmp_path, "bob")


def _holds(root: Path, text: str) -> list[str]:
    """Files with these letters, plain; Parquet files by what they say."""
    found = [path for path in root.rglob("*.db*") if text.encode() in path.read_bytes()]
    found += [path for path in root.rglob("*.parquet") if text in pl.read_parquet(path)["subject"].to_list()]
    return [path.name for path in found]


def test_what_waits_to_be_written_when_a_user_is_forgotten_elsewhere_is_not_written(tmp_path: Path) -> None:
    engine, other = FakeEngine(), FakeEngine()
    with calling(engine, settings(tmp_path)) as one, calling(other, settings(tmp_path)) as two:
        service = two.app.state.service
        two.portal.call(_hold, service)
        two.post("/v1/search", json={"query": "a", "user_id": SECRET})
        one.delete(f"/v1/users/{SECRET}")
        two.portal.call(service.on_engine, service.follower.catch_up)
        two.portal.call(service.impressions.flush)
        assert SECRET not in str([row.body for row in service.store.since(0)])
        two.post("/v1/search", json={"query": "a", "user_id": SECRET})  # and is somebody new
        two.portal.call(service.impressions.flush)
        assert SECRET in str([row.body for row in service.store.since(0)])


async def _hold(service: object) -> None:
    """The writer of impressions comes round no more by itself."""
    for task in service._tasks:  # type: ignore[attr-defined]
        task.cancel()
