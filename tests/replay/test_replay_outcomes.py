"""Requests of unknown outcomes are asked, ranked and counted, and no figure says anything of them."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.logs.read import Log
from pipeline.state import Frames
from serving.replay.command import Evaluated
from serving.replay.page.systems import mode_section
from serving.replay.run import EvaluateOptions, evaluate
from tests.frames import HOUR, act, frame, item, page
from tests.replay.fake_engine import CUTOFF, FakeEngine

Engines = Callable[..., FakeEngine]
Logs = Callable[..., Log]
NOW = CUTOFF + 10 * HOUR
KNOWN = {
    "item": frame("item", *(item(letter, title="thing") for letter in "abcde")),
    "feedback": frame("feedback"),
}
ONE = page("r", NOW, "ab")
OTHER = page("s", NOW + HOUR, "abc", user_id="v", outcomes="unknown")
CLICKS = (act("click", "a", NOW + 1, request_id="r"), act("click", "c", NOW + HOUR + 1, request_id="s", user_id="v"))


def told(*pages: dict[str, object], feedback: tuple[dict[str, object], ...] = ()) -> Frames:
    return {"impression": frame("impression", *pages), "feedback": frame("feedback", *feedback)}


@pytest.mark.parametrize("mode", ["rank", "funnel"])
def test_they_are_counted_apart_and_in_no_mean_even_where_something_was_clicked(
    engine_of: Engines, write_log: Logs, tmp_path: Path, mode: str
) -> None:
    log = write_log(told(ONE, OTHER, page("t", NOW, "ab", user_id="w"), feedback=CLICKS))
    report = evaluate(engine_of(KNOWN, quality={"a": 1.0}), log, EvaluateOptions(), tmp_path)
    about = report.modes[mode]
    assert (about["requests"], about["empty_requests"], about["unknown_requests"]) == (3, 1, 1)
    for system in about["systems"].values():
        assert {figure["n"] for name, figure in system.items() if name != "judged@10"} == {1}
    run = pl.read_parquet(tmp_path / "run.parquet").filter(pl.col("mode") == mode)
    assert set(run["request_id"]) == {"r", "s", "t"}


def test_the_report_and_the_command_say_so(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    report = evaluate(engine_of(KNOWN), write_log(told(ONE, OTHER, feedback=CLICKS)), EvaluateOptions(), tmp_path)
    said = Evaluated(report, tmp_path).lines()
    assert "rank: 2 requests, 0 without a positive, 1 of unknown outcomes, which are measured by nothing" in said
    assert "1 requests were logged without the outcomes" in mode_section("rank", report.modes["rank"])
    assert "1 requests were logged without the outcomes" in (tmp_path / "report.html").read_text()


def test_what_they_show_is_no_miss_of_the_calibration(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    log = write_log(told(ONE, *(page(f"s{n}", NOW, "abc", outcomes="unknown") for n in range(9)), feedback=CLICKS))
    report = evaluate(engine_of(KNOWN, quality={"a": 0.9, "b": 0.1}), log, EvaluateOptions(), tmp_path)
    assert report.modes["rank"]["calibration"]["probabilities"]["n"] == 2


def test_a_request_with_one_page_of_unknown_outcomes_is_unknown_as_a_whole(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    later = page("r", NOW + 1, "de", event_id="r:1", page=1, outcomes="unknown")
    report = evaluate(engine_of(KNOWN), write_log(told(ONE, later, feedback=CLICKS[:1])), EvaluateOptions(), tmp_path)
    assert report.modes["funnel"]["unknown_requests"] == 1
    assert report.modes["rank"]["systems"]["podium"]["ndcg@10"]["n"] == 1  # its first page is known


def test_a_log_of_nothing_else_is_reported_without_a_figure_and_what_came_next_is_asked(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    log = write_log(told(OTHER, feedback=(act("click", "b", NOW, user_id="w"),)))
    report = evaluate(engine_of(KNOWN), log, EvaluateOptions(), tmp_path)
    assert report.modes["rank"]["systems"]["podium"]["ndcg@10"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert report.modes["next"]["requests"] == 1
    assert (tmp_path / "report.html").is_file()


def test_off_policy_estimates_weigh_nothing_of_them(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    many = [page(f"s{n}", NOW, "abc", outcomes="unknown") for n in range(20)]
    report = evaluate(engine_of(KNOWN), write_log(told(ONE, *many, feedback=CLICKS[:1])), EvaluateOptions(), tmp_path)
    naive = report.off_policy["modes"]["rank"]["systems"]["podium"]["naive_ndcg@10"]
    assert naive["n"] == 1
