"""Conversions that come late, P(convert | click) from the entire space, and which model of them is believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.calibration import logit, sigmoid
from ranking.config import RankingConfig
from ranking.conversions import Option, by_rate, choose_conversions, clicked_trees, cross_fitted, least_loss
from ranking.delay import full_delays, mature_age, seen_share
from ranking.inputs import Inputs
from ranking.parts import Parts
from ranking.rows import Later, Placed, Rows
from ranking.scorers import conditional

HAVE = ("worth", "convert_rate")
DAY = 24.0
WINDOW = 7 * DAY
SMALL = RankingConfig(trees=60, leaves=7, threads=2, feature_share=1.0)
SIZE = st.floats(-50, 50)


def test_the_delay_is_told_by_rows_older_than_the_window() -> None:
    delay = np.concatenate([np.arange(1.0, 61.0), [1.0, 2.0], [np.nan]])
    age = np.concatenate([np.full(60, 100.0), [5.0, 5.0], [100.0]])
    assert full_delays(delay, age, 60.0).tolist() == list(range(1, 61))
    # 49 of them are too few: the two young ones count as well.
    assert len(full_delays(delay[11:], age[11:], 60.0)) == 51


def test_a_row_is_mature_when_nine_in_ten_conversions_have_come_in() -> None:
    delays = np.arange(1.0, 11.0)
    assert mature_age(delays, 100.0) == 9.0
    assert mature_age(delays, 5.0) == 5.0
    assert seen_share(delays, np.array([0.0, 1.0, 8.9, 9.0, 200.0]), 100.0).tolist() == [0.0, 0.1, 0.8, 0.9, 1.0]
    assert mature_age(np.empty(0), 5.0) == 0.0
    assert seen_share(np.empty(0), np.array([3.0]), 5.0).tolist() == [1.0]


def late(pages: int = 250_000, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """Two weeks of pages of one clicked item, which convert after 36 hours in the mean; what they convert at."""
    rng = np.random.default_rng(seed)
    worth = rng.random(pages)
    true = 0.02 + 0.16 * worth
    age = np.sort(rng.random(pages) * 14 * DAY)[::-1]
    delay = np.where(rng.random(pages) < true, rng.exponential(36.0, pages), np.nan)
    delay[(delay > age) | (delay > WINDOW)] = np.nan
    features = np.stack([worth, np.full(pages, 0.1)], axis=1).astype(np.float32)
    history = np.empty((pages, 0), dtype=np.int32)
    inputs = Inputs(features, np.zeros(pages, dtype=np.int32), np.arange(pages), history)
    rows = Rows(inputs, np.ones(pages), Placed.unknown(pages), Later.nothing(pages))
    return rows.with_conversions(delay, age, WINDOW), true * (1 - np.exp(-WINDOW / 36.0))


def expected_share(rows: Rows, true: np.ndarray) -> float:
    """Predicted over true conversions, of trees learned and calibrated on the mature rows."""
    parts = Parts.mature(rows, 0.2)
    options = {"rate": by_rate(parts, HAVE), "clicked": clicked_trees(parts, HAVE, SMALL, 0)[1]}
    chosen = choose_conversions(parts, options, HAVE, "platt")  # type: ignore[arg-type]
    assert chosen.name == "clicked"
    return float(chosen.head.probability(options["clicked"].score(rows.inputs), None).sum() / true.sum())


def test_young_clicks_taken_as_they_are_teach_too_few_conversions_and_mature_ones_the_right_number() -> None:
    rows, true = late()
    assert rows.mature_ms == pytest.approx(36.0 * np.log(10.0), rel=0.05)
    naive = Rows(rows.inputs, rows.grade, rows.placed, Later(rows.later.converted, np.ones(len(true))))
    assert expected_share(naive, true) < 0.9
    assert expected_share(rows, true) == pytest.approx(1.0, abs=0.03)


def test_a_log_without_clock_time_takes_every_outcome_as_known() -> None:
    rows, _ = late(pages=100)
    known = rows.with_conversions(np.where(np.arange(100) < 7, 1.0, np.nan), None, WINDOW)
    assert known.later.mature.all()
    assert known.later.converted.sum() == 7
    assert known.mature_ms == 0.0


@given(SIZE, SIZE)
def test_the_entire_space_gives_finite_log_odds_at_any_scores(both: float, click: float) -> None:
    found = float(conditional(np.array([both]), np.array([click]))[0])
    assert np.isfinite(found)
    assert 0.0 <= float(sigmoid(np.array([found]))[0]) < 1.0


def test_the_entire_space_divides_one_chance_by_the_other() -> None:
    found = conditional(logit(np.array([0.02, 0.5])), logit(np.array([0.2, 0.1])))
    # 0.02 / 0.2; and what cannot be is held just below one.
    assert sigmoid(found) == pytest.approx([0.1, 1.0], abs=1e-5)


def test_a_model_has_to_be_clearly_ahead_of_the_rate() -> None:
    rate = np.tile([0.3, 0.5], 50)
    assert least_loss({"rate": rate, "clicked": rate - 0.01}) == "clicked"
    # Ahead by 0.01 with a standard error of 0.3 / 10.
    assert least_loss({"rate": rate, "clicked": rate - 0.01 + np.tile([0.3, -0.3], 50)}) == "rate"
    assert least_loss({"rate": rate, "clicked": rate + 1.0}) == "rate"


def test_few_conversions_leave_the_smoothed_rate_as_it_is() -> None:
    rows, _ = late(pages=1_000)
    parts = Parts.mature(rows, 0.2)
    chosen = choose_conversions(parts, {"rate": by_rate(parts, HAVE)}, HAVE, "platt")
    assert chosen.name == "rate"
    assert chosen.metrics["convert_calibrated"] == 0.0
    own = by_rate(parts, HAVE).score(rows.inputs)
    assert chosen.head.probability(own, None) == pytest.approx(0.1)


def test_a_wrong_rate_is_put_right_by_calibration() -> None:
    rows, true = late(pages=40_000)
    parts = Parts.mature(rows, 0.2)
    doubled = Option(lambda inputs: logit(np.full(len(inputs), 0.2)))
    chosen = choose_conversions(parts, {"rate": doubled}, HAVE, "platt")
    assert chosen.metrics["convert_calibrated"] == 1.0
    assert chosen.head.probability(doubled.score(rows.inputs), None).mean() == pytest.approx(true.mean(), rel=0.12)


def test_cross_fitted_scores_come_from_trees_that_did_not_see_the_row() -> None:
    from ranking.boosted import Examples

    rng = np.random.default_rng(0)
    rows = rng.random((4_000, 3)).astype(np.float32)
    target = (rng.random(4_000) < 0.5).astype(np.float64)
    score = cross_fitted(Examples(rows, target), 60, SMALL.model_copy(update={"least_rows": 5}), 0)
    assert abs(np.corrcoef(score, target)[0, 1]) < 0.06
