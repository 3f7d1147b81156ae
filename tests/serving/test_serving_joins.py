"""The service watches its own log: pages found, clocks, repeats and losses of the last hour, and when they ring."""

import time
from pathlib import Path

import polars as pl
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from pipeline.logs.events import COLUMNS
from pipeline.logs.watch.config import WatchConfig
from serving.joins import Joins, told
from tests.waiting import soon

NOW = 1_700_000_000.0
MS = int(NOW * 1000)


class Desk:
    """Joins under a clock that the test moves."""

    def __init__(self, **bounds: object) -> None:
        self.now = NOW
        self.joins = Joins(WatchConfig.model_validate(bounds), now=lambda: self.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.joins)

    def show(self, *requests: str, at: int = MS) -> None:
        pages = pl.DataFrame({"request_id": list(requests), "time": [at] * len(requests)})
        self.joins.learned({"impression": pages})

    def click(self, *requests: str | None, at: int = MS, action: str = "click", duplicates: int = 0) -> None:
        columns = {"request_id": list(requests), "action": [action] * len(requests), "time": [at] * len(requests)}
        frame = pl.DataFrame(columns, schema_overrides={"request_id": pl.String()})
        self.joins.posted(told({"feedback": frame}), len(requests), duplicates, 0)

    def read(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"podium_{name}", labels)

    def ringing(self) -> set[str]:
        rates = ("join_rate", "before_page", "future", "late", "duplicates", "rejected", "dropped")
        return {rate for rate in rates if self.read("watch_alarm", rate=rate) == 1.0}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def names(count: int, first: int = 0) -> list[str]:
    return [f"r{n}" for n in range(first, first + count)]


def test_a_click_on_a_page_is_known_and_its_lag_measured(desk: Desk) -> None:
    desk.show("r1", at=MS - 20_000)
    desk.click("r1")
    assert desk.read("feedback_named_total", page="known") == 1.0
    assert desk.read("feedback_lag_seconds_bucket", le="10") == 0.0
    assert desk.read("feedback_lag_seconds_bucket", le="30") == 1.0
    assert desk.read("feedback_lag_seconds_sum") == 20.0
    assert desk.read("watch_rate", rate="join_rate") == 1.0


def test_only_views_and_clicks_that_name_a_request_are_asked_for_their_page(desk: Desk) -> None:
    desk.click("r1", action="purchase")
    desk.click(None)
    desk.now += 61
    assert desk.read("feedback_named_total", page="unknown") == 0.0
    assert desk.read("event_delay_seconds_count") == 2.0


def test_a_page_that_another_worker_writes_a_moment_later_is_found(desk: Desk) -> None:
    desk.click("r1", "r2")
    assert desk.read("feedback_named_total", page="unknown") == 0.0  # judged after a minute
    desk.show("r1")
    desk.now += 61
    assert desk.read("feedback_named_total", page="known") == 1.0
    assert desk.read("feedback_named_total", page="unknown") == 1.0


def test_the_alarm_rings_when_five_in_a_hundred_pages_are_missing_and_ends_after_an_hour(desk: Desk) -> None:
    desk.show(*names(95))
    desk.click(*names(100))
    assert desk.ringing() == set()
    desk.now += 61
    assert desk.read("watch_rate", rate="join_rate") == 0.95
    assert desk.ringing() == {"join_rate"}
    desk.now += 3_600
    assert desk.ringing() == set()
    assert desk.read("watch_rate", rate="join_rate") is None
    assert desk.read("feedback_named_total", page="unknown") == 5.0  # counters never go back


def test_fewer_cases_than_can_be_judged_do_not_ring(desk: Desk) -> None:
    desk.click(*names(99))
    desk.now += 61
    assert desk.read("watch_rate", rate="join_rate") == 0.0
    assert desk.ringing() == set()


def test_wrong_clocks_ring(desk: Desk) -> None:
    desk.show(*names(200))
    desk.click(*names(194))
    desk.click(*names(3), at=MS + 60_000)
    desk.click(*names(3), at=MS - 60_000)
    assert desk.read("events_off_time_total", why="future") == 3.0
    assert desk.read("events_off_time_total", why="before_page") == 3.0
    assert desk.ringing() == {"future", "before_page"}
    desk.click(*names(20), at=MS - 3_600_001)
    assert desk.ringing() == {"future", "before_page", "late"}


def test_repeats_and_losses_ring(desk: Desk) -> None:
    desk.show(*names(100))
    desk.click(*names(100), duplicates=10)
    desk.joins.answered(written=998, lost=2)
    assert desk.read("watch_rate", rate="duplicates") == 10 / 110
    assert desk.read("watch_rate", rate="dropped") == 0.002
    assert desk.ringing() == {"duplicates", "dropped"}
    desk.now += 3_660
    desk.joins.answered(written=1_000)
    assert desk.read("watch_rate", rate="dropped") == 0.0


def test_no_more_is_remembered_than_two_generations_of_pages() -> None:
    desk = Desk(remembered=100)
    for start in range(0, 1_000, 10):
        desk.show(*names(10, start))
    assert len(desk.joins._young) + len(desk.joins._old) < 200
    desk.click(*names(100, 900))
    assert desk.read("feedback_named_total", page="known") == 100.0  # the latest hundred always


def test_no_more_than_ten_thousand_wait_for_their_page(desk: Desk) -> None:
    for start in range(0, 12_000, 1_000):
        desk.click(*names(1_000, start))
    assert desk.read("feedback_named_total", page="unknown") == 2_000.0
    assert desk.joins._held == 10_000


def test_a_post_without_feedback_is_watched_for_its_times(desk: Desk) -> None:
    item = pl.DataFrame({"time": [MS + 5_000]})
    desk.joins.posted(told({"item": item}), 1, 0, 0)
    desk.joins.posted(told({}), 0, 0, 1)
    assert desk.read("events_off_time_total", why="future") == 1.0
    assert "podium_watch_alarm" in generate_latest(desk.registry).decode()


def test_the_service_knows_the_pages_posted_and_its_own(client: TestClient) -> None:
    answer = client.post("/v1/recommend", json={"surface": "home", "user_id": "ann"}).json()
    moment = int(time.time() * 1000)
    page = {"event_id": "p", "type": "impression", "time": moment, "request_id": "theirs", "surface": "home"}
    page |= {"user_id": "ann", "items": [{"item_id": "i000", "position": 0}]}
    clicks = [
        feedback(f"c{n}", request_id=name, time=moment) for n, name in enumerate((answer["request_id"], "theirs"))
    ]
    client.post("/v1/events", json=[page, *clicks])

    def joined() -> bool:  # our own page is written after it was answered, and a click waits for it
        return 'podium_feedback_named_total{page="known"} 2.0' in client.get("/metrics").text

    soon(joined, "a click did not find its page")
    assert 'podium_watch_alarm{rate="join_rate"} 0.0' in client.get("/metrics").text


def test_a_replay_whose_times_are_the_callers_watches_nothing(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, replay=True)) as client:
        client.post("/v1/events", json=feedback("e1", request_id="r1"))
        assert "podium_event_delay_seconds_count 0.0" in client.get("/metrics").text


def test_the_columns_that_are_watched_are_columns_of_the_log() -> None:
    assert {"request_id", "time"} <= set(COLUMNS["impression"])
    assert {"action", "request_id", "time"} <= set(COLUMNS["feedback"])
