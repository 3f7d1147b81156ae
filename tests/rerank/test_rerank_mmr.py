"""MMR by hand, and what may never happen to a list."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.mmr import mmr_order, mmr_orders
from tests.examples import examples

X, Y = [1.0, 0.0], [0.0, 1.0]


def test_a_twin_of_the_first_pick_waits_for_something_new() -> None:
    relevance = np.array([1.0, 0.9, 0.5])
    # Second pick at trade 0.5: the twin gains 0.45 - 0.5 = -0.05, the other 0.25 - 0 = 0.25.
    assert mmr_order(relevance, np.array([X, X, Y]), 3, 0.5).tolist() == [0, 2, 1]


def test_a_trade_of_one_is_the_order_of_relevance() -> None:
    assert mmr_order(np.array([0.2, 0.9, 0.5]), np.array([X, X, X]), 3, 1.0).tolist() == [1, 2, 0]


def test_a_window_forgets_what_was_shown_long_ago() -> None:
    relevance, vectors = np.array([1.0, 0.5, 0.9, 0.6]), np.array([X, X, Y, Y])
    # Third pick, compared with all: -0.25 against -0.2. With the last alone: 0.25 against -0.2.
    assert mmr_order(relevance, vectors, 4, 0.5).tolist() == [0, 2, 3, 1]
    assert mmr_order(relevance, vectors, 4, 0.5, window=1).tolist() == [0, 2, 1, 3]


def test_nothing_known_of_the_relevance_comes_last_even_when_only_novelty_counts() -> None:
    order = mmr_order(np.array([np.nan, 0.1, 0.2]), np.array([Y, X, X]), 3, 0.0)
    assert order.tolist()[-1] == 0


@st.composite
def lists(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    vectors = rng.normal(size=(size, 4))
    return rng.permutation(size) / max(size, 1), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=examples(60), deadline=None)
@given(lists(), st.floats(0, 1), st.integers(0, 14))
def test_no_item_is_lost_or_doubled_and_a_bigger_k_only_extends(
    case: tuple[np.ndarray, np.ndarray], trade: float, k: int
) -> None:
    whole = mmr_order(*case, len(case[0]), trade).tolist()
    assert sorted(whole) == list(range(len(case[0])))
    assert mmr_order(*case, k, trade).tolist() == whole[:k]


@settings(max_examples=examples(40), deadline=None)
@given(lists(), st.integers(0, 1000))
def test_the_order_in_which_items_come_changes_nothing(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    relevance, vectors = case
    shuffled = np.random.default_rng(seed).permutation(len(relevance))
    again = mmr_order(relevance[shuffled], vectors[shuffled], len(relevance), 0.7)
    assert shuffled[again].tolist() == mmr_order(relevance, vectors, len(relevance), 0.7).tolist()


def test_many_requests_at_once_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(1)
    relevance, vectors, trade = rng.random((5, 9)), rng.normal(size=(5, 9, 3)), np.linspace(0, 1, 5)
    single = [mmr_order(r, v, 6, t).tolist() for r, v, t in zip(relevance, vectors, trade, strict=True)]
    assert mmr_orders(relevance, vectors, 6, trade).tolist() == single
