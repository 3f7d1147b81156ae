"""Events over HTTP: durable before the answer, once each, known to the next request; impressions after the answer."""

import asyncio
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_fakes import FakeEngine, TestClient, bundles_root, calling, feedback, settings

from pipeline.bundle import current, make_current, previous
from pipeline.logs.decode import decode_lines
from pipeline.logs.store import EventStore, Row
from serving.impressions import Impressions, impression
from serving.ports import Slate
from serving.slates import Kept, Slates
from serving.telemetry import Metrics
from tests.bundles import spoil


def stored(root: Path, columns: str = "event_id") -> list[tuple]:
    """What another process finds in the database file."""
    with sqlite3.connect(root / "events.db") as connection:
        return connection.execute(f"SELECT {columns} FROM events ORDER BY seq").fetchall()


def row(name: str, user: str | None = None) -> Row:
    return Row(name, "feedback", user, 5, 6, json.dumps(feedback(name)))


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    opened = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    yield opened
    opened.close()


def test_an_event_is_in_the_file_when_it_is_answered(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/v1/events", json=feedback("e1"))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert stored(tmp_path) == [("e1",)]


def test_posting_again_adds_nothing(client: TestClient, tmp_path: Path, engine: FakeEngine) -> None:
    client.post("/v1/events", json=feedback("e1"))
    answer = client.post("/v1/events", json=[feedback("e1"), feedback("e2"), feedback("e2")])
    assert answer.json() == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert stored(tmp_path) == [("e1",), ("e2",)]
    assert engine.absorbed == ["e1", "e2"]


def test_a_thousand_events_are_one_post(client: TestClient) -> None:
    events = [feedback(f"e{n}") for n in range(1000)]
    assert client.post("/v1/events", json=events).json()["accepted"] == 1000


def test_an_empty_post_is_answered(client: TestClient) -> None:
    assert client.post("/v1/events", json=[]).json() == {"accepted": 0, "duplicates": 0, "rejected": []}


def test_the_next_request_knows_the_event(client: TestClient) -> None:
    body = {"surface": "home", "user_id": "ann"}
    assert client.post("/v1/recommend", json=body).json()["items"][0]["item_id"] == "i000"
    client.post("/v1/events", json=feedback("e1", action="hide", item_id="i000"))
    assert client.post("/v1/recommend", json=body).json()["items"][0]["item_id"] == "i001"


def test_the_store_says_when_an_event_came_whatever_it_says_itself(client: TestClient, tmp_path: Path) -> None:
    client.post("/v1/events", json=feedback("e1", received=5))
    assert stored(tmp_path, "received")[0][0] > 1_700_000_000_000


def test_under_replay_an_event_came_at_its_own_time_unless_it_says_otherwise(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, replay=True)) as client:
        client.post("/v1/events", json=[feedback("e1"), feedback("e2", received=1_700_000_000_009)])
    assert stored(tmp_path, "received - 1700000000000") == [(0,), (9,)]


def test_a_restarted_service_knows_what_it_was_told(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        client.post("/v1/events", json=feedback("e1", action="hide"))
    engine = FakeEngine()
    with calling(engine, settings(tmp_path)):
        assert engine.absorbed == ["e1"]


def test_a_worker_follows_the_events_and_rules_of_another(tmp_path: Path) -> None:
    engine, other = FakeEngine(), FakeEngine()
    rule = {"id": "r", "action": "pin", "item_ids": ["i042"], "position": 0}
    with calling(engine, settings(tmp_path)) as one, calling(other, settings(tmp_path)) as two:
        one.post("/v1/events", json=feedback("e1"))
        one.put("/v1/rules", json=[rule])
        follower = two.app.state.service.follower
        two.portal.call(two.app.state.service.on_engine, follower.catch_up)
        assert (other.absorbed, other.pinned) == (["e1"], ["i042"])


def test_events_are_committed_with_full_synchronisation(store: EventStore) -> None:
    assert (store.pragma("journal_mode"), store.pragma("synchronous")) == ("wal", "2")  # 2 is FULL


def test_every_caller_of_a_shared_commit_gets_the_counts_of_its_own_batch(store: EventStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = [[row(f"e{n}"), row(f"e{n + 1}")] for n in range(100)]  # neighbours share an event
        results = [done.result() for done in pool.map(store.submit, batches)]
    assert sum(result.accepted for result in results) == 101
    assert sum(result.duplicates for result in results) == 99
    assert store.count() == 101
    assert [event.seq for event in store.since(0)] == sorted(event.seq for event in store.since(0))


def test_a_store_that_cannot_write_says_so_to_everyone_who_waits(store: EventStore) -> None:
    with pytest.raises(Exception, match="NOT NULL"):
        store.append([Row("e0", None, None, 1, 1, "{}")])  # type: ignore[arg-type]
    assert store.append([row("e1")]).accepted == 1  # and goes on


def test_a_read_goes_on_where_the_last_one_ended(store: EventStore) -> None:
    store.append([row(f"e{n}") for n in range(5)])
    first = store.since(0, limit=3)
    rest = store.since(first[-1].seq)
    assert (len(first), len(rest)) == (3, 2)


def test_a_forgotten_user_comes_back_as_somebody_new(client: TestClient, engine: FakeEngine, tmp_path: Path) -> None:
    body = {"surface": "home", "user_id": "ann"}
    client.post("/v1/events", json=[feedback("e1", action="hide"), feedback("e2", user_id="bob")])
    request_id = client.post("/v1/recommend", json=body).json()["request_id"]
    assert client.delete("/v1/users/ann").json()["events_removed"] >= 1
    assert "e1" not in [event for (event,) in stored(tmp_path)]
    assert client.post("/v1/recommend", json=body).json()["items"][0]["item_id"] == "i000"
    assert client.get(f"/v1/requests/{request_id}/explain").status_code == 410
    client.post("/v1/events", json=feedback("e3", action="hide", item_id="i001"))  # and is known anew
    shown = [item["item_id"] for item in client.post("/v1/recommend", json=body).json()["items"]]
    assert shown[:2] == ["i000", "i002"]
    assert engine.asks[-1].subject == "ann\x1f1"


def test_each_answered_page_is_logged_once_after_the_answer(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        body = {"query": "Shoe", "user_id": "ann", "page_size": 2, "context": {"region": "be"}, "kinds": ["product"]}
        request_id = client.post("/v1/search", json=body).json()["request_id"]
        for _ in range(2):  # a page that is asked twice is one impression
            client.post("/v1/search", json=body | {"page": 1, "request_id": request_id})
    first, second = stored(tmp_path, "event_id, body")
    assert (first[0], second[0]) == (f"{request_id}:0", f"{request_id}:1")
    event = json.loads(second[1])
    assert [(shown["item_id"], shown["position"]) for shown in event["items"]] == [("i002", 2), ("i003", 3)]
    assert event["items"][0] | {"item_id": 0, "position": 0} == {
        "item_id": 0,
        "position": 0,
        "score": 0.998,
        "propensity": 1.0,
        "channel": "lexical+popular",
    }
    told = {name: event[name] for name in ("user_id", "query", "surface", "filters", "context", "page", "arm")}
    assert told == {
        "user_id": "ann",
        "query": "Shoe",
        "surface": "search",
        "filters": {"kind": ["product"]},
        "context": {"region": "be"},
        "page": 1,
        "arm": "main",
    }
    assert (event["bundle"], event["tick"], event["explored"]) == ("b-one", 7, False)
    chunk = decode_lines(second[1].encode(), "store")
    assert (len(chunk.frames["impression"]), chunk.rejects) == (1, [])


def test_a_page_is_learned_before_the_click_on_it(client: TestClient, engine: FakeEngine) -> None:
    request_id = client.post("/v1/search", json={"query": "a", "user_id": "ann"}).json()["request_id"]
    client.post("/v1/events", json=feedback("e1", request_id=request_id))
    assert engine.absorbed == [f"{request_id}:0", "e1"]


def test_a_page_without_items_and_a_replay_leave_no_impression(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        request_id = client.post("/v1/search", json={"query": "a"}).json()["request_id"]
        client.post("/v1/search", json={"query": "a", "page": 50, "request_id": request_id})
    assert stored(tmp_path) == [(f"{request_id}:0",)]
    with calling(FakeEngine(), settings(tmp_path / "replay", replay=True)) as client:
        client.post("/v1/search", json={"query": "a"})
    assert stored(tmp_path / "replay") == []


def kept(request_id: str = "r", **request: object) -> Kept:
    slate = Slate(request_id, "b", 1, "search", ["a"], [1.0], [None], [None], ["product"], [False], [[]], [None])
    return Kept("search", 5, "search", request, {}, slate)


def test_a_page_for_nobody_is_a_session_of_its_own() -> None:
    event = json.loads(impression(kept("r9"), 0, [0], 6).body)
    assert event["session_id"] == "r9"
    assert "user_id" not in event


def test_impressions_that_do_not_fit_the_queue_are_counted(store: EventStore) -> None:
    async def overflow() -> Metrics:
        metrics = Metrics()
        impressions = Impressions(store, metrics, most=2)
        for name in ("a", "b", "c"):
            impressions.offer(row(name))
        await impressions.flush()
        return metrics

    metrics = asyncio.run(overflow())
    assert store.count() == 2
    assert b"podium_impressions_dropped_total 1.0" in metrics.text()
    assert b"podium_impressions_written_total 2.0" in metrics.text()


def test_slates_expire_and_are_bounded(tmp_path: Path) -> None:
    now = 0.0
    slates = Slates(f"sqlite:///{tmp_path / 'slates.db'}", 600, 3, clock=lambda: now)
    for now in range(5):
        slates.keep(kept(f"r{now}", user_id="ann"))
    slates.prune()
    assert slates.count() == 3  # r0 and r1 were the oldest of five
    assert slates.find("r2") == kept("r2", user_id="ann")
    now = 603
    slates.prune()
    assert slates.count() == 1  # r4, kept at 4, lives until 604
    slates.close()


def test_rules_are_set_and_kept_and_recorded(client: TestClient, engine: FakeEngine, tmp_path: Path) -> None:
    rules = [{"id": name, "action": "pin", "item_ids": [f"i0{at}0"], "position": at} for at, name in enumerate("ab")]
    assert client.put("/v1/rules", json={"rules": rules}).json() == {"rules": rules}
    assert client.get("/v1/rules").json() == {"rules": rules}
    assert engine.pinned == ["i000", "i010"]
    assert client.delete("/v1/rules", params={"id": "a"}).json() == {"rules": rules[1:]}
    assert client.delete("/v1/rules", params={"id": "z"}).status_code == 404
    assert (
        client.put("/v1/rules", json=[{"id": "x", "action": "fly"}]).json()["errors"][0]["field"].startswith("rules[0]")
    )
    assert engine.pinned == ["i010"]
    with calling(FakeEngine(), settings(tmp_path)) as again:
        assert again.get("/v1/rules").json() == {"rules": rules[1:]}
    audit = [json.loads(line) for line in (tmp_path / "rules.audit.jsonl").read_text().splitlines()]
    assert [(entry["key"], len(entry["rules"])) for entry in audit] == [("loopback", 2), ("loopback", 1)]


def test_a_bundle_is_activated_and_rolled_back_with_events_and_rules(tmp_path: Path) -> None:
    engine, root = FakeEngine(), tmp_path / "bundles"
    one, two, broken = bundles_root(root, 3)
    spoil(root / broken)
    with calling(engine, settings(tmp_path, bundles=root)) as client:
        client.post("/v1/events", json=feedback("e1"))
        assert client.post("/v1/bundle/rollback").status_code == 422  # nothing before
        assert client.post("/v1/bundle/activate", json={"bundle": two}).json() == {"bundle": two}
        assert (engine.absorbed, current(root), previous(root)) == (["e1"], two, one)
        refused = client.post("/v1/bundle/activate", json={"bundle": broken})
        assert (refused.status_code, "SHA-256" in refused.text, current(root), previous(root)) == (409, True, two, one)
        assert client.post("/v1/bundle/activate", json={"bundle": f"../bundles/{one}"}).status_code == 422
        assert client.post("/v1/bundle/rollback").json() == {"bundle": one}
        assert client.get("/v1/bundle").json()["bundle"] == one
        assert f'podium_bundle_info{{bundle="{one}"}} 1.0' in client.get("/metrics").text


def test_what_serves_is_not_left_for_a_bundle_that_broke_and_listing_says_which(tmp_path: Path) -> None:
    root = tmp_path / "bundles"
    one, two, three = bundles_root(root, 3)
    make_current(root, two)
    spoil(root / one)
    (root / three / "bundle.json").unlink()
    engine = FakeEngine(two)
    with calling(engine, settings(tmp_path, bundles=root)) as client:
        told = client.get("/v1/bundle").json()
        assert (told["bundles"], list(told["broken"])) == (sorted([one, two]), [three])
        back = client.post("/v1/bundle/rollback")
        assert (back.status_code, "SHA-256" in back.text) == (409, True)
        gone = client.post("/v1/bundle/activate", json={"bundle": three})
        assert (gone.status_code, "bundle.json" in gone.text) == (409, True)
        spoil(root / two)
        same = client.post("/v1/bundle/activate", json={"bundle": two})
        assert (same.status_code, "SHA-256" in same.text) == (409, True)
        assert (engine.bundle_id, current(root), previous(root)) == (two, two, one)


def test_a_bundle_promoted_elsewhere_is_followed_and_a_broken_one_is_not(tmp_path: Path) -> None:
    engine, root = FakeEngine(), tmp_path / "bundles"
    one, two, broken = bundles_root(root, 3)
    spoil(root / broken)
    with calling(engine, settings(tmp_path, bundles=root)) as client:
        service = client.app.state.service
        for promoted, served in ((two, two), (broken, two), (one, one)):
            (root / "current").unlink()
            (root / "current").symlink_to(promoted, target_is_directory=True)
            client.portal.call(service.on_engine, service.follower.catch_up)
            assert engine.bundle_id == served


def test_a_service_keeps_the_bundle_it_was_started_with_until_another_is_promoted(tmp_path: Path) -> None:
    root = tmp_path / "bundles"
    _, other = bundles_root(root, 2)
    engine = FakeEngine(other)
    with calling(engine, settings(tmp_path, bundles=root)) as client:
        service = client.app.state.service
        client.portal.call(service.on_engine, service.follower.catch_up)
        assert engine.bundle_id == other


def test_a_service_of_one_bundle_cannot_change_it(client: TestClient) -> None:
    assert client.post("/v1/bundle/activate", json={"bundle": "b-two"}).status_code == 409


def test_the_numbers_are_kept_by_route_and_never_by_path(client: TestClient) -> None:
    client.post("/v1/search", json={"query": "a"})
    client.get("/v1/requests/secret-id/explain")
    client.get("/somewhere")
    client.post("/v1/events", json=[feedback("e1"), feedback("e1"), {}])
    text = client.get("/metrics").text
    for line in (
        'podium_requests_total{method="POST",route="/v1/search",status="200"} 1.0',
        'podium_requests_total{method="GET",route="/v1/requests/{request_id}/explain",status="410"} 1.0',
        'podium_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'podium_request_seconds_count{route="/v1/search"} 1.0',
        'podium_stage_seconds_count{cascade="search",stage="rank"} 1.0',
        'podium_events_total{outcome="accepted"} 1.0',
        'podium_events_total{outcome="duplicate"} 1.0',
        'podium_events_total{outcome="rejected"} 1.0',
    ):
        assert line in text
    assert "secret-id" not in text


def test_the_playground_is_one_page_that_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("/", "/playground/app.js", "/playground/view.js", "/playground/style.css"):
        text = client.get(path).text
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert client.get("/playground/items", params={"item_id": ["i001", "nowhere"]}).json() == {
        "items": [{"item_id": "i001", "title": "I001"}]
    }
    assert client.get("/playground/users").json() == {"users": ["ann", "bob"]}


def test_the_documentation_names_every_door(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/search", "/v1/recommend", "/v1/recommend/batch", "/v1/rank", "/v1/suggest", "/v1/events"} < set(paths)
    assert not any(path.startswith("/playground") for path in paths)
    assert all(operation["description"] for path in paths.values() for operation in path.values())
