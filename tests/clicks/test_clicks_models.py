"""Click models on pages of which the truth is known, and by hand on pages of two or three items."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from pipeline.metrics.clicks.arrays import moments
from pipeline.metrics.clicks.chain import ChainModel, fit_cascade, fit_simplified
from pipeline.metrics.clicks.dbn import expect, fit_dynamic
from pipeline.metrics.clicks.judge import held_out, judge
from pipeline.metrics.clicks.pages import ShownPages, page_rows
from pipeline.metrics.clicks.position import PositionModel, fit_position, place_classes
from pipeline.metrics.clicks.ubm import BrowsingModel, browsing_cells, fit_browsing
from tests.clicks.market_pages import shuffled_pages

TRUE = np.array([1.0, 0.6, 0.4, 0.25])
GAMMA = np.linspace(0.05, 0.7, 60)


def one_page(*clicked: bool) -> ShownPages:
    return page_rows(np.zeros(len(clicked)), np.arange(len(clicked)), np.arange(len(clicked)), np.array(clicked))


def test_position_and_browsing_models_find_what_shuffled_pages_were_made_with() -> None:
    pages = shuffled_pages(20_000, TRUE, GAMMA, 1)
    assert fit_position(pages, 0).examination(pages) == pytest.approx(TRUE, abs=0.02)
    assert fit_browsing(pages, 0).examination(pages) == pytest.approx(TRUE, abs=0.02)


def test_pairs_seen_once_do_not_make_deep_places_look_good() -> None:
    pages = shuffled_pages(20_000, TRUE, GAMMA, 2)
    alone = page_rows(pages.request, pages.position, np.arange(len(pages)), pages.clicked, np.full(len(pages), 0.01))
    assert fit_position(alone, 0).examination(alone) == pytest.approx(TRUE, abs=0.02)


def test_where_the_logger_ordered_pairs_are_classed_by_their_usual_place() -> None:
    # Pair 0 at place 0, pair 1 at 3 twice, pair 2 on a drawn page only.
    pages = page_rows([0, 1, 2, 3], [0, 3, 3, 1], [0, 1, 1, 2], [False] * 4, [np.nan, np.nan, np.nan, 0.5])
    assert place_classes(pages).tolist() == [1, 5, 0]


def test_a_browsing_cell_is_the_place_and_the_last_click_above() -> None:
    # Clicks at 0 and 2: the last click above is none, 0, 0, 2, thus columns 0, 1, 1, 3 of rows 0, 1, 2, 3.
    assert browsing_cells(one_page(True, False, True, False)).tolist() == [0, 1 + 1, 3 + 1, 6 + 3]


def test_the_browsing_model_walks_all_ways_down_the_page() -> None:
    pages = one_page(True, False)
    cells = fit_position(pages, 0)
    # Cells (0, none), (1, none), (1, click at 0); attractiveness 1/2 and 1.
    model = BrowsingModel(PositionModel(np.array([0.8, 0.5, 0.9]), np.array([0.5, 1.0]), cells.fitted), 2)
    assert model.marginal(pages) == pytest.approx([0.4, 0.6 * 0.5 + 0.4 * 0.9])
    assert model.conditional(pages) == pytest.approx([0.4, 0.9])
    assert model.examination(pages) == pytest.approx([1.0, 0.66 / 0.8])


def test_the_cascade_stops_at_the_first_click() -> None:
    # Item 0 clicked 3 of 4 times on top; item 1 was reached once, and clicked.
    request, position, pair = np.repeat(range(4), 2), np.tile([0, 1], 4), np.tile([0, 1], 4)
    pages = page_rows(request, position, pair, [True, False, True, True, True, False, False, True])
    model = fit_cascade(pages)
    mean, strength = moments(np.array([3.0, 1.0]), np.array([4, 1]))
    assert mean == pytest.approx(4 / 5)
    assert model.attract == pytest.approx(
        [(3 + mean * strength) / (4 + strength), (1 + mean * strength) / (1 + strength)]
    )
    assert model.examination(pages) == pytest.approx([1.0, 1.0 - model.attract[0]])


def chain() -> ChainModel:
    return ChainModel(np.array([0.5, 0.4, 0.2]), np.array([0.6, 0.3, 0.1]), 0.9)


def test_a_chain_foretells_by_hand() -> None:
    pages = one_page(True, False, False)
    assert chain().marginal(pages)[:2] == pytest.approx([0.5, (1 - 0.5 * 0.6) * 0.9 * 0.4])
    reached = (1 - 0.6) * 0.9
    after = reached * (1 - 0.4) * 0.9 / (1 - reached * 0.4)
    assert chain().conditional(pages) == pytest.approx([0.5, reached * 0.4, after * 0.2])


def test_the_likelihood_of_the_network_is_the_product_of_its_conditionals() -> None:
    for clicks in ((True, False, False), (False, False, False), (True, False, True), (False, True, False)):
        pages = one_page(*clicks)
        each = chain().conditional(pages)
        last = np.array([max((i for i, click in enumerate(clicks) if click), default=-1)])
        found = expect(np.array([[0, 1, 2]]), np.array([clicks]), last, chain())
        assert found.likelihood == pytest.approx(np.log(np.where(clicks, each, 1 - each)).sum())


def chain_pages(pages: int, seed: int) -> tuple[ShownPages, ChainModel]:
    rng = np.random.default_rng(seed)
    true = ChainModel(rng.uniform(0.1, 0.5, 40), rng.uniform(0.2, 0.8, 40), 0.8)
    pair = np.argsort(rng.random((pages, 40)), axis=1)[:, :6]
    looked, clicks = np.ones(pages, dtype=bool), []
    for place in range(6):
        click = looked & (rng.random(pages) < true.attract[pair[:, place]])
        content = click & (rng.random(pages) < true.satisfy[pair[:, place]])
        looked = looked & ~content & (rng.random(pages) < true.persevere)
        clicks.append(click)
    clicked = np.stack(clicks, axis=1).ravel()
    return page_rows(np.repeat(np.arange(pages), 6), np.tile(np.arange(6), pages), pair.ravel(), clicked), true


def test_the_network_finds_its_own_parameters_and_its_posterior_never_falls() -> None:
    pages, true = chain_pages(20_000, 0)
    found = fit_dynamic(pages, 1)
    assert found.persevere == pytest.approx(0.8, abs=0.03)
    assert found.examination(pages) == pytest.approx(true.examination(pages), abs=0.02)
    assert all(after >= before - 1e-6 for before, after in pairwise(found.trace))


def test_perplexity_and_likelihood_by_hand() -> None:
    # Chances 1/2 on top, (1/2 * 1/2) below: without a click above the second was reached surely.
    model = ChainModel(np.array([0.5, 0.5]), np.ones(2), 1.0)
    verdict = judge(model, one_page(False, True))
    assert verdict.by_position == pytest.approx([2.0, 4.0])
    assert verdict.perplexity == pytest.approx(3.0)
    assert verdict.log_likelihood == pytest.approx(np.log(0.5))


Fit = Callable[[ShownPages, int], PositionModel | ChainModel]


def test_held_out_pages_choose_the_model_that_made_them() -> None:
    shuffled, chained = shuffled_pages(6_000, TRUE, GAMMA, 5), chain_pages(6_000, 5)[0]
    fits: tuple[Fit, Fit] = fit_position, fit_dynamic
    for pages, better in ((shuffled, 0), (chained, 1)):
        learn, test = held_out(pages, 0.25, 0)
        found = [judge(fit(learn, 0), test).log_likelihood for fit in fits]
        assert int(np.argmax(found)) == better


def test_the_simplified_network_counts_what_stands_up_to_the_last_click() -> None:
    # Clicks at 0 and 1 of three: satisfied by 1, not by 0, and the last item was not looked at.
    model = fit_simplified(one_page(True, True, False))
    assert model.persevere == 1.0
    assert model.satisfy[1] > model.satisfy[0]
