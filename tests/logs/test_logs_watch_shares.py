"""Shares that no honest log has ring in `podium events check`: each alone, and none on an ordinary log."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.logs.config import LogsConfig
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.logs.watch.config import WatchConfig
from pipeline.logs.watch.joins import watch

T = 1_740_823_200_000  # 2025-03-01T10:00:00Z
OLD = LogsConfig.model_validate({"earliest": "1970-01-01"})
NEW = {"impossible", "at_once", "one_subject", "float_ids"}


def click(n: int, **more: object) -> dict[str, Any]:
    known = {"type": "feedback", "event_id": f"e{n}", "time": T + 1_000 * n, "user_id": f"u{n % 40}"}
    return known | {"item_id": f"i{n}", "action": "click"} | more


def page(n: int, **more: object) -> dict[str, Any]:
    known = {"type": "impression", "event_id": f"p{n}", "time": T + 1_000 * n + 7, "request_id": f"r{n}"}
    known |= {"surface": "home", "user_id": f"u{n % 40}"}
    return known | {"items": [{"item_id": f"i{n}", "position": 0}]} | more


def rung(folder: Path, rows: list[dict[str, Any]], **bounds: object) -> set[str]:
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = ingest("podium", [folder / "events.jsonl"], folder / "log", config=OLD)
    assert report.quarantined == 0
    found = watch(Log.open(folder / "log"), WatchConfig.model_validate(bounds))
    return {alarm.what for alarm in found.alarms} & NEW


def test_an_ordinary_log_rings_for_none(tmp_path: Path) -> None:
    assert rung(tmp_path, [*map(click, range(200)), *map(page, range(200))]) == set()


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([click(n, time=1_740_823_200 + n) for n in range(150)], "impossible"),
        ([*map(click, range(200)), click(900, time=5)], "impossible"),
        ([click(n, time=T) for n in range(150)], "at_once"),
        ([page(n, time=T if n % 3 else T + n) for n in range(150)], "at_once"),
        ([click(n, user_id="u1" if n % 5 else f"u{n}") for n in range(150)], "one_subject"),
        ([page(n, user_id="bot") for n in range(150)], "one_subject"),
        ([click(n, item_id=f"{n}.0") for n in range(150)], "float_ids"),
        ([click(n, user_id=f"{n}.00" if n % 9 == 0 else f"u{n}") for n in range(150)], "float_ids"),
        ([page(n, items=[{"item_id": f"{n}.0", "position": 0}]) for n in range(150)], "float_ids"),
    ],
)
def test_each_rings_alone(tmp_path: Path, rows: list[dict[str, Any]], name: str) -> None:
    assert rung(tmp_path, rows) == {name}


def test_what_rings_is_configured_and_a_version_is_no_float(tmp_path: Path) -> None:
    rows = [click(n, item_id=f"1.{n % 9 + 1}", user_id="u1") for n in range(150)]
    assert rung(tmp_path, rows, one_subject=1.0) == set()
