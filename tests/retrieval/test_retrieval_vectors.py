"""The contract of a vector index, over every kind of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import vectors as vectors_module
from retrieval.nearest import Exact, VectorIndex, extended
from tests.examples import examples
from tests.retrieval.vector_indexes import DIM, EXACT, KINDS, brute_force, in_threads, index_of, queries_of, vectors_of

faiss = pytest.importorskip("faiss")
faiss.omp_set_num_threads(1)  # threads that wait for each other take minutes on a busy machine

SIZE = 1_000
no_gpu = pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="Faiss sees no GPU")
no_cuvs = pytest.mark.skipif("CUVS" not in faiss.get_compile_options().upper(), reason="Faiss is built without cuVS")
MARKS = {"gpu flat": [no_gpu], "gpu ivf": [no_gpu], "gpu cagra": [no_gpu, no_cuvs]}
VECTORS = vectors_of(SIZE)
RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def filters_are_met_by_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index as small as a test can afford would look at each allowed item."""
    monkeypatch.setattr(vectors_module, "_FEW_ITEMS", 0)


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=MARKS.get(kind, ())) for kind in KINDS])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, VectorIndex]:
    return request.param, index_of(request.param, VECTORS, tmp_path_factory.mktemp("index"))


def test_an_exact_index_finds_what_brute_force_finds_and_the_others_nearly_all(built: tuple[str, VectorIndex]) -> None:
    kind, index = built
    queries = queries_of(40)
    score, item = index.search(queries, 20)
    true_score, true_item = brute_force(VECTORS, queries, 20)
    if kind in EXACT:
        np.testing.assert_array_equal(item, true_item)
        np.testing.assert_allclose(score, true_score, atol=1e-6)
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(item, true_item, strict=True))
    assert hits / item.size >= 0.9
    assert score.dtype == np.float32
    assert item.dtype == np.int32


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02, 0.004, 0.0])
def test_a_filter_is_never_violated_and_never_leaves_a_request_short(
    built: tuple[str, VectorIndex], share: float
) -> None:
    kind, index = built
    queries = queries_of(12)
    masks = [RNG.random(SIZE) < share for _ in range(3)]
    allowed = [masks[row % 3] for row in range(12)]
    score, item = index.search(queries, 30, allowed)
    true_score, true_item = brute_force(VECTORS, queries, 30, allowed)
    for row, mask in enumerate(allowed):
        found = item[row][item[row] >= 0]
        assert mask[found].all()
        assert len(set(found.tolist())) == len(found) == min(30, np.count_nonzero(mask))
        assert (np.diff(score[row][: len(found)]) <= 0).all()
    np.testing.assert_array_equal(item < 0, score == -np.inf)
    if kind in EXACT or share < 0.01:
        np.testing.assert_array_equal(item, true_item)
        np.testing.assert_allclose(score, true_score, atol=1e-6)


def test_one_request_finds_bit_for_bit_what_a_batch_finds(built: tuple[str, VectorIndex]) -> None:
    _, index = built
    queries = queries_of(32)
    masks = [RNG.random(SIZE) < 0.5, np.ones(SIZE, dtype=bool)]
    allowed = [masks[row % 2] for row in range(32)]
    batch = index.search(queries, 25, allowed)
    for row in range(32):
        alone = index.search(queries[row : row + 1], 25, [allowed[row]])
        np.testing.assert_array_equal(alone[0][0], batch[0][row])
        np.testing.assert_array_equal(alone[1][0], batch[1][row])


def test_more_wanted_than_there_are_ends_in_nothing(built: tuple[str, VectorIndex]) -> None:
    _, index = built
    score, item = index.search(queries_of(2), SIZE + 7)
    np.testing.assert_array_equal(np.sort(item[:, :SIZE], axis=1), np.tile(np.arange(SIZE), (2, 1)))
    assert (item[:, SIZE:] == -1).all()
    assert (score[:, SIZE:] == -np.inf).all()


def test_no_requests_get_no_rows(built: tuple[str, VectorIndex]) -> None:
    _, index = built
    for allowed in (None, []):
        score, item = index.search(np.empty((0, DIM), np.float32), 5, allowed)
        assert score.shape == item.shape == (0, 5)


@pytest.mark.parametrize("kind", ["exact", "device", "ivf"])
def test_an_index_of_nothing_finds_nothing(kind: str, tmp_path: Path) -> None:
    index = index_of(kind, np.empty((0, DIM), np.float32), tmp_path)
    _, item = index.search(queries_of(3), 4, [np.ones(0, dtype=bool)] * 3)
    assert (item == -1).all()
    assert index.size == 0


def test_eight_threads_at_once_get_the_answers_of_one(built: tuple[str, VectorIndex]) -> None:
    _, index = built
    queries = queries_of(64)
    mask = RNG.random(SIZE) < 0.6
    want = index.search(queries, 10, [mask] * 64)[1]

    def work(number: int) -> None:
        for row in range(number, 64, 8):
            np.testing.assert_array_equal(index.search(queries[row : row + 1], 10, [mask])[1][0], want[row])

    assert in_threads(8, work) == []


def test_an_index_gives_back_the_vectors_it_was_built_from(built: tuple[str, VectorIndex]) -> None:
    _, index = built
    some = np.array([0, SIZE - 1, 7, 7, SIZE // 2])
    np.testing.assert_array_equal(index.reconstruct(some), VECTORS[some])
    assert (index.size, index.dim) == (SIZE, DIM)
    assert index.describe()["kind"]


@pytest.mark.parametrize(
    ("queries", "k", "allowed", "reason"),
    [
        (np.ones((2, DIM + 1), np.float32), 5, None, "shape"),
        (np.full((2, DIM), np.nan, np.float32), 5, None, "finite"),
        (np.ones((2, DIM), np.float32), 0, None, "at least 1"),
        (np.ones((2, DIM), np.float32), 5, [np.ones(SIZE, dtype=bool)], "2 masks"),
        (np.ones((1, DIM), np.float32), 5, [np.ones(SIZE - 1, dtype=bool)], "shape"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(built, queries, k, allowed, reason) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        built[1].search(queries, k, allowed)


@pytest.mark.parametrize("kind", EXACT[:3])
def test_among_equal_items_the_smaller_come_first(kind: str, tmp_path: Path) -> None:
    same = np.repeat(vectors_of(3), [300, 5, 200], axis=0)
    index = index_of(kind, same, tmp_path)
    _, item = index.search(same[:1], 40)
    np.testing.assert_array_equal(item[0], np.arange(40))


def test_live_items_are_found_beside_the_others_and_the_old_index_stays_as_it_was() -> None:
    first = Exact.of(VECTORS[:600])
    second = extended(first, VECTORS[600:800])
    third = extended(second, VECTORS[800:])
    queries = queries_of(10)
    for index in (first, second, third):
        np.testing.assert_array_equal(index.search(queries, 30)[1], brute_force(VECTORS[: index.size], queries, 30)[1])
    assert [first.size, second.size, third.size] == [600, 800, 1_000]
    assert extended(third, np.empty((0, DIM), np.float32)) is third
    with pytest.raises(ValueError, match="finite"):
        extended(first, np.full((1, DIM), np.inf, np.float32))


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_whole_numbers_leave_no_room_for_rounding(data: st.DataObject) -> None:
    size, k = data.draw(st.integers(0, 40)), data.draw(st.integers(1, 45))
    seed = data.draw(st.integers(0, 1_000))
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (size, 3)).astype(np.float32)
    queries = rng.integers(-2, 3, (4, 3)).astype(np.float32)
    masks = [rng.random(size) < share for share in (0.1, 0.8)]
    allowed = [masks[row % 2] for row in range(4)]
    for got, want in zip(
        Exact.of(vectors).search(queries, k, allowed), brute_force(vectors, queries, k, allowed), strict=True
    ):
        np.testing.assert_array_equal(got, want)
