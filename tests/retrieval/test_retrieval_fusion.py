"""Fusion by hand, and what it may never do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fusion import collapse, rrf


def test_reciprocal_ranks_add_up() -> None:
    assert rrf([1, 2], [1.0, 1.0]) == 1 / 61 + 1 / 62


def test_a_channel_that_did_not_find_the_item_adds_nothing() -> None:
    assert rrf([[3, -1], [np.nan, 4]], [1.0, 0.5]).tolist() == [1 / 63, 0.5 / 64]


def test_a_larger_constant_flattens_the_ranks() -> None:
    first, second = rrf([[1], [2]], [1.0], k0=9)
    assert (first, second) == (1 / 10, 1 / 11)


def test_an_item_keeps_its_best_place_and_every_rank() -> None:
    item = np.array([[7, 3, 7, -1]], dtype=np.int32)
    best, ranks = collapse(item, np.array([[0, 0, 1, 1]]), np.array([[4, 5, 2, 0]]), 2)
    assert best.tolist() == [[1, 2]]
    assert ranks.tolist() == [[[6, -1], [5, 3]]]


def test_nothing_found_collapses_to_nothing() -> None:
    none = np.full((2, 3), -1, dtype=np.int32)
    best, ranks = collapse(none, np.zeros((2, 3), int), np.zeros((2, 3), int), 4)
    assert best.shape == (2, 0)
    assert ranks.shape == (2, 0, 4)


rows = st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=12)


@given(st.lists(rows, min_size=1, max_size=4))
def test_every_item_stands_once_with_its_best_rank(lists: list[list[tuple[int, int, int]]]) -> None:
    width = max(map(len, lists))
    padded = np.array([row + [(-1, 0, 0)] * (width - len(row)) for row in lists])
    item, channel, rank = padded[..., 0].astype(np.int32), padded[..., 1], padded[..., 2]
    best, ranks = collapse(item, channel, rank, 4)
    for row, own in enumerate(lists):
        places = best[row][best[row] >= 0]
        assert item[row, places].tolist() == sorted({one for one, _, _ in own if one >= 0})
        for place, found in zip(places, ranks[row], strict=False):
            expected = [
                min((r + 1 for i, c, r in own if i == item[row, place] and c == number), default=-1)
                for number in range(4)
            ]
            assert found.tolist() == expected
            assert rank[row, place] + 1 == min(r for r in expected if r > 0)
