"""The head of an order is what sorting all of it would give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.order import largest, pick, rank_order


def test_equal_scores_keep_the_order_of_the_array() -> None:
    order = rank_order(np.array([1, 2, 1, 2, 5]), np.array([True, True, True, True, False]))
    assert order.tolist() == [1, 3, 0, 2, 4]


@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 9), st.integers(1, 12), st.integers(0, 99))
def test_the_head_is_the_beginning_of_the_stable_order(rows: int, n: int, k: int, levels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, mask = generator.integers(0, levels, (rows, n)) / 3, generator.random((rows, n)) < 0.8
    expected = np.argsort(np.where(mask, -scores, np.nan), axis=-1, kind="stable")
    for cut in (k, None):
        order = rank_order(scores, mask, cut)
        assert order.shape == (rows, n if cut is None else min(cut, n))
        for row in range(rows):
            # Of what is outside the list only the place, behind the list, is promised.
            inside = min(order.shape[1], int(mask[row].sum()))
            assert order[row, :inside].tolist() == expected[row, :inside].tolist()
            assert not mask[row][order[row, inside:]].any()


def test_a_tie_across_the_cut_is_broken_by_position() -> None:
    scores = np.array([[1.0, 0, 2, 1, 0, 0, 1, 0, 0, 0]])
    assert rank_order(scores, np.ones_like(scores, dtype=bool), 3).tolist() == [[2, 0, 3]]


def test_infinite_scores_stand_at_the_ends() -> None:
    scores = np.array([[0.0, -np.inf, np.inf, 0, 0, 0, 0, 0, 0, 9]])
    assert rank_order(scores, np.ones_like(scores, dtype=bool), 2).tolist() == [[2, 9]]


@pytest.mark.parametrize("k", [None, 1, 2, 3, 12])
def test_the_largest_come_first(k: int | None) -> None:
    values = np.array([[3, 0, 2, 2, 0, 1, 0, 0, 0, 0]])
    assert largest(values, k).tolist() == [[3, 2, 2, 1, 0, 0, 0, 0, 0, 0][:k]]


def test_picking_is_taking_along_the_last_axis() -> None:
    generator = np.random.default_rng(1)
    values, order = generator.random((2, 3, 5)), generator.integers(0, 5, (2, 3, 4))
    assert np.array_equal(pick(values, order), np.take_along_axis(values, order, axis=-1))
