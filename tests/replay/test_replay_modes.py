"""What each mode asks, and how the answers are counted: figures a reader can redo."""

import json
from collections.abc import Callable
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.logs.read import Log
from pipeline.state import Frames
from serving.replay.heldout import next_task
from serving.replay.requests import Asking
from serving.replay.run import EvaluateOptions, Report, evaluate
from tests.frames import HOUR, act, frame, item, page
from tests.replay.building import few
from tests.replay.fake_engine import CUTOFF, FakeEngine

Engines = Callable[..., FakeEngine]
Logs = Callable[..., Log]
NOW = CUTOFF + 10 * HOUR
MINUTE = HOUR // 60


def known(*feedback: dict[str, object]) -> Frames:
    return {
        "item": frame("item", *(item(letter, title="thing") for letter in "abcde")),
        "feedback": frame("feedback", *feedback),
    }


def shown(*pages: dict[str, object], feedback: tuple[dict[str, object], ...] = ()) -> Frames:
    return {"impression": frame("impression", *pages), "feedback": frame("feedback", *feedback)}


def mean(report: Report, mode: str, system: str, metric: str) -> float:
    value: float = report.modes[mode]["systems"][system][metric]["mean"]
    return value


def test_ndcg_of_a_reordered_page_is_worked_by_hand(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    engine = engine_of(known(), quality={"c": 3.0, "a": 2.0, "b": 1.0})
    bought = (act("click", "a", NOW + 1), act("purchase", "b", NOW + 2), act("click", "b", NOW + 1))
    log = write_log(shown(page("r", NOW, "abc", query="x"), feedback=bought))
    report = evaluate(engine, log, EvaluateOptions(), tmp_path / "out")
    ideal = 3 + 1 / log2(3)
    assert mean(report, "rank", "podium", "ndcg@10") == pytest.approx((1 / log2(3) + 3 / 2) / ideal)
    assert mean(report, "rank", "logged", "ndcg@10") == pytest.approx((1 + 3 / log2(3)) / ideal)
    assert mean(report, "rank", "random", "ndcg@10") == pytest.approx(4 / 3 * (1 + 1 / log2(3) + 1 / 2) / ideal)
    assert mean(report, "rank", "podium", "ndcg_exp@10") == pytest.approx((1 / log2(3) + 7 / 2) / (7 + 1 / log2(3)))
    assert mean(report, "rank", "podium", "mrr") == 0.5
    run = pl.read_parquet(tmp_path / "out" / "run.parquet").filter(pl.col("mode") == "rank")
    assert run.select("item_id", "position", "score").rows() == [("c", 0, 3.0), ("a", 1, 2.0), ("b", 2, 1.0)]


def test_requests_without_a_positive_leave_the_mean_and_are_counted(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(), quality={"a": 1.0})
    pages = page("r", NOW, "ab"), page("s", NOW + HOUR, "bc", user_id="v")
    report = evaluate(
        engine, write_log(shown(*pages, feedback=(act("click", "a", NOW + 1),))), EvaluateOptions(), tmp_path
    )
    about = report.modes["rank"]
    assert (about["requests"], about["empty_requests"]) == (2, 1)
    assert about["systems"]["podium"]["ndcg@10"] == few(1.0, 1)


def test_an_item_shown_twice_on_a_page_is_ranked_once(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    engine = engine_of(known(), quality={"a": 1.0})
    log = write_log(shown(page("r", NOW, "aba"), feedback=(act("click", "b", NOW + 1),)))
    evaluate(engine, log, EvaluateOptions(), tmp_path)
    run = pl.read_parquet(tmp_path / "run.parquet").filter(pl.col("mode") == "rank")
    assert run["item_id"].to_list() == ["a", "b"]


def test_a_page_of_unknown_order_has_no_logged_system(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    log = write_log(shown(page("r", NOW, "ab", order="unknown"), feedback=(act("click", "b", NOW + 1),)))
    report = evaluate(engine_of(known()), log, EvaluateOptions(), tmp_path)
    assert "logged" not in report.modes["rank"]["systems"]


def test_the_funnel_counts_every_page_of_a_request_and_where_it_loses_items(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(), quality={"a": 3.0, "b": 2.0, "c": 1.0}, hidden=frozenset("e"), depth=3)
    second = page("r", NOW + MINUTE, "de") | {"page": 1, "event_id": "r:1"}
    clicks = [act("click", letter, NOW + 2 * MINUTE, request_id="r") for letter in "bde"]
    report = evaluate(
        engine, write_log(shown(page("r", NOW, "ab"), second, feedback=tuple(clicks))), EvaluateOptions(), tmp_path
    )
    assert report.modes["funnel"]["requests"] == 1
    assert mean(report, "funnel", "podium", "recall@20") == pytest.approx(1 / 3)
    assert mean(report, "funnel", "podium", "ndcg@10") == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3) + 1 / 2))
    assert mean(report, "funnel", "podium", "judged@10") == pytest.approx(2 / 3)  # a and b were shown, c was not
    assert "logged" not in report.modes["funnel"]["systems"]
    lost = {row["stage"]: row["lost"] for row in report.funnel["stages"]}
    assert lost == {"allowed": 0, "retrieval": 1, "cut": 1}
    assert report.funnel["channels"] == [{"channel": "everything", "found": 2}]


def test_a_request_sees_neither_its_own_outcomes_nor_what_comes_later(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    pages = [page(f"r{i}", NOW + 5 * i * HOUR, "abcde") for i in range(4)]
    clicks = [act("click", letter, NOW + 5 * i * HOUR + 1) for i, letter in enumerate("edcb")]
    slates = []
    for told in (4, 2):  # all outcomes, and only those of the first two requests
        log = write_log(shown(*pages, feedback=tuple(clicks[:told])), name=f"log{told}")
        evaluate(engine_of(known()), log, EvaluateOptions(), tmp_path / str(told))
        run = pl.read_parquet(tmp_path / str(told) / "run.parquet")
        slates.append(run.filter(pl.col("request_id").is_in(["r0", "r1", "r2"])))
    assert slates[0].equals(slates[1])
    first = slates[0].filter((pl.col("mode") == "rank") & (pl.col("position") == 0))["item_id"].to_list()
    assert first == ["a", "e", "d"]  # nothing known yet; then e; then d and e, tied


def test_a_frozen_state_ends_at_the_cutoff_but_knows_new_items(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(act("click", "c", CUTOFF - 5 * HOUR)))
    before = {"feedback": frame("feedback", act("click", "d", CUTOFF + 1), act("click", "d", CUTOFF + 2))}
    told = shown(page("r", NOW, "cdn"), feedback=(act("click", "n", NOW + 1),))
    log = write_log(told | {"item": frame("item", item("n", NOW - HOUR))}, before)
    evaluate(engine, log, EvaluateOptions(state="frozen"), tmp_path)
    run = pl.read_parquet(tmp_path / "run.parquet")
    assert run.filter(pl.col("mode") == "rank")["item_id"].to_list() == ["c", "d", "n"]
    assert "n" in run.filter(pl.col("mode") == "funnel")["item_id"].to_list()
    assert engine.told == [{"item": 1}]


def test_the_next_item_is_asked_for_just_before_each_positive(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(act("click", "a", HOUR)))
    held_out = frame("feedback", act("click", "b", NOW), act("view", "c", NOW + 1), act("click", "b", NOW + 5 * HOUR))
    report = evaluate(engine, write_log({"feedback": held_out}), EvaluateOptions(), tmp_path)
    run = pl.read_parquet(tmp_path / "run.parquet")
    assert report.modes["next"]["requests"] == 2
    assert run.filter(pl.col("request_id") == "next:u:0")["item_id"].to_list()[:2] == ["a", "b"]
    assert mean(report, "next", "podium", "mrr") == pytest.approx(0.5)  # b stands second both times: tied with a
    assert mean(report, "next", "random", "recall@20") == 1.0


def test_a_positive_that_names_a_query_is_asked_for_as_a_search(engine_of: Engines) -> None:
    held_out = frame("feedback", act("click", "b", NOW, query=" thing "), act("click", "c", NOW + 1, query=" "))
    task = next_task(held_out, None, {"click": 1.0}, None, Asking(engine_of(known()).state.catalogue, "region"))
    assert [(ask.query, ask.surface) for ask in task.asks] == [("thing", "search"), ("", "recommend")]


def test_seen_items_leave_the_slate_on_demand(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    engine = engine_of(known(act("click", "a", HOUR)))
    state = {"feedback": frame("feedback", act("click", "a", HOUR))}
    held_out = frame("feedback", act("click", "b", NOW), act("click", "b", NOW + HOUR))
    report = evaluate(engine, write_log({"feedback": held_out}, state), EvaluateOptions(exclude_seen=True), tmp_path)
    assert (report.modes["next"]["requests"], report.modes["next"]["empty_requests"]) == (2, 1)
    assert mean(report, "next", "podium", "mrr") == 1.0


def test_without_clock_time_held_out_feedback_is_never_told(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(act("click", "a", 0), act("click", "a", 0, user_id="v")), clock="order")
    state = {
        "feedback": frame("feedback", act("click", "a", 0), act("click", "c", 1), act("click", "a", 0, user_id="v"))
    }
    held_out = {"feedback": frame("feedback", act("click", "z", 2))}
    evaluate(engine, write_log(held_out, state, clock="order", by="last"), EvaluateOptions(), tmp_path)
    assert engine.told == [{"feedback": 1}, {"item": 1}]  # the validation event, and that `z` exists
    counts = engine.state.counters["items"]
    total = counts.at(np.arange(len(engine.state.catalogue)), engine.state.tick(np.array([3])))
    assert total[engine.state.catalogue.index["z"]].sum() == 0


def test_judged_items_are_ordered_and_fractions_of_grades_kept(
    engine_of: Engines, write_log: Logs, tmp_path: Path
) -> None:
    engine = engine_of(known(), quality={"a": 1.0}, clock="order")
    rows = [
        {"event_id": f"j{i}", "time": 1, "query": "tea", "item_id": name, "grade": grade}
        for i, (name, grade) in enumerate([("a", 0.5), ("b", 1.5)])
    ]
    report = evaluate(
        engine,
        write_log({"judgment": frame("judgment", *rows)}, clock="order", by="query"),
        EvaluateOptions(),
        tmp_path,
    )
    assert mean(report, "judged", "podium", "ndcg@10") == pytest.approx((0.5 + 1.5 / log2(3)) / (1.5 + 0.5 / log2(3)))
    assert mean(report, "judged", "podium", "mrr") == 0.5  # relevant is a grade of at least 1
    assert pl.read_parquet(tmp_path / "run.parquet")["request_id"].unique().to_list() == ["tea"]


def test_a_sample_takes_the_same_requests_from_any_log(engine_of: Engines, write_log: Logs, tmp_path: Path) -> None:
    pages = [page(f"r{i}", NOW + i, "ab", user_id=f"u{i}") for i in range(30)]
    taken = []
    for name, some in (("all", pages), ("odd", [*pages[1::2], pages[0]])):
        log = write_log(shown(*some), name=name)
        evaluate(engine_of(known()), log, EvaluateOptions(sample=8), tmp_path / f"out-{name}")
        taken.append(set(pl.read_parquet(tmp_path / f"out-{name}" / "run.parquet")["request_id"]))
    assert len(taken[0]) == len(taken[1]) == 8
    assert taken[0] & {row["request_id"] for row in [*pages[1::2], pages[0]]} <= taken[1]
    report = json.loads((tmp_path / "out-all" / "report.json").read_text())
    assert report["protocol"]["sample"] == {"requests": 8, "by": "hash of request_id"}
