"""Bootstrap intervals cover the truth, are reproducible, and take groups as wholes."""

from math import isnan, sqrt

import numpy as np
import pytest

from pipeline.metrics.statistics.compare import bootstrap_interval, paired_bootstrap, standard_error


def test_the_interval_is_about_two_standard_errors_either_way() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    interval = bootstrap_interval(values, seed=1)
    half = 1.96 * values.std() / sqrt(2000)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval.n == 2000


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.arange(50.0)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_values_that_are_nan_are_left_out() -> None:
    assert bootstrap_interval(np.array([1.0, np.nan, 3.0]), seed=0) == bootstrap_interval(np.array([1.0, 3.0]), seed=0)


def test_nothing_to_average_is_nan_with_n_0() -> None:
    interval = bootstrap_interval(np.array([np.nan]), seed=0)
    assert isnan(interval.mean)
    assert interval.n == 0
    difference = paired_bootstrap(np.array([np.nan]), np.array([1.0]), seed=0)
    assert isnan(difference.p_value)
    assert difference.n == 0


def test_dependent_values_of_a_user_widen_the_interval() -> None:
    # Each user's 25 values are equal, so there is only as much to know as there are users: 5 times as wide.
    each_user = np.random.default_rng(0).normal(size=200)
    values, users = np.repeat(each_user, 25), np.repeat(np.arange(200), 25)
    by_value, by_user = bootstrap_interval(values, seed=0), bootstrap_interval(values, seed=0, groups=users)
    assert (by_user.high - by_user.low) / (by_value.high - by_value.low) == pytest.approx(5, rel=0.15)
    assert by_user.mean == by_value.mean


def test_groups_of_one_value_each_are_no_groups() -> None:
    values = np.random.default_rng(0).random(40)
    assert bootstrap_interval(values, 0) == bootstrap_interval(values, 0, groups=np.arange(40))


def test_swapping_the_systems_turns_the_difference_round() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.random(300), generator.random(300)
    one, other = paired_bootstrap(a, b, seed=0), paired_bootstrap(b, a, seed=0)
    assert one.p_value == other.p_value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_a_pair_with_one_nan_is_left_out() -> None:
    a, b = np.array([1.0, np.nan, 2.0, 5.0]), np.array([0.0, 1.0, np.nan, 1.0])
    difference = paired_bootstrap(a, b, seed=0)
    assert difference.n == 2
    assert difference.mean == (1 + 4) / 2


def test_an_interval_at_95_percent_covers_the_truth_about_that_often() -> None:
    generator = np.random.default_rng(11)
    intervals = [bootstrap_interval(generator.normal(size=60), seed=i) for i in range(300)]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert 0.90 <= covered / 300 <= 0.98


def test_the_error_of_a_mean_knows_that_values_of_one_person_depend_on_each_other() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0])
    assert standard_error(values) == pytest.approx(np.sqrt(4 * 0.25) / 4)
    assert standard_error(values, np.array([1, 1, 2, 2])) == pytest.approx(np.sqrt(1.0 + 1.0) / 4)  # sums 1 and -1
    assert standard_error(values, np.array([1, 2, 1, 2])) == 0.0  # sums 0 and 0
    assert standard_error(values, np.zeros(4)) == standard_error(values)  # nobody's
    assert np.isnan(standard_error(np.empty(0)))
