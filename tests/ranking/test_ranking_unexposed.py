"""Mixed negatives: never what was shown, the same each time, of the weight asked for, and only for the trees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ranking_rows import Memory, market, state_of

from pipeline.batch import Batch
from pipeline.features.fitted import fit_features
from pipeline.features.plain import FeatureSet
from ranking.boosted import Examples
from ranking.config import RankingConfig
from ranking.dataset import learned_batches
from ranking.inputs import Inputs
from ranking.rows import Later, Placed, Rows
from ranking.train import fit_clicks
from ranking.unexposed import draw_unexposed, mixed, unexposed_rows
from tests.examples import examples

HAVE = ("worth", "strange", "ctr", "convert_rate")
SMALL = RankingConfig(trees=60, leaves=7, threads=1, feature_share=1.0)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_a_drawn_item_is_a_candidate_that_was_not_shown_and_comes_once(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    candidate = np.array([rng.permutation(12)[:9] for _ in range(5)]).astype(np.int32)
    candidate[rng.random(candidate.shape) < 0.2] = -1
    shown = rng.integers(-1, 12, (5, 6)).astype(np.int32)
    drawn = draw_unexposed(candidate, shown, most, rng)
    for row in range(5):
        eligible = set(candidate[row].tolist()) - set(shown[row].tolist()) - {-1}
        found = drawn[row][drawn[row] >= 0].tolist()
        assert set(found) <= eligible
        assert len(found) == len(set(found)) == min(most, len(eligible))


def test_every_candidate_that_was_not_shown_is_as_likely() -> None:
    candidate = np.tile(np.arange(6, dtype=np.int32), (6_000, 1))
    shown = np.tile(np.array([0, 3], dtype=np.int32), (6_000, 1))
    drawn = draw_unexposed(candidate, shown, 2, np.random.default_rng(0))
    share = np.bincount(drawn.ravel(), minlength=6) / 6_000
    assert share[[0, 3]].tolist() == [0.0, 0.0]
    # Two of four: each item is drawn on half of the pages.
    assert share[[1, 2, 4, 5]] == pytest.approx(0.5, abs=0.03)


def retrieved(log: Memory, most: int = 30) -> list[tuple[Batch, np.ndarray]]:
    """Pages of four of eight items, with all eight as candidates."""
    pages = learned_batches(log, state_of(log), latest_share=0.2, most=most)  # type: ignore[arg-type]
    return [(page, np.tile(np.arange(8, dtype=np.int32), (page.size, 1))) for page in pages]


def drawn_rows(log: Memory, seed: int) -> np.ndarray:
    state = state_of(log)
    return unexposed_rows(retrieved(log), (state, FeatureSet.of(fit_features(state))), 3, seed).features


def test_the_same_seed_draws_the_same_rows_and_another_seed_others() -> None:
    log = Memory(market(0))
    assert drawn_rows(log, 1).shape[0] == 30 * 3
    assert drawn_rows(log, 1).tobytes() == drawn_rows(log, 1).tobytes()
    assert drawn_rows(log, 1).tobytes() != drawn_rows(log, 2).tobytes()


def test_pages_kept_from_learning_are_not_drawn_from() -> None:
    log = Memory(market(1))
    pages = learned_batches(log, state_of(log), latest_share=0.2, most=10)  # type: ignore[arg-type]
    times = np.concatenate([page.request("time") for page in pages])
    # 40 pages, 8 of them kept: ten of the 32 before, every third or so.
    places = [0, 3, 6, 9, 12, 16, 19, 22, 25, 28]
    assert times.tolist() == log.frame("impression")["time"][places].to_list()


def test_no_pages_give_no_rows_and_shown_rows_are_then_learned_from_alone() -> None:
    log = Memory(market(2))
    state = state_of(log)
    none = unexposed_rows((), (state, FeatureSet.of(fit_features(state))), 3, 0)
    assert not len(none)
    shown = Examples(np.zeros((5, 2), np.float32), np.ones(5))
    assert mixed(shown, none.features, 0.5, 0.0) is shown


@pytest.mark.parametrize("share", [0.05, 0.25, 1.0])
def test_negatives_weigh_their_share_of_what_was_shown(share: float) -> None:
    shown = Examples(np.zeros((1_000, 2), np.float32), np.ones(1_000), offset=np.full(1_000, -3.0))
    whole = mixed(shown, np.ones((37, 2), np.float32), share, -1.0)
    assert whole.weight is not None
    assert whole.offset is not None
    assert whole.weight[1_000:].sum() / whole.weight[:1_000].sum() == pytest.approx(share, rel=0.01)
    assert whole.target[1_000:].tolist() == [0.0] * 37
    assert whole.offset[1_000:].tolist() == [-1.0] * 37


def shown_alone(seed: int = 0) -> Rows:
    """Pages of four whose items are worth what feature 0 says; no page shows a strange item (feature 1)."""
    rng = np.random.default_rng(seed)
    worth = rng.random(8_000)
    rate = np.full(8_000, 0.1)
    features = np.stack([worth, 0.1 * rng.random(8_000), rate, rate], axis=1).astype(np.float32)
    clicked = (rng.random(8_000) < 0.5 * worth).astype(np.float64)
    blank = np.full(8_000, -1, dtype=np.int32)
    inputs = Inputs(features, blank, np.repeat(np.arange(2_000), 4), np.empty((2_000, 0), dtype=np.int32))
    return Rows(inputs, clicked, Placed.unknown(8_000), Later.nothing(8_000))


def strange(seed: int = 1) -> Inputs:
    rng = np.random.default_rng(seed)
    rate = np.full(500, 0.1)
    return Inputs.plain(np.stack([rng.random(500), np.ones(500), rate, rate], axis=1).astype(np.float32))


def test_what_was_never_shown_is_no_longer_believed_like_what_was() -> None:
    alone, both = (fit_clicks(shown_alone(), HAVE, SMALL, 0, *more) for more in ((), (strange(),)))
    assert alone is not None
    assert both is not None
    late = shown_alone().between(1_800, 2_000).inputs
    unseen = strange(seed=2)
    known, doubtful = (fitted[0].predict(unseen)[0].mean() for fitted in (alone, both))
    assert known == pytest.approx(alone[0].predict(late)[0].mean(), abs=0.05)
    assert doubtful < 0.5 * both[0].predict(late)[0].mean()


def test_calibration_sees_shown_rows_alone() -> None:
    rows = shown_alone()
    fitted = fit_clicks(rows, HAVE, SMALL, 0, strange())
    assert fitted is not None
    assert fitted[0].scorer is not None
    chosen = rows.between(1_600, 2_000)
    # Logistic calibration makes the predictions of the rows it was fitted on add up to their clicks.
    assert fitted[0].predict(chosen.inputs)[0].sum() == pytest.approx(chosen.grade.sum(), rel=1e-6)


def test_no_pages_asked_for_are_no_pages() -> None:
    log = Memory(market(3))
    assert not list(learned_batches(log, state_of(log), latest_share=0.2, most=0))  # type: ignore[arg-type]
