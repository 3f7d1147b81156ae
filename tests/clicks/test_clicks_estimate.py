"""What is reported and what is refused; swaps, grids, intervals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.clicks.arrays import dense
from pipeline.metrics.clicks.estimate import METHODS, disagreement, estimate_examination
from pipeline.metrics.clicks.explored import position_ratios
from pipeline.metrics.clicks.grid import collapse
from pipeline.metrics.clicks.harvest import shared_clicks, strengths
from pipeline.metrics.clicks.identify import components, links, spelled, unlinked
from pipeline.metrics.clicks.intervals import around, jackknife, smooth
from pipeline.metrics.clicks.pages import ShownPages, page_rows
from pipeline.metrics.clicks.position import fit_position
from tests.clicks.market_pages import shuffled_pages
from tests.examples import examples

TRUE = np.array([1.0, 0.6, 0.4, 0.25])
GAMMA = np.linspace(0.05, 0.7, 60)


@pytest.mark.parametrize("method", ["explored", "swaps", "pbm", "ubm"])
def test_what_the_pages_were_made_with_lies_in_the_interval(method: str) -> None:
    found = estimate_examination(shuffled_pages(20_000, TRUE, GAMMA, 4, mark=True), method, starts=2)["all"]
    assert found.refused == ""
    assert found.ratios == pytest.approx(TRUE, abs=0.03)
    assert found.ratios[0] == found.low[0] == found.high[0] == 1.0
    assert (found.low <= TRUE).all()
    assert (found.high >= TRUE).all()


def still_pages(pages: int = 4_000) -> ShownPages:
    """Each pair at one place, on every page."""
    rng = np.random.default_rng(0)
    clicked = rng.random((pages, 3)) < np.array([0.3, 0.2, 0.1])
    place = np.tile(np.arange(3), pages)
    return page_rows(np.repeat(np.arange(pages), 3), place, place, clicked.ravel())


@pytest.mark.parametrize("method", [each for each in METHODS if each != "explored"])
def test_where_every_pair_keeps_its_place_nothing_is_reported(method: str) -> None:
    found = estimate_examination(still_pages(), method)["all"]
    assert found.refused.startswith("positions fall into 3 parts")
    assert not len(found.ratios)
    assert not len(found.low)


def test_two_parts_that_share_no_pair_are_named() -> None:
    rng = np.random.default_rng(0)
    swap = rng.random(4_000) < 0.5
    pair = np.stack([swap, ~swap, 2 + swap, 3 - swap], axis=1).astype(np.int64)
    clicked = rng.random(pair.shape) < 0.3
    pages = page_rows(np.repeat(np.arange(4_000), 4), np.tile(np.arange(4), 4_000), pair.ravel(), clicked.ravel())
    assert estimate_examination(pages, "pbm")["all"].refused.endswith(": 0-1; 2-3")


def test_explored_pages_without_clicks_enough_are_not_enough() -> None:
    pages = shuffled_pages(60, TRUE, GAMMA, 1, mark=True)
    assert "fewer than 25 clicks at positions" in estimate_examination(pages, "explored")["all"].refused
    unmarked = shuffled_pages(2_000, TRUE, GAMMA, 1)
    assert estimate_examination(unmarked, "explored")["all"].refused


def test_auto_takes_explored_pages_where_there_are_enough_and_else_the_model() -> None:
    assert estimate_examination(shuffled_pages(3_000, TRUE, GAMMA, 1, mark=True))["all"].method == "explored"
    assert estimate_examination(shuffled_pages(3_000, TRUE, GAMMA, 1), starts=2)["all"].method == "pbm"


def test_each_surface_is_found_by_itself_and_all_together_on_demand() -> None:
    pages = shuffled_pages(6_000, TRUE, GAMMA, 1, mark=True)
    rows = np.arange(len(pages)) >= 12_000
    both = ShownPages(*(getattr(pages, name) for name in ("request", "position", "pair", "clicked", "chance")),
                      rows.astype(np.int64), pages.subject, ("home", "search"), pages.pairs)  # fmt: skip
    found = estimate_examination(both, "explored")
    assert set(found) == {"home", "search"}
    assert found["home"].ratios[1] != found["search"].ratios[1]
    assert set(estimate_examination(both.together(), "explored")) == {"all"}


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(InputError, match="method"):
        estimate_examination(still_pages(), "guess")


def test_starts_that_differ_by_more_than_a_twentieth_disagree() -> None:
    assert disagreement(np.array([[1.0, 0.500], [1.0, 0.520]])) == ""
    told = disagreement(np.array([[1.0, 0.50, 0.20], [1.0, 0.51, 0.30]]))
    assert told == "2 starts disagree by more than 5% at positions 2: from 0.200 to 0.300 at position 2"


def test_a_place_repeated_within_a_request_is_an_error() -> None:
    with pytest.raises(InputError, match="position"):
        page_rows([0, 0], [1, 1], [0, 1], [False, False])


def test_links_count_the_clicks_of_pairs_seen_at_both() -> None:
    # Pair 0 at 0 (2 clicks) and at 1 (1 click); pair 1 at 1 and 2, never clicked.
    pair, place, clicked = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2]), np.array([1, 1, 1, 0, 0])
    assert links(pair, place, clicked, 3).tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]
    assert components(links(pair, place, clicked, 3), least=3).tolist() == [0, 0, 1]
    assert components(links(pair, place, clicked, 3), least=4).tolist() == [0, 1, 2]
    assert unlinked(np.repeat(pair, 10), np.repeat(place, 10), np.repeat(clicked, 10), 3).endswith(": 0-1; 2")


def test_positions_are_spelled_in_runs() -> None:
    assert spelled(np.array([0, 1, 2, 5, 7, 8])) == "0-2, 5, 7-8"


def test_swaps_by_hand() -> None:
    # One pair: shown 2 times at 0 (1 click) and 6 times at 1 (2 clicks): weights 6/8 and 2/8, so 3/4 against 1/2.
    pair, place = np.zeros(8, dtype=np.int64), np.repeat([0, 1], [2, 6])
    shared = shared_clicks(pair, place, np.array([1, 0, 1, 1, 0, 0, 0, 0]), 2)
    assert shared.tolist() == [[0.0, 0.75], [0.5, 0.0]]
    theta = strengths(shared)
    # Click rates 1/2 and 1/3 of the same pair.
    assert theta[1] / theta[0] == pytest.approx((1 / 3) / (1 / 2))


def test_a_pair_at_one_place_is_no_swap() -> None:
    pages = still_pages(50)
    assert not shared_clicks(pages.pair, pages.position, pages.clicked, 3).any()


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=6))
def test_swaps_that_fit_together_are_solved_exactly(theta: list[float]) -> None:
    true = np.array(theta)
    shared = true[:, None] * (1.0 - np.eye(len(true)))
    found = strengths(shared)
    assert found / found[0] == pytest.approx(true / true[0], rel=1e-4)


def test_a_grid_that_is_a_product_is_taken_apart() -> None:
    row, column = np.array([1.0, 0.5, 0.2]), np.array([1.0, 0.8])
    found = collapse(np.outer(row, column).ravel(), 2)
    assert found.row == pytest.approx(row)
    assert found.column == pytest.approx(column)
    assert found.worst == pytest.approx(0.0, abs=1e-9)


def test_a_grid_says_how_far_it_is_from_a_product_and_may_end_within_a_row() -> None:
    assert collapse(np.array([1.0, 0.5, 0.5, 0.5]), 2).worst > 0.1
    assert len(collapse(np.array([1.0, 0.8, 0.5]), 2).row) == 2
    with pytest.raises(InputError, match="columns"):
        collapse(np.array([1.0, 0.8]), 3)


def test_ratios_without_a_prior_are_plain() -> None:
    position, clicked = np.repeat([0, 1], 100), np.concatenate([np.arange(100) < 40, np.arange(100) < 10])
    assert position_ratios(position, clicked, np.ones(200), 0.0) == pytest.approx([1.0, 0.25])


def test_smoothing_finds_the_power_law_and_leaves_alone_what_is_sure() -> None:
    law = np.arange(1, 9.0) ** -0.7
    noise = np.append(0.0, np.random.default_rng(0).normal(0, 0.1, 7))
    wide = np.diag(np.append(0.0, np.full(7, 0.01)))
    found = smooth(law * np.exp(noise), wide)
    assert found.exponent == pytest.approx(0.7, abs=0.05)
    assert np.abs(found.ratios - law).max() < np.abs(law * np.exp(noise) - law).max() / 2
    cliff = np.array([1.0, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert smooth(cliff, wide / 1e4).ratios == pytest.approx(cliff, rel=0.01)


def test_an_interval_is_symmetric_in_logarithms() -> None:
    low, high = around(np.array([1.0, 0.5]), np.diag([0.0, 0.04]))
    assert low[0] == high[0] == 1.0
    assert low[1] * high[1] == pytest.approx(0.25)


def test_without_links_starts_end_in_different_places_so_that_they_would_have_told_as_well() -> None:
    pages = still_pages()
    found = np.stack([fit_position(pages, seed).examination(pages) for seed in range(3)])
    assert "starts disagree" in disagreement(found)


def test_starts_agree_where_pages_were_shuffled() -> None:
    pages = shuffled_pages(5_000, TRUE, GAMMA, 1)
    found = np.stack([fit_position(pages, seed).examination(pages) for seed in range(3)])
    assert disagreement(found) == ""
    assert found[1] == pytest.approx(found[0], rel=0.01)


def looked_at_by(subject: np.ndarray) -> ShownPages:
    """3,000 shuffled pages, each of the subject given `[3000]`."""
    pages = shuffled_pages(3_000, np.array([1.0, 0.6, 0.4]), np.full(6, 0.5), seed=1)
    return replace(pages, subject=dense(subject[pages.request]))


@pytest.mark.parametrize("method", ["swaps", "pbm", "ubm", "dbn", "sdbn", "cascade"])
@pytest.mark.parametrize("subjects", [1, 2, 19])
def test_clicks_of_a_few_subjects_say_nothing_of_others(method: str, subjects: int) -> None:
    found = estimate_examination(looked_at_by(np.arange(3_000) % subjects), method)["all"]
    assert found.refused == (
        f"clicks of fewer than 20 subjects at positions 0-2 ({subjects} at the fewest): no interval holds"
    )
    assert not len(found.ratios)


def test_twenty_subjects_are_enough_and_one_who_is_almost_everybody_makes_it_unsure() -> None:
    many = estimate_examination(looked_at_by(np.arange(3_000) % 20), "swaps")["all"]
    assert not many.refused
    one = np.where(np.arange(3_000) % 50 > 0, 0, np.arange(3_000))
    lone = estimate_examination(looked_at_by(one), "swaps")["all"]
    assert lone.refused or (lone.high / lone.low)[1:].min() > (many.high / many.low)[1:].max()


@pytest.mark.parametrize("method", METHODS)
def test_the_only_position_is_1_by_definition(method: str) -> None:
    request = np.arange(40)
    found = estimate_examination(page_rows(request, request * 0, request % 3, request % 4 > 0), method)["all"]
    assert not found.refused
    assert found.ratios.tolist() == found.low.tolist() == found.high.tolist() == [1.0]


def test_a_position_that_only_one_group_was_shown_is_as_unsure_as_can_be() -> None:
    pages = looked_at_by(np.arange(3_000) % 100)
    deep = pages.take((pages.position < 2) | (pages.subject == 0))
    assert np.sqrt(jackknife(deep, lambda some: np.ones(some.places), seed=0)[2, 2]) > 4.0
