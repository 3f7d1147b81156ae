"""Effective sample size, floors, intervals, differences, clipping, the replay method and the verdict."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.clipping import curve, warning
from pipeline.metrics.offpolicy.estimate import (
    Contrast,
    checked,
    contrast,
    effective_size,
    estimate,
    no_contrast,
    plain_mean,
    too_few,
)
from pipeline.metrics.offpolicy.matching import replay
from pipeline.metrics.offpolicy.verdict import NOTHING, judge

A_BETTER, B_BETTER = Contrast(0.2, 0.1, 0.3, 0.01, 500), Contrast(-0.2, -0.3, -0.1, 0.01, 500)
OPEN = Contrast(0.05, -0.1, 0.2, 0.5, 500)


def test_effective_size_of_equal_weights_is_their_number() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective_size(np.zeros(5)) == 0


def test_the_floor_is_a_hundred_or_one_in_a_hundred() -> None:
    assert too_few(np.ones(99)) is not None
    assert too_few(np.ones(100)) is None
    rare = np.zeros(100_000)
    rare[:900] = 1.0
    assert too_few(rare) == "effective sample size 900.0 of 100000 weights is below 1000"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_there_is_never_a_number_below_the_floor(weights: list[float]) -> None:
    weight = np.array(weights)
    found = estimate([(weight, np.ones(len(weight)))], weight)
    below = effective_size(weight) < 100
    assert (found.refused is not None) == below == math.isnan(found.mean) == math.isnan(found.high)


@pytest.mark.parametrize("value", [0.0, -0.5, 1.0001, float("nan"), float("inf")])
def test_a_propensity_that_is_none_is_named_by_its_row(value: float) -> None:
    with pytest.raises(InputError, match="row 2"):
        checked(np.array([0.5, 1.0, value, 0.2]))


def test_the_t_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.tile([0.0, 1.0], 200)
    found = estimate([(values, np.ones(400))], np.ones(400))
    error = math.sqrt(np.var(values, ddof=1) / 400)
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.mean == pytest.approx(1.965927 * error, rel=1e-5)  # t of 399 degrees


def test_rows_of_one_subject_count_once() -> None:
    values = np.repeat(np.tile([0.0, 1.0], 100), 4)
    alone = estimate([(values, np.ones(800))], np.ones(800))
    together = estimate([(values, np.ones(800))], np.ones(800), groups=np.repeat(np.arange(200), 4))
    assert together.mean == alone.mean
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(2.0, rel=0.01)


def test_both_kinds_of_interval_agree_on_a_large_sample() -> None:
    rng = np.random.default_rng(1)
    top, bottom = rng.exponential(1.0, 3000), rng.exponential(2.0, 3000)
    t, drawn = (estimate([(top, bottom)], bottom, interval=kind) for kind in ("t", "bootstrap"))
    assert t.mean == pytest.approx(top.sum() / bottom.sum()) == drawn.mean
    assert (drawn.low, drawn.high) == pytest.approx((t.low, t.high), rel=0.01)


def test_the_difference_of_paired_values_is_narrower_than_of_separate_ones() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=1000)
    a, b = shared + 0.1 + np.tile([0.01, -0.01], 500), shared
    ones = np.ones(1000)
    found = contrast([(a, ones)], [(b, ones)], ones)
    assert found.sign == 1
    assert 0.098 < found.low < 0.1 < found.high < 0.102
    assert found.p < 1e-6


def test_added_variance_widens_the_interval_as_it_should() -> None:
    values = np.tile([0.0, 1.0], 200)
    plain, wider = (estimate([(values, np.ones(400))], np.ones(400), variance=v) for v in (0.0, 3 * 0.25 / 399))
    assert (wider.high - wider.low) == pytest.approx(2 * (plain.high - plain.low))


def test_a_description_needs_no_floor() -> None:
    found = plain_mean(np.array([1.0, 0.0, np.nan]))
    assert (found.mean, found.n, found.refused) == (0.5, 2, None)
    assert plain_mean(np.array([np.nan])).refused == "no request has a value"


def test_the_clip_curve_rises_to_the_unclipped_estimate() -> None:
    rows = curve(np.array([1.0, 0.5]), np.array([2.0, 8.0]), 2, [1, 4, 10])
    assert [each.mean for each in rows] == pytest.approx([0.75, (2 + 2) / 2, (2 + 4) / 2])
    assert [each.clipped_share for each in rows] == pytest.approx([0.8, 0.4, 0.0])
    assert rows[2].ess == pytest.approx(100 / 68)


def test_clipping_is_worth_a_warning_above_one_percent() -> None:
    assert warning(0.01) is None
    assert "12.0%" in str(warning(0.12))


def test_replay_keeps_what_the_policy_would_have_chosen() -> None:
    reward = np.tile([1.0, 0.0, 1.0, 1.0], 100)
    matches = np.tile([True, True, False, False], 100)
    found = replay(reward, matches, np.full(400, 0.5))
    assert (found.kept, found.share) == (200, 0.5)
    assert found.value.mean == pytest.approx(0.5)


def test_replay_weighs_choices_that_were_not_equally_likely() -> None:
    reward, matches = np.tile([1.0, 0.0], 200), np.ones(400, dtype=bool)
    found = replay(reward, matches, np.tile([0.25, 0.75], 200))
    assert found.value.mean == pytest.approx(4 / (4 + 4 / 3))


def test_replay_refuses_a_log_without_chance_and_too_few_matches() -> None:
    with pytest.raises(InputError, match="deterministic"):
        replay(np.ones(300), np.ones(300, dtype=bool), np.ones(300))
    assert replay(np.ones(300), np.arange(300) < 99, np.full(300, 0.5)).value.refused is not None
    assert replay(np.ones(300), np.zeros(300, dtype=bool), np.full(300, 0.5)).value.refused is not None


@pytest.mark.parametrize(
    ("explored", "ips", "dr", "judged", "verdict"),
    [
        (A_BETTER, OPEN, OPEN, (1.0, 1.0), "a better"),
        (OPEN, B_BETTER, B_BETTER, (1.0, 1.0), "b better"),
        (OPEN, A_BETTER, OPEN, (1.0, 1.0), "undecided"),
        (OPEN, A_BETTER, B_BETTER, (1.0, 1.0), "undecided"),
        (A_BETTER, B_BETTER, B_BETTER, (1.0, 1.0), "undecided"),
        (NOTHING, A_BETTER, NOTHING, (1.0, 1.0), "undecided"),
        (no_contrast("none drawn"), A_BETTER, A_BETTER, (1.0, 1.0), "a better"),
        (A_BETTER, A_BETTER, A_BETTER, (0.9, 0.2), "undecided"),
        (A_BETTER, A_BETTER, A_BETTER, (0.2, 0.9), "a better"),
    ],
)
def test_a_claim_needs_the_randomised_pages_or_two_estimators(
    explored: Contrast, ips: Contrast, dr: Contrast, judged: tuple[float, float], verdict: str
) -> None:
    assert judge(explored, ips, dr, judged).verdict == verdict


def test_a_clipped_estimate_claims_nothing_by_itself() -> None:
    found = judge(OPEN, A_BETTER, A_BETTER, biased="clipping took 12.0% of the weight")
    assert found.verdict == "undecided"
    assert "clipping" in found.reason
