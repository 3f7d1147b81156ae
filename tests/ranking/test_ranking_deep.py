"""The deep ranker: it repeats, serves what was trained, minds the history, and refuses files that are not its own."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.metrics.binary import auc
from pipeline.nn import seeded
from pipeline.training import History
from ranking.boosted import Examples, train
from ranking.config import RankingConfig
from ranking.deep import DeepNet, cut_history, pages
from ranking.deep_config import DeepConfig
from ranking.deep_train import Labelled, fitted, level, served, train_deep
from ranking.encoding import fit_bins, item_codes
from ranking.inputs import Inputs
from ranking.network import Encode, Network

ITEMS, FEATURES, CATEGORIES, PAGE = 61, 4, 6, 8
# Item 0 is the one nobody knows; the others have one of six categories, and one of three brands across them.
CODES = np.stack([np.append(0, 1 + np.arange(ITEMS - 1) % CATEGORIES), np.append(0, 7 + np.arange(ITEMS - 1) // 20)], 1)
SMALL = DeepConfig.model_validate(
    {
        "bins": 3,
        "width": 6,
        "history": 5,
        "bottom": [16, 8],
        "tower": 4,
        "training": {"learning_rate": 0.01, "batch": 32},
    }
)


def asked(requests: int, seed: int = 0) -> Inputs:
    """Pages of random items, features that say nothing, and subjects of whom each likes one category."""
    random = np.random.default_rng(seed)
    item = random.integers(1, ITEMS, requests * PAGE)
    features = random.normal(size=(len(item), FEATURES)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    liked = random.integers(0, CATEGORIES, requests)
    history = 1 + liked[:, None] + CATEGORIES * random.integers(0, (ITEMS - 1) // CATEGORIES, (requests, 5))
    history[random.random(requests) < 0.2] = -1
    return Inputs(features, item.astype(np.int32), np.repeat(np.arange(requests), PAGE), history.astype(np.int32))


def labelled(inputs: Inputs, chance: NDArray[np.float64], seed: int = 0) -> Labelled:
    random = np.random.default_rng(seed)
    click = (random.random(len(inputs)) < chance).astype(np.float64)
    return Labelled(inputs, click, click * (random.random(len(inputs)) < 0.3))


def same_category(inputs: Inputs) -> NDArray[np.bool_]:
    history = inputs.history[inputs.request]
    return ((CODES[history, 0] == CODES[inputs.item, 0][:, None]) & (history >= 0)).any(axis=1)


@pytest.fixture(scope="module")
def network() -> Network:
    """Untrained, with towers that say something."""
    seeded(3)
    codes, total = item_codes(CODES, np.append(0, np.full(ITEMS - 1, 9)), 5)
    made = Network(codes, total, Encode(fit_bins(asked(50).features, 3)), SMALL).eval()
    for tower in (made.head.click, made.head.convert):
        for each in tower.parameters():
            torch.nn.init.normal_(each)
    return made


@pytest.fixture(scope="module")
def net(network: Network) -> DeepNet:
    return served(network, FEATURES, SMALL, History((0.5,), (0.4,), 1))


@pytest.fixture
def saved(net: DeepNet, tmp_path: Path) -> Path:
    net.save(tmp_path)
    return tmp_path


def test_it_serves_what_was_trained(network: Network, net: DeepNet) -> None:
    inputs = asked(20, seed=1)
    shape = (20, PAGE)
    with torch.no_grad():
        item, history = (torch.from_numpy(each.astype(np.int64)) for each in (inputs.item, inputs.history))
        wanted = network(torch.from_numpy(inputs.features).reshape(*shape, -1), item.reshape(shape), history)
    for found, own in zip(net.raw(inputs), wanted, strict=True):
        assert np.ptp(found) > 0.5
        assert found == pytest.approx(own.numpy().ravel(), abs=1e-5)


def test_it_is_the_same_after_a_folder_and_with_more_threads(net: DeepNet, saved: Path) -> None:
    inputs = asked(1_200, seed=2)
    again = DeepNet.open(saved, FEATURES)
    assert again.about == net.about
    for found, own, threaded in zip(again.raw(inputs), net.raw(inputs), net.raw(inputs, threads=2), strict=True):
        assert found.tobytes() == own.tobytes() == threaded.tobytes()


def test_another_order_of_the_items_is_another_order_of_the_scores(net: DeepNet) -> None:
    inputs = asked(9, seed=3)
    order = np.random.default_rng(0).permutation(len(inputs))
    for found, own in zip(net.raw(inputs.rows(order)), net.raw(inputs), strict=True):
        assert found == pytest.approx(own[order], abs=1e-6)


def test_one_request_scores_as_it_does_among_others_of_other_lengths(net: DeepNet) -> None:
    every = asked(6, seed=4)
    uneven = every.rows(np.arange(len(every)) % PAGE <= every.request)
    whole = net.raw(uneven)[0]
    for request in range(6):
        assert net.raw(uneven.between(request, request + 1))[0] == pytest.approx(
            whole[uneven.request == request], abs=1e-6
        )


def test_no_history_is_the_same_however_it_is_said_and_a_history_is_not(net: DeepNet) -> None:
    inputs = asked(4, seed=5)
    blank, none = np.full((4, 5), -1, dtype=np.int32), np.empty((4, 0), dtype=np.int32)
    left, right = (
        net.raw(Inputs(inputs.features, inputs.item, inputs.request, history))[0] for history in (blank, none)
    )
    assert left.tobytes() == right.tobytes()
    some = np.maximum(inputs.history, 1)
    assert not np.allclose(left, net.raw(Inputs(inputs.features, inputs.item, inputs.request, some))[0], atol=1e-3)


def test_only_the_latest_of_a_long_history_count(net: DeepNet) -> None:
    inputs = asked(4, seed=6)
    longer = np.concatenate([np.full((4, 3), 7, dtype=np.int32), inputs.history], axis=1)
    found = net.raw(Inputs(inputs.features, inputs.item, inputs.request, longer))[0]
    assert found.tobytes() == net.raw(inputs)[0].tobytes()
    assert cut_history(np.array([[4, 5]], dtype=np.int32), 3).tolist() == [[-1, 4, 5]]


def test_items_that_came_later_are_like_the_one_nobody_knows(net: DeepNet) -> None:
    inputs = asked(4, seed=7)
    found = [
        net.raw(Inputs(inputs.features, np.full(len(inputs), item, np.int32), inputs.request, inputs.history))[0]
        for item in (0, -1, ITEMS, ITEMS + 999)
    ]
    assert all(each.tobytes() == found[0].tobytes() for each in found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 0.0])
def test_every_feature_value_gives_a_number(net: DeepNet, value: float) -> None:
    inputs = asked(3, seed=8)
    inputs.features[:] = value
    for found in net.raw(inputs):
        assert np.isfinite(found).all()


def test_nothing_to_score_gives_nothing(net: DeepNet) -> None:
    assert [len(each) for each in net.raw(asked(3).rows(slice(0, 0)))] == [0, 0]


def test_pages_hold_every_row_once_and_requests_of_like_size() -> None:
    request = np.array([5, 2, 5, 9, 5, 2])
    parts = list(pages(request, most=4))
    assert [mask.shape for _, mask in parts] == [(2, 2), (1, 3)]
    assert sorted(int(place) for places, mask in parts for place in places[mask]) == list(range(6))
    assert all((request[places] == request[places[:, :1]]).all() for places, _ in parts)


def test_the_level_makes_log_odds_add_up_to_the_labels() -> None:
    # Twice log-odds 0: one click in two needs none; with weights 3 and 1 it is three in four.
    assert level(np.zeros(2), np.array([1.0, 0.0])) == pytest.approx(0.0)
    assert level(np.zeros(2), np.array([1.0, 0.0]), np.array([3.0, 1.0])) == pytest.approx(np.log(3))
    assert level(np.zeros(2), np.zeros(2)) == -20.0


def test_attention_finds_what_the_subject_liked_where_trees_see_nothing() -> None:
    inputs, late = asked(900, seed=9), asked(300, seed=10)
    known, held_out = (labelled(each, np.where(same_category(each), 0.8, 0.1)) for each in (inputs, late))
    net = train_deep(known, held_out, CODES, config=SMALL, seed=0, device="cpu")
    config = RankingConfig(trees=20, leaves=8, threads=1)  # type: ignore[call-arg]
    trees = train(
        Examples(inputs.features, known.click), Examples(late.features, held_out.click), config=config, seed=0
    )
    fresh = asked(300, seed=11)
    clicked = labelled(fresh, np.where(same_category(fresh), 0.8, 0.1)).click
    best = auc(clicked, same_category(fresh).astype(np.float64))
    assert auc(clicked, net.raw(fresh)[0]) > 0.95 * best
    assert auc(clicked, trees.predict(fresh.features)) < 0.6


def test_the_same_seed_gives_the_same_weights_and_they_the_same_files(network: Network, net: DeepNet) -> None:
    inputs, late = asked(60, seed=12), asked(20, seed=13)
    known, held_out = labelled(inputs, np.full(len(inputs), 0.3)), labelled(late, np.full(len(late), 0.3))
    (one, first), (two, second) = (fitted(known, held_out, CODES, config=SMALL, seed=5, device="cpu") for _ in range(2))
    assert first == second
    for name, weights in one.state_dict().items():
        assert weights.numpy().tobytes() == two.state_dict()[name].numpy().tobytes()
    again = served(network, FEATURES, SMALL, History((0.5,), (0.4,), 1))
    assert (again.graph, again.vectors.tobytes()) == (net.graph, net.vectors.tobytes())


def test_ids_of_rare_values_overfit_in_the_second_epoch_and_the_guard_keeps_the_first() -> None:
    random = np.random.default_rng(0)
    items = 6_000

    def rows(requests: int, seed: int) -> Labelled:
        item = random.integers(1, items, requests * PAGE).astype(np.int32)
        features = random.normal(size=(len(item), 1)).astype(np.float32)
        request, nobody = np.repeat(np.arange(requests), PAGE), np.full((requests, 1), -1, dtype=np.int32)
        return labelled(Inputs(features, item, request, nobody), 1 / (1 + np.exp(-features[:, 0])), seed)

    training = {"epochs": 3, "learning_rate": 0.05, "batch": 16}
    known_by_itself = {"least_seen": 1, "id_dropout": 0.0, "width": 16}
    config = DeepConfig.model_validate({**SMALL.model_dump(), **known_by_itself, "training": training})
    codes = np.zeros((items, 2), dtype=np.int64)
    _, history = fitted(rows(1_500, 1), rows(300, 2), codes, config=config, seed=0, device="cpu")
    assert history.best == 1
    assert len(history.held_out) == 2
    assert history.held_out[1] > history.held_out[0]


def rewrite(**changes: object) -> Callable[[Path], object]:
    def spoil(folder: Path) -> object:
        about = msgspec.json.decode((folder / "deep.json").read_bytes())
        return (folder / "deep.json").write_bytes(msgspec.json.encode({**about, **changes}))

    return spoil


def vectors(array: NDArray[np.float32]) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "items.npy", array)


def shorten(folder: Path) -> None:
    graph = folder / "deep.onnx"
    graph.write_bytes(graph.read_bytes()[:-400])


WIDTH = 3 * 6
HOSTILE: dict[str, Callable[[Path], object]] = {
    "a graph cut short": shorten,
    "no graph": lambda folder: (folder / "deep.onnx").unlink(),
    "no vectors": lambda folder: (folder / "items.npy").unlink(),
    "no description": lambda folder: (folder / "deep.json").unlink(),
    "an unknown field": rewrite(more=1),
    "another schema": rewrite(schema=2),
    "a history the graph does not take": rewrite(history=7),
    "a negative history": rewrite(history=-1),
    "fewer items": vectors(np.zeros((3, WIDTH), dtype=np.float32)),
    "doubles": vectors(np.zeros((ITEMS, WIDTH))),  # type: ignore[arg-type]
    "vectors that are no numbers": vectors(np.full((ITEMS, WIDTH), np.nan, dtype=np.float32)),
    "objects": lambda folder: np.save(folder / "items.npy", np.array([{}], dtype=object), allow_pickle=True),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
def test_files_that_are_not_what_was_saved_are_refused(saved: Path, spoil: Callable[[Path], object]) -> None:
    spoil(saved)
    with pytest.raises(ArtifactError):
        DeepNet.open(saved, FEATURES)


def test_a_network_for_other_features_is_refused(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="5 features"):
        DeepNet.open(saved, FEATURES + 1)
