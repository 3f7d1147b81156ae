"""Small logs on disk and engines trained on frames."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.logs.read import Log
from pipeline.state import Frames
from serving.replay.run import EvaluateOptions, evaluate
from tests.frames import HOUR, act, frame
from tests.replay import market
from tests.replay.building import trained, written
from tests.replay.fake_engine import FakeEngine


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Log]:
    """Write frames as a log; `state` becomes what lies before it."""

    def write(
        frames: Frames, state: Frames | None = None, *, clock: str = "exact", by: str = "time", name: str = "log"
    ) -> Log:
        return written(tmp_path / name, frames, state, clock=clock, by=by)

    return write


@pytest.fixture
def engine_of() -> Callable[..., FakeEngine]:
    """An engine that was trained on these frames, with a cutoff of 100 hours."""
    return trained


@pytest.fixture(scope="session")
def worse_at_tea(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The report of a candidate that puts `a` last of its page and never finds `d`, against a good baseline."""
    folder = tmp_path_factory.mktemp("worse")
    known = {"item": market.items(), "feedback": frame("feedback", act("click", "b", HOUR, user_id="u0"))}
    candidate = trained(known, quality=market.WORSE_AT_TEA, hidden=frozenset("d"))
    options = EvaluateOptions(baseline=trained(known, quality=market.GOOD))
    return evaluate(candidate, written(folder / "log", market.log()), options, folder / "out").as_json()
