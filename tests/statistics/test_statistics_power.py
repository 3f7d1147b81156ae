"""Power: what the formulas promise is what simulated experiments show."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.statistics.compare import paired_t
from pipeline.metrics.statistics.power import Spread, detectable_effect, power_of, requests_needed, spread_of
from tests.examples import examples


def test_many_requests_show_2_8_standard_errors_with_80_percent() -> None:
    # z of .975 plus z of .8: 1.95996 + 0.84162.
    assert detectable_effect(Spread(0.01, 1e6, 1_000_001, 1.0)) == pytest.approx(0.0280158, rel=1e-4)
    assert detectable_effect(Spread(0.01, 9, 10, 1.0)) > 0.03


def test_an_effect_of_half_a_deviation_needs_34_pairs() -> None:
    # The textbook's figure (Cohen 1988, table 2.4.1): d .5, two-sided 5 %, power .80.
    values = np.array([-1.0, 1.0] * 50) * sqrt(99 / 100)  # deviation 1
    assert requests_needed(0.5, spread_of(values)) == 34


def test_without_an_effect_the_power_is_alpha() -> None:
    spread = Spread(0.1, 20, 21, 1.0)
    assert power_of(0.0, spread) == pytest.approx(0.05)
    assert power_of(0.3, spread) == pytest.approx(power_of(-0.3, spread))


@settings(max_examples=examples(40), deadline=None)
@given(st.floats(0.02, 2.0), st.integers(5, 5000), st.sampled_from([0.5, 0.8, 0.95]))
def test_size_and_effect_are_each_others_inverse(effect: float, n: int, power: float) -> None:
    spread = spread_of(np.random.default_rng(n).normal(size=n))
    needed = requests_needed(effect, spread, power=power)
    assert detectable_effect(spread.at(needed), power=power) <= effect * (1 + 1e-6)
    if needed > 2:
        assert detectable_effect(spread.at(needed - 1), power=power) > effect * (1 - 1e-6)


def test_alike_requests_of_a_user_count_as_one() -> None:
    each = np.random.default_rng(0).normal(size=100)
    alone, users = spread_of(each), spread_of(np.repeat(each, 4), np.repeat(np.arange(100), 4))
    assert users.error == pytest.approx(alone.error)
    assert users.dof == pytest.approx(99)
    assert users.design == pytest.approx(4 * 399 / 396, rel=1e-6)
    assert requests_needed(0.3, users) == pytest.approx(4 * requests_needed(0.3, alone), abs=4)


def test_equal_systems_show_any_difference_and_nothing_shows_none() -> None:
    assert detectable_effect(spread_of(np.zeros(10))) == 0.0
    assert power_of(0.1, spread_of(np.zeros(10))) == 1.0
    assert np.isnan(detectable_effect(spread_of(np.array([1.0]))))
    assert np.isnan(power_of(0.1, spread_of(np.array([np.nan, 1.0]))))


@pytest.mark.parametrize(
    ("effect", "alpha", "power", "field"),
    [(0.0, 0.05, 0.8, "effect"), (0.1, 0.0, 0.8, "alpha"), (0.1, 0.05, 1.0, "power"), (0.1, 0.5, 0.4, "power")],
)
def test_what_has_no_answer_is_refused(effect: float, alpha: float, power: float, field: str) -> None:
    with pytest.raises(InputError) as refused:
        requests_needed(effect, spread_of(np.arange(10.0)), alpha, power)
    assert refused.value.field == field


def test_a_spread_of_one_request_plans_nothing() -> None:
    with pytest.raises(InputError, match="at least two"):
        requests_needed(0.1, spread_of(np.array([1.0])))


@pytest.mark.parametrize("grouped", [False, True])
def test_simulated_experiments_find_the_detectable_effect_as_often_as_said(grouped: bool) -> None:
    generator, runs, found = np.random.default_rng(4), 600, 0
    users = np.repeat(np.arange(40), 3) if grouped else None
    error = sqrt(0.5**2 / 40 + 1 / 120) if grouped else sqrt(1 / 120)
    effect = detectable_effect(Spread(error, 39.0 if grouped else 119.0, 120, 1.0))
    for _ in range(runs):
        own = 0.5 * generator.normal(size=40)[users] if grouped else 0.0
        values = effect + own + generator.normal(size=120)
        found += paired_t(values, np.zeros(120), users).p_value < 0.05
    assert found / runs == pytest.approx(0.8, abs=3 * sqrt(0.8 * 0.2 / runs))
