"""Corrections for many comparisons: by hand, ordered as they must be, and Tukey's test over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.statistics.compare import paired_permutation
from pipeline.metrics.statistics.corrections import benjamini_hochberg, bonferroni, holm, tukey_hsd
from tests.examples import examples

P = np.array([0.04, 0.01, 0.03, 0.005])
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)


def test_bonferroni_multiplies_by_their_number() -> None:
    assert bonferroni(P) == pytest.approx([0.16, 0.04, 0.12, 0.02])


def test_holm_multiplies_the_smallest_by_four_the_next_by_three() -> None:
    # Ascending .005 * 4, .01 * 3, .03 * 2, .04 * 1, and never less than the one before.
    assert holm(P) == pytest.approx([0.06, 0.03, 0.06, 0.02])


def test_benjamini_hochberg_divides_by_the_place() -> None:
    # Ascending .005 * 4 / 1, .01 * 4 / 2, .03 * 4 / 3, .04 * 4 / 4, and never more than the one after.
    assert benjamini_hochberg(P) == pytest.approx([0.04, 0.02, 0.04, 0.02])


def test_a_p_value_that_is_nan_is_no_member_of_the_family() -> None:
    for correct in (bonferroni, holm, benjamini_hochberg):
        found = correct(np.array([np.nan, 0.01, 0.02]))
        assert np.isnan(found[0])
        assert found[1:] == pytest.approx(correct(np.array([0.01, 0.02])))


@given(p_values)
def test_holm_lies_between_nothing_and_bonferroni_and_fdr_below_holm(p: np.ndarray) -> None:
    none, fdr, step, all_at_once = p, benjamini_hochberg(p), holm(p), bonferroni(p)
    slack = 1e-12
    assert np.all(none <= fdr + slack)
    assert np.all(fdr <= step + slack)
    assert np.all(step <= all_at_once + slack)
    assert np.all(all_at_once <= 1)


@given(p_values)
def test_the_order_of_the_comparisons_does_not_matter(p: np.ndarray) -> None:
    for correct in (holm, benjamini_hochberg):
        assert correct(p[::-1])[::-1] == pytest.approx(correct(p))
        assert np.all(np.diff(correct(np.sort(p))) >= -1e-12)


def test_tukey_of_two_systems_is_the_permutation_test() -> None:
    values = np.random.default_rng(0).normal([0.0, 0.25], 1.0, (100, 2))
    alone = paired_permutation(values[:, 1], values[:, 0], seed=1, flips=5000).p_value
    assert tukey_hsd(values, seed=2, flips=5000)[0, 1] == pytest.approx(alone, abs=0.02)


def test_tukey_is_symmetric_ones_on_the_diagonal_and_largest_for_the_nearest() -> None:
    values = np.random.default_rng(0).normal([0.0, 0.0, 0.6], 1.0, (200, 3))
    found = tukey_hsd(values, seed=0, flips=1000)
    assert np.array_equal(found, found.T)
    assert np.all(np.diag(found) == 1.0)
    assert found[0, 2] == 1 / 1001
    assert found[0, 1] > 0.2


def test_tukey_leaves_out_a_request_that_one_system_lacks_and_keeps_groups_together() -> None:
    values = np.random.default_rng(0).normal(size=(30, 3))
    holed = np.vstack([values, [np.nan, 100.0, -100.0]])
    assert np.array_equal(tukey_hsd(values, 0, flips=200), tukey_hsd(holed, 0, flips=200))
    # Every user's rows are alike: there are 6 users to permute, not 30 rows.
    users = np.repeat(np.arange(6), 5)
    each = values[:6]
    assert np.allclose(tukey_hsd(each[users], 0, users, flips=400), tukey_hsd(each, 0, flips=400))
    assert np.isnan(tukey_hsd(np.full((2, 3), np.nan), 0)).all()


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 1000))
def test_tukey_never_says_0(seed: int) -> None:
    values = np.random.default_rng(seed).normal([0, 5, 10], 1.0, (20, 3))
    assert tukey_hsd(values, seed, flips=99).min() >= 1 / 100


def test_of_ten_pairs_of_alike_systems_a_family_finds_something_in_about_5_percent() -> None:
    generator, found = np.random.default_rng(9), 0
    for run in range(300):
        values = generator.normal(size=(60, 1)) + generator.normal(size=(60, 5))
        found += tukey_hsd(values, run, flips=200).min() < 0.05
    assert 0.02 <= found / 300 <= 0.08
