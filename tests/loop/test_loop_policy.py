"""What a policy of the loop is told and when, and whether its pages have the chances they state."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from pipeline.market.policy import Requests, Slate
from pipeline.market.running import Running
from pipeline.market.world import DAY, START
from serving.engine import Engine
from serving.loop import Loop
from serving.loop_policy import Served, frames_of, starts_of
from tests.loop.conftest import tiny

pytestmark = pytest.mark.full

WIDTH = 20


class Recorder:
    """Shows the logger's pool as it comes, and remembers what it heard and was asked."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, list[dict[str, object]]]] = []
        self.asked: list[Requests] = []
        self.heard_before: list[int] = []

    def hear(self, lines: pl.Series) -> None:
        self.heard.append((len(self.asked), [msgspec.json.decode(line) for line in lines]))

    def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        self.asked.append(requests)
        item = requests.pool.items[:, :depth]
        return Slate(np.where(requests.pool.valid[:, :depth], item, -1), np.ones(item.shape), np.ones(item.shape))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Two days, in four parts each."""
    market, recorder = Running(tiny(), endless=True), Recorder()
    market.open(tmp_path_factory.mktemp("recorded"))
    for _ in range(2):
        market.serve_day(recorder, 0.5, starts_of(6, 900_000))
    market.close()
    return recorder


def test_nothing_is_heard_that_was_received_after_what_is_asked_next(recorded: Recorder) -> None:
    for place, events in recorded.heard:
        asked = min(int(requests.visits.time.min()) for requests in recorded.asked[place:])
        assert all(int(str(event["received"])) < asked for event in events)


def test_all_that_was_delivered_six_hours_ago_has_been_heard_once(recorded: Recorder) -> None:
    assert [place for place, _ in recorded.heard] == list(range(8))
    told = [event for _, events in recorded.heard for event in events]
    clicks = [str(event["event_id"]) for event in told if event["type"] == "feedback"]
    assert len(clicks) > 100
    assert len(set(clicks)) > 0.98 * len(clicks)  # some events are delivered twice, at one moment
    late = [event for event in told if int(str(event["received"])) < START + DAY]
    first = [event for _, events in recorded.heard[:5] for event in events]
    assert len(late) == len(first)


def test_the_same_is_asked_whatever_was_shown(recorded: Recorder, tmp_path: Path) -> None:
    class Backwards(Recorder):
        def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
            slate = super().rank(requests, depth, rng)
            rng.random(7)
            return Slate(slate.item[:, ::-1], slate.propensity, slate.marginal)

    market, other = Running(tiny(), endless=True), Backwards()
    market.open(tmp_path)
    for _ in range(2):
        market.serve_day(other, 0.5, starts_of(6, 900_000))
    asked = [requests.asked() for requests in recorded.asked]
    assert pl.concat(asked).equals(pl.concat([requests.asked() for requests in other.asked]))
    assert len({name for frame in asked for name in frame["request_id"]}) == sum(map(len, asked))


def test_a_bundle_is_asked_what_the_log_says_of_the_request(loop: Loop, recorded: Recorder) -> None:
    requests = recorded.asked[0]
    asked = requests.asked()
    assert {"search", "recommend", "similar"} == set(asked["surface"])
    assert asked.filter(pl.col("query").is_not_null())["surface"].unique().to_list() == ["search"]
    seeds = asked.filter(surface="similar")["context"].str.json_path_match("$.item_id")
    assert seeds.str.starts_with("i").all()


def test_explored_pages_are_drawn_with_the_chances_they_state(loop: Loop, recorded: Recorder) -> None:
    """One request asked 1,024 times: each of its first 20 items stands at each place once in 20."""
    served = Served(Engine(loop.out / "bundles" / loop.rounds[1]["served_by"]), WIDTH)
    requests = recorded.asked[0]
    one = np.flatnonzero(requests.visits.surface == 1)[:1]
    visits, asked = requests.visits.take(np.repeat(one, 1024)), requests.asked()[np.repeat(one, 1024)]
    drawn = Requests(replace(visits, explored=np.ones(1024, dtype=bool)), requests.pool, lambda: asked)
    slate = served.rank(drawn, 16, np.random.default_rng(0))
    items = np.unique(slate.item)
    assert len(items) == WIDTH
    for place in (0, 7, 15):
        shares = (slate.item[:, place, None] == items).mean(axis=0)
        assert shares == pytest.approx(np.full(WIDTH, 1 / WIDTH), abs=0.028)
    assert slate.marginal == pytest.approx(np.full((1024, 16), 1 / WIDTH))
    assert slate.propensity[0] == pytest.approx(1 / (WIDTH - np.arange(16)))
    plain = Requests(replace(visits, explored=np.zeros(1024, dtype=bool)), requests.pool, lambda: asked)
    certain = served.rank(plain, 16, np.random.default_rng(0))
    assert (certain.item == certain.item[0]).all()
    assert set(certain.item[0]) <= set(items.tolist())
    assert (certain.propensity == 1).all()


def test_a_random_policy_draws_from_all_that_is_on_offer(loop: Loop, recorded: Recorder) -> None:
    engine = Engine(loop.out / "bundles" / loop.rounds[1]["served_by"])
    requests = recorded.asked[-1]
    slate = Served(engine, WIDTH, "random").rank(requests, 16, np.random.default_rng(0))
    offered = int(engine.state.catalogue.at(int(requests.visits.time.min())).available.sum())
    assert slate.marginal[0, 0] == 1 / offered
    assert slate.propensity[0] == pytest.approx(1 / (offered - np.arange(16)))
    assert all(len(set(row)) == 16 for row in slate.item.tolist())


def test_an_event_that_was_delivered_twice_is_learned_once() -> None:
    line = '{"event_id":"a","type":"user","time":5,"received":6,"user_id":"u0000001","attributes":{}}'
    assert frames_of(pl.Series([line, line]))["user"]["event_id"].to_list() == ["a"]


def test_news_is_heard_when_a_tick_is_sealed() -> None:
    assert starts_of(8, 900_000).tolist() == [8 * 3_600_000 + 900_000, 16 * 3_600_000 + 900_000]
    assert starts_of(24, 900_000).tolist() == []
