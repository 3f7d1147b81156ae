"""What the report says changed against a baseline: figures and ways a reader can redo."""

from collections.abc import Callable, Mapping
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.logs.read import Log
from serving.replay.regression import tests as paired_tests
from serving.replay.run import EvaluateOptions, evaluate
from serving.replay.sides import extremes
from tests.frames import frame, item
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

Engines = Callable[..., FakeEngine]
LAST = 1 / log2(4)  # the only relevant item in the third place


@pytest.fixture
def report(worse_at_tea: Mapping[str, Any]) -> Mapping[str, Any]:
    return worse_at_tea


def test_agreement_counts_the_pages_that_moved(report: Mapping[str, Any]) -> None:
    found = report["regression"]["rank"]["agreement"]
    assert set(found) == {"rbo@0.9", "kendall_tau", "overlap@10", "other_first", "reordered"}
    assert found["other_first"]["mean"] == pytest.approx(0.5)  # every search, no recommendation
    assert found["reordered"]["mean"] == pytest.approx(0.5)
    # a, b, c became b, c, a: one pair of three as before. The other half did not move.
    assert found["kendall_tau"]["mean"] == pytest.approx((-1 / 3 + 1) / 2)
    assert found["overlap@10"]["mean"] == 1.0
    assert found["kendall_tau"]["n"] == 240
    assert "kendall_tau" not in report["regression"]["funnel"]["agreement"]


def test_the_biggest_losers_are_listed_with_both_pages(report: Mapping[str, Any]) -> None:
    found = report["regression"]["rank"]
    assert (found["lost"], found["won"]) == (100, 20)
    assert len(found["losers"]) == len(found["winners"]) == 20
    first = found["losers"][0]
    assert first["change"] == pytest.approx(LAST - 1)
    assert (first["request_id"], first["surface"], first["query"]) == ("r0", "search", "tea")
    mine, theirs = first["sides"]
    assert [row["item_id"] for row in mine["items"]] == ["b", "c", "a"]
    assert [row["item_id"] for row in theirs["items"]] == ["a", "b", "c"]
    assert mine["items"][2] == {"item_id": "a", "title": "tea a", "grade": 1.0, "score": 0.5, "shown_at": 1}
    assert found["winners"][0]["change"] == pytest.approx(1 - 1 / log2(3))


def test_the_way_of_a_relevant_item_is_told_in_both_bundles(report: Mapping[str, Any]) -> None:
    (way,) = report["regression"]["rank"]["losers"][0]["relevant"]
    assert (way["item_id"], way["grade"]) == ("a", 1.0)
    assert way["podium"]["stages"] == [{"stage": "score", "place": 2}, {"stage": "cut", "place": 2}]
    assert way["baseline"]["stages"] == [{"stage": "score", "place": 0}, {"stage": "cut", "place": 0}]


def test_an_item_that_no_channel_finds_any_more_has_no_place(report: Mapping[str, Any]) -> None:
    lost = [row for row in report["regression"]["funnel"]["losers"] if row["surface"] == "recommend"]
    way = next(way for row in lost for way in row["relevant"] if way["item_id"] == "d")
    assert way["podium"] == {"allowed": True, "channels": [], "stages": []}
    assert way["baseline"]["channels"] == [{"channel": "everything", "place": 4}]
    assert way["baseline"]["stages"][-1]["place"] is not None


def test_both_are_timed_on_the_same_requests(report: Mapping[str, Any]) -> None:
    found = report["regression"]["funnel"]["latency"]
    assert [row["stage"] for row in found["stages"]] == ["allow", "everything", "score", "cut", "total"]
    assert found["requests"] == found["ratio"]["n"] == 100
    assert found["ratio"]["low"] <= found["ratio"]["mean"] <= found["ratio"]["high"]
    assert all(row[name]["p50"] <= row[name]["p99"] for row in found["stages"] for name in ("podium", "baseline"))


def test_slices_say_how_they_stand_to_the_baseline(report: Mapping[str, Any]) -> None:
    search = report["slices"]["rank"]["surface"]["search"]["difference"]["baseline"]["ndcg@10"]
    # Of 120 searches 100 fall from 1 to 1/2, 20 rise from 1 / log2(3) to 1.
    assert search["mean"] == pytest.approx((100 * (LAST - 1) + 20 * (1 - 1 / log2(3))) / 120)
    assert search["low"] < search["mean"] < search["high"] < 0
    assert (search["n"], search["groups"]) == (120, 40)
    assert report["slices"]["rank"]["surface"]["recommend"]["difference"]["baseline"]["ndcg@10"]["mean"] == 0.0
    assert set(report["slices"]["rank"]["category"]) == {"tea", "cups"}


def test_tests_of_many_metrics_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(0)
    mine = {"x": rng.normal(0.3, 1, 50), "y": rng.normal(0, 1, 50)}
    theirs = {"x": np.zeros(50), "y": np.zeros(50), "z": np.zeros(50)}
    rows = paired_tests(mine, theirs, np.arange(50))
    assert [row["metric"] for row in rows] == ["x", "y"]
    smaller, larger = sorted(rows, key=lambda row: row["p"])
    assert smaller["p_holm"] == pytest.approx(2 * smaller["p"])
    assert larger["p_holm"] == pytest.approx(max(2 * smaller["p"], larger["p"]))


def test_extremes_leave_out_what_did_not_change_and_what_has_no_value() -> None:
    falls, rises = extremes(np.array([0.0, -0.5, np.nan, 0.2, -0.1, 0.2]), 2)
    assert (falls.tolist(), rises.tolist()) == ([1, 4], [3, 5])


def test_every_request_keeps_its_metrics(engine_of: Engines, write_log: Callable[..., Log], tmp_path: Path) -> None:
    told = market.log() | {"item": frame("item", item("zz", market.NOW))}
    report = evaluate(
        engine_of({"item": market.items()}, quality=market.GOOD), write_log(told), EvaluateOptions(), tmp_path
    )
    kept = pl.read_parquet(tmp_path / "requests.parquet")
    assert {"mode", "request_id", "page", "subject", "system", "ndcg@10", "mrr"} <= set(kept.columns)
    mine = kept.filter((pl.col("mode") == "rank") & (pl.col("system") == "podium"))
    assert len(mine) == 240
    assert mine["ndcg@10"].mean() == pytest.approx(report.modes["rank"]["systems"]["podium"]["ndcg@10"]["mean"])
    assert mine["subject"].n_unique() == 40
