"""One action a row: two rows worked by hand (repeated past the floor), and the identities of each estimator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.offpolicy import actions

TIMES = 200
REWARD = np.tile([1.0, 0.0], TIMES)
PROPENSITY = np.tile([0.25, 0.5], TIMES)
TARGET = np.tile([0.5, 0.25], TIMES)  # weights 2 and 1/2
EXPECTED = np.tile([0.6, 0.4], TIMES)
PREDICTED = np.tile([0.7, 0.2], TIMES)


def test_each_estimator_of_two_rows() -> None:
    given_ = (REWARD, TARGET, PROPENSITY)
    modelled = (EXPECTED, PREDICTED)
    assert actions.ips(*given_).mean == pytest.approx((2 * 1 + 0) / 2)
    assert actions.snips(*given_).mean == pytest.approx(2 / 2.5)
    assert actions.direct(EXPECTED).mean == pytest.approx(0.5)
    assert actions.dr(*given_, *modelled).mean == pytest.approx((0.6 + 2 * 0.3 + 0.4 + 0.5 * -0.2) / 2)
    assert actions.sndr(*given_, *modelled).mean == pytest.approx(0.5 + (2 * 0.3 - 0.5 * 0.2) / 2.5)
    assert actions.switch_dr(*given_, *modelled, 1.0).mean == pytest.approx((0.6 + 0.4 + 0.5 * -0.2) / 2)


def test_clipping_says_how_much_weight_it_took() -> None:
    found = actions.ips(REWARD, TARGET, PROPENSITY, clip=1.0)
    assert found.mean == pytest.approx(0.5)
    assert (found.max_weight, found.clipped_share) == (1.0, pytest.approx(1.0 / 2.5))


@given(st.integers(0, 10_000))
def test_the_logging_policy_has_its_on_policy_mean_and_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    propensity, reward = rng.uniform(0.01, 1.0, 200), rng.random(200)
    for found in (actions.ips(reward, propensity, propensity), actions.snips(reward, propensity, propensity)):
        assert found.mean == pytest.approx(reward.mean())
        assert found.ess == pytest.approx(200)


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_snips_does_not_change_when_all_weights_are_scaled(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    propensity, target, reward = rng.uniform(0.5, 1.0, 300), rng.uniform(0.5, 1.0, 300), rng.random(300)
    whole, scaled = (actions.snips(reward, target * each, propensity) for each in (1.0, factor))
    assert (whole.mean, whole.low, whole.high) == pytest.approx((scaled.mean, scaled.low, scaled.high))


def test_a_perfect_model_leaves_no_variance_of_weights() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((500, 3))
    policy, logger = rng.dirichlet(np.ones(3), 500), rng.dirichlet(np.ones(3) * 5, 500)
    rows = np.arange(500)
    chosen = rng.integers(0, 3, 500)
    expected = (policy * truth).sum(axis=1)
    reward = truth[rows, chosen]
    found = actions.dr(reward, policy[rows, chosen], logger[rows, chosen], expected, reward)
    assert (found.mean, found.low) == pytest.approx((expected.mean(), actions.direct(expected).low))


@pytest.mark.parametrize("wrong", [0.0, float("nan"), 1.2])
def test_a_propensity_that_is_none_raises_in_every_estimator(wrong: float) -> None:
    propensity = PROPENSITY.copy()
    propensity[7] = wrong
    given_ = (REWARD, TARGET, propensity)
    for call in (
        lambda: actions.ips(*given_),
        lambda: actions.snips(*given_),
        lambda: actions.dr(*given_, EXPECTED, PREDICTED),
        lambda: actions.sndr(*given_, EXPECTED, PREDICTED),
        lambda: actions.switch_dr(*given_, EXPECTED, PREDICTED, 5.0),
    ):
        with pytest.raises(InputError, match="row 7"):
            call()


def test_a_target_above_one_raises() -> None:
    with pytest.raises(InputError, match="target"):
        actions.ips(REWARD, TARGET * 3, PROPENSITY)


def test_few_effective_rows_are_refused_with_the_reason() -> None:
    propensity = np.full(1000, 1.0)
    propensity[0] = 1e-6
    found = actions.ips(np.ones(1000), np.full(1000, 0.5), propensity)
    assert found.refused == "effective sample size 1.0 of 1000 weights is below 100"
    assert np.isnan([found.mean, found.low, found.high]).all()
