"""What an audit says of columns whose answers can be worked out by hand."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import ConfigError
from pipeline.features.audit import (
    Audit,
    auc_alone,
    audit,
    blank,
    examined,
    importances,
    learnable,
    psi,
    sorted_with,
)
from pipeline.features.config import FeaturesConfig
from pipeline.metrics.binary import auc

NAN = float("nan")


def one(values: list[float], label: list[int], latest: list[bool] | None = None) -> Audit:
    column = np.array(values, dtype=np.float32)[:, None]
    late = np.array(latest if latest is not None else [False] * (len(values) - 1) + [True])
    (found,) = audit(column, np.array(label), ["x"], late)
    return found


def test_coverage_mean_spread_and_quantiles_are_of_the_rows_with_a_value() -> None:
    found = one([1.0, 3.0, NAN, NAN], [0, 1, 0, 1])
    assert found.coverage == 0.5
    assert found.missing == 0.5
    assert (found.mean, found.std) == (2.0, 1.0)
    assert (found.quantiles[0], found.quantiles[-1]) == (1.0, 3.0)
    assert sum(found.histogram) == 2


def test_a_feature_that_orders_all_positives_first_has_an_auc_of_one_in_either_direction() -> None:
    assert one([1, 2, 3, 4], [0, 0, 1, 1]).auc == 1.0
    assert one([4, 3, 2, 1], [0, 0, 1, 1]).auc == 1.0


def test_ties_count_half() -> None:
    # Positives 1 and 2, negatives 1 and 0: pairs (1,1) half, (1,0), (2,1), (2,0) whole: 3.5 of 4.
    assert one([1, 2, 1, 0], [1, 1, 0, 0]).auc == 3.5 / 4


def test_missing_counts_as_a_value_of_its_own() -> None:
    # All positives are missing: whatever the known values are, absence alone tells everything.
    assert one([NAN, NAN, 5.0, 7.0], [1, 1, 0, 0]).auc == 1.0
    assert one([NAN, NAN, 5.0, 7.0], [0, 0, 1, 1]).auc == 1.0
    assert one([NAN, NAN, NAN, NAN], [0, 1, 0, 1]).auc == 0.5


def test_one_label_alone_has_no_auc() -> None:
    assert np.isnan(one([1, 2, 3, 4], [1, 1, 1, 1]).auc)


@given(
    arrays(np.float32, 30, elements=st.sampled_from([-2.5, -0.0, 0.0, 1.0, 1e-30, np.inf, -np.inf, 7.0])),
    arrays(np.bool_, 30),
)
def test_without_missing_values_it_is_the_auc_of_the_metrics(values: np.ndarray, label: np.ndarray) -> None:
    expected = auc(label, values)
    found = auc_alone(*sorted_with(values, label), np.empty(0, dtype=np.bool_))
    assert np.isnan(found) == np.isnan(expected)
    assert np.isnan(expected) or found == pytest.approx(max(expected, 1 - expected), abs=1e-12)


@given(arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False)), arrays(np.bool_, 20))
def test_sorting_keeps_every_value_with_its_label(values: np.ndarray, label: np.ndarray) -> None:
    ordered, labels = sorted_with(values, label)
    assert (ordered == np.sort(values)).all()
    kept = sorted(zip(ordered.tolist(), labels.tolist(), strict=True))
    assert kept == sorted(zip((values + 0.0).tolist(), label.tolist(), strict=True))


def test_the_same_values_do_not_drift_and_others_do() -> None:
    values = np.arange(1_000, dtype=np.float32)
    assert psi(values, values) == 0.0
    assert psi(values, values + 1_000) > 0.2
    assert np.isnan(psi(values, values[:0]))


def test_drift_is_the_sum_over_bins_that_a_reader_can_redo() -> None:
    before = np.array([0.0] * 50 + [NAN] * 50, dtype=np.float32)
    after = np.array([0.0] * 80 + [NAN] * 20, dtype=np.float32)
    # Bins: up to 0, above 0, missing; half a row is added to each of the three.
    p, q = np.array([50.5, 0.5, 50.5]) / 101.5, np.array([80.5, 0.5, 20.5]) / 101.5
    assert psi(before, after) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))


def test_missing_values_that_appear_late_are_drift() -> None:
    values = np.arange(1_000, dtype=np.float32)
    late = np.where(values < 500, values, NAN).astype(np.float32)
    assert psi(values, late) > 0.2


def test_a_column_of_one_value_is_constant_and_one_that_is_sometimes_missing_is_not() -> None:
    assert one([2, 2, 2, 2], [0, 1, 0, 1]).constant
    assert one([NAN, NAN, NAN, NAN], [0, 1, 0, 1]).constant
    assert not one([2, 2, NAN, 2], [0, 1, 0, 1]).constant
    assert not one([2, 2, 3, 2], [0, 1, 0, 1]).constant


def test_forbidden_features_are_left_out_by_name_or_pattern() -> None:
    names = ("ctr", "position", "log_dwell_ms", "log_positive")
    assert learnable(names, ("position", "*dwell*")) == ("ctr", "log_positive")
    assert learnable(names, ()) == names


LEAKING = np.array([[0, 5, 0.1], [0, 5, 0.2], [1, 5, 0.4], [1, 6, 0.3]], dtype=np.float32)
LABEL = np.array([0, 0, 1, 1])
NAMES = ("leak", "x", "leak_2")
LATEST = np.array([False, False, True, True])


def test_a_feature_above_the_alarm_stops_training_by_name_with_the_fix() -> None:
    expected = r"leak: an AUC of at most 0\.9.*`forbidden`.*`auc_allowed`.*leak \(1\.000\), leak_2 \(1\.000\)$"
    with pytest.raises(ConfigError, match=expected):
        examined(LEAKING, LABEL, NAMES, LATEST, FeaturesConfig())


@pytest.mark.parametrize("rules", [{"auc_allowed": ["leak*"]}, {"forbidden": ["leak", "*_2"]}, {"auc_alarm": 1.0}])
def test_a_feature_that_is_allowed_or_forbidden_anyway_stops_nothing(rules: dict[str, object]) -> None:
    found = examined(LEAKING, LABEL, NAMES, LATEST, FeaturesConfig.model_validate(rules))
    assert [each.auc for each in found] == [1.0, 0.75, 1.0]  # x: 5 5 | 5 6 wins two pairs and ties two


def test_forbidden_columns_are_blanked_in_place_and_no_others() -> None:
    values = LEAKING.copy()
    blank(values, NAMES, ("leak*",))
    assert np.isnan(values[:, [0, 2]]).all()
    assert (values[:, 1] == LEAKING[:, 1]).all()


def test_importance_is_the_share_of_the_gain() -> None:
    assert importances(("a", "b"), np.array([3.0, 1.0])) == {"a": 0.75, "b": 0.25}
    assert importances(("a",), np.array([0.0])) == {"a": 0.0}


@pytest.mark.full
def test_half_a_million_rows_of_sixty_features_take_seconds() -> None:
    values = np.random.default_rng(0).normal(size=(500_000, 60)).astype(np.float32)
    label = values[:, 0] > 1
    started = time.perf_counter()
    found = audit(values, label, [str(n) for n in range(60)], np.arange(500_000) > 400_000)
    assert found[0].auc == 1.0
    assert time.perf_counter() - started < 30
