"""Rows of one id that say different things are conflicts, and a source that brings nothing is an error."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.logs.ingest import IngestReport, ingest
from podium import cli

T = 1_740_823_200_000
DAY = 86_400_000


def click(name: str, item: str = "i", **more: object) -> dict[str, Any]:
    known = {"type": "feedback", "event_id": name, "time": T, "user_id": "u", "item_id": item, "action": "click"}
    return known | more


def source(folder: Path, *rows: object) -> Path:
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ingested(folder: Path, *rows: object) -> IngestReport:
    return ingest("podium", [source(folder, *rows)], folder / "log")


def counts(report: IngestReport) -> tuple[int, int, int]:
    accepted, duplicates, conflicts = (sum(c.values()) for c in (report.accepted, report.duplicates, report.conflicts))
    assert report.read == accepted + duplicates + conflicts + report.quarantined
    return accepted, duplicates, conflicts


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([click("a"), click("a")], (1, 1, 0)),
        ([click("a"), click("a", "j")], (1, 0, 1)),
        ([click("a"), click("a", "j"), click("a"), click("a", "k")], (1, 1, 2)),
        ([click("a", received=T + 5), click("a", received=T + 9)], (1, 1, 0)),
        ([click("a", time=T - DAY), click("a")], (1, 0, 1)),
        ([click("a", time=T - DAY), click("a", time=T - DAY), click("a")], (1, 1, 1)),
        ([click("a"), click("b", "j"), click("b", "j")], (2, 1, 0)),
    ],
)
def test_another_content_under_a_known_id_is_a_conflict(
    tmp_path: Path, rows: list[dict[str, Any]], expected: tuple[int, int, int]
) -> None:
    assert counts(ingested(tmp_path, *rows)) == expected


def test_a_conflict_with_what_the_log_holds_is_counted_whichever_stays(tmp_path: Path) -> None:
    ingested(tmp_path, click("a", received=T + 5), click("b", received=T + 5))
    assert counts(ingested(tmp_path, click("a", "j", received=T + 9), click("b", "j", received=T + 1))) == (0, 0, 2)
    assert counts(ingested(tmp_path, click("a", received=T + 5), click("b", "j", received=T + 1))) == (0, 2, 0)


def test_which_of_several_stays_does_not_depend_on_the_order(tmp_path: Path) -> None:
    rows = [click("a", f"i{n}", time=T + n % 3 * DAY, received=T + 3 * DAY + n % 2) for n in range(8)]
    logs = []
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = ingested(folder, *random.Random(seed).sample(rows, len(rows)))
        assert counts(report) == (1, 0, 7)
        logs.append({p.relative_to(folder): p.read_bytes() for p in folder.glob("log/**/*.parquet")})
    assert logs.count(logs[0]) == len(logs)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([click("a", action="")], ("rows", "quarantine", "action", "(1)")),
        ([click(str(n), time=T // 1_000) for n in range(9)], ("all 9 are in", "epoch seconds", "(9)")),
        (["hello", 5, None], ("rows", "all 3")),
    ],
)
def test_a_source_of_which_nothing_can_be_taken_ends_with_2(
    tmp_path: Path, rows: list[object], words: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(cli, ["ingest", "podium", str(source(tmp_path, *rows)), "--out", str(tmp_path / "log")])
    assert done.exit_code == 2
    assert all(word in done.stderr for word in words), done.stderr
    (path,) = (tmp_path / "log" / "quarantine").iterdir()
    assert len(path.read_text().splitlines()) == len(rows)


def test_a_source_without_rows_ends_with_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["ingest", "podium", str(source(tmp_path)), "--out", str(tmp_path / "log")])
    assert (done.exit_code, "at least one row" in done.stderr) == (2, True)


def test_what_is_known_already_is_no_error(tmp_path: Path) -> None:
    command = [
        "ingest",
        "podium",
        str(source(tmp_path, click("a"), click("b", action=""))),
        "--out",
        str(tmp_path / "log"),
    ]
    for _ in range(2):
        done = CliRunner().invoke(cli, [*command, "--json"])
        assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["duplicates"] == {"feedback": 1}
