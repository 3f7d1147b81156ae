"""The closed forms of chance equal the mean over all orders."""

from itertools import permutations

import numpy as np
import pytest

from pipeline.metrics import ranking
from serving.replay.chance import random_first, random_ndcg, random_recall

GAINS = np.array([3.0, 1.0, 0.0, 0.0, 0.0])
ORDERS = np.array(list(permutations(GAINS)))
SCORES = np.broadcast_to(-np.arange(5.0), ORDERS.shape)
ALL = np.ones(ORDERS.shape, dtype=bool)
TWO, FIVE = np.array([2]), np.array([5])


def test_ndcg_of_chance_is_the_mean_over_all_orders() -> None:
    expected = ranking.ndcg(ORDERS, SCORES, ALL, 3).mean()
    assert random_ndcg(np.array([4.0]), GAINS[None, :], FIVE, 3) == pytest.approx(expected)


def test_recall_of_chance_is_the_share_of_the_items_that_is_seen() -> None:
    assert random_recall(TWO, FIVE, 3) == pytest.approx(ranking.recall(ORDERS, SCORES, ALL, 3).mean())
    assert random_recall(TWO, FIVE, 10) == pytest.approx([1.0])


def test_first_hit_of_chance_is_drawn_without_replacement() -> None:
    first, mrr = random_first(TWO, FIVE, 5)
    assert mrr == pytest.approx(ranking.mrr(ORDERS, SCORES, ALL).mean())
    assert first[:, :2].sum() == pytest.approx(1 - 3 / 5 * 2 / 4)


def test_a_request_with_nothing_relevant_has_no_value() -> None:
    nothing = np.array([0])
    assert np.isnan(random_recall(nothing, FIVE, 3)).all()
    assert np.isnan(random_first(nothing, FIVE, 3)[1]).all()
