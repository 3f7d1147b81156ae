"""The public data sets, read whole: their formats recognised, every row accepted."""

from pathlib import Path

import pytest

from pipeline.logs.importers.formats import choose
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log

REAL = {
    "ml-latest-small": ("movielens", {"feedback": 100_004, "item": 9_125 + 1_271}),
    "ml-1m": ("movielens", {"feedback": 996_646, "item": 3_883, "user": 6_040}),
    "amazon-beauty": ("sequences", {"feedback": 187_225, "item": 12_101}),
    "mind-5k": ("mind", {"impression": 4_250, "item": 2_000}),
    "home-depot-search": ("judged", {"judgment": 63_079}),
    "crowdflower-search": ("judged", {"judgment": 8_836, "item": 8_836}),
    "taobao-behavior": ("taobao", {}),
    "open-bandit": ("openbandit", {"impression": 51_000}),
    "aol-query-counts": ("query-counts", {"suggest": 50_663}),
}


@pytest.mark.full
@pytest.mark.parametrize("name", REAL)
def test_a_public_set_is_recognised_and_keeps_its_rows(name: str, real_data: Path, tmp_path: Path) -> None:
    fmt, rows = REAL[name]
    source = real_data / name
    if not source.is_dir():
        pytest.skip(f"PODIUM_DATA has no {name}")
    assert choose(None, [source]).name == fmt
    report = ingest(None, [source], tmp_path / "log")
    assert report.quarantined == 0
    assert rows.items() <= report.accepted.items()
    if name == "mind-5k":
        log = Log.open(tmp_path / "log")
        told = log.frame("feedback")
        assert told["request_id"].is_not_null().sum() == 6_418
        assert log.frame("impression")["items"].list.len().sum() == 160_526
