"""No verdict from too little: every test and interval refuses below its least number, and where nothing differs."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.metrics.runs import evaluate_run
from pipeline.metrics.statistics.compare import (
    Difference,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    paired_permutation,
    paired_t,
    t_interval,
)
from pipeline.metrics.statistics.enough import lacking, needed
from podium import cli

TESTS: dict[str, tuple[Callable[..., Difference], int]] = {
    "t": (paired_t, 6),
    "permutation": (partial(paired_permutation, seed=0), 6),
    "bootstrap": (partial(paired_bootstrap, seed=0), 30),
}
INTERVALS: dict[str, tuple[Callable[..., Interval], int]] = {
    "t": (t_interval, 6),
    "bootstrap": (partial(bootstrap_interval, seed=0), 30),
}


@pytest.mark.parametrize("test", TESTS)
def test_a_test_refuses_one_unit_below_its_least_and_speaks_from_there_on(test: str) -> None:
    run, least = TESTS[test]
    values = np.random.default_rng(0).random(least)
    few = run(values[1:], np.zeros(least - 1))
    assert (few.refused, few.needed) == (f"too few values: {least - 1} of {least} needed", least)
    assert few.mean == pytest.approx(values[1:].mean())
    assert np.isnan([few.low, few.high, few.p_value]).all()
    enough = run(values, np.zeros(least))
    assert enough.refused is None
    assert enough.low < enough.mean < enough.high
    assert enough.p_value < 0.05


@pytest.mark.parametrize("kind", INTERVALS)
@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_an_interval_of_a_handful_is_refused_with_its_mean(kind: str, size: int) -> None:
    of, least = INTERVALS[kind]
    found = of(np.arange(float(size)))
    assert found.refused == f"too few values: {size} of {least} needed"
    assert np.isnan(found.mean) if size == 0 else found.mean == (size - 1) / 2


@pytest.mark.parametrize("test", TESTS)
def test_requests_of_one_subject_are_one_however_many(test: str) -> None:
    run, least = TESTS[test]
    found = run(np.random.default_rng(0).random(500), np.zeros(500), groups=np.ones(500), units="subjects")
    assert found.refused == f"too few subjects: 1 of {least} needed"


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("gain", [0.0, 0.25])
def test_differences_that_are_all_the_same_have_no_spread_to_judge_by(test: str, gain: float) -> None:
    values = np.random.default_rng(1).integers(0, 8, 200) / 8
    found = TESTS[test][0](values + gain, values)
    assert found.refused == f"no spread: the difference of all 200 values is {gain:g}"
    assert found.needed is None
    assert np.isnan(found.p_value)


def test_groups_that_are_alike_on_average_have_none_either() -> None:
    values, groups = np.tile([0.0, 1.0], 50), np.repeat(np.arange(50), 2)
    assert bootstrap_interval(values, 0, groups).refused == "no spread: the 50 groups are alike on average"
    assert bootstrap_interval(values, 0).refused is None


def test_more_comparisons_need_more_for_a_test_by_signs() -> None:
    assert [needed("permutation", family) for family in (1, 2, 10, 100)] == [6, 7, 9, 12]
    assert [2.0 ** (1 - needed("t", m)) <= 0.05 / m < 2.0 ** (2 - needed("t", m)) for m in (1, 3, 50)] == [True] * 3
    assert needed("bootstrap", 100) == 30


def test_what_has_no_value_is_not_counted() -> None:
    values = np.r_[np.random.default_rng(0).random(29), np.full(100, np.nan)]
    assert bootstrap_interval(values, 0).refused == "too few values: 29 of 30 needed"
    assert lacking(np.array([]), None, "t") is not None


def runs_of(folder: Path, queries: int, same: bool = False) -> list[str]:
    """Two runs of so many queries and their judgments, as arguments of `podium compare`."""
    rows = [(f"q{n}", item) for n in range(queries) for item in "ab"]
    frame = pl.DataFrame(rows, schema=["query_id", "item_id"], orient="row")
    first = pl.Series([float(item == "a") for _, item in rows])
    second = first if same else pl.Series([float((item == "a") == (int(q[1:]) % 5 == 0)) for q, item in rows])
    frame.with_columns(score=first).write_parquet(folder / "one.parquet")
    frame.with_columns(score=second).write_parquet(folder / "two.parquet")
    frame.filter(pl.col("item_id") == "b").with_columns(grade=1.0).write_parquet(folder / "qrels.parquet")
    named = (
        (option, folder / f"{name}.parquet")
        for option, name in (("--run", "one"), ("--run", "two"), ("--qrels", "qrels"))
    )
    return [str(part) for pair in named for part in pair]


def compared(*arguments: str) -> tuple[dict[str, Any], str]:
    """As JSON, and as lines."""
    told, said = (CliRunner().invoke(cli, ["compare", *arguments, *more]) for more in (["--json"], []))
    assert told.exit_code == said.exit_code == 0, told.output
    return json.loads(told.stdout), said.stdout


@pytest.mark.parametrize(("test", "least"), [("bootstrap", 30), ("t", 6), ("permutation", 6)])
@pytest.mark.parametrize("correction", ["holm", "tukey", "none"])
def test_compare_gives_no_verdict_from_too_few_queries(test: str, least: int, correction: str, tmp_path: Path) -> None:
    how = ("--test", test, "--correction", correction)
    for queries in (1, least - 1):
        report, said = compared(*runs_of(tmp_path, queries), *how)
        (pair,) = report["comparisons"]
        reason = f"too few queries: {queries} of {least} needed"
        assert pair["refused"] == reason
        assert pair["needed"] == least
        assert [pair[name] for name in ("low", "high", "p_value", "p_corrected", "detectable")] == [None] * 5
        assert f"one, two: no verdict: {reason}" in said
        assert "better" not in said
        assert "nan" not in said
        assert {of["ndcg@10"]["refused"] for of in report["systems"].values()} == {reason}
    report, _ = compared(*runs_of(tmp_path, least), *how)
    assert report["comparisons"][0]["refused"] is None
    assert report["comparisons"][0]["p_corrected"] is not None


def test_compare_says_that_runs_are_alike_and_no_p_value(tmp_path: Path) -> None:
    report, said = compared(*runs_of(tmp_path, 100, same=True), "--test", "bootstrap")
    assert report["comparisons"][0]["p_value"] is None
    assert "no verdict: no spread: the difference of all 100 queries is 0" in said


def test_compare_counts_groups_where_there_are_some(tmp_path: Path) -> None:
    arguments = runs_of(tmp_path, 60)
    (tmp_path / "group.csv").write_text("query_id,group\n" + "".join(f"q{n},g{n % 4}\n" for n in range(60)))
    report, _ = compared(*arguments, "--group", str(tmp_path / "group.csv"))
    assert report["comparisons"][0]["refused"] == "too few groups: 4 of 6 needed"


def test_the_metrics_of_a_run_have_no_interval_from_a_few_queries(tmp_path: Path) -> None:
    runs_of(tmp_path, 29)
    found = evaluate_run(tmp_path / "two.parquet", tmp_path / "qrels.parquet", ["ndcg@10"])
    assert found.metrics["ndcg@10"].refused == "too few queries: 29 of 30 needed"
    assert "no interval (too few queries: 29 of 30 needed)" in found.lines()[0]
    runs_of(tmp_path, 30)
    assert evaluate_run(tmp_path / "two.parquet", tmp_path / "qrels.parquet", ["ndcg@10"]).metrics["ndcg@10"].low > 0
