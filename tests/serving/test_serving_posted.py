"""What a post of events is answered: what was refused and why, what was given, and when nothing is taken."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from serving_fakes import FakeEngine, TestClient, calling, feedback, settings

from pipeline.logs.config import LogsConfig
from serving.service import now_ms

DAY = 86_400_000


def kept(root: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(root / "events.db") as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM events ORDER BY seq")]


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (1_740_823_200, "epoch seconds"),
        ("1970-01-21T03:33:43.2Z", "epoch seconds"),
        (1_740_823_200.5, "epoch seconds"),
        (0, "before 1990"),
        ("1989-12-31T23:59:59Z", "before 1990"),
        pytest.param(now_ms() + 2 * DAY, "more than 24 h after it was received", id="in two days"),
        ("2098-01-01T00:00:00Z", "more than 24 h after it was received"),
        ("2025-03-01T10:00:00", "timezone"),
        ("03/01/2025 10:00", "RFC3339"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_name(client: TestClient, time: object, reason: str) -> None:
    answer = client.post("/v1/events", json=feedback("e1", time=time))
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == "time"
    assert reason in error["reason"]


def test_what_is_believed_is_configured(tmp_path: Path) -> None:
    chosen = settings(tmp_path, logs=LogsConfig(ahead_ms=3 * DAY))
    with calling(FakeEngine(), chosen) as client:
        assert client.post("/v1/events", json=feedback("e1", time=now_ms() + 2 * DAY)).status_code == 202


def test_under_replay_times_are_the_callers(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path, replay=True)) as client:
        assert client.post("/v1/events", json=feedback("e1", time=7)).json()["accepted"] == 1
        refused = client.post("/v1/events", json=without(feedback("e2"), "time"))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "time"


def test_a_part_of_a_millisecond_is_let_fall(client: TestClient, tmp_path: Path) -> None:
    assert client.post("/v1/events", json=feedback("e1", time=1_740_823_200_000.75)).json()["accepted"] == 1
    with sqlite3.connect(tmp_path / "events.db") as connection:
        assert connection.execute("SELECT time FROM events").fetchall() == [(1_740_823_200_000,)]


def test_a_post_of_which_nothing_is_taken_is_a_problem_that_names_each(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/v1/events", json=[feedback("e1", action=""), 7, feedback("e2", time=5)])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    said = answer.json()
    assert [error["field"] for error in said["errors"]] == ["[0].action", "[1].event", "[2].time"]
    assert said["detail"].startswith("No event was taken: [0].action: ")
    assert kept(tmp_path) == []


def test_twenty_of_many_refusals_are_told_and_the_others_counted(client: TestClient) -> None:
    answer = client.post("/v1/events", json=[{"x" * 5_000: 1} for _ in range(300)])
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert "The first 20 of 300 events are told." in answer.json()["detail"]
    assert len(answer.content) < 20_000


def test_one_sound_event_is_taken_among_bad_ones_and_so_is_one_known_already(client: TestClient) -> None:
    bad = feedback("e2", time=5)
    first = client.post("/v1/events", json=[feedback("e1"), bad])
    again = client.post("/v1/events", json=[feedback("e1"), bad])
    assert [
        (answer.status_code, answer.json()["accepted"], answer.json()["duplicates"]) for answer in (first, again)
    ] == [
        (202, 1, 0),
        (202, 0, 1),
    ]
    assert [each["index"] for each in again.json()["rejected"]] == [1]


def test_an_id_and_a_time_that_were_left_out_are_given_and_told(client: TestClient, tmp_path: Path) -> None:
    before = now_ms()
    events = [feedback("e1"), without(feedback("e2"), "event_id"), without(feedback("e3"), "time")]
    events += [without(feedback("e4"), "event_id", "time"), feedback("e5", action="")]
    said = client.post("/v1/events", json=events).json()
    assert (said["accepted"], [each["index"] for each in said["rejected"]]) == (4, [4])
    given = {each["index"]: each for each in said["assigned"]}
    assert list(given) == [1, 2, 3]
    assert given[1]["time"] == feedback("e2")["time"]
    assert given[2]["event_id"] == "e3"
    assert given[1]["event_id"] != given[3]["event_id"]
    assert all(before <= given[place]["time"] <= now_ms() for place in (2, 3))
    rows = kept(tmp_path)
    assert [row["event_id"] for row in rows[1:]] == [given[place]["event_id"] for place in (1, 2, 3)]
    assert [row["time"] for row in rows[1:]] == [given[place]["time"] for place in (1, 2, 3)]
    again = [event | without(given[place], "index") if place in given else event for place, event in enumerate(events)]
    assert client.post("/v1/events", json=again[:4]).json() == {"accepted": 0, "duplicates": 4, "rejected": []}


@pytest.mark.parametrize(
    "event", [{}, {"type": "feedback"}, {"event_id": None}, {"context": {"time": 1, "event_id": "x"}}]
)
def test_an_event_that_is_refused_is_given_nothing(client: TestClient, event: dict[str, Any]) -> None:
    answer = client.post("/v1/events", json=event)
    assert answer.status_code == 422
    assert "assigned" not in answer.json()


def test_the_documentation_tells_every_field_of_every_event(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    mapping = body["oneOf"][0]["discriminator"]["mapping"]
    assert set(mapping) == {"item", "user", "impression", "feedback", "suggest", "judgment"}
    schemas = document["components"]["schemas"]
    click = schemas[mapping["feedback"].rpartition("/")[2]]
    assert set(click["required"]) == {"type", "item_id", "action"}
    assert click["properties"]["quantity"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1, "default": 1}
    assert schemas["ImpressionEvent"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Shown"}
    assert schemas["ItemEvent"]["properties"]["attributes"]["type"] == "object"
