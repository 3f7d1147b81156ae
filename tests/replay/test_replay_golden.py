"""The whole report of a small market, as it was last looked at. To renew it, delete golden_report.json, run this test
and read what changed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.logs.read import Log
from serving.replay.run import EvaluateOptions, evaluate
from tests.alike import differences
from tests.frames import HOUR, act, frame
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

GOLDEN = Path(__file__).with_name("golden_report.json")


def settled(value: Any) -> Any:
    """Without times, of lists of requests the first two, and numbers to six places."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {
            name: settled(each[:2] if name in ("losers", "winners", "best", "worst") else each)
            for name, each in value.items()
            if name not in ("latency", "log_digest", "off_policy")
        }
    return [settled(each) for each in value] if isinstance(value, list) else value


def test_the_report_of_a_small_market_is_the_one_that_was_looked_at(
    engine_of: Callable[..., FakeEngine], write_log: Callable[..., Log], tmp_path: Path
) -> None:
    known = {"item": market.items(), "feedback": frame("feedback", act("click", "b", HOUR, user_id="u0"))}
    (tmp_path / "gate.toml").write_text(
        '[slices]\nallowed_drop = 0.6\nmetrics = ["rank.ndcg@10", "funnel.recall@100"]\n'
    )
    options = EvaluateOptions(baseline=engine_of(known, quality=market.GOOD), gate=tmp_path / "gate.toml")
    evaluate(engine_of(known, quality=market.WORSE_AT_TEA), write_log(market.log()), options, tmp_path / "out")
    found = settled(json.loads((tmp_path / "out" / "report.json").read_text()))
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        raise AssertionError(f"{GOLDEN.name} was written anew: read it, and run again")
    assert differences(found, json.loads(GOLDEN.read_text()), within=2e-6) == []
