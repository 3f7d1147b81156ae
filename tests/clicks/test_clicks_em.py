"""EM of examination times attractiveness: one step by hand, and what may never happen."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.clicks import em
from tests.clicks.market_pages import shuffled_pages, step_on_paper
from tests.examples import examples

# Two pages of two places: items 0 and 1, then 1 and 0; a click on item 0 on top, and on item 1 on top.
PAIR, PLACE, CLICKED = [0, 1, 1, 0], [0, 1, 0, 1], [True, False, True, False]
PLAIN = np.zeros(2, dtype=np.int64)


def two_pages() -> em.Patterns:
    return em.patterns_of(np.array(PAIR), np.array(PLACE), np.array(CLICKED), PLAIN, 2)


def test_pairs_of_which_the_same_was_seen_are_one_pattern() -> None:
    patterns = two_pages()
    assert patterns.pairs.tolist() == [2.0]
    assert patterns.clicked.tolist() == [[1.0, 0.0]]
    assert patterns.skipped.tolist() == [[0.0, 1.0]]
    assert patterns.own.tolist() == [0, 0]


def test_a_step_is_that_of_paper() -> None:
    theta, share = np.array([0.8, 0.4]), np.full(len(em.GRID), 1.0 / len(em.GRID))
    fitted = em.fit(two_pages(), theta, share[None], iterations=1)
    posterior, shares = step_on_paper(PAIR, PLACE, CLICKED, theta.tolist(), em.GRID.tolist(), share.tolist())
    assert fitted.share[0] == pytest.approx(shares)
    # No row was skipped at the first place: theta rises to its bound; no click at the second: it falls to 0.
    assert fitted.theta[0] == pytest.approx(1 / em.GRID[-1], rel=1e-5)
    assert fitted.theta[1] == pytest.approx(0.0, abs=1e-8)
    chance = [0.8 * g * (1 - 0.4 * g) / len(em.GRID) for g in em.GRID]
    assert fitted.trace[0] == pytest.approx(2 * np.log(sum(chance)))
    assert posterior[0] == pytest.approx([each / sum(chance) for each in chance])


def test_the_best_theta_solves_its_equation() -> None:
    skipped = np.zeros((1, len(em.GRID)))
    skipped[0, 12] = 30.0
    # 10 clicks = 30 * x / (1 - x) at x = theta * gamma = 1/4.
    assert em.best_theta(np.array([10.0]), skipped)[0] * em.GRID[12] == pytest.approx(0.25)


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.booleans()), min_size=1, max_size=80), st.integers(0, 9)
)
def test_the_likelihood_never_falls(rows: list[tuple[int, int, bool]], seed: int) -> None:
    pair, place, clicked = (np.array(column) for column in zip(*rows, strict=True))
    patterns = em.patterns_of(pair, place, clicked, np.arange(10) % 3, 5)
    trace = em.fit(patterns, *em.random_start(5, 3, np.random.default_rng(seed)), iterations=25).trace
    assert all(after >= before - 1e-7 for before, after in pairwise(trace))


def test_the_order_of_rows_does_not_matter() -> None:
    pages = shuffled_pages(300, np.array([1.0, 0.5, 0.3]), np.linspace(0.1, 0.6, 12), 3)
    mixed = np.random.default_rng(0).permutation(len(pages))
    klass = np.zeros(12, dtype=np.int64)
    start = em.random_start(3, 1, np.random.default_rng(1))
    one, other = (
        em.fit(em.patterns_of(pages.pair[rows], pages.position[rows], pages.clicked[rows], klass, 3), *start)
        for rows in (np.arange(len(pages)), mixed)
    )
    assert other.theta == pytest.approx(one.theta)
    assert other.trace[-1] == pytest.approx(one.trace[-1])


def test_a_pair_that_was_not_seen_is_what_its_class_is() -> None:
    pages = shuffled_pages(200, np.array([1.0, 0.5]), np.full(5, 0.4), 0)
    klass = np.zeros(6, dtype=np.int64)
    patterns = em.patterns_of(pages.pair, pages.position, pages.clicked, klass, 2)
    fitted = em.fit(patterns, *em.random_start(2, 1, np.random.default_rng(0)))
    found = em.attractiveness(patterns, fitted, klass)
    assert found[5] == pytest.approx(float(fitted.share[0] @ em.GRID))
    assert len(found) == 6


def test_a_table_that_does_not_fit_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(em, "MOST", 3)
    pair, place = np.array([0, 1, 1]), np.array([0, 0, 1])
    with pytest.raises(InputError, match="depth"):
        em.patterns_of(pair, place, np.zeros(3), PLAIN, 2)
