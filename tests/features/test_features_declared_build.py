"""A state that counts for declared features has the same bytes however it is built, and grows only where it may."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.build import Earlier, build_state, misfit
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import InputError
from pipeline.features.declared import Declared
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.state import State, initial_state
from tests.frames import HOUR, act, frame, item, page

DAY = 24 * HOUR
GAINS = {"click": 1.0}
KINDS = ("item", "user", "impression", "feedback")
DECLARED = tuple(
    Declared.model_validate(each)
    for each in (
        {"name": "rate", "kind": "rate", "item": "attributes.color", "by": "user.attributes.age"},
        {"name": "count", "kind": "count", "item": "item_id", "by": "context.device", "action": "purchase"},
        {"name": "affinity", "kind": "affinity", "item": "category.1"},
    )
)


def rows(days: int, color: str = "red") -> dict[str, pl.DataFrame]:
    """Each day a page of `u`, whose age changes, with a click and a late purchase."""
    about: dict[str, Any] = {"attributes": f'{{"color": "{color}"}}', "category": ["Shoes"]}
    found: dict[str, list[dict[str, object]]] = {kind: [] for kind in KINDS}
    found["item"] = [item(letter, **about) for letter in "ab"]
    for day in range(days):
        noon = day * DAY + 12 * HOUR
        age = {
            "user_id": "u",
            "attributes": f'{{"age": {day // 2}}}',
            "time": noon - 5 * HOUR,
            "event_id": f"age:{day}",
        }
        found["user"].append(age)
        found["impression"].append(page(f"r{day}", noon, "ab", context='{"device": "phone"}'))
        found["feedback"].append(act("click", "a", noon + 1, request_id=f"r{day}"))
        found["feedback"].append(act("purchase", "b", noon + 13 * HOUR, request_id=f"r{day}"))
    return {kind: frame(kind, *each) for kind, each in found.items()}


def written(root: Path, events: dict[str, pl.DataFrame]) -> Log:
    root.mkdir()
    for kind, each in events.items():
        write_days(root, kind, each.sort("time", "event_id"))
    write_manifest(root, "exact")
    return Log.open(root)


def catalogue(log: Log) -> Catalogue:
    return build_catalogue(log.frame("item"), pl.Series(["a", "b"]))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def built(log: Log, folder: Path, earlier: Earlier | None = None) -> State:
    folder.mkdir()
    return build_state(log, catalogue(log), GAINS, folder, declared=DECLARED, earlier=earlier)


def test_days_apart_and_a_state_that_grows_give_the_files_of_everything_at_once(tmp_path: Path) -> None:
    log = written(tmp_path / "log", rows(4))
    (tmp_path / "once").mkdir()
    state = initial_state("exact", catalogue(log), GAINS, declared=DECLARED)
    state = state.advance({kind: log.frame(kind) for kind in KINDS})
    state.save(tmp_path / "once")
    # The rate of everybody and of two ages, the count of a device, the affinity of `u`.
    assert len(state.pairs["declared"].whole().keys) == 5
    built(log, tmp_path / "apart")
    assert contents(tmp_path / "apart") == contents(tmp_path / "once")
    first = {kind: log.frame(kind).filter(pl.col("time") < 3 * DAY) for kind in KINDS}
    before = tmp_path / "before"
    built(log, tmp_path / "grown", Earlier(built(written(tmp_path / "first", first), before), before, 3 * DAY))
    assert contents(tmp_path / "grown") == contents(tmp_path / "once")


def test_a_state_that_counted_for_others_or_other_values_cannot_grow(tmp_path: Path) -> None:
    earlier = Earlier(built(written(tmp_path / "log", rows(2)), tmp_path / "state"), tmp_path / "state", 2 * DAY)
    other = catalogue(written(tmp_path / "other", rows(2, "blue")))
    same = earlier.state.catalogue
    assert misfit(earlier, same, GAINS, declared=DECLARED) is None
    for fault, field in (
        (misfit(earlier, same, GAINS), "declared"),
        (misfit(earlier, same, GAINS, declared=DECLARED[:1]), "declared"),
        (misfit(earlier, other, GAINS, declared=DECLARED), "declared: rate"),
    ):
        assert isinstance(fault, InputError)
        assert fault.field == field
    log = Log.open(tmp_path / "log")
    (tmp_path / "grown").mkdir()
    with pytest.raises(InputError, match="build from the whole log"):
        build_state(log, same, GAINS, tmp_path / "grown", earlier=earlier)
