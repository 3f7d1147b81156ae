"""Counters, sequences and their layers: merging is counting at once, and the future never shows."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.features import tail
from pipeline.features.counters import UNCOUNTED, Counters
from pipeline.features.layers import CounterLayers, PairLayers, SequenceLayers
from pipeline.features.pairs import PairCounters
from pipeline.features.runs import Run, coded
from pipeline.features.sequences import Past, Sequences
from tests.examples import examples

NAMES = ("shown", "click")
EVENTS = st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 9), st.integers(0, 1)), max_size=40)
HASHED = 2**62 + 12345  # a minor key that is a hash
Pair = tuple[int, int, int, int]
PAIRS = st.lists(
    st.tuples(st.integers(-2, 2), st.sampled_from([0, 1, 2, HASHED]), st.integers(1, 9), st.integers(0, 1)),
    max_size=40,
)
ACTS = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(0, 20), st.integers(0, 2), st.integers(0, 5), st.integers(0, 3)),
    max_size=30,
)
KEYS = np.arange(-5, 6, dtype=np.int64)[:, None]
TICKS = np.arange(0, 11, dtype=np.int64)[None, :]


def count(events: list[tuple[int, int, int]]) -> Counters:
    key, tick, what = np.array(events, dtype=np.int64).reshape(-1, 3).T
    return Counters.count(NAMES, key, tick, what)


def pairs(events: list[Pair]) -> PairCounters:
    major, minor, tick, what = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return PairCounters.count(NAMES, major, minor, tick, what)


def sequence(acts: list[tuple[int, int, int, int, int]]) -> Sequences:
    key, time, delay, item, action = np.array(acts, dtype=np.int64).reshape(-1, 5).T
    return Sequences.of(key, time, time + delay, item.astype(np.int32), action.astype(np.int8))


def same_counters(left: Run, right: Run) -> bool:
    parts = ("keys", "start", "code", "total")
    return all(getattr(left, part).tobytes() == getattr(right, part).tobytes() for part in parts)


def same_past(left: Past, right: Past) -> bool:
    return all(np.array_equal(getattr(left, part), getattr(right, part)) for part in ("item", "action", "time"))


def last(source: Sequences | SequenceLayers, now: int, n: int = 4) -> Past:
    keys: NDArray[np.int64] = np.arange(-3, 4, dtype=np.int64)
    return source.last(keys, np.full(len(keys), now, dtype=np.int64), n)


@given(EVENTS, EVENTS)
def test_merged_counters_are_the_bits_of_counting_at_once(
    some: list[tuple[int, int, int]], more: list[tuple[int, int, int]]
) -> None:
    assert same_counters(count(some).merge(count(more)), count(some + more))


@given(EVENTS, st.randoms(use_true_random=False))
def test_delivery_order_does_not_change_counters(events: list[tuple[int, int, int]], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same_counters(count(events), count(shuffled))


@given(EVENTS)
def test_a_look_up_counts_exactly_the_events_up_to_its_tick(events: list[tuple[int, int, int]]) -> None:
    found = count(events).at(KEYS, TICKS)
    for (row, column), _ in np.ndenumerate(found[..., 0]):
        key, tick = KEYS[row, 0], TICKS[0, column]
        expected = [sum(k == key and t <= tick and w == what for k, t, w in events) for what in (0, 1)]
        assert found[row, column].tolist() == expected


@given(EVENTS, st.integers(1, 9))
def test_deleting_later_events_changes_no_earlier_count(events: list[tuple[int, int, int]], tick: int) -> None:
    earlier = [event for event in events if event[1] <= tick]
    now = TICKS[:, TICKS[0] <= tick]
    assert np.array_equal(count(events).at(KEYS, now), count(earlier).at(KEYS, now))


@given(EVENTS, EVENTS, st.integers(1, 6))
def test_layers_answer_as_one_and_a_window_is_a_difference(
    some: list[tuple[int, int, int]], more: list[tuple[int, int, int]], ticks: int
) -> None:
    layers, whole = CounterLayers.of(count(some)).add(count(more)), count(some + more)
    assert np.array_equal(layers.at(KEYS, TICKS), whole.at(KEYS, TICKS))
    expected = whole.at(KEYS, TICKS) - whole.at(KEYS, TICKS - ticks)
    assert np.array_equal(layers.window(KEYS, TICKS, ticks), expected)


@given(st.lists(EVENTS, max_size=12), st.lists(PAIRS, max_size=12), st.lists(ACTS, max_size=12), st.integers(0, 24))
def test_layers_that_grew_in_any_parts_are_counting_at_once(
    events: list[list[tuple[int, int, int]]],
    paired: list[list[Pair]],
    acts: list[list[tuple[int, int, int, int, int]]],
    now: int,
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tail, "SMALL", 8)
        patched.setattr(tail, "_RATIO", 2)
        layers = CounterLayers.opened(*(count(part) for part in [*events, [], []][:2]))
        pair_layers = PairLayers.opened(*(pairs(part) for part in [*paired, [], []][:2]))
        sequences = SequenceLayers.opened(*(sequence(part) for part in [*acts, [], []][:2]))
        for part in events[2:]:
            layers = layers.add(count(part))
        for some in paired[2:]:
            pair_layers = pair_layers.add(pairs(some))
        for few in acts[2:]:
            sequences = sequences.add(sequence(few))
    whole, whole_pairs = count(list(chain(*events))), pairs(list(chain(*paired)))
    assert same_counters(layers.whole(), whole)
    assert same_counters(pair_layers.whole(), whole_pairs)
    assert np.array_equal(layers.at(KEYS, TICKS), whole.at(KEYS, TICKS))
    assert layers.first(KEYS[:, 0]).tolist() == whole.first(KEYS[:, 0]).tolist()
    minor = np.array([0, 1, 2, HASHED], dtype=np.int64)
    wanted = coded(minor, np.array(9))
    for major in range(-2, 3):
        expected = np.zeros((len(minor), len(whole_pairs.names)), dtype=np.int32)
        places, counts = whole_pairs.under(major, wanted)
        expected[places] = counts
        assert pair_layers.of_one(major, wanted).tolist() == expected.tolist()
        assert pair_layers.of_all(major, 9, 3).tolist() == expected[:3].tolist()
    assert same_past(last(sequences, now), last(sequence(list(chain(*acts))), now))


def test_rows_are_copied_a_few_times_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "SMALL", 8)
    layers, copied, most = CounterLayers.of(count([])), 0, 0
    for number in range(4000):
        before = layers.recent
        layers = layers.add(count([(number, 1, 0)]))
        copied += sum(run.rows for run in layers.recent if not any(run is known for known in before))
        most = max(most, len(layers.recent))
    assert most <= 5  # a small one, and one for each factor of 16 up to 4000 / 8
    assert copied / 4000 < 8 / 2 + 3 * 16 / 2


@given(EVENTS)
def test_the_first_tick_is_the_smallest_of_a_key(events: list[tuple[int, int, int]]) -> None:
    first = count(events).first(KEYS[:, 0])
    expected = [min([t for k, t, _ in events if k == key], default=UNCOUNTED) for key in KEYS[:, 0]]
    assert first.tolist() == expected


@given(PAIRS, PAIRS)
def test_merged_pairs_are_the_bits_of_counting_at_once(some: list[Pair], more: list[Pair]) -> None:
    assert same_counters(pairs(some).merge(pairs(more)), pairs(some + more))


@given(PAIRS, PAIRS, st.integers(1, 6))
def test_a_pair_counts_exactly_its_events_up_to_a_tick(some: list[Pair], more: list[Pair], ticks: int) -> None:
    major = np.arange(-3, 4, dtype=np.int64)
    minor = np.array([0, 1, 2, 3, HASHED, -1], dtype=np.int64)
    tick = np.array([0, 2, 4, 5, 7, 9, 10], dtype=np.int64)
    layers = PairLayers.of(pairs(some)).add(pairs(more))
    found, recent = layers.at(major, minor[None], tick), layers.window(major, minor[None], tick, ticks)
    for (row, column), _ in np.ndenumerate(found[..., 0]):
        own = [e for e in some + more if e[0] == major[row] and e[1] == minor[column] and e[2] <= tick[row]]
        assert found[row, column].tolist() == [sum(e[3] == what for e in own) for what in (0, 1)]
        own = [e for e in own if e[2] > tick[row] - ticks]
        assert recent[row, column].tolist() == [sum(e[3] == what for e in own) for what in (0, 1)]


@given(ACTS, ACTS, st.integers(0, 24))
def test_merged_sequences_and_layers_answer_as_one(
    some: list[tuple[int, int, int, int, int]], more: list[tuple[int, int, int, int, int]], now: int
) -> None:
    whole = sequence(some + more)
    assert same_past(last(sequence(some).merge(sequence(more)), now), last(whole, now))
    assert same_past(last(SequenceLayers(sequence(some)).add(sequence(more)), now), last(whole, now))


@given(ACTS, st.integers(0, 24), st.randoms(use_true_random=False))
def test_delivery_order_does_not_change_a_history(
    acts: list[tuple[int, int, int, int, int]], now: int, random: object
) -> None:
    shuffled = list(acts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same_past(last(sequence(acts), now), last(sequence(shuffled), now))


@settings(max_examples=examples(200))
@given(ACTS, st.integers(0, 24))
def test_a_history_never_shows_what_happened_or_arrived_later(
    acts: list[tuple[int, int, int, int, int]], now: int
) -> None:
    known = [act for act in acts if act[1] < now and act[1] + act[2] < now]
    assert same_past(last(sequence(acts), now), last(sequence(known), now))
