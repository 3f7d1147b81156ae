"""The same trees in two runtimes, artifacts that do not fit, and probabilities that stay when sampling changes."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_ranking_rows import Memory, market, state_of
from test_ranking_unexposed import shown_alone, strange

from pipeline.errors import ArtifactError
from pipeline.features.fitted import fit_features
from pipeline.features.plain import SURFACES, FeatureSet, names
from pipeline.metrics.binary import auc, pcoc
from ranking.boosted import Boosted, Examples, train
from ranking.config import RankingConfig
from ranking.dataset import shown_rows
from ranking.heads import LEAST, Curve, Head
from ranking.inputs import Inputs
from ranking.model import About, Ranker
from ranking.rows import Later, Placed, Rows
from ranking.scorers import Trees
from ranking.train import fit_clicks

HAVE = ("ctr", "b", "c", "convert_rate")
SMALL = RankingConfig(trees=80, leaves=15, least_rows=5, threads=2, feature_share=1.0)


@cache
def trees(seed: int) -> Boosted:
    """Trees over four features, of which one is often missing and one never was."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4_000, 4)).astype(np.float32)
    rows[rng.random(4_000) < 0.3, 1] = np.nan
    target = (rows[:, 0] + np.nan_to_num(rows[:, 1], nan=1.0) + rng.normal(size=4_000) > 0).astype(np.float64)
    return train(Examples(rows[:3_000], target[:3_000]), Examples(rows[3_000:], target[3_000:]), config=SMALL, seed=1)


def ranker(runtime: str = "onnx", converts: str = "clicked") -> Ranker:
    about = About("click", HAVE, HAVE, "ctr", 1.0, Head(), {"click": 1.0}, converts=converts, runtime=runtime)  # type: ignore[arg-type]
    return Ranker(about, Trees(trees(0), trees(1), entire=converts == "entire"))


@cache
def hostile(size: int) -> np.ndarray:
    """Rows with missing, infinite, extreme and denormal values, and values on and beside thresholds."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(size, 4)).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0.0, -0.0):
        rows[rng.random(rows.shape) < 0.03] = value
    feature, threshold = (
        np.concatenate([getattr(t, name) for t in trees(0).trees()]) for name in ("feature", "threshold")
    )
    place = rng.integers(0, len(feature), size // 2)
    near = threshold[place].astype(np.float32)
    beside = np.stack([near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))])
    rows[np.arange(size // 2), feature[place]] = beside[np.arange(size // 2) % 3, np.arange(size // 2)]
    return rows


@pytest.mark.parametrize(
    ("converts", "size"),
    [pytest.param("clicked", 100_000, marks=pytest.mark.full), ("clicked", 10_000), ("entire", 10_000)],
)
def test_both_runtimes_give_the_same_scores_on_any_rows(tmp_path: Path, converts: str, size: int) -> None:
    ranker(converts=converts).save(tmp_path)
    inputs = Inputs.plain(hostile(size))
    native, onnx = (Ranker.open(tmp_path, HAVE, runtime=each) for each in ("native", "onnx"))  # type: ignore[arg-type]
    first, second = np.stack(native.predict(inputs, 2)), np.stack(onnx.predict(inputs))
    assert np.abs(first - second).max() < 1e-6
    assert np.ptp(first[0]) > 0.9
    if converts == "clicked":
        assert np.abs(np.stack(native.raw(inputs, 2)) - np.stack(onnx.raw(inputs))).max() < 1e-5


def test_an_opened_ranker_runs_as_it_was_trained_to_unless_asked_otherwise(tmp_path: Path) -> None:
    ranker("onnx").save(tmp_path)
    scorers = [Ranker.open(tmp_path, HAVE, runtime=each).scorer for each in (None, "native", "onnx")]  # type: ignore[arg-type]
    assert [isinstance(each, Trees) and each.runtime is not None for each in scorers] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.txt", b"tree\n"),
        ("convert.txt", b"tree\n"),
        ("trees.onnx", b"no graph"),
        ("ranker.json", b"{}"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    ranker().save(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        Ranker.open(tmp_path, HAVE)


@pytest.mark.parametrize(
    "change",
    [
        {"all": ("ctr",)},
        {"used": ("other",)},
        {"used": ()},
        {"rate": "other"},
        {"schema": 1},
        {"converts": "magic"},
        {"click": {"pooled": {"starts": [1.0]}}},
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    ranker().save(tmp_path)
    about = msgspec.json.decode((tmp_path / "ranker.json").read_bytes()) | change
    (tmp_path / "ranker.json").write_bytes(msgspec.json.encode(about))
    with pytest.raises(ArtifactError):
        Ranker.open(tmp_path, HAVE)


def test_trees_of_another_head_do_not_pass_for_both(tmp_path: Path) -> None:
    ranker().save(tmp_path)
    both = (tmp_path / "trees.onnx").read_bytes()
    Trees(trees(0)).save(tmp_path)
    alone = (tmp_path / "trees.onnx").read_bytes()
    assert alone != both
    with pytest.raises(ArtifactError, match="outputs"):
        Ranker.open(tmp_path, HAVE)


def test_a_surface_with_enough_of_both_has_a_curve_of_its_own() -> None:
    surface = np.repeat([0.0, 1.0], 10_000)
    label = np.concatenate([np.arange(10_000) % 5 == 0, np.arange(10_000) % 20 == 0]).astype(np.float64)
    head = Head.fitted(np.zeros(20_000), label, surface, "platt")
    # 2000 and 500 positives: search has its own, recommend takes the pooled 2500 / 20000.
    assert set(head.surfaces) == {SURFACES[0]}
    assert label[surface == 1].sum() < LEAST
    found = head.probability(np.zeros(3), np.array([0.0, 1.0, 3.0]))
    assert found == pytest.approx([0.2, 0.125, 0.125], rel=1e-6)


@pytest.mark.parametrize("how", ["platt", "isotonic"])
def test_a_calibrated_surface_adds_up_to_its_positives(how: str) -> None:
    rng = np.random.default_rng(0)
    raw, surface = rng.normal(size=60_000), rng.integers(0, 3, 60_000).astype(np.float64)
    label = (rng.random(60_000) < 0.1 * (1 + surface)).astype(np.float64)
    p = Head.fitted(raw, label, surface, how).probability(raw, surface)
    for each in range(3):
        assert pcoc(label[surface == each], p[surface == each]) == pytest.approx(1.0, abs=1e-6)


def test_isotonic_steps_never_promise_more_than_certainty() -> None:
    curve = Curve.fitted(np.arange(4.0), np.array([0.0, 0.0, 1.1, 1.1]), "isotonic")
    assert curve.probability(np.array([9.0])).tolist() == [1.0]


def test_more_negatives_move_no_probability_of_what_is_shown() -> None:
    rows = shown_alone()
    late = rows.between(1_600, 2_000).inputs
    have = ("worth", "strange", "ctr", "convert_rate")
    found = []
    for weight in (0.1, 1.0):
        fitted = fit_clicks(rows, have, SMALL.model_copy(update={"unexposed_weight": weight}), 0, strange())
        assert fitted is not None
        found.append(float(fitted[0].predict(late)[0].mean()))
    assert found[1] == pytest.approx(found[0], rel=0.03)


def test_the_same_rows_and_seed_give_the_same_files(tmp_path: Path) -> None:
    rows, have = shown_alone(), ("worth", "strange", "ctr", "convert_rate")
    bought = np.random.default_rng(2).random(len(rows.grade)) < 0.5 * rows.features[:, 0]
    rows = replace(rows, later=Later(bought & (rows.grade > 0), np.ones(len(bought))))
    digests = []
    for name in ("a", "b"):
        (folder := tmp_path / name).mkdir()
        fitted = fit_clicks(rows, have, SMALL, 0, strange())
        assert fitted is not None
        fitted[0].save(folder)
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"ranker.json", "model.txt", "convert.txt", "trees.onnx"}


def test_fewer_rows_are_evenly_drawn_pages(tmp_path: Path) -> None:
    log = Memory(market(3, pages=1_000))
    state = state_of(log)
    features = FeatureSet.of(fit_features(state))
    some = shown_rows(log, state, features, gains={"click": 1.0}, most_rows=1_000)  # type: ignore[arg-type]
    every = shown_rows(log, state, features, gains={"click": 1.0})  # type: ignore[arg-type]
    assert (every.requests, some.requests) == (1_000, 250)
    # Every fourth page, from the fourth on.
    kept = np.isin(every.request, np.arange(3, 1_000, 4))
    assert some.features.tobytes() == every.features[kept].tobytes()
    assert some.grade.tolist() == every.grade[kept].tolist()


@pytest.mark.full
def test_shuffled_labels_teach_nothing_at_all() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((200_000, 30)).astype(np.float32)
    have = (*(f"f{place}" for place in range(28)), "ctr", "convert_rate")
    request = np.repeat(np.arange(20_000), 10)
    inputs = Inputs(features, np.zeros(200_000, np.int32), request, np.empty((20_000, 0), np.int32))
    clicked = (rng.random(200_000) < 0.1).astype(np.float64)
    rows = Rows(inputs, clicked, Placed.unknown(200_000), Later.nothing(200_000))
    fitted = fit_clicks(rows, have, RankingConfig(), 0)
    assert fitted is not None
    late = rows.between(18_000, 20_000)
    assert fitted[0].scorer is None or auc(late.clicked, fitted[0].scorer.raw(late.inputs)[0]) == pytest.approx(
        0.5, abs=0.02
    )
    fresh = (np.random.default_rng(1).random(200_000) < 0.1).astype(np.float64)
    assert auc(fresh, fitted[0].predict(inputs)[0]) == pytest.approx(0.5, abs=0.01)


def test_names_of_the_feature_set_hold_what_calibration_asks_for() -> None:
    assert {"surface", "convert_rate"} <= set(names("exact")) & set(names("order"))
