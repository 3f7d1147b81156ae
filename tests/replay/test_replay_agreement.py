"""How alike two orders are: figures a reader can redo, and what holds for any two orders."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.replay.agreement import (
    inversions,
    kendall_tau,
    other_first,
    overlap,
    places_in,
    rank_biased_overlap,
    reordered,
)

ORDERS = st.lists(st.permutations(range(6)), min_size=1, max_size=4)


def rows(*lists: list[int]) -> np.ndarray:
    width = max(map(len, lists))
    return np.array([[*each, *[-1] * (width - len(each))] for each in lists], dtype=np.int32)


def test_a_place_is_looked_up_in_the_other_row_of_the_same_request() -> None:
    assert places_in(rows([3, 1], [2, 5]), rows([1, 2], [2, 9])).tolist() == [[-1, 0], [0, -1]]


def test_tau_counts_pairs_in_the_same_order_less_those_in_the_other() -> None:
    # Of (0,1), (0,2), (1,2) the second order turns only (1,2) round: (2 - 1) / 3.
    assert kendall_tau(rows([0, 1, 2], [0, 1, 2]), rows([0, 2, 1], [2, 1, 0])) == pytest.approx([1 / 3, -1.0])


def test_tau_looks_at_the_common_items_and_needs_two() -> None:
    assert kendall_tau(rows([0, 7, 1], [0, 7, 8]), rows([0, 1, 9], [0, 1, 9])) == pytest.approx(
        [1.0, np.nan], nan_ok=True
    )


def test_rank_biased_overlap_of_a_reversed_triple() -> None:
    # Agreement 0, 1/2, 1 at depths 1, 2, 3 and 1 beyond: (0.1 / 0.9) (0.5 * 0.81 + 0.729) + 0.729.
    expected = 0.1 / 0.9 * (0.5 * 0.81 + 0.729) + 0.729
    assert rank_biased_overlap(rows([0, 1, 2]), rows([2, 1, 0])) == pytest.approx([expected])


def test_rank_biased_overlap_of_lists_of_unequal_length() -> None:
    # Webber et al., equation 32, with S = 0 and L = 0, 1: X_1 = 1, X_2 = 1, s = 1, l = 2.
    terms = 1 * 0.9 + 1 / 2 * 0.81 + 1 * (2 - 1) / (1 * 2) * 0.81
    expected = 0.1 / 0.9 * terms + ((1 - 1) / 2 + 1 / 1) * 0.81
    assert rank_biased_overlap(rows([0]), rows([0, 1])) == pytest.approx([expected])


def test_nothing_is_said_of_an_empty_list() -> None:
    empty, some = rows([-1, -1]), rows([1, 2])
    assert np.isnan(rank_biased_overlap(empty, some)).all()
    assert np.isnan(overlap(empty, empty, 2)).all()
    assert np.isnan(other_first(empty, empty)).all()


def test_overlap_is_over_the_fuller_list() -> None:
    assert overlap(rows([0, 1, 2]), rows([2, 9]), 3) == pytest.approx([1 / 3])
    assert overlap(rows([0, 1, 2]), rows([2, 9]), 1) == pytest.approx([0.0])


def test_another_first_item_is_another_order_but_not_the_reverse() -> None:
    mine, theirs = rows([0, 1, 2], [0, 1, 2], [0, 1, 2]), rows([0, 1, 2], [0, 2, 1], [1, 0, 2])
    assert other_first(mine, theirs).tolist() == [0.0, 0.0, 1.0]
    assert reordered(mine, theirs).tolist() == [0.0, 1.0, 1.0]


@given(one=ORDERS, two=ORDERS)
def test_agreement_is_symmetric_and_full_only_with_oneself(one: list[list[int]], two: list[list[int]]) -> None:
    size = min(len(one), len(two))
    a, b = rows(*one[:size]), rows(*two[:size])
    for measure in (kendall_tau, rank_biased_overlap):
        assert measure(a, b) == pytest.approx(measure(b, a))
        assert measure(a, a) == pytest.approx(np.ones(size))
        assert (measure(a, b) <= 1 + 1e-9).all()
    assert (rank_biased_overlap(a, b) >= 0).all()
    assert overlap(a, b, 6) == pytest.approx(np.ones(size))


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=5))
def test_inversions_are_the_pairs_that_stand_the_other_way_round(rows: list[list[int]]) -> None:
    row = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    value = np.array([value for each in rows for value in each], dtype=np.int64)
    paper = [sum(a > b for i, a in enumerate(each) for b in each[i + 1 :]) for each in rows]
    assert inversions(row, value, len(rows)).tolist() == paper


def test_lists_of_12_000_items_are_compared_without_holding_their_pairs() -> None:
    item = np.tile(np.arange(12_000, dtype=np.int32), (20, 1))
    tracemalloc.start()
    tau = kendall_tau(item, item[:, ::-1])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tau.tolist() == [-1.0] * 20
    assert most < 200e6  # the pairs of one list alone are 144 million
