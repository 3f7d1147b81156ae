"""Training learns what was known at a moment, and a state grows from one that was learned before."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.logs.partitions import write_days, write_manifest
from serving.jobs import train
from serving.workshop import TrainReport
from tests.frames import HOUR, act, frame, item, page

DAY = 24 * HOUR


def log(root: Path, clicked: str = "a") -> Path:
    shown = [page(f"r{day}", day * DAY, "ab", query="q") for day in range(1, 5)]
    late = act("click", "b", 3 * DAY - 5, request_id="r2", received=3 * DAY + 5)
    acts = [act("click", clicked, day * DAY + HOUR, request_id=f"r{day}") for day in range(1, 5)]
    write_days(root, "item", frame("item", item("a", 0, title="red"), item("c", 4 * DAY, title="blue")))
    write_days(root, "impression", frame("impression", *shown))
    write_days(root, "feedback", frame("feedback", *acts, late))
    write_manifest(root, "exact")
    return root


def incremental(report: TrainReport) -> float:
    return next(step.metrics["incremental"] for step in report.steps if step.name == "features")


def test_a_bundle_grown_day_by_day_is_the_one_of_the_whole_log(tmp_path: Path) -> None:
    logs = log(tmp_path / "log")
    first, second, third = (
        train(logs, tmp_path / "grown", stages=(), until=until) for until in (3 * DAY, 4 * DAY, None)
    )
    whole = train(logs, tmp_path / "whole", stages=())
    assert [incremental(report) for report in (first, second, third, whole)] == [0, 1, 1, 0]
    assert third.bundle == whole.bundle
    assert len({first.bundle, second.bundle, third.bundle}) == 3


def test_a_log_whose_old_days_changed_is_built_from_the_start(tmp_path: Path) -> None:
    train(log(tmp_path / "one"), tmp_path / "out", stages=(), until=3 * DAY)
    changed = log(tmp_path / "two", clicked="b")
    assert incremental(train(changed, tmp_path / "out", stages=())) == 0


def test_a_moment_before_the_first_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--until"):
        train(log(tmp_path / "log"), tmp_path / "out", stages=(), until=0)
