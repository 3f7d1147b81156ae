"""The reranker of lists: what it learns, what it must not learn, and when it is not shipped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from rerank.config import ListwiseConfig
from rerank.context import CONTEXT_NAMES, Listed
from rerank.gate import Verdict, judge
from rerank.listwise import ABOUT, MODEL, Examples, Listwise, Shown, examined, merit_of
from rerank.train import train_listwise

Floats = np.ndarray
SIZE = 6
CONFIG = ListwiseConfig(least_pages=50, least_rows=50, trees=40, threads=1)
RATIOS = 1.0 / (np.arange(SIZE) + 1.0)


def world(pages: int, crowded: float, seed: int, *, shuffled: bool = False) -> list[Shown]:
    """Pages of six items in a drawn order. An item is clicked where it is looked at, by a merit the ranker knows, less
    what brands above take: `crowded` times their share. Relevance has nothing to do with the place."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(pages // 250):
        merit = rng.normal(-1.5, 0.7, (250, SIZE))
        brand = rng.integers(1, 4, (250, SIZE))
        place = np.argsort(rng.random((250, SIZE)), axis=1)
        higher = place[:, None, :] < place[:, :, None]
        same = (brand[:, :, None] == brand[:, None, :]) & higher
        share = same.sum(axis=2) / np.maximum(higher.sum(axis=2), 1)
        chance = np.exp(merit).clip(0, 1) * (1.0 - crowded * share) * RATIOS[place]
        gains = (rng.random((250, SIZE)) < chance).astype(np.float64)
        if shuffled:
            gains = rng.permuted(gains, axis=1)
        lists = Listed(
            mask=np.ones((250, SIZE), dtype=np.bool_),
            merit=merit,
            category=np.ones((250, SIZE), dtype=np.int64),
            brand=brand,
            vectors=np.zeros((250, SIZE, 2), dtype=np.float32),
        )
        found.append(Shown(lists, gains, place.astype(np.int32)))
    return found


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Listwise, dict[str, float], Path]:
    folder = tmp_path_factory.mktemp("listwise")
    metrics = train_listwise(world(10_000, 0.9, 1), RATIOS, CONFIG, seed=0, folder=folder)
    assert metrics is not None
    return Listwise.open(folder), metrics, folder


def permuted(lists: Listed, order: Floats) -> Listed:
    names = ("mask", "merit", "category", "brand")
    moved = {name: np.take_along_axis(getattr(lists, name), order, axis=1) for name in names}
    vectors = np.take_along_axis(lists.vectors, order[:, :, None], axis=1)
    return replace(lists, vectors=vectors, **moved)


def test_it_ships_where_company_matters_and_then_scatters_brands(
    crowded: tuple[Listwise, dict[str, float], Path],
) -> None:
    model, metrics, _ = crowded
    assert metrics["listwise_shipped"] == 1.0
    lists = world(250, 0.0, 9)[0].lists
    flat = replace(lists, merit=np.full(lists.merit.shape, -1.5))
    first = np.take_along_axis(flat.brand, model.order(flat)[:, :3], axis=1)
    distinct = [len(set(row)) for row in first.tolist()]
    there = [min(len(set(row)), 3) for row in flat.brand.tolist()]
    assert sum(distinct) > 0.95 * sum(there)


def test_it_is_not_shipped_where_labels_say_nothing_of_the_list(tmp_path: Path) -> None:
    for seed in range(4):
        pages = world(6_000, 0.0, seed + 20, shuffled=True)
        metrics = train_listwise(pages, np.empty(0), CONFIG, seed=0, folder=tmp_path)
        assert metrics is not None
        assert metrics["listwise_shipped"] == 0.0
        assert not Listwise.open(tmp_path).about.shipped


def test_the_order_does_not_depend_on_the_order_that_came_in(
    crowded: tuple[Listwise, dict[str, float], Path],
) -> None:
    model = crowded[0]
    lists = world(250, 0.9, 5)[0].lists
    order = np.argsort(np.random.default_rng(3).random(lists.mask.shape), axis=1)
    plain = np.take_along_axis(lists.merit, model.order(lists), axis=1)
    moved = permuted(lists, order)
    assert np.array_equal(np.take_along_axis(moved.merit, model.order(moved), axis=1), plain)


def test_a_shuffled_input_costs_nothing_in_a_world_without_places(
    crowded: tuple[Listwise, dict[str, float], Path],
) -> None:
    model = crowded[0]
    page = world(250, 0.9, 6)[0]
    order = np.argsort(np.random.default_rng(4).random(page.lists.mask.shape), axis=1)
    shuffled = Shown(
        permuted(page.lists, order),
        np.take_along_axis(page.gains, order, axis=1),
        np.take_along_axis(page.place, order, axis=1),
    )
    one, other = (judge(model, [each], RATIOS) for each in (page, shuffled))
    assert abs(one.ranked[0] - other.ranked[0]) < 0.01 * one.identity


def test_every_item_keeps_one_place_and_nothing_is_invented(
    crowded: tuple[Listwise, dict[str, float], Path],
) -> None:
    model = crowded[0]
    lists = world(250, 0.9, 7)[0].lists
    mask = np.random.default_rng(5).random(lists.mask.shape) < 0.6
    mask[0] = False
    order = model.order(replace(lists, mask=mask))
    for row, places in enumerate(order.tolist()):
        count = int(mask[row].sum())
        assert sorted(places[:count]) == np.flatnonzero(mask[row]).tolist()
        assert places[count:] == [-1] * (SIZE - count)


def test_behind_the_slots_the_rankers_order_stays(crowded: tuple[Listwise, dict[str, float], Path]) -> None:
    model = crowded[0]
    two = Listwise(type(model.about)(CONTEXT_NAMES, True, 2, 7, 50), model.booster)
    lists = world(250, 0.9, 8)[0].lists
    rest = np.take_along_axis(lists.merit, two.order(lists)[:, 2:], axis=1)
    assert (np.diff(rest, axis=1) <= 0).all()


def test_the_same_pages_and_seed_give_the_same_bytes(
    crowded: tuple[Listwise, dict[str, float], Path], tmp_path: Path
) -> None:
    train_listwise(world(10_000, 0.9, 1), RATIOS, CONFIG, seed=0, folder=tmp_path)
    for name in (MODEL, ABOUT):
        assert (tmp_path / name).read_bytes() == (crowded[2] / name).read_bytes()


def test_the_configuration_overrules_the_gate(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"enabled": True})
    train_listwise(world(2_500, 0.0, 2, shuffled=True), np.empty(0), config, seed=0, folder=tmp_path)
    assert Listwise.open(tmp_path).about.shipped


def test_too_few_pages_make_no_model(tmp_path: Path) -> None:
    assert train_listwise(world(250, 0.9, 1), RATIOS, CONFIG, seed=0, folder=tmp_path) is None
    assert train_listwise([], RATIOS, CONFIG, seed=0, folder=tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_pages_that_order_nothing_are_left_out() -> None:
    page = world(250, 0.9, 1)[0]
    all_or_nothing = replace(page, gains=np.repeat(page.gains[:, :1], SIZE, axis=1))
    assert len(Examples.of([all_or_nothing], RATIOS, 7).sizes) == 0


def test_what_the_place_explains_is_given_and_not_learned() -> None:
    page = world(250, 0.9, 1)[0]
    examples = Examples.of([page], RATIOS, 7)
    kept = page.gains.min(axis=1) < page.gains.max(axis=1)
    assert np.allclose(examples.offset, (page.lists.merit + np.log(RATIOS[page.place]))[kept].ravel())
    assert examined(RATIOS, np.array([0, 1, 99, -1])).tolist() == [1.0, 0.5, 1 / SIZE, 1.0]
    assert examined(np.empty(0), np.array([3])).tolist() == [1.0]


def test_the_gate_asks_for_a_lead_beyond_the_error_and_no_harm() -> None:
    def verdict(shown: tuple[float, float], ranked: tuple[float, float]) -> bool:
        return Verdict(1.0, shown, ranked, 100).passes(1.5)

    assert verdict((0.04, 0.02), (-0.01, 0.02))
    assert not verdict((0.03, 0.02), (0.5, 0.02))
    assert not verdict((0.04, 0.02), (-0.03, 0.02))
    assert not verdict((0.0, 0.0), (0.0, 0.0))


def test_scores_that_are_none_have_the_least_merit() -> None:
    merit = merit_of(np.array([1.0, 0.0, -5.0, np.nan]))
    assert merit[0] == 0.0
    assert len(set(merit[1:].tolist())) == 1
    assert (merit[1:] < -10).all()


def test_an_altered_model_is_refused(crowded: tuple[Listwise, dict[str, float], Path], tmp_path: Path) -> None:
    text, about = ((crowded[2] / name).read_text() for name in (MODEL, ABOUT))
    for broken, said in (
        (text.replace("left_child=", "left_child=77 ", 1), "tree"),
        (text[: len(text) // 2], "model"),
        (text.replace("max_feature_idx=5", "max_feature_idx=3"), "features"),
    ):
        (tmp_path / MODEL).write_text(broken)
        (tmp_path / ABOUT).write_text(about)
        with pytest.raises(ArtifactError, match=said):
            Listwise.open(tmp_path)
    (tmp_path / MODEL).write_text(text)
    for wrong in (about.replace("brand_above", "colour_above"), about.replace('"slots":10', '"slots":0'), "{}"):
        (tmp_path / ABOUT).write_text(wrong)
        with pytest.raises(ArtifactError):
            Listwise.open(tmp_path)
