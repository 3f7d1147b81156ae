"""Position bias: ratios worked by hand, and an order that does not take place for worth."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.metrics.binary import auc
from pipeline.metrics.clicks.explored import STRENGTH, examination, position_ratios
from ranking.config import RankingConfig
from ranking.inputs import Inputs
from ranking.rows import Later, Placed, Rows
from ranking.train import fit_clicks


def test_a_ratio_is_the_click_rate_over_that_of_the_first_place_drawn_to_1() -> None:
    position = np.repeat([0, 1], 100)
    clicked = np.concatenate([np.arange(100) < 40, np.arange(100) < 10])
    ratios = position_ratios(position, clicked, np.ones(200))
    assert ratios == pytest.approx([1.0, (10 + STRENGTH) / (40 + STRENGTH)])


def test_a_row_counts_as_often_as_its_chance_is_small() -> None:
    position, clicked = np.array([0, 0, 1, 1]), np.array([1, 0, 1, 0])
    ratios = position_ratios(position, clicked, np.array([1.0, 1.0, 3.0, 1.0]))
    # Weights in mean 1: 2/3, 2/3, 2, 2/3. Place 0 has rate 1/2; place 1 has 2 clicks where 8/3 * 1/2 are expected.
    assert ratios[1] == pytest.approx((2 + STRENGTH) / (4 / 3 + STRENGTH))


def test_without_drawn_pages_or_first_clicks_nothing_is_corrected() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert not len(position_ratios(nothing, nothing, np.empty(0)))
    assert not len(position_ratios(np.array([0, 1]), np.array([0, 1]), np.ones(2)))
    assert examination(np.empty(0), np.array([0, 5])).tolist() == [1.0, 1.0]


def test_an_unknown_place_is_not_corrected_and_deep_ones_are_like_the_last() -> None:
    assert examination(np.array([1.0, 0.5]), np.array([-1, 0, 1, 7])).tolist() == [1.0, 1.0, 0.5, 0.5]


def biased(drawn: float, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """Pages of four; feature 0 says what an item is worth, feature 1 what the log ordered by, of no worth at all."""
    rng = np.random.default_rng(seed)
    pages = 4_000
    worth, habit = rng.random((2, pages, 4))
    explored = rng.random(pages) < drawn
    order = np.argsort(np.where(explored[:, None], rng.random((pages, 4)), -habit), axis=1)
    position = np.argsort(order, axis=1)
    looked = rng.random((pages, 4)) < np.array([1.0, 0.4, 0.2, 0.1])[position]
    clicked = looked & (rng.random((pages, 4)) < 0.5 * worth)
    rate = np.full(pages * 4, 0.1)
    features = np.stack([worth.ravel(), habit.ravel(), rate, rate], axis=1).astype(np.float32)
    chance = np.repeat(np.where(explored, 0.25, np.nan), 4)
    placed = Placed(position.ravel().astype(np.int32), chance)
    blank = np.full(pages * 4, -1, dtype=np.int32)
    inputs = Inputs(features, blank, np.repeat(np.arange(pages), 4), np.empty((pages, 0), dtype=np.int32))
    rows = Rows(inputs, clicked.ravel().astype(np.float64), placed, Later.nothing(pages * 4))
    return rows, worth


HAVE = ("worth", "habit", "ctr", "convert_rate")
SMALL = RankingConfig(trees=60, leaves=7, threads=1, feature_share=1.0)


def order_by_worth(rows: Rows, worth: np.ndarray) -> float:
    """How well the ranker tells worthy from unworthy items."""
    fitted = fit_clicks(rows, HAVE, SMALL, 0)
    assert fitted is not None
    return auc(worth.ravel() > 0.5, fitted[0].predict(rows.inputs)[0])


def test_drawn_pages_take_the_habit_of_the_log_out_of_the_order() -> None:
    rows, worth = biased(drawn=0.25)
    blind = replace(rows, placed=Placed.unknown(len(rows.grade)))
    assert order_by_worth(rows, worth) > order_by_worth(blind, worth) + 0.05


def test_the_report_says_what_was_found_and_p_click_stays_what_the_log_shows() -> None:
    fitted = fit_clicks(biased(drawn=0.25)[0], HAVE, SMALL, 0)
    assert fitted is not None
    metrics = fitted[1]
    assert metrics["position_pages"] == pytest.approx(0.25 * 3_200, rel=0.1)
    assert metrics["position_ratio_1"] == pytest.approx(0.4, abs=0.12)
    assert metrics["pcoc"] == pytest.approx(1.0, abs=0.15)


def test_without_drawn_pages_the_report_says_so() -> None:
    fitted = fit_clicks(biased(drawn=0.0)[0], HAVE, SMALL, 0)
    assert fitted is not None
    assert fitted[1]["position_pages"] == 0
    assert "position_ratio_1" not in fitted[1]
