"""Who gets the engine's thread next, and who is turned away instead of waiting for an answer that comes too late."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from serving.lanes import Lanes
from serving.limits import Gate
from serving.problems import Problem
from tests.waiting import soon


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    found = Lanes()
    yield found
    found.shutdown()


def held(lanes: Lanes) -> Event:
    """Keeps the thread busy until it is set."""
    event, begun = Event(), Event()
    lanes.submit(lambda: (begun.set(), event.wait()))
    begun.wait()
    return event


@given(st.lists(st.booleans(), max_size=30))
def test_lanes_keep_their_order_and_take_turns(kinds: list[bool]) -> None:
    lanes, done = Lanes(), []
    go = held(lanes)
    futures = [lanes.submit(lambda at=at: done.append(at), learning=learning) for at, learning in enumerate(kinds)]
    go.set()
    for future in futures:
        future.result(timeout=10)
    lanes.shutdown()
    learned, answered = ([at for at in done if kinds[at] is kind] for kind in (True, False))
    assert learned == sorted(learned)
    assert answered == sorted(answered)
    turns = [kinds[at] for at in done]
    both = min(len(learned), len(answered))
    assert turns[: 2 * both] == [True, False] * both  # learning first, and never twice while an answer waits


def test_what_fails_fails_alone(lanes: Lanes) -> None:
    failing = lanes.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(timeout=10)
    assert lanes.submit(lambda: 5).result(timeout=10) == 5


def test_what_is_given_up_costs_no_turn(lanes: Lanes) -> None:
    go, done = held(lanes), []
    given_up = lanes.submit(lambda: done.append("given up"))
    kept = lanes.submit(lambda: done.append("kept"))
    assert given_up.cancel()
    go.set()
    kept.result(timeout=10)
    assert done == ["kept"]


def gate(seconds: float | None = 60.0, limit: int = 64) -> tuple[Gate, list[str]]:
    why: list[str] = []
    return Gate(limit, seconds, why.append), why


def at_once(work: Callable[[], Any]) -> "Future[Any]":
    future: Future[Any] = Future()
    try:
        future.set_result(work())
    except Problem as problem:
        future.set_exception(problem)
    return future


def test_who_would_wait_too_long_is_turned_away_at_once_and_told_when_to_come_back() -> None:
    found, why = gate(seconds=5.0)
    found._mean, found.inside = 2.0, 2  # two wait, each takes two seconds: the third is done after six
    with pytest.raises(Problem) as refused:
        asyncio.run(found.through(at_once, lambda: 5, None))
    assert (refused.value.status_code, refused.value.headers, why) == (503, {"Retry-After": "4"}, ["busy"])
    assert asyncio.run(found.through(at_once, lambda: 5, time.perf_counter() + 60)) == 5  # who has the time, waits


def test_an_engine_that_is_slower_than_the_deadline_is_not_locked_out() -> None:
    found, _ = gate(seconds=5.0)
    found._mean = 100.0
    assert asyncio.run(found.through(at_once, lambda: 5, None)) == 5
    assert found._mean < 100.0


def test_who_reaches_the_front_too_late_is_turned_away_there() -> None:
    found, why = gate()
    with pytest.raises(Problem) as refused:
        asyncio.run(found.through(at_once, lambda: pytest.fail("worked in vain"), time.perf_counter() - 1))
    assert (refused.value.status_code, why, found.inside) == (503, ["late"], 0)


def test_who_waits_is_told_when_the_answer_is_due(lanes: Lanes) -> None:
    found, why = gate()
    go = held(lanes)
    with pytest.raises(Problem) as refused:
        asyncio.run(found.through(lanes.submit, lambda: 5, time.perf_counter() + 0.05))
    go.set()
    assert (refused.value.status_code, why, found.inside) == (503, ["late"], 0)


def test_a_caller_that_goes_is_not_told_anything(lanes: Lanes) -> None:
    found, why = gate()
    go = held(lanes)

    async def leave() -> None:
        task = asyncio.create_task(found.through(lanes.submit, lambda: 5, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    go.set()
    assert (why, found.inside) == ([], 0)


def test_a_replay_turns_nobody_away_for_time() -> None:
    found, why = gate(seconds=None)
    found._mean, found.inside = 1e9, 2
    assert asyncio.run(found.through(at_once, lambda: 5, None)) == 5
    assert why == []


@pytest.mark.parametrize("replay", [False, True])
def test_an_overloaded_service_turns_away_and_counts(tmp_path: Path, replay: bool) -> None:
    with calling(FakeEngine(), settings(tmp_path, {"deadline_ms": 1_000}, replay=replay)) as client:
        queue = client.app.state.service._gate
        queue._mean, queue.inside = 1.0, 3
        answers = [
            client.post("/v1/search", json={"query": "a"}),
            client.post("/v1/rank", json={"items": [{"item_id": "i001"}]}),
            client.get("/v1/suggest?prefix=a"),
        ]
        assert [answer.status_code for answer in answers] == [200 if replay else 503] * 3
        assert replay or {answer.headers["retry-after"] for answer in answers} == {"3"}
        counted = 'podium_turned_away_total{why="busy"} 3.0'
        assert (counted in client.get("/metrics").text) is not replay
        hurried = client.get("/v1/suggest?prefix=a", headers={"X-Deadline-Ms": "1000"})
        assert hurried.status_code == 503  # who asks for it, is turned away from a replay too


def test_events_do_not_wait_behind_searches(client: TestClient, engine: FakeEngine) -> None:
    service = client.app.state.service
    go, done = held(service._thread), []
    for _ in range(20):
        service._thread.submit(lambda: done.append("answer"))
    learn = service.follower.learn
    service.follower.learn = lambda: (learn(), done.append("learn"))

    def go_on() -> None:
        soon(lambda: service._thread._learning)  # until the post waits for the engine
        go.set()

    Thread(target=go_on, daemon=True).start()
    assert client.post("/v1/events", json=feedback()).status_code == 202
    assert engine.absorbed == ["e1"]  # known before the post is acknowledged
    assert "learn" in done[:2], done
