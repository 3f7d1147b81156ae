"""What a gate lets through and what it refuses, and why."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.errors import ConfigError, GateError
from pipeline.logs.read import Log
from pipeline.state import Frames
from serving.replay.gate import Bound, Check, Gate, LatencyRule, SliceRule, Verdict, check_keys, judge, load_gate
from serving.replay.run import EvaluateOptions, evaluate
from serving.replay.slices import paired
from tests.frames import HOUR, act, frame
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

Engines = Callable[..., FakeEngine]
RULES = """
[minimum]
"rank.ndcg@10" = 0.6
[slices]
allowed_drop = 0.01
minimum_requests = 50
"""


@pytest.fixture
def log(write_log: Callable[..., Log]) -> Log:
    return write_log(market.log())


@pytest.fixture
def make(engine_of: Engines) -> Callable[[Mapping[str, float]], FakeEngine]:
    seen = frame("feedback", act("click", "b", HOUR, user_id="u0"))
    return lambda quality: engine_of({"item": market.items(), "feedback": seen}, quality=quality)


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "gate.toml"
        path.write_text(text)
        return path

    return write


def test_a_bundle_that_is_worse_on_one_part_only_is_refused_though_the_whole_passes(
    log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    options = EvaluateOptions(gate=gate(RULES), baseline=make(market.GOOD))
    with pytest.raises(GateError) as refused:
        evaluate(make(market.WORSE_AT_TEA), log, options, tmp_path / "out")
    said = str(refused.value)
    assert refused.value.exit_code == 3
    assert "rank.surface=search.ndcg@10 fell by" in said
    assert "rank.category=tea.ndcg@10 fell by" in said
    assert "recommend" not in said
    assert "cups" not in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    whole = next(check for check in report["gate"]["checks"] if check["check"] == "minimum")
    assert whole["passed"]
    assert report["modes"]["rank"]["systems"]["podium"]["ndcg@10"]["mean"] > 0.6
    assert not report["gate"]["passed"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.index("Gate: refused") < text.index("Replay report</h1>")
    assert "rank.surface=search.ndcg@10 fell by" in text


def test_a_bundle_passes_against_itself(log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path) -> None:
    options = EvaluateOptions(gate=gate(RULES), baseline=make(market.GOOD))
    report = evaluate(make(market.GOOD), log, options, tmp_path / "out")
    assert report.gate["passed"]
    assert {check["check"] for check in report.gate["checks"]} == {"minimum", "slices"}
    assert "Gate: passed" in (tmp_path / "out" / "report.html").read_text()


def test_parts_too_small_to_judge_are_listed_and_a_gate_that_judges_none_refuses(
    log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    text = '[slices]\nminimum_requests = 200\ndimensions = ["surface"]\n'
    options = EvaluateOptions(gate=gate(text), baseline=make(market.GOOD))
    with pytest.raises(GateError, match="no part is judged"):
        evaluate(make(market.GOOD), log, options, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["gate"]["not_judged"] == [
        "rank.surface=recommend.ndcg@10 (120 requests of 40 subjects)",
        "rank.surface=search.ndcg@10 (120 requests of 40 subjects)",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[minimum]\n"rank.surface=search.ndcg@10" = 0.9', r"rank.surface=search.ndcg@10 is 0\.\d+, at least 0.9"),
        (
            '[minimum]\n"rank.surface=home.ndcg@10" = 0.1',
            r"rank.surface=home.ndcg@10 cannot be judged, nothing was measured",
        ),
        ('[max_drop]\n"rank.mrr" = 0.1', r"rank.mrr is 0\.\d+ after 0\.\d+, a drop of 0.1"),
        ('[difference]\n"rank.ndcg@10" = { low = -0.01 }', r"rank.ndcg@10: podium less baseline -.*lower end.*-0.01"),
        ('[difference]\n"rank.surface=search.ndcg@10" = { mean = 0.0 }', r"the mean at least 0 is asked for"),
        ("[latency]\np50_ms = 0.000001", r"rank.latency.p50 is .* ms, at most 1e-06 ms"),
        ("[latency]\nratio = 0.000001", r"funnel.latency.ratio is .*, at most 1e-06"),
    ],
)
def test_each_kind_of_check_can_refuse(
    text: str, reason: str, worse_at_tea: Mapping[str, Any], gate: Callable[[str], Path]
) -> None:
    verdict = judge(load_gate(gate(text)), worse_at_tea)
    assert not verdict.passed
    assert re.search(reason, verdict.reason)


@pytest.mark.parametrize(
    "text",
    [
        '[minimum]\n"rank.surface=search.ndcg@10" = 0.3',
        '[max_drop]\n"rank.mrr" = 0.9',
        '[difference]\n"rank.ndcg@10" = { low = -0.9, mean = -0.9 }',
        "[latency]\np50_ms = 10000\np99_ms = 10000\nratio = 1000",
        '[slices]\nallowed_drop = 0.9\nminimum_requests = 50\nmetrics = ["rank.ndcg@10", "funnel.recall@100"]',
    ],
)
def test_each_kind_of_check_can_pass(text: str, worse_at_tea: Mapping[str, Any], gate: Callable[[str], Path]) -> None:
    assert judge(load_gate(gate(text)), worse_at_tea).passed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[slices]\nallowed = 0.1", "Extra inputs"),
        ("[slices]\nallowed_drop = -1", "greater than or equal to 0"),
        ('[slices]\ndimensions = ["colour"]', "a dimension: surface"),
        ('[slices]\nmetrics = ["rank.ndgc@10"]', "a metric of the mode"),
        ('[minimum]\n"rank.colour=red.ndcg@10" = 0.1', "a dimension: surface"),
        ('[minimum]\n"rank.true_ndcg@10" = 0.1', "a metric of the mode"),
        ('[off_policy]\n"next.ips_dcg@10" = { low = 0.1 }', "a mode of this report"),
        ('[difference]\n"rank.ndcg@10" = { mean = "high" }', "valid number"),
    ],
)
def test_a_gate_that_asks_for_what_cannot_be_is_refused_before_any_work(
    text: str, reason: str, log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    options = EvaluateOptions(gate=gate(text), baseline=make(market.GOOD))
    with pytest.raises(ConfigError, match=reason):
        evaluate(make(market.GOOD), log, options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["[slices]\n", "[latency]\nratio = 1.0", '[difference]\n"rank.ndcg@10" = {low = 0}'])
def test_what_compares_needs_a_baseline(
    text: str, log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="together with --baseline"):
        evaluate(make(market.GOOD), log, EvaluateOptions(gate=gate(text)), tmp_path / "out")


def report_of(estimate: Mapping[str, Any] | None = None, parts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    systems = {} if estimate is None else {"podium": {"ips_dcg@10": estimate}}
    return {
        "modes": {},
        "regression": {},
        "slices": {"rank": {"category": parts or {}}},
        "off_policy": {"modes": {"rank": {"systems": systems}}},
    }


@pytest.mark.parametrize(
    ("estimate", "passed", "said"),
    [
        ({"mean": 0.4, "low": 0.35, "high": 0.45, "refused": None}, True, "+0.4000"),
        (
            {"mean": 0.4, "low": 0.25, "high": 0.55, "refused": None},
            False,
            "the lower end of the interval at least 0.3",
        ),
        ({"mean": None, "low": None, "high": None, "refused": "ESS 12 is below 100"}, False, "ESS 12 is below 100"),
        (None, False, "the log supports none"),
    ],
)
def test_an_off_policy_bound_refuses_a_low_estimate_and_one_that_was_refused(
    estimate: Mapping[str, Any] | None, passed: bool, said: str
) -> None:
    asked = Gate(off_policy={"rank.ips_dcg@10": Bound(low=0.3)})
    verdict = judge(asked, report_of(estimate))
    assert verdict.passed is passed
    assert said in verdict.checks[0].said


def test_an_unchanged_bundle_loses_no_part_in_about_confidence_of_the_draws() -> None:
    """40 parts of 120 requests by 60 people, differences that are 0 on average: at most 5 % of 200 draws are refused;
    without the correction for 40 parts nearly all would be."""
    rng, rule, groups = np.random.default_rng(0), SliceRule(), np.repeat(np.arange(60), 2)
    refused, uncorrected = 0, 0
    for _ in range(200):
        draws = rng.normal(size=(40, 120)) * (rng.random((40, 120)) < 0.3) * 0.2
        found = [paired(each, np.zeros(120), groups) for each in draws]
        parts = {str(i): {"difference": {"baseline": {"ndcg@10": each}}} for i, each in enumerate(found)}
        refused += not judge(Gate(slices=rule), report_of(parts=parts)).passed
        uncorrected += any(each["high"] < 0 for each in found)
    assert refused <= 0.08 * 200
    assert uncorrected > 0.4 * 200


def test_a_latency_that_is_surely_above_the_ratio_is_refused_and_one_that_may_be_is_not() -> None:
    total = [{"stage": "total", "podium": {"p50": 5.0, "p99": 9.0}, "baseline": {"p50": 4.0, "p99": 8.0}}]
    found = {"stages": total, "ratio": {"mean": 1.25, "low": 1.1, "high": 1.4, "n": 9}}
    report = report_of() | {"regression": {"rank": {"latency": found}}}
    assert judge(Gate(latency=LatencyRule(ratio=1.2)), report).passed
    assert not judge(Gate(latency=LatencyRule(ratio=1.05)), report).passed


def test_the_documented_gate_is_one(worse_at_tea: Mapping[str, Any], gate: Callable[[str], Path]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"<!-- tested: gate -->\n```toml\n(.*?)```", text, re.DOTALL)
    asked = load_gate(gate(documented))
    check_keys(asked, ["rank", "funnel"], "docs", truth=False, compared=True)
    made = {check.check for check in judge(asked, worse_at_tea).checks}
    assert made == {"minimum", "max_drop", "difference", "slices", "latency", "off_policy"} == set(Gate.model_fields)


def test_a_missing_gate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_gate(tmp_path / "nowhere.toml")


def of_few(users: int) -> Frames:
    """The market's log, of its first users alone."""
    mine = pl.col("user_id").is_in([f"u{number}" for number in range(users)])
    return {kind: rows.filter(mine) for kind, rows in market.log().items()}


ASKED = {
    "minimum": ('[minimum]\n"rank.ndcg@10" = 0.0', 30),
    "max_drop": ('[max_drop]\n"rank.ndcg@10" = 1.0', 30),
    "difference": ('[difference]\n"rank.ndcg@10" = { mean = -1.0, low = -1.0 }', 8),  # of 6 metrics
}


@pytest.mark.parametrize("check", ASKED)
def test_too_few_subjects_neither_pass_nor_are_the_bundles_fault(
    check: str, write_log: Callable[..., Log], make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    text, needed = ASKED[check]
    options = EvaluateOptions(gate=gate(text), baseline=make(market.GOOD))
    with pytest.raises(GateError, match=f"cannot be judged.*too few subjects: 5 of {needed} needed") as refused:
        evaluate(make(market.WORSE_AT_TEA), write_log(of_few(5)), options, tmp_path / "out")
    assert refused.value.exit_code == 3
    (made,) = json.loads((tmp_path / "out" / "report.json").read_text())["gate"]["checks"]
    assert (made["passed"], made["refused"]) == (False, True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "0 failed, 1 could not be judged" in page
    assert f"too few subjects: 5 of {needed} needed" in page


@pytest.mark.parametrize("check", ASKED)
def test_enough_subjects_are_judged(
    check: str, log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    options = EvaluateOptions(gate=gate(ASKED[check][0]), baseline=make(market.GOOD))
    assert evaluate(make(market.WORSE_AT_TEA), log, options, tmp_path / "out").gate["passed"]


def test_a_bundle_that_answers_alike_needs_no_interval_to_be_no_worse(
    log: Log, make: Engines, gate: Callable[[str], Path], tmp_path: Path
) -> None:
    options = EvaluateOptions(gate=gate('[difference]\n"rank.ndcg@10" = { low = 0.0 }'), baseline=make(market.GOOD))
    assert evaluate(make(market.GOOD), log, options, tmp_path / "out").gate["passed"]


@pytest.mark.parametrize("lost", [{}, {"rank": {}}])
def test_a_latency_that_was_not_measured_does_not_pass(lost: Mapping[str, Any]) -> None:
    report = report_of() | {"modes": {"rank": {}}, "regression": lost}
    verdict = judge(Gate(latency=LatencyRule(ratio=9.0)), report)
    assert not verdict.passed
    assert "rank.latency cannot be judged, it was not measured" in verdict.reason


def test_what_failed_stands_before_what_could_not_be_judged() -> None:
    checks = Check("minimum", "a", False, "a cannot be judged", refused=True), Check("minimum", "b", False, "b is low")
    assert Verdict(checks).reason == "gate: b is low; a cannot be judged"
