"""How many lists a search looks through: by arithmetic, and against exact search under a filter that takes a region."""

from pathlib import Path

import numpy as np
import pytest

from retrieval import vectors as vectors_module
from retrieval.nearest import Exact
from retrieval.probing import Probing, stepped
from retrieval.vectors import Inverted, build_index, open_index
from tests.retrieval.vector_indexes import LISTS, queries_of, vectors_of

pytest.importorskip("faiss").omp_set_num_threads(1)

# Ten lists of ten items each, in one row: item i lives in list i // 10, and a query of [1] has list 9 nearest.
HOME = np.arange(100) // 10
CENTROIDS = np.arange(10, dtype=np.float32)[:, None]
QUERY = np.ones((1, 1), np.float32)


@pytest.fixture(autouse=True)
def filters_are_met_by_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index as small as a test can afford would look at each allowed item."""
    monkeypatch.setattr(vectors_module, "_FEW_ITEMS", 0)


def probing(*probes: tuple[float, int]) -> Probing:
    return Probing.of(CENTROIDS, HOME, probes, depth=5)


def test_between_measured_shares_the_lists_lie_on_a_line_of_logarithms() -> None:
    measured = probing((1.0, 1), (0.01, 9))
    assert [measured.wanted(share, 5) for share in (1.0, 0.1, 0.01, 0.001)] == [1, 3, 9, 9]


def test_twice_as_many_items_lie_as_deep_as_under_half_the_share() -> None:
    measured = probing((1.0, 2), (0.1, 8))
    assert measured.wanted(1.0, 50) == measured.wanted(0.1, 5) == 8
    assert measured.wanted(1.0, 3) == 2


def test_a_filter_that_empties_the_nearest_lists_is_followed_to_those_it_fills() -> None:
    two = probing((1.0, 2), (0.1, 8))
    assert two.lists(QUERY, HOME >= 8, 0.2, 5).tolist() == [2]
    # Lists 9 to 5 hold nothing; 4 and 3 are full, and two full lists are what was measured to be enough.
    assert two.lists(QUERY, HOME <= 4, 0.5, 5).tolist() == [8]
    assert two.lists(-QUERY, HOME <= 4, 0.5, 5).tolist() == [2]


def test_a_filter_the_sample_does_not_see_looks_everywhere() -> None:
    assert probing((1.0, 2)).lists(QUERY, np.zeros(100, dtype=bool), 0.001, 5).tolist() == [10]


def test_counts_are_rounded_up_by_at_most_a_half() -> None:
    assert stepped(np.array([1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 25])).tolist() == [1, 2, 3, 4, 6, 6, 8, 12, 16, 24, 32]


@pytest.mark.parametrize("share", [0.3, 0.1])
def test_a_filter_that_takes_one_region_keeps_the_recall(share: float, tmp_path: Path) -> None:
    vectors, queries = vectors_of(4_000), queries_of(100)
    build_index(vectors, LISTS, tmp_path, queries)
    index = open_index(tmp_path, "cpu")
    assert isinstance(index, Inverted)
    region = np.argsort(np.argsort(-(vectors @ vectors[0]))) < share * len(vectors)
    found = index.search(queries, 100, [region] * 100)[1]
    truth = Exact.of(vectors).search(queries, 100, [region] * 100)[1]
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True))
    assert hits / truth.size >= 0.9
