"""Control characters are in no id, at no door: what marks somebody who came back must not be written by a caller."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from serving_fakes import TestClient, feedback

from pipeline.logs.decode import decode_lines
from pipeline.logs.ingest import ingest

CONTROL = [chr(code) for code in (0, 1, 9, 10, 13, 27, 31, 127)]
REASON = "control characters"


def bad(character: str, name: str) -> dict[str, Any]:
    return feedback("e1") | {name: f"ann{character}1"}


@pytest.mark.parametrize("character", CONTROL, ids=ascii)
@pytest.mark.parametrize("name", ["event_id", "user_id", "session_id", "item_id", "request_id", "action"])
def test_no_id_of_an_event_holds_one(name: str, character: str) -> None:
    (reject,) = decode_lines(json.dumps(bad(character, name)).encode(), "file").rejects
    assert (reject.field, REASON in reject.reason) == (name, True)


@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_no_item_of_a_page_holds_one(character: str) -> None:
    items = [{"item_id": f"a{character}", "position": 0}]
    page = {"type": "impression", "event_id": "p", "time": 1_740_823_200_000, "request_id": "r", "surface": "home"}
    (reject,) = decode_lines(json.dumps(page | {"user_id": "u", "items": items}).encode(), "file").rejects
    assert (reject.field, REASON in reject.reason) == ("items[].item_id", True)


@pytest.mark.parametrize("character", ["\0", "\x1f", "\x7f", "\t"], ids=ascii)
def test_the_service_takes_none(client: TestClient, character: str) -> None:
    name = f"ann{character}1"
    quoted = f"ann%{ord(character):02X}1"
    answers = [
        client.post("/v1/events", json=bad(character, "user_id")),
        client.post("/v1/recommend", json={"surface": "home", "user_id": name}),
        client.post("/v1/recommend/batch", json={"surface": "home", "user_ids": ["u", name]}),
        client.post("/v1/rank", json={"items": [{"item_id": name}]}),
        client.get(f"/v1/suggest?prefix=a&user_id={quoted}"),
        client.delete(f"/v1/users/{quoted}"),
        client.delete(f"/v1/users?user_id={quoted}"),
    ]
    for answer in answers:
        assert answer.status_code == 422, (answer.request.url, answer.text)
        assert REASON in answer.text


@pytest.mark.parametrize("character", ["\x1f", "\x7f"], ids=ascii)
def test_importers_take_none(tmp_path: Path, character: str) -> None:
    users, items = [f"ann{character}1", "bob", "u"], ["a", f"b{character}", "a"]
    same = {"time": ["2025-03-01T10:00:00Z"] * 3, "action": ["click"] * 3}
    pl.DataFrame({"user_id": users, "item_id": items, **same}).write_csv(tmp_path / "clicks.csv")
    gorse = {"FeedbackType": "star", "UserId": f"a{character}", "ItemId": "a", "Timestamp": "2025-03-01T10:00:00Z"}
    (tmp_path / "gorse.jsonl").write_text(json.dumps(gorse) + "\n" + json.dumps(gorse | {"UserId": "u"}) + "\n")
    for name, fmt, refused in (("clicks.csv", "csv", 2), ("gorse.jsonl", None, 1)):
        report = ingest(fmt, [tmp_path / name], tmp_path / f"log-{name}")
        assert (report.accepted, report.quarantined) == ({"feedback": 1}, refused), report
        assert all(REASON in reason for reason in report.reasons)
