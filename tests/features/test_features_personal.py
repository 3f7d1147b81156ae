"""What the subject did before, as numbers a reader can work out."""

import numpy as np
import polars as pl
import pytest

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.features.fitted import fit_features
from pipeline.features.personal import DECAY, PERSONAL_NAMES
from pipeline.features.plain import FeatureSet, names
from pipeline.state import State, initial_state
from ranking.dataset import plain_preparation, request_columns
from tests.frames import HOUR, act, frame, item, page

NOW = 10 * HOUR + 20 * 60_000


def shop() -> State:
    items = [
        item("a", title="oak table", category=["home", "tables"]),
        item("b", title="oak table", category=["home", "tables"]),
        item("c", title="red kite", category=["toys"]),
    ]
    rows = frame("item", *items)
    clicks = [act("click", "c", 2 * HOUR), act("click", "c", 3 * HOUR), act("click", "a", 4 * HOUR)]
    late = act("click", "b", NOW - 60_000, received=NOW)
    events = {"feedback": frame("feedback", *clicks, late)}
    return initial_state("exact", build_catalogue(rows, pl.Series(["a", "b", "c"])), {"click": 1.0}).advance(events)


def values_of(subject: str, state: State | None = None) -> dict[str, list[float]]:
    state = state or shop()
    batch = Batch.of(request_columns(frame("impression", page("r", NOW, "abc", user_id=subject)), state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    batch = Batch(batch.requests, state.catalogue.dense(pl.Series(["a", "b", "c"]))[None], {})
    values = FeatureSet.of(fit_features(state)).values(batch, state)[0]
    return {name: values[:, names("exact").index(name)].tolist() for name in PERSONAL_NAMES}


def test_the_past_is_what_had_come_in_before_the_request() -> None:
    found = values_of("u")
    assert found["times_before"] == [1, 0, 2]
    assert found["log_hours_since_last"] == pytest.approx([np.log1p((NOW - 4 * HOUR) / HOUR)] * 3)
    assert found["last_same_categories"] == [2, 2, 0]
    assert found["last_likeness"][:2] == pytest.approx([1, 1])


def test_what_was_done_a_moment_ago_counts_on_the_next_page() -> None:
    just_now = {"feedback": frame("feedback", act("click", "b", NOW - 1_000, received=NOW - 1))}
    found = values_of("u", shop().advance(just_now))
    assert found["times_before"] == [1, 1, 2]
    assert found["log_hours_since_last"] == pytest.approx([np.log1p(1_000 / HOUR)] * 3)


def test_the_latest_action_weighs_most() -> None:
    weight = np.array([DECAY**2, DECAY, 1.0])
    toys, home = weight[:2].sum(), weight[2]
    found = values_of("u")
    between = found["last_likeness"][2]
    length = np.sqrt(toys**2 + home**2 + 2 * toys * home * between)
    assert found["past_likeness"][2] == pytest.approx((toys + home * between) / length, abs=1e-6)


def test_somebody_without_a_past_has_nothing_personal() -> None:
    assert all(np.isnan(column).all() for column in values_of("stranger").values())


def test_hours_since_a_category_are_those_of_its_latest_action() -> None:
    found = values_of("u")
    since = [np.log1p((NOW - hour * HOUR) / HOUR) for hour in (4, 4, 3)]
    assert found["log_hours_since_category_1"] == pytest.approx(since)
    assert found["log_hours_since_category_2"][0] == pytest.approx(since[0])
    assert np.isnan(found["log_hours_since_category_2"][2])
