"""Team draft: fair, complete, credited to who picked; a preference is found where there is one and only there."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.interleaving import NOBODY, A, B, credit, preference, team_draft
from tests.examples import examples

rankings = st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True)


def padded(items: list[int]) -> np.ndarray:
    return np.array([items + [-1] * (8 - len(items))])


def test_two_rankings_without_overlap_alternate() -> None:
    a, b = np.tile([0, 1, 2], (200, 1)), np.tile([5, 6, 7], (200, 1))
    page, owner = team_draft(a, b, 4, np.random.default_rng(0))
    assert {tuple(row) for row in page} == {(0, 5, 1, 6), (0, 5, 6, 1), (5, 0, 1, 6), (5, 0, 6, 1)}
    assert np.array_equal(owner == B, page >= 5)


def test_who_comes_second_takes_its_next_best() -> None:
    # Both like 0 best: the first takes it, the other its second.
    a, b = np.tile([0, 1, 2], (200, 1)), np.tile([0, 2, 1], (200, 1))
    page, owner = team_draft(a, b, 2, np.random.default_rng(0))
    first_a = owner[:, 0] == A
    assert np.all(page[first_a] == [0, 2])
    assert np.all(page[~first_a] == [0, 1])
    assert np.all(np.sort(owner, axis=1) == [A, B])


def test_the_rest_of_the_longer_ranking_is_nobodys() -> None:
    page, owner = team_draft(padded([0]), padded([3, 4, 5]), 4, np.random.default_rng(1))
    assert sorted(page[0]) == [0, 3, 4, 5]
    # After 0 is on the page A has nothing left.
    last = int(np.flatnonzero(page[0] == 0)[0])
    assert np.all(owner[0, last + 1 :] == NOBODY)


@settings(max_examples=examples(80), deadline=None)
@given(rankings, rankings, st.integers(0, 99))
def test_a_page_has_no_item_twice_and_teams_differ_by_one_at_most(a: list[int], b: list[int], seed: int) -> None:
    page, owner = team_draft(padded(a), padded(b), 10, np.random.default_rng(seed))
    shown = page[0][page[0] >= 0]
    assert len(set(shown)) == len(shown) == min(10, len({*a, *b}))
    assert np.all(page[0][len(shown) :] == -1)
    assert abs(int((owner == A).sum()) - int((owner == B).sum())) <= 1
    for side, ranking in ((A, a), (B, b)):
        picks = [ranking.index(item) for item in page[0][owner[0] == side]]
        assert picks == sorted(picks)


@given(rankings, st.integers(0, 99))
@settings(max_examples=examples(30), deadline=None)
def test_a_ranking_against_itself_gives_itself(a: list[int], seed: int) -> None:
    page, _ = team_draft(padded(a), padded(a), 8, np.random.default_rng(seed))
    assert np.array_equal(page, padded(a))


def test_nobody_is_favoured_in_any_slot() -> None:
    # 20,000 pages: a fair share lies within 4 standard errors of one half.
    a, b = np.tile(np.arange(10), (20_000, 1)), np.tile(np.arange(10)[::-1], (20_000, 1))
    _, owner = team_draft(a, b, 6, np.random.default_rng(3))
    share = (owner == B).mean(axis=0)
    assert np.all(np.abs(share - 0.5) < 4 * sqrt(0.25 / 20_000))


def test_credit_and_preference_by_hand() -> None:
    owner = np.array([[A, B, A], [B, A, B], [A, B, NOBODY], [B, A, A]])
    clicks = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    to_a, to_b = credit(owner, clicks)
    assert to_a.tolist() == [2, 0, 0, 0]
    assert to_b.tolist() == [0, 1, 0, 0]
    found = preference(to_a, to_b, seed=0)
    assert (found.wins_a, found.wins_b, found.ties, found.n) == (1, 1, 2, 4)
    assert found.share == 0.5
    assert found.p_value == 1.0


def test_a_person_votes_once() -> None:
    to_a, to_b = np.zeros(12, int), np.ones(12, int)
    assert preference(to_a, to_b, 0).p_value == pytest.approx(2 / 2**12)
    assert preference(to_a, to_b, 0, np.repeat([1, 2, 3], 4)).p_value == pytest.approx(2 / 2**3)


def worlds(runs: int, better: bool) -> list[float]:
    """p values of experiments of 300 people with 2 requests; B puts the one good item first, or both are alike."""
    found = []
    for run in range(runs):
        generator = np.random.default_rng([run, better])
        good = generator.integers(0, 10, 600)
        a = np.argsort(generator.random((600, 10)), axis=1)
        b = np.argsort(generator.random((600, 10)) - 0.5 * better * (np.arange(10) == good[:, None]), axis=1)
        page, owner = team_draft(a, b, 5, generator)
        clicks = generator.random(page.shape) < np.where(page == good[:, None], 0.5, 0.1) / np.arange(1, 6)
        found.append(preference(*credit(owner, clicks), seed=run, subjects=np.repeat(np.arange(300), 2)).p_value)
    return found


def test_a_against_a_is_found_different_in_2_to_8_percent_and_the_better_one_mostly() -> None:
    assert 0.02 <= np.mean(np.array(worlds(200, better=False)) < 0.05) <= 0.08
    assert np.mean(np.array(worlds(40, better=True)) < 0.05) > 0.5
