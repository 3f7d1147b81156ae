"""Feedback that names its query: searches of which the log knows no page."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.catalogue import build_catalogue
from pipeline.features.ids import keys
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.logs.searches import searches_of, told_searches
from pipeline.state import State, initial_state
from query_suggest.mine import searches
from retrieval.dataset import SURFACES, spec_of, training_pairs
from retrieval.heldout import held_out_searches
from tests.frames import HOUR, act, frame, page

MINUTE = HOUR // 60


def logged(folder: Path, *acts: dict[str, object], pages: tuple[dict[str, object], ...] = (), **others: object) -> Log:
    for kind, rows in (("feedback", acts), ("impression", pages), ("suggest", others.get("suggest", ()))):
        write_days(folder, kind, frame(kind, *rows))  # type: ignore[misc]
    write_manifest(folder, "exact")
    return Log.open(folder)


def state_of(log: Log) -> State:
    frames = {kind: log.frame(kind) for kind in ("feedback", "impression")}
    catalogue = build_catalogue(frame("item"), pl.Series(list("abcd")))
    return initial_state("exact", catalogue, {"click": 1.0}).advance(frames)


def test_what_follows_one_query_within_half_an_hour_is_one_search(tmp_path: Path) -> None:
    log = logged(
        tmp_path,
        act("click", "a", HOUR, query="tea"),
        act("click", "b", HOUR + 20 * MINUTE, query=" tea"),
        act("purchase", "b", HOUR + 40 * MINUTE, query="tea"),
        act("click", "a", HOUR + 70 * MINUTE, query="tea"),
        act("click", "a", HOUR + MINUTE, query="pot"),
        act("click", "a", HOUR + MINUTE, query="tea", user_id="v"),
        act("click", "c", HOUR),
        act("click", "c", HOUR + 1, query="  "),
    )
    found = searches_of(told_searches(log))
    assert found.rows() == [
        (HOUR, "u", "tea"),
        (HOUR + MINUTE, "u", "pot"),
        (HOUR + MINUTE, "v", "tea"),
        (HOUR + 70 * MINUTE, "u", "tea"),
    ]


def test_feedback_on_a_known_page_is_no_search_of_its_own(tmp_path: Path) -> None:
    click = act("click", "a", HOUR + 1, query="tea", request_id="r")
    lost = act("click", "b", HOUR + 2, query="pot", request_id="gone")
    log = logged(tmp_path, click, lost, pages=(page("r", HOUR, "ab", query="tea"),))
    assert told_searches(log)["query"].to_list() == ["pot"]
    assert searches(log, 2 * HOUR).sort("time").rows() == [(HOUR, "u", "tea"), (HOUR + 2, "u", "pot")]


def test_suggestions_are_mined_from_what_feedback_tells_before_the_cutoff(tmp_path: Path) -> None:
    chosen = {"event_id": "s", "time": HOUR, "request_id": "s", "placement": "complete", "shown": [], "chosen": "mug"}
    told = act("click", "a", HOUR, query="007"), act("click", "a", 3 * HOUR, query="late")
    log = logged(tmp_path, *told, suggest=(chosen,))
    assert searches(log, 2 * HOUR)["query"].to_list() == ["007"]
    assert searches(log, HOUR)["query"].to_list() == []
    assert searches(logged(tmp_path / "none", suggest=(chosen,)), 2 * HOUR)["query"].to_list() == ["mug"]


@pytest.mark.parametrize("many", [1, 300], ids=["as lists", "as expressions"])
def test_a_positive_counts_for_its_own_query_where_it_names_no_page(tmp_path: Path, many: int) -> None:
    shown = (page("r", HOUR, "ab", query="tea"),)
    told = [act("click", "a", HOUR + n, query="Red  SHOES") for n in range(many)]
    told.append(act("click", "b", HOUR + 5, query="tea", request_id="r"))  # counts by its page, once
    state = state_of(logged(tmp_path, *told, pages=shown))
    layers, items = state.pairs["query_items"], np.array([state.catalogue.index[letter] for letter in "ab"])
    for query, wanted in (("red shoes", [many, 0]), ("tea", [0, 1])):
        counts = layers.at(keys([query]), items[None], np.array([3]))[0]
        assert counts[:, layers.place("positive")].tolist() == wanted
    assert layers.at(keys(["red shoes"]), items[None], np.array([3]))[0][:, layers.place("clicked")].tolist() == [0, 0]


def test_towers_learn_a_query_from_the_feedback_that_names_it(tmp_path: Path) -> None:
    log = logged(tmp_path, act("click", "a", HOUR, query="red shoes"), act("click", "b", 2 * HOUR))
    state = state_of(log)
    pairs = training_pairs(log, state, spec_of(state.catalogue, buckets=64, history=2))
    assert [SURFACES[place] for place in pairs.surface] == ["search", "recommend"]
    assert (pairs.words[pairs.query] > 0).sum(axis=1).tolist() == [2, 0]


def test_later_searches_are_held_out_with_all_they_led_to(tmp_path: Path) -> None:
    early = [act("click", "a", n * HOUR, query="tea", user_id=f"u{n}") for n in range(1, 6)]
    late = [
        act("click", "b", 20 * HOUR, query="pot", user_id="v"),
        act("click", "c", 20 * HOUR + MINUTE, query="pot", user_id="v"),
        act("click", "c", 20 * HOUR + 2 * MINUTE, query="pot", user_id="v"),
        act("view", "d", 20 * HOUR + MINUTE, query="pot", user_id="v"),
    ]
    log = logged(tmp_path, *early, *late)
    state = state_of(log)
    found = held_out_searches(log, state)
    assert found is not None
    assert found.cutoff == 4 * HOUR  # the later half of six searches
    assert found.requests.request("query").tolist() == ["tea", "tea", "pot"]
    assert set(found.requests.request("surface")) == {"search"}
    wanted = [[state.catalogue.ids[place] for place in row] for row in found.relevant(np.arange(3))]
    assert wanted == [["a"], ["a"], ["b", "c"]]


def test_searches_that_led_nowhere_are_not_held_out(tmp_path: Path) -> None:
    log = logged(tmp_path, *(act("view", "a", n * HOUR, query="tea") for n in range(1, 9)))
    assert held_out_searches(log, state_of(log)) is None
