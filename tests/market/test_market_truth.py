from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.market.catalogue import NONE, make_catalogue
from pipeline.market.pool import Pool, matching
from pipeline.market.queries import make_intents
from pipeline.market.sessions import RECOMMEND, SEARCH, SIMILAR, Market, Visits
from pipeline.market.shelf import Stock, first_stock
from pipeline.market.shoppers import make_shoppers
from pipeline.market.truth import Truth, TruthFiles, judge
from pipeline.market.vocabulary import read_vocabulary
from pipeline.market.world import World, load_world

ITEMS = np.arange(40)


def build(world: World) -> tuple[Market, Stock]:
    words = read_vocabulary(world.items)
    catalogue = make_catalogue(world, words, np.random.default_rng(0))
    shoppers = make_shoppers(world, words, catalogue, np.random.default_rng(1))
    intents = make_intents(words, catalogue, np.random.default_rng(2))
    return Market(world, catalogue, shoppers, intents), first_stock(catalogue, np.random.default_rng(3))


def ask(surface: int, who: list[int], intent: list[int], seed: int = 7, focus: int = NONE) -> Visits:
    """Requests that differ in shopper and intent only."""
    same = np.zeros(len(who), dtype=np.int64)
    return Visits(
        who=np.array(who),
        number=same,
        anonymous=same > 0,
        device=same,
        time=same,
        surface=same + surface,
        intent=np.array(intent),
        typo=same,
        seed=same + seed,
        focus=same + focus,
        pages=same + 1,
        explored=same > 0,
    )


def truth(surface: int, who: list[int], intent: list[int], focus: int = NONE, **keys: str) -> Truth:
    market, stock = build(load_world("tiny", keys))
    items = np.broadcast_to(ITEMS, (len(who), len(ITEMS)))
    pool = Pool(items, items >= 0, np.zeros(items.shape), np.ones(len(who), dtype=np.int64))
    return judge(market, stock, ask(surface, who, intent, focus=focus), pool)


@pytest.mark.parametrize("surface", [SEARCH, RECOMMEND, SIMILAR])
def test_without_taste_the_truth_is_the_same_for_every_shopper(surface: int) -> None:
    got = truth(surface, [3, 200], [5, 5], taste_strength="0")
    for values in (got.relevance, got.purchase, got.utility):
        assert (values[0] == values[1]).all()


def test_with_taste_shoppers_differ() -> None:
    got = truth(RECOMMEND, [3, 200], [NONE, NONE])
    assert np.abs(got.relevance[0] - got.relevance[1]).max() > 0.3


def test_without_query_strength_the_query_does_not_matter() -> None:
    got = truth(SEARCH, [3, 3], [5, 60], query_strength="0")
    assert (got.relevance[0] == got.relevance[1]).all()


def test_what_is_asked_for_is_more_relevant_than_the_same_item_unasked() -> None:
    market, _ = build(load_world("tiny"))
    plain = market.intents.plain
    leaf = market.catalogue.leaf[ITEMS]
    got = truth(SEARCH, [3, 3], [int(plain[0]), int(plain[1])])
    assert (got.relevance[0] > got.relevance[1])[leaf == 0].all()
    assert (got.relevance[0] < got.relevance[1])[leaf == 1].all()


def test_a_session_makes_its_own_leaf_more_relevant_when_recommending() -> None:
    market, _ = build(load_world("tiny"))
    own = market.catalogue.leaf[ITEMS] == 2
    plain, focused = (truth(RECOMMEND, [3], [NONE], focus=focus).relevance[0] for focus in (NONE, 2))
    assert (focused > plain)[own].all()
    assert (focused == plain)[~own].all()


def test_utility_is_the_expected_grade_of_a_looked_at_item() -> None:
    """With noise 0.5 and a blind click of 0.2: click = 0.5 relevance + 0.1; a cart is a purchase / 0.45."""
    got = truth(SEARCH, [3], [5], click_noise="0.5")
    click = 0.5 * got.relevance + 0.1
    assert got.click == pytest.approx(click)
    assert got.utility == pytest.approx(click * (1 + got.purchase / 0.45 + got.purchase))


def test_content_is_never_bought() -> None:
    market, _ = build(load_world("tiny"))
    content = market.catalogue.content[ITEMS]
    assert content.any()
    assert (truth(SEARCH, [3], [5]).purchase[0, content] == 0).all()


def test_an_item_matches_by_brand_and_look() -> None:
    brand, color, material = np.array([1, 1, 2]), np.array([4, 5, 5]), np.array([0, 0, 0])
    asked = (np.array(1), np.array(4), np.array(NONE))
    assert matching(brand, color, material, asked) == pytest.approx([1.0, 0.65, 0.5 * 0.65])


def test_truth_files_name_requests_and_items_by_their_ids(tmp_path: Path) -> None:
    files = TruthFiles(tmp_path, ["a", "b", "c"])
    items = np.array([[2, 0], [1, 1]])
    values = np.array([[0.25, 0.5], [0.75, 1.0]])
    pool = Pool(items, np.array([[True, True], [True, False]]), values, np.ones(2, dtype=np.int64))
    files.add(["r1", "r2"], pool, Truth(values, values, values, 2 * values))
    files.close()
    relevance = pl.read_parquet(tmp_path / "relevance.parquet")
    assert relevance.schema == {"request_id": pl.String, "item_id": pl.String, "relevance": pl.Float32}
    assert relevance.rows() == [("r1", "c", 0.25), ("r1", "a", 0.5), ("r2", "b", 0.75)]
    assert pl.read_parquet(tmp_path / "utility.parquet")["utility"].to_list() == [0.5, 1.0, 1.5]
