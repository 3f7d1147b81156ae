"""Rates, calibration and value by hand; models on disk that are not what was written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import Batch
from pipeline.errors import ArtifactError
from pipeline.features.rates import STRONGEST, USUAL, beta_prior, smoothed
from pipeline.metrics.binary import pcoc
from pipeline.trees import read_trees
from ranking.boosted import Boosted, Examples, train
from ranking.calibration import isotonic, line, platt, sigmoid, step_values
from ranking.clicks import best_trust
from ranking.config import RankingConfig
from ranking.heads import Curve, Head
from ranking.inputs import Inputs
from ranking.model import About, Ranker
from ranking.scorers import Trees
from ranking.stages import ByRetrieval, BySmoothedRate, Rank
from ranking.value import expected_gain, request_gains

SMALL = RankingConfig(trees=20, leaves=4, least_rows=5, threads=1)
LABELLED = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1)), min_size=2, max_size=40)


def model(seed: int = 0) -> tuple[Boosted, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rows = np.random.default_rng(seed).random((400, 3)).astype(np.float32)
    target = (rows[:, 0] > 0.5).astype(np.float64)
    return train(Examples(rows[:300], target[:300]), Examples(rows[300:], target[300:]), config=SMALL, seed=1), rows


def test_a_smoothed_rate_is_drawn_to_the_usual_one() -> None:
    found = smoothed(np.array([0, 5, 90]), np.array([0, 10, 10]), 0.1, 10.0)
    assert found == pytest.approx([0.1, (5 + 1) / 20, 1.0])


def test_a_prior_is_the_moments_worked_by_hand() -> None:
    # Five items of 10 trials each, rates .0 .0 .5 1. 1.: p = 1/2, scatter = 10 * (4 * 1/4) = 10.
    # rho = (10 / (1/4) - 4) / (50 - 10 - 4) = 1, so the strength 1 / rho - 1 = 0 is held at its least.
    assert beta_prior(np.array([0, 0, 5, 10, 10]), np.full(5, 10)) == (0.5, 2.0)
    # Rates .2 .4 .5 .6 .8: scatter = 10 * (2 * .09 + 2 * .01) = 2, rho = (8 - 4) / 36 = 1/9.
    assert beta_prior(np.array([2, 4, 5, 6, 8]), np.full(5, 10)) == pytest.approx((0.5, 8.0))


def test_a_prior_without_scatter_is_strong_and_without_data_usual() -> None:
    assert beta_prior(np.full(6, 5), np.full(6, 10)) == (0.5, STRONGEST)
    assert beta_prior(np.array([1]), np.array([4])) == (0.25, USUAL)
    assert beta_prior(np.zeros(0), np.zeros(0)) == (0.0, USUAL)


@given(LABELLED)
def test_isotonic_steps_rise_and_keep_the_total(rows: list[tuple[int, int]]) -> None:
    scores, labels = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    starts, values = isotonic(scores, labels)
    assert (np.diff(values) > 0).all()
    assert step_values(starts, values, scores).sum() == pytest.approx(labels.sum())


@given(LABELLED)
def test_platt_keeps_the_order_and_the_total(rows: list[tuple[int, int]]) -> None:
    scores, labels = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    slope, intercept = platt(scores, labels)
    assert slope >= 0
    if 0 < labels.sum() < len(labels):
        assert pcoc(labels, sigmoid(slope * scores + intercept)) == pytest.approx(1.0, abs=0.02)


def test_isotonic_pools_what_falls() -> None:
    starts, values = isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 1]))
    assert starts.tolist() == [1, 2, 4]
    assert values.tolist() == [0, 0.5, 1]


def test_a_line_never_falls() -> None:
    assert line(np.array([0.0, 1.0]), np.array([1.0, 3.0])) == pytest.approx((2, 1))
    assert line(np.array([0.0, 1.0]), np.array([3.0, 1.0])) == pytest.approx((0, 2))


def test_the_value_of_a_click_grows_with_what_may_follow() -> None:
    click, purchase = request_gains({"click": 1.0, "purchase": 3.0}, [None, {"purchase": 10.0}])
    found = expected_gain(np.full((2, 2), 0.5), np.array([[0.2, np.nan], [0.2, 0.0]]), click, purchase)
    assert found == pytest.approx(np.array([[0.5 * (1 + 0.2 * 2), 0.5], [0.5 * (1 + 0.2 * 9), 0.5]]))


def test_the_best_blend_is_taken_unless_the_rate_alone_cannot_be_told_from_it() -> None:
    sure = np.array([[0.1] * 50, [0.5] * 50, [0.4] * 50])
    assert best_trust(sure) == 0.5
    noisy = np.full((3, 2), 0.5)
    noisy[2] = [1.0, 0.1]
    assert best_trust(noisy) == 0.0
    near = sure.copy()
    near[2] = np.where(np.arange(50) < 26, 0.7, 0.31)
    assert best_trust(near) == 1.0  # its mean is 0.5128, which is far from the rate's 0.1
    near[2] = np.where(np.arange(50) < 25, 0.7, 0.29)
    assert best_trust(near) == 1.0  # its mean is 0.495: the blend's 0.5 is ahead by less than 0.205 / sqrt(50) = 0.029
    assert best_trust(np.empty((3, 0))) == 0.0


def test_the_same_seed_gives_the_same_model() -> None:
    assert model()[0].booster.model_to_string() == model()[0].booster.model_to_string()


def test_graded_groups_are_put_in_order() -> None:
    rows = np.random.default_rng(0).random((400, 2)).astype(np.float32)
    part = Examples(rows, np.round(rows[:, 0] * 3) / 1.5, np.full(40, 10))
    score = train(part, part, config=SMALL, seed=0).predict(rows)
    assert np.corrcoef(score, rows[:, 0])[0, 1] > 0.8


def test_a_ranker_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    trees, rows = model()
    have = ("ctr", "b", "convert_rate")
    about = About("click", have, have, "ctr", 0.5, Head(Curve(1.5, -0.5)), {"click": 1.0})
    ranker = Ranker(about, Trees(trees))
    ranker.save(tmp_path)
    again = Ranker.open(tmp_path, about.all)
    assert np.array_equal(again.predict(Inputs.plain(rows)), ranker.predict(Inputs.plain(rows)))
    with pytest.raises(ArtifactError, match="feature set"):
        Ranker.open(tmp_path, ("ctr", "b"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tree\n", "bush\n"),
        ("split_feature=0", "split_feature=99"),
        ("left_child=1", "left_child=7000"),
        ("left_child=1", "left_child=0"),
        ("leaf_value=", "leaf_value=1 "),
        ("end of trees", "end"),
        ("num_cat=0", "num_cat=1"),
        ("max_feature_idx=2", "max_feature_idx=3"),
    ],
)
def test_a_model_that_points_astray_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = model()[0].booster.model_to_string()
    assert old in text
    path = tmp_path / "model.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ArtifactError, match=r"model\.txt"):
        Boosted.open(path, 3)


@given(st.integers(0, 4_000))
def test_a_model_cut_short_is_refused(length: int) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_trees(CUT[: length % len(CUT.split("end of trees", maxsplit=1)[0])], 3)


CUT = model()[0].booster.model_to_string()


def batch(features: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Batch:
    weights = np.full(len(features), None, dtype=object)
    item = np.zeros(features.shape[:2], dtype=np.int32)
    item[0, -1] = -1
    return Batch({"weights": weights}, item, {"features": features, "score": np.zeros(item.shape)})


def test_ranking_a_batch_is_ranking_each_request() -> None:
    trees, rows = model()
    have = ("convert_rate", "ctr", "c")
    about = About("click", have, have, "ctr", 0.5, Head(), {"click": 1.0, "purchase": 3.0})
    given_batch = batch(rows[:20].reshape(4, 5, 3))
    stage = Rank(Ranker(about, Trees(trees)))
    whole = stage.run(given_batch)
    for row in range(4):
        alone = stage.run(given_batch.rows(np.array([row])))
        assert np.array_equal(alone["score"][0], whole["score"][row], equal_nan=True)
    assert np.isnan(whole["score"][0, -1])
    assert (whole["score"][whole.mask] >= whole["p_click"][whole.mask]).all()


def test_judged_scores_are_no_probabilities() -> None:
    trees, rows = model()
    about = About("grade", ("a", "b", "c"), ("a", "b", "c"), "", 1.0, Head(Curve(2.0, 1.0)), {})
    ranked = Rank(Ranker(about, Trees(trees))).run(batch(rows[:10].reshape(2, 5, 3)))
    assert np.isnan(ranked["p_click"]).all()
    assert ranked["score"][1] == pytest.approx(2 * trees.predict(rows[5:10]) + 1)


def test_what_stands_in_keeps_the_order_of_retrieval_or_takes_the_rate() -> None:
    from pipeline.features.plain import names

    have = names("order")
    features = np.zeros((2, 5, len(have)), dtype=np.float32)
    features[..., have.index("ctr")] = np.arange(10).reshape(2, 5) / 10
    kept = ByRetrieval().run(batch(features))
    assert np.isnan(kept["p_click"]).all()
    assert kept["score"].tolist() == batch(features)["score"].tolist()
    rated = BySmoothedRate("order", {"click": 2.0}).run(batch(features))
    assert rated["score"][1] == pytest.approx(2 * np.arange(5, 10) / 10)


def test_a_list_longer_than_the_library_takes_is_dealt_out_and_every_row_learned_from() -> None:
    sizes = np.array([3, 25_000, 10_000])
    rows = np.arange(sizes.sum(), dtype=np.float32)[:, None]
    whole = Examples(rows, np.arange(sizes.sum()) % 3.0, sizes)
    dealt = whole.dealt()
    assert whole.long == 1
    assert dealt.sizes is not None
    assert dealt.sizes.tolist() == [3, 8_334, 8_333, 8_333, 10_000]
    assert np.array_equal(np.sort(dealt.rows, axis=0), rows)
    assert np.array_equal(dealt.rows[:, 0] % 3.0, dealt.target)
    first = dealt.rows[3 : 3 + 8_334, 0]
    assert (first[0], first[-1]) == (3, 25_002)  # from the whole list, not from its top


def test_a_query_of_12_000_documents_is_learned_from() -> None:
    grade = np.arange(12_000) % 3.0
    known = Examples(grade[:, None].astype(np.float32), grade, np.array([12_000]))
    config = RankingConfig(trees=5, least_rows=5)
    model = train(known, known, config=config, seed=0)
    low, high = model.predict(np.array([[0.0], [2.0]], dtype=np.float32))
    assert low < high
