"""The state grows by events and answers as of a moment."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import build_catalogue
from pipeline.features.ids import key, keys
from pipeline.features.ticks import FOREVER, SEAL_MS
from pipeline.state import COUNTED, Frames, State, initial_state
from tests.examples import examples
from tests.frames import HOUR, act, frame, page

LETTERS = "abcd"
GAINS = {"click": 1.0, "purchase": 3.0}


def blank(clock: str = "exact") -> State:
    return initial_state(clock, build_catalogue(frame("item"), pl.Series(list(LETTERS))), GAINS)


def count(state: State, letter: str, what: str, tick: int) -> int:
    place = np.array([state.catalogue.index[letter]])
    return int(state.counters["items"].at(place, np.array([tick]))[0, COUNTED.index(what)])


def test_an_event_counts_from_the_first_tick_after_it() -> None:
    state = blank().advance({"feedback": frame("feedback", act("click", "a", HOUR + 1))})
    assert [count(state, "a", "click", tick) for tick in (1, 2, 3)] == [0, 1, 1]
    assert count(state, "a", "positive", 2) == 1


def test_an_event_received_after_the_seal_waits_for_the_next_tick() -> None:
    late = act("click", "a", HOUR + 1, received=2 * HOUR + SEAL_MS)
    state = blank().advance({"feedback": frame("feedback", late)})
    assert [count(state, "a", "click", tick) for tick in (2, 3)] == [0, 1]


def test_a_tick_may_be_used_once_it_is_sealed() -> None:
    assert blank().tick(np.array([2 * HOUR + SEAL_MS - 1, 2 * HOUR + SEAL_MS])).tolist() == [1, 2]


def test_without_clock_time_all_of_the_history_counts() -> None:
    assert blank("order").tick(np.array([1, 2])).tolist() == [FOREVER, FOREVER]


def test_a_click_counts_for_the_query_of_its_page() -> None:
    shown = frame("impression", page("r", HOUR, "ab", query="Red  SHOES"))
    state = blank().advance(
        {"impression": shown, "feedback": frame("feedback", act("click", "b", HOUR + 5, request_id="r"))}
    )
    place = np.array([state.catalogue.index[letter] for letter in "ab"])
    layers = state.pairs["query_items"]
    counts = layers.at(keys(["red shoes"]), place[None], np.array([2]))[0]
    assert counts[:, layers.place("shown")].tolist() == [1, 1]
    assert counts[:, layers.place("clicked")].tolist() == [0, 1]


def test_a_hide_is_marked_and_is_not_history() -> None:
    state = blank().advance({"feedback": frame("feedback", act("hide", "a", 10), act("click", "b", 11))})
    who, now = np.array([key("u")]), np.array([12])
    assert state.marks.last(who, now, 2).item.tolist() == [[-1, state.catalogue.index["a"]]]
    assert state.history.last(who, now, 2).item.tolist() == [[-1, state.catalogue.index["b"]]]


def test_history_excludes_what_happened_or_arrived_at_or_after_the_moment() -> None:
    acts = frame("feedback", act("click", "a", 10), act("click", "b", 11, received=20), act("click", "c", 12))
    state = blank().advance({"feedback": acts})
    past = state.history.last(np.array([key("u")]), np.array([12]), 3).item[0]
    assert [state.catalogue.ids[i] for i in past if i >= 0] == ["a"]


acts = st.lists(
    st.tuples(
        st.sampled_from(["click", "purchase", "hide", "view", "wave"]),
        st.sampled_from(LETTERS),
        st.integers(0, 6 * HOUR),
        st.integers(0, 2 * HOUR),
        st.sampled_from(["u", "v"]),
    ),
    max_size=12,
    unique_by=lambda row: (row[0], row[1], row[2], row[4]),
)


@settings(deadline=None, max_examples=examples(40))
@given(acts, st.data())
def test_events_in_any_order_and_any_batches_give_the_same_answers(
    rows: list[tuple[str, str, int, int, str]], data: st.DataObject
) -> None:
    events = [act(a, i, t, received=t + late, user_id=u, request_id="r") for a, i, t, late, u in rows]
    shown = {"impression": frame("impression", page("r", HOUR, LETTERS, query="q"))}
    whole = blank().advance(shown | {"feedback": frame("feedback", *events)})
    shuffled = data.draw(st.permutations(events))
    cut = data.draw(st.integers(0, len(events)))
    deliveries: list[Frames] = [{"feedback": frame("feedback", *shuffled[:cut])}]
    deliveries += [{"feedback": frame("feedback", *shuffled[cut:])}]
    deliveries.insert(data.draw(st.integers(0, 2)), shown)
    parts = blank()
    for delivery in deliveries:
        parts = parts.advance(delivery)
    for tick in range(9):
        assert _counts(whole, tick) == _counts(parts, tick)
    for now in range(0, 8 * HOUR, HOUR // 2):
        pasts = [s.history.last(keys(["u", "v"]), np.array([now, now]), 5).item for s in (whole, parts)]
        assert np.array_equal(pasts[0], pasts[1])


def _counts(state: State, tick: int) -> dict[str, Any]:
    items, now = np.arange(len(state.catalogue))[None], np.array([tick])
    return {
        "items": state.counters["items"].at(items[0], now).tolist(),
        "queries": state.counters["queries"].at(keys(["q"]), now).tolist(),
        "query_items": state.pairs["query_items"].at(keys(["q"]), items, now).tolist(),
        "segments": state.pairs["segments"].at(keys(["eu"]), items, now).tolist(),
        "affinity": state.pairs["affinity"].at(keys(["u", "v"]), np.zeros((1, 1), np.int64), now[[0, 0]]).tolist(),
    }


def test_a_saved_state_answers_the_same(tmp_path: Path) -> None:
    shown = {"impression": frame("impression", page("r", HOUR, "ab", query="q", context='{"region": "eu"}'))}
    state = blank().advance(shown | {"feedback": frame("feedback", act("click", "a", HOUR + 1, request_id="r"))})
    state.save(tmp_path)
    opened = State.open(tmp_path, state.catalogue)
    assert _counts(state, 9) == _counts(opened, 9)
    later = {"feedback": frame("feedback", act("click", "b", 2 * HOUR, request_id="r"))}
    counts = [_counts(known.advance(later), 9) for known in (state, opened)]
    assert counts[0] == counts[1]
    assert np.sum(counts[0]["segments"]) == 2
