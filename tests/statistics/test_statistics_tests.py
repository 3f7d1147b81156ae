"""Student's t, sign flips and groups: values by hand, agreement with scipy, and error rates as promised."""

from functools import partial
from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.metrics.statistics.compare import mean_error, paired_bootstrap, paired_permutation, paired_t, t_interval
from pipeline.metrics.statistics.distributions import sign_tail
from pipeline.metrics.statistics.flips import all_sums, drawn_sums, flip_p_value
from tests.examples import examples

ZEROS = np.zeros(6)


def test_the_t_interval_of_six_numbers() -> None:
    # Mean 2, variance 0.8, error sqrt(0.8 / 6); 97.5 % of t with 5 degrees lie below 2.570582.
    interval = t_interval(np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]))
    assert interval.mean == 2.0
    assert interval.high == pytest.approx(2 + 2.570582 * sqrt(0.8 / 6), abs=1e-5)
    assert interval.low == pytest.approx(2 - 2.570582 * sqrt(0.8 / 6), abs=1e-5)


def test_the_paired_t_test_is_scipys() -> None:
    a, b = np.random.default_rng(0).random((2, 40))
    found, other = paired_t(a, b), stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(other.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval()))


def test_one_value_or_one_group_has_no_interval_and_no_p() -> None:
    assert np.isnan(t_interval(np.array([3.0])).low)
    assert t_interval(np.array([3.0])).mean == 3.0
    assert np.isnan(paired_t(np.array([1.0, 3.0]), np.zeros(2), groups=np.array([7, 7])).p_value)
    assert paired_t(np.array([np.nan]), np.zeros(1)).n == 0
    assert np.isnan(paired_permutation(np.array([np.nan]), np.zeros(1), seed=0).p_value)


def test_the_exact_p_of_five_gains_counts_sign_patterns() -> None:
    # Of 32 patterns only all plus and all minus are as far from 0.
    assert flip_p_value(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), seed=0) == 2 / 32
    # |sum| >= 13 of 15: no sign turned, or the 1 alone, each way.
    assert flip_p_value(np.array([-1.0, 2.0, 3.0, 4.0, 5.0]), seed=0) == 4 / 32


def test_the_exact_p_is_scipys_over_all_patterns() -> None:
    values = np.random.default_rng(3).normal(0.5, 1.0, 11)
    other = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert paired_permutation(values, np.zeros(11), seed=0).p_value == pytest.approx(other.pvalue)


def test_the_drawn_p_is_near_the_exact_one_and_never_0() -> None:
    totals = np.random.default_rng(1).normal(0.4, 1.0, 12)
    exact = flip_p_value(totals, seed=0, flips=10_000)  # 4,096 patterns
    drawn = flip_p_value(totals, seed=0, flips=4_000)
    assert drawn == pytest.approx(exact, abs=4 * sqrt(exact * (1 - exact) / 4_000))
    assert flip_p_value(np.ones(200), seed=0, flips=999) == 1 / 1000


def test_many_queries_without_a_difference_do_not_make_the_others_less_sure() -> None:
    gains = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    padded = np.concatenate([gains, np.zeros(1000)])
    assert paired_permutation(padded, np.zeros(1005), seed=0).p_value == 2 / 32


def test_sums_under_drawn_signs_are_sums_under_signs() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
    every = {
        sum(sign * value for sign, value in zip(signs, values, strict=True)) for signs in product((-1, 1), repeat=9)
    }
    assert set(all_sums(values)) == every
    drawn = drawn_sums(values, 4000, np.random.default_rng(0))
    assert set(drawn) <= every
    assert len(set(drawn)) > 0.99 * 512
    assert abs(drawn.mean()) < 4 * sqrt(np.sum(values**2) / 4000)


def test_groups_of_one_size_give_the_t_test_of_their_means() -> None:
    values = np.random.default_rng(0).normal(size=60)
    groups = np.repeat(np.arange(12), 5)
    means = values.reshape(12, 5).mean(axis=1)
    error, dof = mean_error(values, groups)
    assert error == pytest.approx(means.std(ddof=1) / sqrt(12))
    assert dof == pytest.approx(11)
    assert paired_t(values, np.zeros(60), groups).p_value == pytest.approx(stats.ttest_1samp(means, 0.0).pvalue)


def test_one_large_group_leaves_few_degrees_of_freedom() -> None:
    _, even = mean_error(np.zeros(100), np.repeat(np.arange(20), 5))
    _, uneven = mean_error(np.zeros(100), np.r_[np.zeros(81), np.arange(1, 20)])
    assert even == pytest.approx(19)
    assert uneven < 5


def test_a_group_of_alike_values_turns_as_one() -> None:
    # Six users with 10 requests each: 2^6 patterns, however many requests.
    users = np.repeat(np.arange(6), 10)
    assert paired_permutation(1.0 + users, np.zeros(60), seed=0, groups=users).p_value == 2 / 64


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=6, max_size=40), st.integers(0, 5))
def test_swapping_the_systems_turns_the_sign_and_keeps_p(values: list[int], seed: int) -> None:
    assume(len(set(values)) > 1)
    a, b = np.array(values, float), np.zeros(len(values))
    for test in (paired_t, partial(paired_permutation, seed=seed, flips=200)):
        one, other = test(a, b), test(b, a)
        assert one.mean == -other.mean
        assert one.p_value == other.p_value
        assert 0.0 <= one.p_value <= 1.0


def test_the_sign_test_of_eight_wins_and_two() -> None:
    assert sign_tail(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert sign_tail(0, 0) == 1.0
    assert sign_tail(5, 5) == 1.0


def skewed(generator: np.random.Generator, n: int) -> np.ndarray:
    """Differences as those of NDCG: mostly 0, else of either sign and no bell."""
    return generator.choice([-1.0, 1.0], n) * generator.beta(0.8, 2.0, n) * (generator.random(n) < 0.6)


def test_of_tests_of_nothing_between_2_and_8_percent_find_something() -> None:
    generator, found = np.random.default_rng(5), np.zeros(3)
    for run in range(400):
        values = skewed(generator, 150)
        found[0] += paired_t(values, np.zeros(150)).p_value < 0.05
        found[1] += paired_permutation(values, np.zeros(150), run, flips=500).p_value < 0.05
        found[2] += paired_bootstrap(values, np.zeros(150), run, draws=500).p_value < 0.05
    assert np.all((found / 400 >= 0.02) & (found / 400 <= 0.08))


def test_requests_of_one_user_need_their_groups() -> None:
    # A user's five differences share most of what they are: taken as 250 requests they promise too much.
    generator, blind, grouped = np.random.default_rng(6), 0, np.zeros(2)
    users = np.repeat(np.arange(50), 5)
    for run in range(400):
        values = generator.normal(size=50)[users] + 0.5 * generator.normal(size=250)
        blind += paired_t(values, np.zeros(250)).p_value < 0.05
        grouped[0] += paired_t(values, np.zeros(250), users).p_value < 0.05
        grouped[1] += paired_permutation(values, np.zeros(250), run, users, flips=500).p_value < 0.05
    assert blind / 400 > 0.2
    assert np.all((grouped / 400 >= 0.02) & (grouped / 400 <= 0.08))
