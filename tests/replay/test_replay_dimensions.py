"""Which part a request belongs to."""

import numpy as np
import polars as pl
import pytest

from pipeline.state import State
from serving.replay.dimensions import Masks, request_slices
from serving.replay.labels import Labels
from serving.replay.requests import Task
from tests.frames import HOUR, act, frame, item, page
from tests.replay.building import trained
from tests.replay.fake_engine import CUTOFF


@pytest.fixture
def state() -> State:
    """`tea` was searched for six times before the cutoff, `cups` three times, `pots` never."""
    searches = ["tea"] * 6 + ["cups"] * 3
    pages = [page(f"p{i}", i * HOUR, "a", query=query, user_id="known") for i, query in enumerate(searches)]
    items = [item("a", category=["drinks", "tea"]), item("b", category=["ware"]), item("c")]
    told = {"item": frame("item", *items), "impression": frame("impression", *pages)}
    return trained(told | {"feedback": frame("feedback", act("click", "a", HOUR, user_id="known"))}).state


def sliced(state: State, labels: Labels, by: str = "", arm: str | None = None) -> Masks:
    requests = pl.DataFrame(
        {
            "request_id": ["r0", "r1", "r2", "r3"],
            "subject": ["known", "someone", None, "known"],
            "query": ["TEA", "cups ", None, "pots"],
            "surface": ["search", "search", "recommend", "search"],
            "arm": pl.Series([None, arm, None, None], dtype=pl.String),
        }
    )
    return request_slices(Task("rank", requests, (), labels), state, CUTOFF, by)


def named(parts: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(kept).tolist() for name, kept in parts.items()}


def labels(*pairs: tuple[int, int, float]) -> Labels:
    row, dense, gain = (np.array([pair[side] for pair in pairs]) for side in (0, 1, 2))
    return Labels(4, row.astype(np.int64), dense.astype(np.int32), gain.astype(np.float64))


def test_queries_are_head_torso_and_tail_by_their_searches_before_the_cutoff(state: State) -> None:
    # The first third of the nine searches is within `tea`, the last begins with `cups`; spelling does not matter.
    found = named(sliced(state, labels((0, 1, 1.0)))["query_frequency"])
    assert found == {"head": [0], "torso": [], "tail": [1, 3]}


def test_a_request_has_the_top_category_of_its_best_relevant_item(state: State) -> None:
    place = state.catalogue.index
    pairs = (0, place["a"], 1.0), (0, place["b"], 3.0), (1, place["a"], 1.0), (2, place["c"], 1.0), (3, -1, 1.0)
    assert named(sliced(state, labels(*pairs))["category"]) == {"drinks": [1], "none": [2], "ware": [0]}


def test_users_are_known_by_what_they_did_before_the_cutoff(state: State) -> None:
    assert named(sliced(state, labels((0, 1, 1.0)))["user"]) == {"known": [0, 3], "new": [1], "nobody": [2]}


def test_arms_are_a_dimension_where_the_log_has_any_or_when_asked_for(state: State) -> None:
    assert "arm" not in sliced(state, labels((0, 1, 1.0)))
    assert named(sliced(state, labels((0, 1, 1.0)), by="arm")["arm"]) == {"none": [0, 1, 2, 3]}
    assert named(sliced(state, labels((0, 1, 1.0)), arm="x")["arm"]) == {"none": [0, 2, 3], "x": [1]}
