"""What an evaluation leaves behind, against the truth of a market, against another bundle, and before a gate."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from pipeline.errors import ConfigError, GateError, InputError
from pipeline.logs.read import Log
from serving.replay.command import Evaluated
from serving.replay.run import EvaluateOptions, evaluate
from serving.replay.systems import recovered
from tests.frames import HOUR, act, frame, item, page
from tests.replay.fake_engine import CUTOFF, FakeEngine

Engines = Callable[..., FakeEngine]
Logs = Callable[..., Log]
NOW = CUTOFF + 10 * HOUR
GOOD, BAD = {"a": 2.0, "b": 1.0}, {"c": 2.0, "b": 1.0}


@pytest.fixture
def log(write_log: Logs) -> Log:
    """Six pages of a, b, c by two users, on two arms; whoever acts clicks a. The last page earns nothing."""
    pages = [page(f"r{i}", NOW + i * HOUR, "bca", user_id=f"u{i % 2}", arm="xy"[i % 2], query="tea") for i in range(6)]
    clicks = [act("click", "a", NOW + i * HOUR + 1, user_id=f"u{i % 2}") for i in range(5)]
    return write_log({"impression": frame("impression", *pages), "feedback": frame("feedback", *clicks)})


@pytest.fixture
def make(engine_of: Engines) -> Callable[..., FakeEngine]:
    items = frame("item", *(item(letter, title="tea") for letter in "abcd"))
    seen = frame("feedback", act("click", "b", HOUR, user_id="u0"))
    return lambda quality: engine_of({"item": items, "feedback": seen}, quality=quality)


def test_the_report_has_the_promised_shape(log: Log, make: Engines, tmp_path: Path) -> None:
    evaluate(make(GOOD), log, EvaluateOptions(by="arm"), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == {
        "protocol", "modes", "funnel", "slices", "compare",
        "regression", "off_policy", "diversity", "examples", "gate", "failed", "left_out", "trained_on",
    }  # fmt: skip
    assert {"hash", "state", "gains", "k", "ties", "sample", "log_digest", "bundle"} <= set(report["protocol"])
    assert set(report["modes"]["rank"]["systems"]) == {"podium", "identity", "popularity", "bm25", "logged", "random"}
    assert set(report["modes"]["funnel"]["systems"]) == {"podium", "identity", "popularity", "bm25", "random"}
    for mode in report["modes"].values():
        assert (mode["requests"], mode["empty_requests"]) == (6, 1)
        cells = [cell for metrics in mode["systems"].values() for cell in metrics.values()]
        assert all(set(cell) == {"mean", "low", "high", "n", "refused", "needed"} for cell in cells)
    assert report["modes"]["rank"]["calibration"]["probabilities"]["n"] == 18
    assert set(report["slices"]["rank"]) == {
        "surface", "query", "user", "query_frequency", "arm", "popularity", "item",
    }  # fmt: skip
    assert set(report["slices"]["rank"]["arm"]) == {"x", "y"}
    assert report["slices"]["rank"]["user"]["known"]["requests"] == 3
    paired = next(row for row in report["compare"] if (row["mode"], row["b"]) == ("rank", "logged"))
    assert paired["mean"] == pytest.approx(0.5)  # a at the top against a in the third place, 1 / log2(4)
    assert set(pl.read_parquet(tmp_path / "run.parquet").columns) == {
        "request_id", "page", "item_id", "position", "score", "mode",
    }  # fmt: skip


def test_two_bundles_measured_alike_share_the_protocol_hash(log: Log, make: Engines, tmp_path: Path) -> None:
    one, two, other = (
        evaluate(make(quality), log, options, tmp_path / str(i)).protocol["hash"]
        for i, (quality, options) in enumerate(
            [(GOOD, EvaluateOptions()), (BAD, EvaluateOptions()), (BAD, EvaluateOptions(sample=3))]
        )
    )
    assert one == two != other


def test_the_page_needs_nothing_from_anywhere_and_says_that_logged_ndcg_is_biased(
    log: Log, make: Engines, tmp_path: Path
) -> None:
    report = evaluate(make(GOOD), log, EvaluateOptions(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert not re.findall(r"""https?://|src=|href=(?!"#)|@import|url\(|<script""", text)
    assert "biased toward the policy that logged them" in text
    assert str(report.protocol["hash"]) in text
    assert "simulated market" not in text
    plots = re.findall(r"<svg.*?</svg>", text)
    assert len(plots) == 5  # three headlines, calibration, the funnel
    assert all(ET.fromstring(plot).tag == "svg" for plot in plots)


def test_with_a_truth_the_recovered_share_lies_between_popularity_and_the_oracle(
    log: Log, make: Engines, tmp_path: Path
) -> None:
    utility = [(f"r{i}", name, value) for i in range(6) for name, value in (("a", 0.9), ("b", 0.1), ("d", 0.5))]
    (tmp_path / "truth").mkdir()
    frame_ = pl.DataFrame(utility, schema=["request_id", "item_id", "utility"], orient="row")
    frame_.write_parquet(tmp_path / "truth" / "utility.parquet")
    report = evaluate(make(GOOD), log, EvaluateOptions(truth=tmp_path / "truth"), tmp_path)
    for mode in ("rank", "funnel"):
        systems = report.modes[mode]["systems"]
        mine, popular, best = (systems[n]["true_ndcg@10"]["mean"] for n in ("podium", "popularity", "oracle"))
        assert best == pytest.approx(1.0)
        assert systems["podium"]["recovered"]["mean"] == pytest.approx((mine - popular) / (best - popular))
        assert systems["podium"]["true_ndcg@10"]["n"] == 6  # the truth judges the request nobody clicked on as well
    assert report.modes["rank"]["systems"]["podium"]["recovered"]["mean"] == pytest.approx(1.0)
    assert "simulated market" in (tmp_path / "report.html").read_text()


def test_recovered_is_the_ratio_of_the_means() -> None:
    podium, popular, oracle = np.array([0.6, 0.8, np.nan]), np.array([0.5, 0.5, 0.1]), np.array([1.0, 1.0, 1.0])
    found = recovered(podium, popular, oracle, np.arange(3), seed=0)
    assert found["mean"] == pytest.approx((0.7 - 0.5) / (1.0 - 0.5))
    assert found["n"] == 2


def test_a_baseline_is_compared_on_the_same_requests_in_the_ids_of_its_own_catalogue(
    log: Log, make: Engines, engine_of: Engines, tmp_path: Path
) -> None:
    other = engine_of({"item": frame("item", item("c", title="tea"), item("zz", title="tea"))}, quality=BAD)
    report = evaluate(make(GOOD), log, EvaluateOptions(baseline=other), tmp_path)
    mine, theirs = (report.modes["rank"]["systems"][n]["ndcg@10"]["mean"] for n in ("podium", "baseline"))
    assert (mine, theirs) == (pytest.approx(1.0), pytest.approx(0.5))


def test_a_gate_names_every_number_that_does_not_pass(write_log: Logs, make: Engines, tmp_path: Path) -> None:
    pages = [page(f"r{i}", NOW + i, "bca", user_id=f"u{i}", query="tea") for i in range(30)]
    clicks = [act("click", "a", NOW + 1000 + i, user_id=f"u{i}") for i in range(30)]
    log = write_log({"impression": frame("impression", *pages), "feedback": frame("feedback", *clicks)})
    gate = tmp_path / "gate.toml"
    gate.write_text('[minimum]\n"rank.ndcg@10" = 0.9\n"rank.mrr" = 0.2\n[max_drop]\n"rank.ndcg@10" = 0.01\n')
    options = EvaluateOptions(gate=gate, baseline=make(GOOD))
    with pytest.raises(GateError, match=r"rank.ndcg@10 is 0.5000, at least 0.9.*a drop of 0.01") as failed:
        evaluate(make(BAD), log, options, tmp_path / "out")
    assert failed.value.exit_code == 3
    assert (tmp_path / "out" / "report.json").is_file()
    evaluate(make(GOOD), log, options, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[minimum]\n"rank.ndgc@10" = 0.1', "a metric of the mode"),
        ('[minimum]\n"judged.ndcg@10" = 0.1', "a mode of this report"),
        ('[max_drop]\n"rank.ndcg@10" = 0.1', "together with --baseline"),
        ("[maximum]\nx = 1", "Extra inputs"),
    ],
)
def test_a_gate_that_asks_for_what_is_not_there_is_refused(
    text: str, reason: str, log: Log, make: Engines, tmp_path: Path
) -> None:
    (tmp_path / "gate.toml").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        evaluate(make(GOOD), log, EvaluateOptions(gate=tmp_path / "gate.toml"), tmp_path)


def test_one_stage_alone_stands_for_podium(log: Log, make: Engines, tmp_path: Path) -> None:
    report = evaluate(make(BAD), log, EvaluateOptions(stage="retrieval"), tmp_path)
    assert list(report.modes) == ["funnel"]
    found = report.modes["funnel"]["systems"]["podium"]
    assert found["recall@20"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (EvaluateOptions(state="warm"), "--state"),
        (EvaluateOptions(stage="suggest"), "--stage"),
        (EvaluateOptions(by="query"), "--by"),
        (EvaluateOptions(sample=0), "--sample"),
        (EvaluateOptions(truth=Path("nowhere")), "--truth"),
    ],
)
def test_bad_options_are_named(options: EvaluateOptions, field: str, log: Log, make: Engines, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=field):
        evaluate(make(GOOD), log, options, tmp_path)


def test_a_log_with_nothing_to_ask_is_refused(write_log: Logs, make: Engines, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="impressions, positive feedback or judgments"):
        evaluate(make(GOOD), write_log({"item": frame("item", item("a"))}, name="bare"), EvaluateOptions(), tmp_path)


def test_names_from_the_log_cannot_become_markup(write_log: Logs, make: Engines, tmp_path: Path) -> None:
    told = {"impression": frame("impression", page("r", NOW, "ab", surface="<b>x</b>"))}
    told |= {"feedback": frame("feedback", act("click", "a", NOW + 1))}
    evaluate(make(GOOD), write_log(told, name="odd"), EvaluateOptions(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text


def test_events_that_several_logs_hold_are_told_once(write_log: Logs, make: Engines, tmp_path: Path) -> None:
    told = {"impression": frame("impression", page("r", NOW, "ab"))}
    told |= {"feedback": frame("feedback", act("click", "a", NOW + 1))}
    one, same = write_log(told, name="one"), write_log(told, name="same")
    engine = make(GOOD)
    evaluate(engine, one, EvaluateOptions(history=(same,)), tmp_path)
    assert engine.told[0] == {"item": 0, "user": 0, "impression": 1, "feedback": 1}


def test_the_terminal_says_once_why_there_are_no_intervals(log: Log, make: Engines, tmp_path: Path) -> None:
    lines = Evaluated(evaluate(make(GOOD), log, EvaluateOptions(), tmp_path), tmp_path).lines()
    assert lines.count("  no interval: too few subjects: 2 of 30 needed") == 2  # once a mode
    assert not any("nan" in line or "None" in line for line in lines)
