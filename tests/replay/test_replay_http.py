"""A replay through a service: what it is told, what it is asked, in which order."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.read import Log
from serving.replay.http import HttpOptions, replay_http
from tests.frames import HOUR, act, frame, item, page
from tests.replay.building import few
from tests.replay.fake_engine import CUTOFF

Logs = Callable[..., Log]
NOW = CUTOFF + 10 * HOUR


class Service:
    """Answers every request with d, a, b, c; remembers all it hears."""

    def __init__(self, *, fail: str = "") -> None:
        self.fail = fail
        self.heard: list[tuple[str, dict[str, object]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        door = request.url.path.removeprefix("/v1/")
        if door == "bundle":
            return httpx.Response(200, json={"cutoff": CUTOFF, "bundle": "b-1"})
        body = json.loads(request.content)
        if door == "events":
            self.heard += [("event", event) for event in body]
            return httpx.Response(202, json={"accepted": len(body), "duplicates": 0, "rejected": []})
        self.heard.append((door, body))
        if door == self.fail:
            return httpx.Response(503, text="busy")
        wanted = [each["item_id"] for each in body["items"]] if door == "rank" else ["d", "a", "b", "c"]
        start = body.get("page", 0) * 20
        items = [
            {"item_id": name, "position": place, "score": 1.0 - place / 10, "p_click": None}
            for place, name in enumerate(wanted)
        ]
        return httpx.Response(200, json={"items": items[start : start + 20], "bundle": "b-1"})

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://podium", transport=httpx.MockTransport(self))


@pytest.fixture
def log(write_log: Logs) -> Log:
    """A search and a similar page, an hour apart, with a click after each; one event before the cutoff."""
    filters, context = '{"brand":["x"]}', '{"region":"north","item_id":"a"}'
    pages = [
        page("r0", NOW, "ab", query="tea", filters=filters),
        page("r1", NOW + HOUR, "bc", surface="similar", user_id=None, session_id="s1", context=context),
    ]
    clicks = [act("click", "b", NOW + 1), act("click", "c", NOW + HOUR + 1, user_id=None, session_id="s1")]
    state = {"feedback": frame("feedback", act("click", "a", CUTOFF - 1), act("click", "a", CUTOFF + 1))}
    told = {
        "item": frame("item", item("c", NOW + 1, attributes='{"size":2}')),
        "impression": frame("impression", *pages),
        "feedback": frame("feedback", *clicks),
    }
    return write_log(told, state)


def test_every_event_before_a_request_is_posted_before_it_is_asked(log: Log, tmp_path: Path) -> None:
    service = Service()
    replay_http("", log, HttpOptions(), tmp_path, client=service.client)
    said = [(door, body.get("event_id") or body["request_id"]) for door, body in service.heard]
    assert said == [
        ("event", f"item:c:{NOW + 1}"),  # items come first
        ("event", f"click:a:{CUTOFF + 1}:u"),  # the click before the cutoff is known already
        ("rank", "r0:rank:0"),
        ("search", "r0"),
        ("event", "r0:0"),
        ("event", f"click:b:{NOW + 1}:u"),
        ("rank", "r1:rank:0"),
        ("recommend", "r1"),
        ("event", "r1:0"),
        ("event", f"click:c:{NOW + HOUR + 1}:None"),
    ]


def test_a_request_travels_as_it_was_asked(log: Log, tmp_path: Path) -> None:
    service = Service()
    replay_http("", log, HttpOptions(), tmp_path, client=service.client)
    asked = {door: body for door, body in service.heard if door != "event"}
    search, similar = asked["search"], asked["recommend"]
    assert (search["query"], search["filters"], search["user_id"], search["at"]) == ("tea", {"brand": ["x"]}, "u", NOW)
    assert (similar["surface"], similar["item_id"], similar["session_id"]) == ("similar", "a", "s1")
    assert similar["context"] == {"region": "north", "item_id": "a"}
    (told,) = [body for door, body in service.heard if door == "event" and body["type"] == "item"]
    assert told["attributes"] == {"size": 2}


def test_the_report_holds_the_figures_and_how_long_it_took(log: Log, tmp_path: Path) -> None:
    replay_http("", log, HttpOptions(), tmp_path, client=Service().client)
    report = json.loads((tmp_path / "report.json").read_text())
    rank, funnel = report["modes"]["rank"]["systems"], report["modes"]["funnel"]["systems"]
    assert set(rank) == {"podium", "logged", "random"}
    assert rank["podium"]["mrr"]["mean"] == 0.5
    assert funnel["podium"]["mrr"]["mean"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert "recall@20" in funnel["podium"]
    assert "recall@100" not in funnel["podium"]  # two pages of twenty were read
    assert report["protocol"]["service"]["events_posted"] == 6
    assert report["protocol"]["service"]["latency_ms"]["search"]["n"] == 1
    run = pl.read_parquet(tmp_path / "run.parquet").filter(pl.col("mode") == "funnel")
    assert run.filter(pl.col("request_id") == "r0")["item_id"].to_list() == ["d", "a", "b", "c"]


def test_failed_requests_are_counted_and_leave_the_mean(log: Log, tmp_path: Path) -> None:
    report = replay_http("", log, HttpOptions(), tmp_path, client=Service(fail="search").client)
    assert report.modes["funnel"]["unanswered"] == 1
    assert report.modes["funnel"]["systems"]["podium"]["mrr"] == few(0.25, 1)
    assert report.protocol["service"]["failed"] == {"503 busy": 1}


def test_an_address_without_a_service_is_named(log: Log, tmp_path: Path) -> None:
    nobody = httpx.Client(base_url="http://podium", transport=httpx.MockTransport(lambda _: httpx.Response(404)))
    with pytest.raises(InputError, match="podium serve --replay"):
        replay_http("", log, HttpOptions(), tmp_path, client=nobody)
