"""A worker learns within moments what others did, at next to no cost while they do nothing; ticks come in time."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_fakes import FakeEngine, bundles_root, calling, feedback, settings

from pipeline.features.ticks import SEAL_MS, TICK_MS
from serving.telemetry import Metrics
from serving.ticker import LEAD_MS, Ticker
from serving.watch import Watch
from tests.waiting import PATIENCE, soon

RULE = {"id": "r", "action": "pin", "item_ids": ["i042"], "position": 0}


def test_what_one_worker_is_told_every_other_knows_without_being_asked(tmp_path: Path) -> None:
    engine, other = FakeEngine(), FakeEngine()
    root = tmp_path / "bundles"
    _, second = bundles_root(root, 2)
    chosen = settings(tmp_path, bundles=root)
    with calling(engine, chosen) as one, calling(other, chosen) as two:
        one.post("/v1/events", json=feedback("e1"))
        soon(lambda: other.absorbed == ["e1"])
        one.put("/v1/rules", json=[RULE])
        soon(lambda: other.pinned == ["i042"])
        one.post("/v1/bundle/activate", json={"bundle": second})
        soon(lambda: other.bundle_id == second and other.absorbed == ["e1"])
        one.delete("/v1/users/ann")
        service = two.app.state.service
        soon(lambda: service.known_as("ann") == "ann\x1f1")
        text = two.get("/metrics").text
        assert "podium_visible_seconds_count 1.0" in text  # what is learned again for a bundle is not late
        assert "podium_follow_failures_total 0.0" in text


def test_a_burst_is_learned_in_few_steps(tmp_path: Path) -> None:
    engine, other = FakeEngine(), FakeEngine()
    steps: list[int] = []
    absorb = other.absorb

    def noted(frames: Any) -> None:
        steps.append(sum(map(len, frames.values())))
        absorb(frames)

    other.absorb = noted  # type: ignore[method-assign]
    with calling(engine, settings(tmp_path)) as one, calling(other, settings(tmp_path)) as two:
        held = threading.Event()
        waiting = two.app.state.service._thread.submit(held.wait)  # the engine is busy with a long answer
        for post in range(20):
            one.post("/v1/events", json=[feedback(f"e{post}-{n}") for n in range(5)])
        held.set()
        waiting.result()
        soon(lambda: len(other.absorbed) == 100)
    assert sum(steps) == 100
    assert len(steps) <= 2


def test_looking_does_nothing_while_nothing_changes(tmp_path: Path) -> None:
    looks: list[int] = []
    enough = threading.Event()
    changes: list[int] = []

    def look() -> int:
        looks.append(1)
        if len(looks) == 20:
            enough.set()
        return len(looks) >= 10

    watch = Watch(look, lambda: changes.append(len(looks)), 0.001, lambda: None)
    watch.start()
    assert enough.wait(PATIENCE)
    watch.stop()
    assert changes == [1, 10]


def test_a_look_that_fails_is_counted_and_tried_again() -> None:
    failed = threading.Event()

    def look() -> object:
        raise OSError("no disk")

    watch = Watch(look, lambda: None, 0.001, failed.set)
    watch.start()
    assert failed.wait(PATIENCE)
    watch.stop()


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def ticker(engine: FakeEngine, metrics: Metrics, clock: Clock) -> Ticker:
    async def on_engine(work: Callable[[], Any]) -> Any:
        return work()

    return Ticker(lambda tick, final: engine.ahead(tick, final=final), on_engine, metrics, clock)


def test_a_tick_is_computed_before_it_may_be_used_and_finally_when_it_may() -> None:
    seal = 100 * TICK_MS + SEAL_MS
    clock = Clock(seal - TICK_MS + 1)
    work = ticker(FakeEngine(), Metrics(), clock)
    assert work.next() == (100, False, seal - LEAD_MS)
    clock.now = seal - LEAD_MS
    assert work.next() == (100, True, seal)
    clock.now = seal
    assert work.next() == (101, False, seal + TICK_MS - LEAD_MS)


def test_a_published_tick_is_put_to_use_and_told() -> None:
    engine, metrics = FakeEngine(), Metrics()
    asyncio.run(ticker(engine, metrics, Clock(5_000)).publish(7, True))
    assert engine.ticks == [(7, True)]
    text = metrics.text()
    assert b"podium_tick 7.0" in text
    assert b"podium_tick_published_seconds 5.0" in text
    assert b"podium_tick_compute_seconds" in text


@pytest.mark.full
def test_an_idle_service_spends_under_a_hundredth_of_a_core_on_looking(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        look = client.app.state.service.follower.look
        look()
        begun = time.thread_time()
        for _ in range(1_000):
            look()
        assert (time.thread_time() - begun) / 1_000 * 50 < 0.01


class Told(FakeEngine):
    """An engine whose bundle has learned the first two events of any store."""

    def learned_to(self, store: str) -> int:
        return 2

    def absorb(self, frames: Any) -> None:
        raise AssertionError("events are told apart by their numbers, not by their time")

    def learn(self, frames: Any) -> None:
        super().absorb(frames)


def test_a_bundle_that_says_what_of_the_store_it_knows_is_told_the_rest(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as one:
        one.post("/v1/events", json=[feedback(name) for name in ("e1", "e2", "e3")])
    later = Told()
    with calling(later, settings(tmp_path)) as two:
        assert later.absorbed == ["e3"]
        two.post("/v1/events", json=feedback("e4"))
        assert later.absorbed == ["e3", "e4"]
