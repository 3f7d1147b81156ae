"""A bundle that is judged by what it learned from, or by a past whose future it knows, is told of loudly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import trained
from pipeline.errors import ArtifactError
from pipeline.logs.read import Log
from pipeline.state import Frames
from serving.replay.run import EvaluateOptions, evaluate
from serving.replay.trained_on import trained_on
from tests.frames import act, frame, page
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

Engines = Callable[..., FakeEngine]
Logs = Callable[..., Log]


def pages(first: int, last: int) -> Frames:
    return {"impression": frame("impression", *(page(f"r{n}", market.NOW + n, "ab") for n in range(first, last)))}


def learned(engine: FakeEngine, log: Log, folder: Path) -> FakeEngine:
    """The engine of a bundle that was trained on the log."""
    (folder / "features").mkdir(parents=True)
    trained.write_trained(log, folder / "features")
    engine.bundle = replace(engine.bundle, root=folder, parts={"features": ""})
    return engine


@pytest.fixture
def engine(engine_of: Engines) -> FakeEngine:
    return engine_of({"item": market.items()})


@pytest.mark.parametrize(("first", "last", "share"), [(0, 100, 1.0), (50, 150, 0.5), (100, 200, 0.0), (99, 299, 0.005)])
def test_the_share_of_pages_that_were_learned_from(
    engine: FakeEngine, write_log: Logs, tmp_path: Path, first: int, last: int, share: float
) -> None:
    mine = learned(engine, write_log(pages(0, 100)), tmp_path / "bundle")
    found = trained_on(mine, write_log(pages(first, last), name="asked"))
    assert found["share"] == {"pages": share}
    assert len(found["warnings"]) == (share > 0)


def test_the_next_page_of_a_request_is_not_the_page_that_was_learned_from(
    engine: FakeEngine, write_log: Logs, tmp_path: Path
) -> None:
    mine = learned(engine, write_log(pages(0, 9)), tmp_path / "bundle")
    later = frame("impression", *(page(f"r{n}", market.NOW, "cd", page=1, event_id=f"r{n}:1") for n in range(9)))
    assert trained_on(mine, write_log({"impression": later}, name="asked"))["share"] == {"pages": 0.0}


def test_a_log_of_an_order_is_known_by_its_actions_and_a_judged_one_by_its_queries(
    engine: FakeEngine, write_log: Logs, tmp_path: Path
) -> None:
    told = {"feedback": frame("feedback", *(act("click", "a", n, user_id=f"u{n}") for n in range(10)))}
    mine = learned(engine, write_log(told, clock="order"), tmp_path / "one")
    again = {"feedback": frame("feedback", *(act("click", "a", n, user_id=f"u{n}") for n in range(5, 15)))}
    assert trained_on(mine, write_log(again, clock="order", name="b"))["share"] == {"actions": 0.5}

    def judged(*queries: str) -> Frames:
        rows = (
            {"event_id": f"{q}{i}", "time": 1, "query": q, "item_id": i, "grade": 1.0} for q in queries for i in "ab"
        )
        return {"judgment": frame("judgment", *rows)}

    other = learned(engine, write_log(judged("tea", "cup"), clock="order", name="c"), tmp_path / "two")
    found = trained_on(other, write_log(judged("cup", "pot", "mug", "jar"), clock="order", name="d"))
    assert found["share"] == {"judged queries": 0.25}
    assert "trained on 25% of the judged queries" in found["warnings"][0]


def test_a_large_log_is_known_by_a_sample_of_its_requests(
    engine: FakeEngine, write_log: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "SIZE", 256)
    mine = learned(engine, write_log(pages(0, 2_000)), tmp_path / "bundle")
    kept = np.load(tmp_path / "bundle/features/trained_impression.npy")
    assert len(kept) == 256
    found = trained.overlap(mine.bundle.part("features"), write_log(pages(1_000, 3_000), name="asked"), "impression")
    assert found is not None
    assert 100 < found.sampled < 400
    assert found.share == pytest.approx(0.5, abs=0.12)
    apart = trained.overlap(mine.bundle.part("features"), write_log(pages(2_000, 4_000), name="apart"), "impression")
    assert apart is not None
    assert apart.share == 0.0


def test_requests_before_the_cutoff_have_a_future_that_the_bundle_knows(
    engine: FakeEngine, write_log: Logs, tmp_path: Path
) -> None:
    mine = learned(engine, write_log(pages(0, 9)), tmp_path / "bundle")
    mine.bundle = replace(mine.bundle, cutoff=market.NOW + 104)
    found = trained_on(mine, write_log(pages(100, 109), name="asked"))
    assert found["before_cutoff"] == 4
    assert "4 of the requests are from before the cutoff" in found["warnings"][0]
    by_user = write_log(pages(100, 109), by="user", name="sides", state={})
    assert trained_on(mine, by_user)["warnings"] == []


def test_a_bundle_without_a_record_says_that_it_cannot_be_told(
    engine: FakeEngine, write_log: Logs, tmp_path: Path
) -> None:
    report = evaluate(engine, write_log(market.log()), EvaluateOptions(), tmp_path / "out")
    assert report.trained_on == {"share": {"pages": None}, "before_cutoff": 0, "warnings": []}


def test_a_torn_record_costs_the_warning_and_not_the_report(
    engine: FakeEngine, write_log: Logs, tmp_path: Path
) -> None:
    mine = learned(engine, write_log(pages(0, 9)), tmp_path / "bundle")
    (tmp_path / "bundle/features/trained_impression.npy").write_bytes(b"\x93NUMPY")
    log = write_log(market.log(), name="asked")
    with pytest.raises(ArtifactError, match="train again"):
        trained_on(mine, log)
    report = evaluate(mine, log, EvaluateOptions(), tmp_path / "out")
    assert "trained_impression.npy" in report.failed["trained on"]
