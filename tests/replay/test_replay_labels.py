"""Labels are pairs; whole slates are looked up at once."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.replay.dimensions import tiers
from serving.replay.labels import Labels

SLATES = st.lists(st.lists(st.integers(-1, 6), min_size=4, max_size=4), min_size=3, max_size=3)
PAIRS = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 6)), st.sampled_from([1.0, 2.0, 3.0]))


def labels_of(pairs: dict[tuple[int, int], float]) -> Labels:
    row, item = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    return Labels(3, row, item.astype(np.int32), np.array(list(pairs.values()), dtype=np.float64))


@given(pairs=PAIRS, slates=SLATES)
def test_every_place_gains_what_its_pair_says_and_nothing_without_one(
    pairs: dict[tuple[int, int], float], slates: list[list[int]]
) -> None:
    expected = [[pairs.get((row, item), 0.0) if item >= 0 else 0.0 for item in line] for row, line in enumerate(slates)]
    assert labels_of(pairs).gains(np.array(slates, dtype=np.int32)).tolist() == expected


@given(pairs=PAIRS, slates=SLATES)
def test_a_pair_is_among_the_candidates_exactly_when_its_request_has_the_item(
    pairs: dict[tuple[int, int], float], slates: list[list[int]]
) -> None:
    expected = [item in slates[row] for row, item in pairs]
    assert labels_of(pairs).among(np.array(slates, dtype=np.int32)).tolist() == expected


def test_the_ideal_holds_all_gains_of_a_request_also_of_items_nobody_knows() -> None:
    labels = Labels(2, np.array([1, 0, 1]), np.array([4, 2, -1], dtype=np.int32), np.array([1.0, 3.0, 2.0]))
    assert labels.ideal().tolist() == [[3.0, 0.0], [1.0, 2.0]]
    assert labels.among(np.array([[2], [-1]], dtype=np.int32)).tolist() == [False, True, False]


def test_head_torso_and_tail_hold_a_third_of_all_showings_each() -> None:
    parts = tiers(np.array([4, 2, 2, 4, 0]))  # in order: 4, then 4, then 2, 2, and one never shown
    assert parts["head"].tolist() == [True, False, False, False, False]
    assert parts["torso"].tolist() == [False, False, False, True, False]
    assert parts["tail"].tolist() == [False, True, True, False, True]


def test_a_list_of_12_000_relevant_items_is_looked_through_without_comparing_all_with_all() -> None:
    size, requests = 12_000, 4
    item = np.random.default_rng(0).permuted(np.tile(np.arange(size, dtype=np.int32), (requests, 1)), axis=1)
    row = np.repeat(np.arange(requests), size)
    labels = Labels(requests, row, np.tile(np.arange(size, dtype=np.int32), requests), np.ones(requests * size))
    tracemalloc.start()
    found = labels.among(np.where(item % 3 == 0, -1, item))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, labels.item % 3 != 0)
    assert most < 50e6
