"""DCG from another ranking's clicks: two requests worked by hand, and what may never happen."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.offpolicy import rankings
from pipeline.metrics.offpolicy.estimate import estimate

# Two requests of three items, shown at ranks 1, 2, 3, which are looked at with 1, 1/2 and 1/4.
EXAMINED = np.array([[1.0, 0.5, 0.25], [1.0, 0.5, 0.25]])
GAIN = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
RANK = np.array([[3, 2, 1], [2, 1, 3]])  # the evaluated ranking's ranks of the same items
MASK = np.ones((2, 3), dtype=bool)
SECOND, THIRD = 1 / log2(3), 1 / log2(4)


def test_a_click_counts_its_new_discount_over_the_examination_of_its_logged_rank() -> None:
    weight = rankings.inverse_weights(EXAMINED, MASK)
    values = rankings.ips_dcg(GAIN, weight, RANK, MASK)
    assert values == pytest.approx([1 * THIRD + 4 * 1.0, 2 * 2 * 1.0])
    assert rankings.ips_dcg(GAIN, weight, RANK, MASK, k=2) == pytest.approx([4.0, 4.0])


def test_snips_divides_by_the_relevance_of_the_whole_log() -> None:
    weight = rankings.inverse_weights(EXAMINED, MASK)
    assert rankings.relevance_mass(GAIN, weight, MASK) == pytest.approx([1 + 4, 4])
    snips = rankings.ips_dcg(GAIN, weight, RANK, MASK).sum() / rankings.relevance_mass(GAIN, weight, MASK).sum()
    assert snips == pytest.approx((THIRD + 8) / 9)


def test_clipping_cuts_the_weight_of_a_click_far_down() -> None:
    weight = rankings.inverse_weights(EXAMINED, MASK, clip=2.0)
    assert weight.max() == 2.0
    assert rankings.ips_dcg(GAIN, weight, RANK, MASK) == pytest.approx([THIRD + 2.0, 4.0])


def test_doubly_robust_is_the_model_corrected_by_what_was_clicked() -> None:
    weight = rankings.inverse_weights(EXAMINED, MASK)
    attraction = np.array([[0.5, 0.0, 0.4], [0.0, 1.0, 0.0]])
    unshown = np.array([0.25, 0.0])
    values = rankings.dr_dcg(GAIN, weight, RANK, MASK, EXAMINED, attraction, unshown)
    first = THIRD * (0.5 + 1 * (1 - 1 * 0.5)) + 1.0 * (0.4 + 4 * (1 - 0.25 * 0.4)) + 0.25
    assert values == pytest.approx([first, 1.0 * (1.0 + 2 * (2 - 0.5 * 1.0))])


def test_a_model_that_is_right_leaves_no_weight_in_doubly_robust() -> None:
    attraction = np.array([[0.5, 0.2, 0.4], [0.1, 1.0, 0.3]])
    expected = EXAMINED * attraction  # clicks without noise
    for weights in (rankings.inverse_weights(EXAMINED, MASK), np.zeros((2, 3)), np.full((2, 3), 99.0)):
        values = rankings.dr_dcg(expected, weights, RANK, MASK, EXAMINED, attraction, np.zeros(2))
        assert values == pytest.approx((attraction * rankings.discount(RANK)).sum(axis=1))


def test_naive_ndcg_is_that_of_the_clicks_and_absent_without_one() -> None:
    gain = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    values = rankings.click_ndcg(gain, RANK, MASK, 10)
    assert values[0] == pytest.approx((1 + THIRD) / (1 + SECOND))
    assert np.isnan(values[1])


def test_a_condensed_list_closes_the_gaps_of_items_never_shown() -> None:
    rank = np.array([[7, 2, 0]])
    assert rankings.condensed(rank, np.ones((1, 3), dtype=bool)).tolist() == [[2, 1, 0]]


def test_judged_is_the_share_of_the_first_places_that_the_log_has_shown() -> None:
    rank = np.array([[1, 4, 12], [1, 2, 3]])
    assert rankings.judged_at(rank, MASK, np.array([20, 3]), 10) == pytest.approx([2 / 10, 3 / 3])
    assert np.isnan(rankings.judged_at(rank, MASK, np.array([0, 0]), 10)).all()


@pytest.mark.parametrize("p", [0.0, -0.1, 1.5, np.nan])
def test_an_examination_that_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(InputError, match="examination"):
        rankings.inverse_weights(np.array([[1.0, p]]), np.ones((1, 2), dtype=bool))


def test_what_stands_outside_the_mask_is_never_read() -> None:
    mask = np.array([[True, True, False]])
    examined, gain = np.array([[1.0, 0.5, 0.0]]), np.array([[1.0, 1.0, np.nan]])
    weight = rankings.inverse_weights(examined, mask)
    assert rankings.ips_dcg(gain, weight, np.array([[1, 2, 3]]), mask) == pytest.approx([1 + 2 * SECOND])


@given(st.integers(0, 10_000))
def test_where_all_is_examined_the_logged_order_has_its_on_policy_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gain = (rng.random((300, 5)) < 0.6).astype(float)
    rank, mask = np.tile(np.arange(1, 6), (300, 1)), np.ones((300, 5), dtype=bool)
    weight = rankings.inverse_weights(np.ones((300, 5)), mask)
    found = estimate([(rankings.ips_dcg(gain, weight, rank, mask), np.ones(300))], weight[gain > 0])
    assert found.mean == pytest.approx((gain * rankings.discount(rank)).sum(axis=1).mean())


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_snips_does_not_change_when_all_weights_are_scaled(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    gain = (rng.random((300, 4)) < 0.7).astype(float)
    rank, mask = np.argsort(rng.random((300, 4)), axis=1) + 1, np.ones((300, 4), dtype=bool)
    examined = np.tile(1 / np.arange(1.0, 5), (300, 1))
    means = []
    for p in (examined, examined * factor):
        weight = rankings.inverse_weights(p, mask)
        parts = [(rankings.ips_dcg(gain, weight, rank, mask), rankings.relevance_mass(gain, weight, mask))]
        means.append(estimate(parts, weight[gain > 0]))
    assert means[0].mean == pytest.approx(means[1].mean)
    assert (means[0].low, means[0].high) == pytest.approx((means[1].low, means[1].high))
