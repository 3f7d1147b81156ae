"""Features as bins, items as codes, by hand."""

import numpy as np
import pytest

from ranking.encoding import fit_bins, item_codes


def test_few_values_have_a_bin_between_each_two() -> None:
    found = fit_bins(np.array([[0.0], [1.0], [1.0], [3.0]], dtype=np.float32), 8)
    assert found.column.tolist() == [0, 0]
    assert found.low.tolist() == [0.0, 1.0]
    assert found.slope.tolist() == [1.0, 0.5]
    # Three of four values fill the first bin, one of four the second.
    assert found.mean.tolist() == [0.75, 0.25]


def test_many_values_have_bins_of_equally_many() -> None:
    found = fit_bins(np.arange(101, dtype=np.float32)[:, None], 4)
    assert found.low.tolist() == [0, 25, 50, 75]
    assert found.slope == pytest.approx([1 / 25] * 4)


def test_what_says_nothing_has_no_bin() -> None:
    rows = np.stack([np.full(5, 2.0), np.full(5, np.nan)], axis=1).astype(np.float32)
    found = fit_bins(rows, 8)
    assert not len(found.column)
    assert not len(found.missing)


def test_features_missing_together_share_one_sign() -> None:
    nan = np.nan
    rows = np.array([[1, nan, nan, 0], [2, 5, 1, nan], [3, 6, 2, 1]], dtype=np.float32)
    assert fit_bins(rows, 8).missing.tolist() == [1, 3]


def test_infinite_and_huge_values_do_not_spoil_the_bins() -> None:
    rows = np.array([[0.0], [1.0], [np.inf], [-np.inf], [3e38]], dtype=np.float32)
    found = fit_bins(rows, 2)
    for part in (found.low, found.slope, found.mean):
        assert np.isfinite(part).all()


def test_codes_are_the_item_then_its_groups_and_zero_is_nothing() -> None:
    groups = np.array([[0, 0], [-7, 9], [-7, 0], [5, 9]])
    codes, total = item_codes(groups, np.array([0, 4, 1, 3]), least_seen=3)
    # Two items are known by themselves (1, 2); categories -7 and 5 follow (3, 4), then brand 9 (5).
    assert codes.tolist() == [[0, 0, 0], [1, 3, 5], [0, 3, 0], [2, 4, 5]]
    assert total == 6
