from dataclasses import replace

import numpy as np
import pytest

from pipeline.market.catalogue import Catalogue, make_catalogue
from pipeline.market.clicks import CART, CLICK, PURCHASE, VIEW, Deeds, Pages, act, crowding
from pipeline.market.vocabulary import read_vocabulary
from pipeline.market.world import World, load_world

PAGES = 20_000
SIZE = 4


def catalogue_of(leaf: list[int], brand: list[int], color: list[int]) -> Catalogue:
    world = load_world("tiny")
    made = make_catalogue(world, read_vocabulary(world.items), np.random.default_rng(0))
    return replace(made, leaf=np.array(leaf), brand=np.array(brand), color=np.array(color))


ALIKE = catalogue_of([0, 0, 1, 1], [0, 0, 5, 6], [1, 2, 3, 4])


def pages(item: np.ndarray, click: float = 0.4, purchase: float = 0.3) -> Pages:
    shape = item.shape
    count = np.arange(shape[0])
    return Pages(
        request=count,
        number=0 * count,
        time=0 * count,
        item=item,
        present=np.ones(shape, dtype=bool),
        position=np.broadcast_to(np.arange(shape[1]), shape),
        propensity=np.ones(shape),
        marginal=np.ones(shape),
        relevance=np.full(shape, click),
        click=np.full(shape, click),
        purchase=np.full(shape, purchase),
    )


def deeds_of(item: np.ndarray, bots: bool = False, **keys: str) -> Deeds:
    world: World = load_world("tiny", keys)
    return act(world, ALIKE, pages(item), np.full(len(item), bots), np.random.default_rng(4))


def rates(deeds: Deeds) -> np.ndarray:
    clicked = deeds.place[deeds.action == CLICK]
    return np.bincount(clicked, minlength=SIZE) / PAGES


SHUFFLED = np.random.default_rng(5).permuted(np.tile(np.arange(SIZE), (PAGES, 1)), axis=1)


def test_crowding_is_the_mean_similarity_to_what_stands_above() -> None:
    """Items 0 and 1 share leaf and brand (0.7), items 2 and 3 the leaf (0.3); the first takes the page's mean."""
    crowd = crowding(ALIKE, np.array([[0, 1, 2, 3]]), np.ones((1, 4), dtype=bool))
    assert crowd[0] == pytest.approx([0.7 / 3, 0.7, 0.0, 0.3 / 3])


def test_absent_items_and_unknown_brands_crowd_nobody() -> None:
    catalogue = catalogue_of([0, 1, 0], [-1, -1, 3], [-1, -1, 3])
    item, present = np.array([[0, 1, 2]]), np.array([[True, True, False]])
    assert crowding(catalogue, item, present)[0, :2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("context", ["0", "0.5", "1"])
def test_flat_examination_leaves_no_trace_of_position_on_shuffled_pages(context: str) -> None:
    """Every place has the same expectation; three standard errors of a rate near 0.35 over 20,000 pages: 0.010."""
    rate = rates(deeds_of(SHUFFLED, examination="flat", context_effect=context))
    assert rate == pytest.approx([rate.mean()] * SIZE, abs=0.011)


def test_clicks_fall_with_position_as_examination_does() -> None:
    rate = rates(deeds_of(SHUFFLED, examination="1/rank", context_effect="0"))
    assert rate == pytest.approx([0.4, 0.2, 0.4 / 3, 0.1], abs=0.011)


def test_programs_look_from_the_top_too_and_buy_nothing() -> None:
    deeds = deeds_of(SHUFFLED, bots=True, examination="1/rank")
    assert rates(deeds) == pytest.approx([0.25, 0.125, 0.25 / 3, 0.0625], abs=0.011)
    assert set(np.unique(deeds.action)) == {VIEW, CLICK}


@pytest.mark.parametrize(("context", "expected"), [("0", 0.4), ("1", 0.4 * (1 - 0.7))])
def test_a_similar_item_above_takes_clicks_only_under_a_context_effect(context: str, expected: float) -> None:
    same = np.tile([0, 1, 2, 3], (PAGES, 1))
    assert rates(deeds_of(same, examination="flat", context_effect=context))[1] == pytest.approx(expected, abs=0.011)


def test_conversions_follow_a_cart_and_wait_as_declared() -> None:
    at_once, later = (deeds_of(SHUFFLED, delay_days=days) for days in ("0", "2"))
    for deeds, mean_days in ((at_once, 0.0), (later, 2.0)):
        bought = deeds.action == PURCHASE
        wait = deeds.time[bought]
        assert wait.min() > 0
        assert wait.mean() / 86_400_000 == pytest.approx(mean_days, abs=0.1)
    assert at_once.time[at_once.action == PURCHASE].max() < 5 * 60_000
    carts, clicks = (int((at_once.action == action).sum()) for action in (CART, CLICK))
    assert carts / clicks == pytest.approx(0.3 / 0.45, abs=0.01)
    assert (at_once.action == PURCHASE).sum() / clicks == pytest.approx(0.3, abs=0.01)
