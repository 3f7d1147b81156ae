from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.market.world import START
from serving.loop_report import _newcomers, exposure


def test_exposure_of_one_item_alone() -> None:
    assert exposure(np.array([0, 0, 0, 4])) == {"gini": 0.75, "top1_share": 1.0, "entropy": 0.0, "coverage": 0.25}


def test_exposure_of_all_items_alike() -> None:
    found = exposure(np.full(200, 3))
    assert found["gini"] == pytest.approx(0)
    assert found["top1_share"] == pytest.approx(0.01)
    assert found["entropy"] == pytest.approx(1)
    assert found["coverage"] == 1


def test_gini_is_half_the_mean_difference_over_the_mean() -> None:
    """1, 2, 5: differences 1, 4, 3, each twice of nine pairs, 16/9; over twice the mean, 16/3: 1/3."""
    assert exposure(np.array([5, 1, 2]))["gini"] == pytest.approx(1 / 3)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_exposure_stays_in_its_bounds(shown: list[int]) -> None:
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in exposure(np.array(shown)).values())


def test_newcomers_wait_from_their_coming_to_their_first_page(tmp_path: Path) -> None:
    hour = 3_600_000
    came = pl.DataFrame({"item_id": ["old", "a", "b", "c"], "came": [START, START + hour, START + hour, START + hour]})
    came.write_parquet(tmp_path / "came.parquet")
    ever = pl.DataFrame({"item_id": ["a", "a", "b"], "first": [START + 9 * hour, START + 3 * hour, START + 6 * hour]})
    found = _newcomers([tmp_path], ever)
    assert found == {"new_items": 3, "new_shown": pytest.approx(2 / 3), "new_hours": 5.0}
    assert _newcomers([tmp_path], ever.head(2))["new_hours"] is None
    assert _newcomers([], ever)["new_shown"] is None
