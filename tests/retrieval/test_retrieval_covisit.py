"""Co-visits by hand, on a checkerboard, and against counting pair by pair."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ArtifactError
from retrieval.covisit import Neighbours, covisit_scores, item_neighbours

COSINE = {"window": 2, "cap": 100, "most": 3, "damping": (0.5, 0.5), "backward": 1.0}


def neighbours(sequences: list[list[int]], items: int, **options: object) -> Neighbours:
    start = np.cumsum([0, *map(len, sequences)])
    flat = np.array([item for sequence in sequences for item in sequence], dtype=np.int32)
    return item_neighbours(flat, start, items, **{**COSINE, **options})  # type: ignore[arg-type]


def test_near_pairs_weigh_more_and_busy_subjects_less() -> None:
    found = neighbours([[0, 1, 2]], 3)
    iuf = 1 / np.log(4)
    assert found.item[0].tolist() == [1, 2, -1]
    assert found.weight[0] == pytest.approx([iuf / 2, iuf / 3, 0])


def test_popular_items_are_damped_on_both_sides() -> None:
    found = neighbours([[0, 1], [0]], 2, damping=(1.0, 0.5))
    assert found.weight[0, 0] == pytest.approx(1 / 2 / np.log(3) / 2)
    assert found.weight[1, 0] == pytest.approx(1 / 2 / np.log(3) / np.sqrt(2))


def test_what_follows_counts_more_than_what_went_before() -> None:
    found = neighbours([[0, 1]], 2, backward=0.25)
    assert found.weight[1, 0] == pytest.approx(found.weight[0, 0] / 4)
    assert neighbours([[0, 1]], 2, backward=0.0).item.tolist() == [[1, -1, -1], [-1, -1, -1]]


def test_pairs_do_not_cross_subjects_nor_the_window_nor_the_cap() -> None:
    assert neighbours([[0], [1]], 2).item.max() == -1
    assert neighbours([[0, 1, 2, 3]], 4).item[0].tolist() == [1, 2, -1]
    assert neighbours([[0, 1, 2]], 3, cap=2).item[0].tolist() == [-1, -1, -1]


def test_only_the_strongest_neighbours_stay_ties_to_the_smaller_index() -> None:
    sequences = [[4, one] for one in (3, 2, 1)] + [[4, 3]]
    assert neighbours(sequences, 5, most=2).item[4].tolist() == [3, 1]


def test_an_item_is_never_its_own_neighbour() -> None:
    assert neighbours([[0, 0, 0]], 1).item.tolist() == [[-1, -1, -1]]


def test_on_a_checkerboard_neighbours_have_the_same_colour() -> None:
    rng = np.random.default_rng(0)
    sequences = [(2 * rng.permutation(10) + subject % 2).tolist() for subject in range(60)]
    found = neighbours(sequences, 20, most=9, window=10)
    assert (found.item >= 0).all()
    assert (found.item % 2 == np.arange(20)[:, None] % 2).all()


def test_scores_add_over_the_seeds() -> None:
    table = Neighbours(
        np.array([[1, 2], [2, -1], [-1, -1]], np.int32), np.array([[0.5, 0.25], [1.0, 0], [0, 0]], np.float32)
    )
    seeds, strength = np.array([[0, 1], [-1, 9]], dtype=np.int32), np.array([[0.5, 1.0], [1.0, 1.0]])
    row, item, score = covisit_scores(table, seeds, strength)
    assert row.tolist() == [0, 0]
    assert item.tolist() == [1, 2]
    assert score.tolist() == [0.25, 0.125 + 1.0]


def test_what_is_saved_opens_the_same_and_halves_that_differ_are_refused(tmp_path: Path) -> None:
    found = neighbours([[0, 1, 2]], 3)
    found.save(tmp_path)
    opened = Neighbours.open(tmp_path)
    assert np.array_equal(opened.item, found.item)
    assert np.array_equal(opened.weight, found.weight)
    np.save(tmp_path / "weight.npy", found.weight[:1])
    with pytest.raises(ArtifactError, match=r"weight\.npy"):
        Neighbours.open(tmp_path)


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=5), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0])
)
def test_it_agrees_with_counting_pair_by_pair(sequences: list[list[int]], window: int, backward: float) -> None:
    c, n = np.zeros((5, 5)), np.zeros(5)
    for own in sequences:
        for at, one in enumerate(own):
            n[one] += 1
            for gap in range(1, window + 1):
                if at + gap < len(own) and own[at + gap] != one:
                    c[one, own[at + gap]] += 1 / (1 + gap) / np.log(1 + len(own))
                    c[own[at + gap], one] += backward / (1 + gap) / np.log(1 + len(own))
    found = neighbours(sequences, 5, window=window, most=5, backward=backward)
    dense = np.zeros((5, 5))
    left, place = np.nonzero(found.item >= 0)
    dense[left, found.item[left, place]] = found.weight[left, place]
    n = np.maximum(n, 1)
    assert np.allclose(dense, c / np.sqrt(n[:, None] * n[None, :]), atol=1e-6)
    assert (np.diff(found.weight, axis=1) <= 0).all()
