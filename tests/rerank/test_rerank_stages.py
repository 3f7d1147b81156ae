"""The stages that make a slate: what each may do, and that a batch is its requests one by one."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import ArtifactError
from pipeline.filters import NO_FILTERS, Filters
from pipeline.rules import parse_rules
from pipeline.stage import Effect, Stage
from rerank.config import RerankConfig
from rerank.rules import Merchandise, Pinned, Pins, boosted, rule_book
from rerank.stages import Diversify, Sort, TopK, Windows
from rerank.train import IDENTITY, Judged, Reordering, choose, intra_list_distance, open_reorderings, train
from tests.frames import frame, item
from tests.rerank.slates import FIVE, names, request


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("relevance", "abcde"), ("price_asc", "bdeac"), ("price_desc", "adebc"), ("newest", "edcba")],
)
def test_sorts_with_unknown_prices_last_and_ties_by_item_id(catalogue: Catalogue, sort: str, expected: str) -> None:
    assert names(catalogue, Sort(catalogue).run(request(catalogue, [FIVE], sort=[sort]))) == [expected]


def test_sorting_leaves_the_rankers_scores_alone(catalogue: Catalogue) -> None:
    batch = request(catalogue, [FIVE], sort=["price_asc"])
    after = Sort(catalogue).run(batch)
    assert batch["score"].tolist() == [[5, 4, 3, 2, 1]]
    assert after["score"].tolist() == [[4, 2, 1, 5, 3]]


def test_nan_is_never_on_top(catalogue: Catalogue) -> None:
    scores = {"a": float("nan"), "b": 1.0, "c": -5.0}
    vectors = np.eye(6, dtype=np.float32)
    for stage in (Sort(catalogue), Diversify(catalogue, vectors, trade=0.3)):
        assert names(catalogue, stage.run(request(catalogue, [scores])))[0][-1] == "a"


def test_diversity_of_the_request_wins_over_the_configured_trade(catalogue: Catalogue) -> None:
    vectors = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    stage = Diversify(catalogue, vectors, trade=1.0)
    batch = request(catalogue, [FIVE, FIVE, FIVE], diversity=[np.nan, 0.0, 0.5])
    assert names(catalogue, stage.run(batch)) == ["abcde", "abcde", "acbde"]


def test_diversity_reorders_only_the_best_and_never_an_explicit_sort(catalogue: Catalogue) -> None:
    vectors = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    stage = Diversify(catalogue, vectors, trade=0.5, depth=2)
    batch = request(catalogue, [FIVE, FIVE], sort=["relevance", "newest"])
    assert names(catalogue, stage.run(batch)) == ["abcde", "abcde"]


def test_brands_are_scattered_unless_one_was_asked_for(catalogue: Catalogue) -> None:
    config = RerankConfig(brand_window=2, brand_at_most=1)
    batch = request(catalogue, [FIVE, FIVE], filters=[NO_FILTERS, Filters(brand=("x",))])
    after = Windows(catalogue, config).run(batch)
    assert names(catalogue, after) == ["adbec", "abcde"]
    assert after.request("relaxations").tolist() == [0, 0]


def test_keeps_the_first_k_of_the_slate_whatever_their_scores(catalogue: Catalogue) -> None:
    batch = request(catalogue, [{"c": 1.0, "a": 9.0, "b": 3.0}, {"e": 1.0}])
    assert names(catalogue, TopK(2).run(batch)) == ["ca", "e"]


RULES = parse_rules(
    [
        {"id": "top", "action": "pin", "item_ids": ["e", "d"], "position": 1, "query": "Red  Shoes"},
        {"id": "more", "action": "boost", "brand": "y", "weight": 3},
        {"id": "less", "action": "bury", "item_ids": ["a"], "weight": 2},
    ]
)


def test_boosts_and_burials_move_the_order_and_leave_the_score(catalogue: Catalogue) -> None:
    after = Merchandise(rule_book(RULES, catalogue)).run(request(catalogue, [FIVE]))
    assert after["boost"].tolist() == [[0.5, 1, 1, 3, 1]]
    assert after["rule"].tolist() == [[2, -1, -1, 1, -1]]
    assert boosted(after).tolist() == [[2.5, 4, 3, 6, 1]]
    assert names(catalogue, Sort(catalogue).run(after)) == ["dbcae"]


def test_a_boost_lifts_a_negative_score_as_well(catalogue: Catalogue) -> None:
    after = Merchandise(rule_book(RULES, catalogue)).run(request(catalogue, [{"d": -6.0, "b": -3.0}]))
    assert boosted(after).tolist() == [[-2, -3]]


def test_no_number_of_rules_multiplies_beyond_three(catalogue: Catalogue) -> None:
    rules = parse_rules([{"id": str(i), "action": "boost", "brand": "x", "weight": 3} for i in range(4)])
    after = Merchandise(rule_book(rules, catalogue)).run(request(catalogue, [FIVE]))
    assert after["boost"].tolist() == [[3, 3, 3, 1, 1]]


def test_a_pinned_item_shows_at_its_place_though_no_channel_found_it(catalogue: Catalogue) -> None:
    book = rule_book(RULES, catalogue)
    batch = request(catalogue, [{"a": 5.0, "b": 4.0}, {"a": 5.0}], normalised=["red shoes", "blue shoes"])
    recalled = Pinned(book).run(batch)
    assert names(catalogue, recalled) == ["abed", "a"]
    assert recalled["channel"][0, 2:].tolist() == [3, 3]
    slate = Pins().run(Merchandise(book).run(recalled))
    assert names(catalogue, slate) == ["aedb", "a"]
    assert slate["rule"][0].tolist() == [2, 0, 0, -1]


def test_a_pinned_item_that_may_not_be_shown_is_not(catalogue: Catalogue) -> None:
    allowed = np.ones(len(catalogue), dtype=bool)
    allowed[catalogue.index["e"]] = False
    batch = request(catalogue, [{"a": 5.0}], normalised=["red shoes"], allowed=[allowed])
    assert names(catalogue, Pinned(rule_book(RULES, catalogue)).run(batch)) == ["ad"]


def test_an_explicit_sort_disables_the_rules(catalogue: Catalogue) -> None:
    batch = request(catalogue, [FIVE], normalised=["red shoes"], sort=["newest"])
    after = Merchandise(rule_book(RULES, catalogue)).run(batch)
    assert after["boost"].tolist() == [[1] * 5]
    assert after["pin"].tolist() == [[-1] * 5]


def every_stage(catalogue: Catalogue) -> list[Stage]:
    book = rule_book(RULES, catalogue)
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    config = RerankConfig(category_at_most=1, brand_at_most=1)
    return [
        Sort(catalogue),
        Diversify(catalogue, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 0.6),
        Windows(catalogue, config),
        TopK(3),
        Pinned(book),
        Merchandise(book),
        Pins(),
    ]


@pytest.mark.parametrize("number", range(7))
def test_keeps_its_promise_and_many_requests_equal_one_at_a_time(catalogue: Catalogue, number: int) -> None:
    stage = every_stage(catalogue)[number]
    batch = request(
        catalogue,
        [FIVE, {"e": 3.0, "b": 3.0}, {"c": 1.0, "d": 2.0, "a": 0.5}],
        normalised=["red shoes", "", "red shoes"],
        sort=["relevance", "price_asc", "relevance"],
    )
    if isinstance(stage, Pins):
        batch = Merchandise(rule_book(RULES, catalogue)).run(batch)
    after = stage.run(batch)
    assert set(after.columns) - set(batch.columns) <= stage.writes
    for row in range(3):
        before, now = ([i for i in b.item[row].tolist() if i >= 0] for b in (batch, after))
        if stage.effect is Effect.ORDER:
            assert set(now) <= set(before)
            assert len(now) == len(set(now))
        elif stage.effect is Effect.SCORE:
            assert now == before
        alone = stage.run(batch.rows(np.array([row])))
        assert [i for i in alone.item[0].tolist() if i >= 0] == now


def judged(gains: list[float]) -> list[Judged]:
    return [Judged(np.array([[3.0, 2.0, 1.0]]), np.array([gains]), np.array([[0, 1, 2]], np.int32))]


TWINS = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)


NOBODY = build_catalogue(frame("item"), pl.Series(["a", "b"]))


def test_takes_the_most_diversity_that_costs_nothing() -> None:
    choice = choose(judged([1, 0, 0]), TWINS, NOBODY, RerankConfig(trades=(0.9, 0.5)))
    assert choice.reordering.trade == 0.5
    assert choice.metrics["chosen_ndcg@10"] == 1.0


def test_stays_with_identity_where_diversity_costs_too_much() -> None:
    choice = choose(judged([0, 1, 0]), TWINS, NOBODY, RerankConfig(trades=(0.5,)))
    assert choice.reordering.trade == 1.0
    assert choice.metrics["trade_ild@10"] == choice.metrics["identity_ild@10"]


def one_brand(gain_at: int) -> tuple[list[Judged], Catalogue]:
    """Four items of one brand and one of another, best first by score; one of them earned something."""
    rows = frame("item", *(item(letter, brand="x" if letter < "e" else "y") for letter in "abcde"))
    catalogue = build_catalogue(rows, rows["item_id"])
    gains = np.zeros((1, 5))
    gains[0, gain_at] = 1.0
    places = np.array([[catalogue.index[letter] for letter in "abcde"]], np.int32)
    return [Judged(np.array([[5.0, 4.0, 3.0, 2.0, 1.0]]), gains, places)], catalogue


@pytest.mark.parametrize(("gain_at", "kept"), [(0, True), (3, False)])
def test_window_rules_are_kept_only_where_they_cost_no_more_than_the_budget(gain_at: int, kept: bool) -> None:
    lists, catalogue = one_brand(gain_at)  # at most 3 of a brand: the other brand's item comes before the fourth
    vectors = np.zeros((len(catalogue), 2), np.float32)
    choice = choose(lists, vectors, catalogue, RerankConfig(trades=()))
    assert choice.reordering == Reordering(1.0, kept)


def test_without_a_positive_gain_nothing_can_be_chosen(tmp_path: Any) -> None:
    metrics = train({"search": judged([0, 0, 0])}, TWINS, NOBODY, RerankConfig(), tmp_path)
    assert metrics["search_trade"] == 1.0
    assert open_reorderings(tmp_path) == {"search": IDENTITY}


def test_distance_within_a_list_is_the_mean_over_its_pairs() -> None:
    # Pairs: twins 0, each twin with the third 1: (0 + 1 + 1) / 3.
    distance = intra_list_distance(np.array([[0, 1, 2]]), np.array([[0, 1, 2]], np.int32), TWINS)
    assert distance == pytest.approx([2 / 3])


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"search": {}}',
        '{"search": {"trade": 2, "windows": true}}',
        '{"search": {"trade": "x", "windows": true}}',
        "[]",
    ],
)
def test_a_damaged_trade_is_an_artifact_error(tmp_path: Any, text: str) -> None:
    (tmp_path / "trade.json").write_text(text)
    with pytest.raises(ArtifactError):
        open_reorderings(tmp_path)


def test_diversity_is_chosen_only_where_it_surely_costs_little(catalogue: Catalogue) -> None:
    # Two likes of one kind ahead: diversity moves the second behind. One in ten of the requests loses by it.
    vectors = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    item = np.tile(np.array([[1, 2, 3]], dtype=np.int32), (10, 1))
    scores = np.tile([[1.0, 0.9, 0.5]], (10, 1))
    gains = np.tile([[1.0, 0.0, 0.0]], (10, 1))
    gains[0] = [0.0, 1.0, 0.0]
    lost = (1 / np.log2(3) - 1 / np.log2(4)) / 10  # of NDCG, on average
    mean = (9 + 1 / np.log2(3)) / 10
    error = 10 * lost * np.sqrt(0.1 * 0.9) / np.sqrt(10)
    for budget, trade in (((lost + 0.9 * error) / mean, 1.0), ((lost + 1.1 * error) / mean, 0.1)):
        config = RerankConfig(budget=budget, trades=(0.1,), category_at_most=5, brand_at_most=5)
        assert choose([Judged(scores, gains, item)], vectors, catalogue, config).reordering.trade == trade
