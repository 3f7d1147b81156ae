"""Ranking metrics: hand-worked values, properties, and agreement with scikit-learn."""

from itertools import permutations
from math import log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from pipeline.metrics.browsing import err, rbp, stop_chance
from pipeline.metrics.ranking import (
    RankingMetric,
    average_precision,
    bpref,
    dcg,
    exponential,
    hit_rate,
    mrr,
    ndcg,
    precision,
    r_precision,
    recall,
)

# One request of five items, of which the fourth is padding: ranked by score the gains are 0, 3, 1, 2.
GAINS = np.array([3.0, 1.0, 0.0, 9.0, 2.0])
SCORES = np.array([0.8, 0.5, 0.9, 1.0, 0.1])
MASK = np.array([True, True, True, False, True])
ALL_METRICS = [ndcg, dcg, mrr, average_precision, recall, precision, hit_rate]
IDEAL_3 = 3 / log2(2) + 2 / log2(3) + 1 / log2(4)


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (dcg, None, 0 / log2(2) + 3 / log2(3) + 1 / log2(4) + 2 / log2(5)),
        (dcg, 2, 3 / log2(3)),
        (ndcg, 3, (3 / log2(3) + 1 / log2(4)) / IDEAL_3),
        (ndcg, 99, (3 / log2(3) + 1 / log2(4) + 2 / log2(5)) / IDEAL_3),
        (mrr, None, 1 / 2),
        (mrr, 1, 0.0),
        (average_precision, None, (1 / 2 + 2 / 3 + 3 / 4) / 3),
        (average_precision, 2, (1 / 2) / 3),
        (recall, 3, 2 / 3),
        (precision, 3, 2 / 3),
        (precision, 10, 3 / 10),
        (precision, None, 3 / 4),
        (hit_rate, 1, 0.0),
        (hit_rate, 2, 1.0),
    ],
)
def test_a_metric_is_what_one_works_out_by_hand(metric: RankingMetric, k: int | None, expected: float) -> None:
    assert metric(GAINS, SCORES, MASK, k) == pytest.approx(expected, abs=1e-12)


def test_r_precision_is_precision_at_the_number_of_relevant_items() -> None:
    # Gains by rank: 0, 3, 1, 2; three are relevant, of the first three two are found.
    assert r_precision(GAINS, SCORES, MASK) == pytest.approx(2 / 3)
    assert r_precision(GAINS, SCORES, MASK, relevant=np.array(9)) == pytest.approx(3 / 9)


def test_bpref_asks_how_many_judged_irrelevant_items_stand_above() -> None:
    gains = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    others = np.array([True, False, False, True, False])
    # Two relevant and two irrelevant: above the first stands one of two, above the second both; one is unjudged.
    value = bpref(gains, -np.arange(5.0), np.ones(5, bool), others=others)
    assert value == pytest.approx(((1 - 1 / 2) + (1 - 2 / 2)) / 2)


@pytest.mark.parametrize("k", [None, 3])
def test_rank_biased_precision_by_hand(k: int | None) -> None:
    # Relevant at ranks 2, 3 and 4.
    expected = 0.2 * (0.8 + 0.8**2 + (0 if k else 0.8**3))
    assert rbp(GAINS, SCORES, MASK, k) == pytest.approx(expected)
    assert rbp(GAINS, SCORES, MASK, 2, persistence=0.5) == pytest.approx(0.5 * 0.5)


def test_expected_reciprocal_rank_by_hand() -> None:
    stops = stop_chance(GAINS, 4.0)
    assert stops[:2].tolist() == [7 / 16, 1 / 16]
    # By rank the stop chances are 0, 7/16, 1/16, 3/16.
    expected = 7 / 16 / 2 + (9 / 16) * (1 / 16) / 3 + (9 / 16) * (15 / 16) * (3 / 16) / 4
    assert err(stops, SCORES, MASK) == pytest.approx(expected)
    assert err(stops, SCORES, MASK, 2) == pytest.approx(7 / 32)


def test_exponential_gain_is_two_to_the_grade_less_one() -> None:
    assert exponential(np.array([0, 1, 2, 4])).tolist() == [0.0, 1.0, 3.0, 15.0]


def test_an_item_scored_minus_infinity_still_stands_before_padding() -> None:
    scores = np.array([0.0, -np.inf])
    assert dcg(np.array([5.0, 1.0]), scores, np.array([False, True])) == 1.0


@pytest.mark.parametrize("metric", [ndcg, mrr, average_precision, recall, precision, hit_rate])
def test_a_request_with_nothing_relevant_has_no_value(metric: RankingMetric) -> None:
    values = metric(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 1.0]] * 2), np.ones((2, 2), bool), 2)
    assert np.isnan(values).tolist() == [True, False]


def test_relevant_items_outside_the_list_lower_recall_map_and_ndcg() -> None:
    gains, scores, mask = np.array([1.0, 0.0]), np.array([2.0, 1.0]), np.ones(2, bool)
    total = np.array(4)
    assert recall(gains, scores, mask, None, total) == 1 / 4
    assert average_precision(gains, scores, mask, relevant=total) == 1 / 4
    ideal = np.array([0.0, 1.0, 2.0])
    assert ndcg(gains, scores, mask, 2, ideal=ideal) == pytest.approx(1 / (2 + 1 / log2(3)))


def test_a_relevant_total_above_zero_makes_a_list_without_hits_count_zero() -> None:
    gains, scores, mask = np.zeros(2), np.array([2.0, 1.0]), np.ones(2, bool)
    for metric in (mrr, average_precision, recall, precision, hit_rate):
        assert metric(gains, scores, mask, relevant=np.array(3)) == 0.0


def test_an_empty_list_counts_zero_when_something_was_relevant() -> None:
    gains, scores, mask = np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3), bool)
    for metric in (mrr, average_precision, recall, precision, hit_rate):
        assert metric(gains, scores, mask, 2, relevant=np.array([1])).tolist() == [0.0]
    assert ndcg(gains, scores, mask, 2, ideal=np.array([[1.0]])).tolist() == [0.0]


def stopping(gains: NDArray[Any], *rest: Any, **rules: Any) -> NDArray[Any]:
    return err(stop_chance(gains, 4.0), *rest, **rules)


def uncut_r_precision(gains: NDArray[Any], scores: Any, mask: Any, _: Any, **rules: Any) -> NDArray[Any]:
    return r_precision(gains, scores, mask, **rules)


def uncut_bpref(gains: NDArray[Any], scores: Any, mask: Any, _: Any, **rules: Any) -> NDArray[Any]:
    return bpref(gains, scores, mask, others=gains == 0, **rules)


@pytest.mark.parametrize("metric", [*ALL_METRICS, rbp, stopping, uncut_r_precision, uncut_bpref])
@pytest.mark.parametrize("k", [None, 1, 2, 3, 4])
def test_expected_ties_are_the_mean_over_all_orders_of_the_tied_items(metric: RankingMetric, k: int | None) -> None:
    gains = np.array([0.0, 2.0, 0.0, 1.0, 3.0, 0.0])
    scores = np.array([5.0, 3.0, 3.0, 3.0, 1.0, 1.0])
    mask = np.ones(6, bool)
    orders = np.array([[0, *first, *second] for first in permutations([1, 2, 3]) for second in permutations([4, 5])])
    each = metric(gains[orders], scores[orders], mask[orders], k)
    assert metric(gains, scores, mask, k, ties="expected") == pytest.approx(each.mean(), abs=1e-12)


def test_expected_ties_leave_padding_out() -> None:
    gains, scores, mask = np.array([1.0, 0.0, 7.0]), np.zeros(3), np.array([True, True, False])
    assert dcg(gains, scores, mask, 1, ties="expected") == 0.5


def test_ndcg_with_expected_ties_equals_scikit_learn() -> None:
    generator = np.random.default_rng(7)
    gains = generator.integers(0, 4, (200, 12)).astype(float)
    gains[:, 0] = 1.0
    scores = generator.integers(0, 5, (200, 12)).astype(float)
    for k in (None, 1, 5, 10):
        ours = ndcg(gains, scores, np.ones(gains.shape, bool), k, ties="expected")
        assert ours.mean() == pytest.approx(ndcg_score(gains, scores, k=k), abs=1e-9)


@st.composite
def lists(draw: st.DrawFn, distinct: bool = False) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    n = draw(st.integers(1, 12))
    grades = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    scores = draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n, unique=distinct))
    mask = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return np.array(grades, float), np.array(scores, float), np.array(mask)


@given(lists(distinct=True), st.integers(1, 12), st.randoms(use_true_random=False))
def test_shuffling_the_input_changes_no_value_when_scores_differ(
    case: tuple[NDArray[Any], ...], k: int, random: Any
) -> None:
    order = list(range(len(case[0])))
    random.shuffle(order)
    for metric in ALL_METRICS:
        before, after = metric(*case, k), metric(*(column[order] for column in case), k)
        assert np.array_equal(before, after, equal_nan=True)


@given(lists(), st.integers(1, 12))
def test_a_bigger_cut_never_lowers_recall_mrr_map_or_hit_rate(case: tuple[NDArray[Any], ...], k: int) -> None:
    for metric in (recall, mrr, average_precision, hit_rate):
        small, big = metric(*case, k), metric(*case, k + 1)
        assert np.isnan(small) or small <= big + 1e-12


@given(lists(), st.none() | st.integers(1, 12), st.sampled_from(["position", "expected"]))
def test_every_normalised_metric_lies_between_0_and_1(case: tuple[NDArray[Any], ...], k: int | None, ties: str) -> None:
    for metric in (ndcg, mrr, average_precision, recall, precision, hit_rate):
        value = metric(*case, k, ties=ties)
        assert np.isnan(value) or -1e-12 <= value <= 1 + 1e-12


@given(lists(), st.none() | st.integers(1, 12))
def test_the_ideal_order_has_ndcg_1_and_none_is_better(case: tuple[NDArray[Any], ...], k: int | None) -> None:
    gains, scores, mask = case
    if (gains * mask).any():
        assert ndcg(gains, gains, mask, k) == pytest.approx(1.0)
        assert ndcg(gains, scores, mask, k) <= 1 + 1e-12


@given(lists(), st.none() | st.integers(1, 12))
def test_what_stands_outside_the_mask_is_never_read(case: tuple[NDArray[Any], ...], k: int | None) -> None:
    gains, scores, mask = case
    for metric in ALL_METRICS:
        for ties in ("position", "expected"):
            noisy = metric(np.where(mask, gains, 9e9), np.where(mask, scores, np.nan), mask, k, ties=ties)
            assert np.array_equal(metric(gains, scores, mask, k, ties=ties), noisy, equal_nan=True)


def test_one_request_and_many_give_the_same_values() -> None:
    generator = np.random.default_rng(3)
    gains, scores = generator.integers(0, 3, (2, 4, 9)), generator.random((2, 4, 9))
    mask = generator.random((2, 4, 9)) < 0.8
    for metric in ALL_METRICS:
        each = [metric(*row, 5) for row in zip(gains[1], scores[1], mask[1], strict=True)]
        assert np.array_equal(metric(gains, scores, mask, 5)[1], np.array(each), equal_nan=True)
