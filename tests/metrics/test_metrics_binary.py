"""AUC, GAUC, log loss, Brier, ECE and PCOC: hand-worked values and agreement with scikit-learn."""

from math import isnan, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.metrics.binary import (
    auc,
    aucs_by_group,
    brier,
    expected_calibration_error,
    grouped_auc,
    log_loss,
    pcoc,
)

LABELS = np.array([1, 0, 1, 0])
PREDICTIONS = np.array([0.8, 0.4, 0.4, 0.1])


def test_auc_counts_the_pairs_in_order_and_ties_as_half() -> None:
    assert auc(LABELS, PREDICTIONS) == (1 + 1 + 0.5 + 1) / 4


def test_auc_equals_scikit_learn_with_many_ties() -> None:
    generator = np.random.default_rng(1)
    labels, predictions = generator.integers(0, 2, 500), generator.integers(0, 20, 500) / 20
    assert auc(labels, predictions) == pytest.approx(roc_auc_score(labels, predictions), abs=1e-12)


def test_grouped_auc_weighs_groups_by_size_and_leaves_one_sided_ones_out() -> None:
    groups = np.array(["u", "v", "u", "v", "v", "w", "u", "u"])
    labels = np.array([1, 0, 0, 1, 0, 1, 1, 0])
    predictions = np.array([0.9, 0.3, 0.1, 0.2, 0.1, 0.5, 0.1, 0.2])
    # u: of four pairs .9>.1, .9>.2 right, .1=.1 half, .1<.2 wrong; v: .2<.3 wrong, .2>.1 right; w: one label.
    values, sizes = aucs_by_group(labels, predictions, groups)
    assert values[:2].tolist() == [2.5 / 4, 1 / 2]
    assert isnan(values[2])
    assert sizes.tolist() == [4, 3, 1]
    assert grouped_auc(labels, predictions, groups) == pytest.approx((4 * 2.5 / 4 + 3 * 1 / 2) / 7)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_auc_of_a_group_is_the_auc_of_its_rows(rows: list[tuple[int, bool, int]]) -> None:
    groups, labels, predictions = (np.array(column) for column in zip(*rows, strict=True))
    values, _ = aucs_by_group(labels, predictions, groups)
    alone = [auc(labels[groups == group], predictions[groups == group]) for group in np.unique(groups)]
    assert np.array_equal(values, alone, equal_nan=True)


def test_log_loss_and_brier_by_hand() -> None:
    labels, predictions = np.array([1, 0]), np.array([0.8, 0.4])
    assert log_loss(labels, predictions) == pytest.approx(-(log(0.8) + log(0.6)) / 2)
    assert brier(labels, predictions) == pytest.approx((0.2**2 + 0.4**2) / 2)


def test_a_sure_and_wrong_prediction_costs_a_finite_loss() -> None:
    assert log_loss(np.array([1, 0]), np.array([0.0, 0.0])) == pytest.approx(-log(1e-15) / 2)


def test_calibration_error_is_the_gap_of_equally_large_bins() -> None:
    labels, predictions = np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8])
    # Two bins: mean .2 against share .5, mean .7 against share 1.
    assert expected_calibration_error(labels, predictions, bins=2) == pytest.approx((0.3 + 0.3) / 2)


def test_equal_predictions_share_a_bin() -> None:
    assert expected_calibration_error(np.array([1, 0, 0, 1]), np.full(4, 0.5)) == 0.0


def test_pcoc_is_predicted_over_observed_clicks() -> None:
    assert pcoc(LABELS, PREDICTIONS) == pytest.approx(1.7 / 2)


def test_what_is_undefined_is_nan() -> None:
    none = np.array([])
    assert all(isnan(metric(none, none)) for metric in (auc, log_loss, brier, expected_calibration_error, pcoc))
    assert isnan(auc(np.ones(3), np.arange(3)))
    assert isnan(pcoc(np.zeros(3), np.ones(3)))
    assert isnan(grouped_auc(np.ones(3), np.arange(3), np.arange(3)))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_order_of_rows_changes_nothing(rows: list[tuple[bool, float]]) -> None:
    shuffled = rows[::-2] + rows[-2::-2]
    for metric in (auc, log_loss, brier, expected_calibration_error):
        before = metric(*(np.array(column, float) for column in zip(*rows, strict=True)))
        after = metric(*(np.array(column, float) for column in zip(*shuffled, strict=True)))
        assert after == pytest.approx(before, abs=1e-9, nan_ok=True)
