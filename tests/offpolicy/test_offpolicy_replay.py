"""The off-policy part of an evaluation's report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving.replay.run import EvaluateOptions, evaluate, quiet
from tests.frames import HOUR, act, frame
from tests.replay import market
from tests.replay.building import trained, written

FIGURE = {"mean", "low", "high", "n", "ess", "max_weight", "clipped_share", "refused", "unsure"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("offpolicy")
    known = {"item": market.items(), "feedback": frame("feedback", act("click", "b", HOUR, user_id="u0"))}
    evaluate(trained(known), written(folder / "log", market.log()), EvaluateOptions(), folder / "out", quiet)
    found: Mapping[str, Any] = json.loads((folder / "out" / "report.json").read_text())["off_policy"]
    return found


def test_the_report_names_the_examination_of_every_surface(report: Mapping[str, Any]) -> None:
    assert report["examination"]
    for about in report["examination"].values():
        assert set(about) == {"source", "p", "refused"}
        assert (about["source"] == "none") == (about["refused"] is not None) == (not about["p"])


def test_every_system_of_the_modes_that_have_pages_is_judged(report: Mapping[str, Any]) -> None:
    assert set(report["modes"]) == {"rank", "funnel"}
    for mode in report["modes"].values():
        assert mode["pages"] >= mode["explored_pages"] >= 0
        for metrics in mode["systems"].values():
            assert {"judged@10", "naive_ndcg@10", "ips_dcg@10", "snips_dcg@10", "explored_ips_dcg@10"} <= set(metrics)
            assert all(set(each) == FIGURE for each in metrics.values())
        assert {(row["a"], row["b"]) for row in mode["verdicts"]} == {
            ("podium", name) for name in mode["systems"] if name != "podium"
        }


def test_so_small_a_log_gets_reasons_and_no_weighed_figure(report: Mapping[str, Any]) -> None:
    for mode in report["modes"].values():
        for metrics in mode["systems"].values():
            assert metrics["ips_dcg@10"]["mean"] is None
            assert metrics["ips_dcg@10"]["refused"]
        assert {row["verdict"] for row in mode["verdicts"]} == {"undecided"}


def test_reordered_pages_hold_only_what_was_shown(report: Mapping[str, Any]) -> None:
    assert {metrics["judged@10"]["mean"] for metrics in report["modes"]["rank"]["systems"].values()} == {1.0}


def test_a_log_without_impressions_has_no_off_policy_part(tmp_path: Path) -> None:
    known = {"item": market.items(), "feedback": frame("feedback", act("click", "b", HOUR, user_id="u0"))}
    log = {name: rows for name, rows in market.log().items() if name != "impression"}
    found = evaluate(trained(known), written(tmp_path / "log", log), EvaluateOptions(), tmp_path / "out").as_json()
    assert found["off_policy"] == {}
