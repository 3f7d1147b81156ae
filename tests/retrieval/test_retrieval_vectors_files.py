"""What is written, and what is refused when it is read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtifactError, ConfigError, InputError
from retrieval import vectors as vectors_module
from retrieval.nearest import Exact
from retrieval.vectors import Inverted, VectorConfig, build_index, open_index
from tests.retrieval.vector_indexes import DIM, LISTS, brute_force, queries_of, vectors_of

faiss = pytest.importorskip("faiss")
faiss.omp_set_num_threads(1)  # threads that wait for each other take minutes on a busy machine

VECTORS = vectors_of(2_000)


@pytest.fixture(autouse=True)
def filters_are_met_by_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index as small as a test can afford would look at each allowed item."""
    monkeypatch.setattr(vectors_module, "_FEW_ITEMS", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    build_index(VECTORS, LISTS, folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(whole, tmp_path / "index")


def test_a_small_catalogue_is_searched_exactly_without_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ConfigError("faiss", "install one")

    monkeypatch.setattr(vectors_module, "_faiss", missing)
    metrics = build_index(VECTORS, VectorConfig(), tmp_path)
    index = open_index(tmp_path)
    assert isinstance(index, Exact)
    assert metrics["recall@100"] == 1.0
    np.testing.assert_array_equal(index.search(queries_of(5), 9)[1], brute_force(VECTORS, queries_of(5), 9)[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.json", "vectors.npy"]


def test_the_same_vectors_give_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    build_index(VECTORS, LISTS, again)
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["index.faiss", "index.json", "vectors.npy"]
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_as_many_lists_are_looked_through_as_the_recall_needs(tmp_path_factory: pytest.TempPathFactory) -> None:
    probes = {}
    for goal in (0.5, 0.95, 1.0):
        folder = tmp_path_factory.mktemp("goal")
        metrics = build_index(VECTORS, VectorConfig(exact_below=0, recall_goal=goal), folder, queries_of(50))
        about = json.loads((folder / "index.json").read_text())
        assert metrics["recall@100"] == about["recall"] >= goal
        probes[goal] = [count for _, count in about["probes"]]
        assert probes[goal] == sorted(probes[goal])
    assert probes[0.5][0] < probes[0.95][0] < probes[1.0][0]


@pytest.mark.parametrize("share", [1.0, 0.3, 0.05])
def test_the_recall_holds_on_other_queries_and_other_filters(tmp_path: Path, share: float) -> None:
    build_index(VECTORS, LISTS, tmp_path, queries_of(200))
    index = open_index(tmp_path, "cpu")
    queries = vectors_of(100, seed=5)
    allowed = [np.random.default_rng(9).random(len(VECTORS)) < share] * 100
    found, truth = index.search(queries, 50, allowed)[1], Exact.of(VECTORS).search(queries, 50, allowed)[1]
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True))
    assert hits / truth.size >= 0.9


def test_a_filter_far_from_the_query_is_still_answered_in_full(folder: Path) -> None:
    index = open_index(folder, "cpu")
    query = VECTORS[:1]
    far = np.argsort(VECTORS @ query[0])[:100]
    mask = np.isin(np.arange(len(VECTORS)), far)
    assert isinstance(index, Inverted)
    np.testing.assert_array_equal(index.search(query, 60, [mask])[1], brute_force(VECTORS, query, 60, [mask])[1])


def test_more_wanted_or_fewer_allowed_looks_through_more_lists(folder: Path) -> None:
    index = open_index(folder, "cpu")
    assert isinstance(index, Inverted)
    counts = [index.probing.wanted(share, 100) for share in (1.0, 0.5, 0.1, 0.03, 0.001)]
    assert counts == sorted(counts)
    assert counts[0] == index.about.probes[0][1]
    assert index.probing.wanted(1.0, 1_000) == index.probing.wanted(0.1, 100) == index.about.probes[1][1]


@pytest.mark.parametrize("bad", [np.ones(3, np.float32), np.full((3, DIM), np.nan, np.float32), np.ones((3, 0))])
def test_what_is_no_table_of_finite_numbers_is_not_indexed(bad: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite"):
        build_index(bad, LISTS, tmp_path)


DESCRIPTIONS = {
    "unknown key": {"extra": 1},
    "negative size": {"size": -1},
    "another size": {"size": len(VECTORS) - 1},
    "more lists than there are": {"probes": [[1.0, 1_000_000]]},
    "no probes": {"probes": []},
    "shares that rise": {"probes": [[0.1, 1], [1.0, 1]]},
}
LISTS_FILES = "cut short", "not Faiss", "missing", "another kind", "another metric", "doubled items"


def odd_index(how: str, lists: int):  # type: ignore[no-untyped-def]
    if how == "another kind":
        index = faiss.IndexFlatIP(DIM)
        index.add(np.concatenate([VECTORS, VECTORS[: lists + 200]]))
        return index
    metric = faiss.METRIC_L2 if how == "another metric" else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFFlat(faiss.IndexFlat(DIM, metric), DIM, lists, metric)
    index.cp.min_points_per_centroid = 1
    index.train(VECTORS)
    index.add_with_ids(VECTORS, np.arange(len(VECTORS)) // 2)
    return index


@pytest.mark.parametrize("how", DESCRIPTIONS)
def test_a_description_of_no_index_is_refused(folder: Path, how: str) -> None:
    about = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**about, **DESCRIPTIONS[how]}))
    with pytest.raises(ArtifactError):
        open_index(folder, "cpu")


@pytest.mark.parametrize("how", LISTS_FILES)
def test_lists_that_are_not_those_of_the_index_are_refused(folder: Path, how: str) -> None:
    lists = folder / "index.faiss"
    data = lists.read_bytes()
    if how == "missing":
        lists.unlink()
    elif how in {"cut short", "not Faiss"}:
        lists.write_bytes(data[:-5_000] if how == "cut short" else b"\0" * len(data))
    else:
        faiss.write_index(odd_index(how, json.loads((folder / "index.json").read_text())["lists"]), str(lists))
    with pytest.raises(ArtifactError, match=r"index\.faiss"):
        open_index(folder, "cpu")


def test_vectors_that_are_not_those_of_the_index_are_refused(folder: Path) -> None:
    np.save(folder / "vectors.npy", VECTORS.astype(np.float64))
    with pytest.raises(ArtifactError, match=r"vectors\.npy"):
        open_index(folder, "cpu")
    (folder / "index.json").unlink()
    with pytest.raises(ArtifactError, match=r"index\.json"):
        open_index(folder, "cpu")


def test_a_gpu_that_is_not_there_is_an_error_only_when_it_was_demanded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "_gpus", lambda: 0)
    assert open_index(folder, "auto").describe()["device"] == "cpu"
    with pytest.raises(ConfigError, match="no GPU"):
        open_index(folder, "cuda")
    with pytest.raises(ConfigError, match="cuda"):
        open_index(folder, "tpu")


def test_a_gpu_that_refuses_the_index_is_told_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(vectors_module, "_gpus", lambda: 1)
    monkeypatch.setattr(vectors_module, "_on_gpu", lambda *_: refuses)
    index = open_index(folder, "auto")
    assert index.describe()["lost"] == "out of memory"
    assert index.search(queries_of(1), 5)[1].min() >= 0
    with pytest.raises(ConfigError, match="out of memory"):
        open_index(folder, "cuda")
