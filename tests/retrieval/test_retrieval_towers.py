"""Two towers over a shop of topics: what they learn, what they know of new items, and what is written of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

from pipeline.artifacts import sha256
from pipeline.batch import Batch
from pipeline.errors import ArtifactError
from pipeline.filters import Filters
from pipeline.logs.read import Log
from pipeline.state import State
from retrieval.config import CHANNELS
from retrieval.dataset import Bags, asked, ending_in_seed, item_bags, spec_of, training_pairs
from retrieval.embedded import ABOUT, Towers
from retrieval.learning import Learner
from retrieval.stages import Tower
from retrieval.towers import UNKNOWN_ID
from retrieval.train import train_tower
from tests.frames import HOUR, act, frame, item
from tests.retrieval.shop import ask, prepared
from tests.retrieval.topics import COLD, EACH, SMALL, TOPICS, act_rows, logged, search_rows, topic_of, word_of

LATER = 200 * HOUR
Shelf = tuple[Log, State, Path, Mapping[str, float]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A log with searches, its state, and the towers trained on it."""
    folder = tmp_path_factory.mktemp("topics")
    pages, clicks = search_rows()
    log, state, _ = logged(folder / "log", [*act_rows(), *clicks], pages)
    return log, state, folder / "tower", _trained(log, state, folder / "tower")


@pytest.fixture(scope="module")
def stage(shelf: Shelf) -> Tower:
    return Tower(shelf[1], Towers.open(shelf[2]), SMALL.tower)


def _trained(log: Log, state: State, folder: Path) -> Mapping[str, float]:
    folder.mkdir()
    metrics = train_tower(log, state, SMALL, seed=0, folder=folder, device="cpu")
    assert metrics is not None
    return metrics


def _ids(state: State, batch: Batch, row: int = 0) -> list[str]:
    return [state.catalogue.ids[place] for place in batch.item[row] if place >= 0]


def _cold_recall(learner: Learner, state: State, depth: int) -> float:
    """Share of users whose nearest items include the one of their topic nobody has seen."""
    vectors, contexts = learner.items()
    users = [f"u{n:03d}" for n in range(60)]
    batch = prepared(state, ask(*({"user": user, "surface": "recommend", "time": LATER} for user in users)))
    score = learner.users(asked(batch, learner.spec), contexts) @ vectors.T
    score[:, UNKNOWN_ID] = -np.inf
    nearest = np.argsort(-score, axis=1)[:, :depth]
    cold = [state.catalogue.index[COLD[n % TOPICS]] for n in range(60)]
    return float(np.mean([one in own for one, own in zip(cold, nearest, strict=True)]))


def _learner(log: Log, state: State, *, content: bool) -> Learner:
    spec = spec_of(state.catalogue, buckets=1024, history=5)
    pairs, size = training_pairs(log, state, spec), len(state.catalogue)
    nothing = Bags(np.empty(0, np.int64), np.empty(0, np.float32), np.zeros(size + 1, np.int64))
    bags = item_bags(state.catalogue, spec) if content else nothing
    chosen, cpu = np.bincount(pairs.item, minlength=size), torch.device("cpu")
    learner = Learner.of(state, spec, SMALL.tower, bags, chosen, seed=0, device=cpu)
    before = learner.towers.ids.weight[UNKNOWN_ID].clone()
    for _ in range(3):
        learner.epoch(pairs)
    assert not torch.equal(learner.towers.ids.weight[UNKNOWN_ID], before), "the row of unknown items was not trained"
    return learner


def test_new_items_are_found_by_what_they_are_and_not_by_ids_alone(tmp_path: Path) -> None:
    log, state, _ = logged(tmp_path, act_rows())
    depth = EACH
    by_chance = depth / (TOPICS * EACH)
    assert _cold_recall(_learner(log, state, content=True), state, depth) > 5 * by_chance
    assert _cold_recall(_learner(log, state, content=False), state, depth) < 2 * by_chance


def test_what_was_held_out_is_found_better_than_by_popularity(shelf: Shelf) -> None:
    metrics = shelf[3]
    assert metrics["tower_recall@100"] > 0.9
    assert metrics["tower_ndcg@10"] > 2 * metrics["popular_ndcg@10"]
    assert metrics["search_recall@100"] > 0.9


def test_a_history_and_a_query_find_the_topic(stage: Tower) -> None:
    asked_ = [{"user": f"u{n:03d}", "surface": "recommend", "time": LATER} for n in range(20)]
    asked_ += [{"query": word_of(n % TOPICS), "time": LATER} for n in range(20)]
    batch = stage.run(prepared(stage.state, ask(*asked_)))
    for row in range(40):
        found = [topic_of(one) for one in _ids(stage.state, batch, row)[:5]]
        assert found.count(row % 20 % TOPICS) >= 4


def test_what_nobody_can_understand_finds_nothing(stage: Tower) -> None:
    batch = stage.run(prepared(stage.state, ask({"query": "zyzzyva"}, {"user": "nobody", "surface": "recommend"})))
    assert not batch.mask.any()


def test_a_page_of_an_item_is_about_that_item(stage: Tower) -> None:
    seed = stage.state.catalogue.index["07-03"]
    batch = stage.run(prepared(stage.state, ask({"surface": "similar", "seed": seed, "time": LATER})))
    found = _ids(stage.state, batch)
    assert "07-03" not in found
    assert [topic_of(one) for one in found[:5]].count(7) >= 4


def test_live_items_are_found_and_stand_in_a_history(stage: Tower) -> None:
    rows = frame("item", item("99-99", time=LATER, title=f"{word_of(4)} va"))
    clicks = frame("feedback", act("click", "99-99", LATER + 1, user_id="new"))
    state = stage.state.advance({"item": rows, "feedback": clicks})
    live = Tower(state, stage.towers, SMALL.tower)
    searched = live.run(prepared(state, ask({"query": word_of(4), "time": LATER + 2})))
    assert "99-99" in _ids(state, searched)
    followed = live.run(prepared(state, ask({"user": "new", "surface": "recommend", "time": LATER + 2})))
    assert [topic_of(one) for one in _ids(state, followed)[:6]].count(4) >= 4


def test_one_request_at_a_time_finds_what_many_do(stage: Tower) -> None:
    rows = [{"user": f"u{n:03d}", "query": word_of(n) if n % 2 else "", "time": LATER} for n in range(10)]
    batch = prepared(stage.state, ask(*rows))
    together = stage.run(batch)
    for row in range(10):
        alone = stage.run(batch.rows(np.array([row])))
        kept = together.mask[row]
        assert alone.item[0][alone.mask[0]].tolist() == together.item[row][kept].tolist()
        assert np.allclose(alone["recall_score"][0][alone.mask[0]], together["recall_score"][row][kept], rtol=1e-6)
    assert set(together["channel"][together.mask].tolist()) == {CHANNELS.index("tower")}


def test_training_again_gives_the_same_bytes(shelf: Shelf, tmp_path: Path) -> None:
    log, state, folder, metrics = shelf
    assert _trained(log, state, tmp_path / "again") == metrics
    names = {path.name: sha256(path) for path in folder.iterdir()}
    assert {path.name: sha256(path) for path in (tmp_path / "again").iterdir()} == names


def test_towers_and_vectors_that_were_not_written_together_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("user.onnx", "item.onnx", "contexts.npy", "vectors.npy"):
        folder = tmp_path / name
        copytree(shelf[2], folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"\x01")
        with pytest.raises(ArtifactError, match=name):
            Towers.open(folder)
    copytree(shelf[2], tmp_path / "none")
    (tmp_path / "none" / ABOUT).write_text("{}")
    with pytest.raises(ArtifactError, match=ABOUT):
        Towers.open(tmp_path / "none")


def test_vectors_that_are_not_of_length_one_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "longer"
    copytree(shelf[2], folder)
    vectors = np.load(folder / "vectors.npy")
    vectors[5] *= 1.01
    np.save(folder / "vectors.npy", vectors)
    about = json.loads((folder / ABOUT).read_text())
    about["files"]["vectors.npy"] = sha256(folder / "vectors.npy")
    (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match="row 5"):
        Towers.open(folder)


def test_pairs_know_nothing_of_what_came_later(shelf: Shelf) -> None:
    log, state, _, _ = shelf
    spec = spec_of(state.catalogue, buckets=1024, history=5)
    pairs = training_pairs(log, state, spec)
    searched = pairs.query > 0
    assert int(searched.sum()) == 240
    assert not (pairs.asked(state, 5).history[searched] >= 0).any()  # who searches has done nothing else
    first = pairs.time < 9 * HOUR
    assert not (pairs.asked(state, 5).history[first & ~searched] >= 0).any()
    second = ~searched & (pairs.time > 10 * HOUR) & (pairs.time < 20 * HOUR)
    assert ((pairs.asked(state, 5).history[second] >= 0).sum(axis=1) == 1).all()


def test_the_seed_of_a_similar_page_is_what_was_acted_on_last() -> None:
    history = np.array([[-1, 4, 5], [-1, 4, 5], [-1, 4, 5]], dtype=np.int32)
    seed = np.array([9, 9, -1], dtype=np.int32)
    moved = ending_in_seed(history, np.array([True, False, True]), seed)
    assert moved.tolist() == [[4, 5, 9], [-1, 4, 5], [-1, 4, 5]]


def test_only_what_is_allowed_is_added_once_and_what_was_there_stays(stage: Tower) -> None:
    cheap = Filters(price=(1.0, 3.0))
    rows = [{"user": "u001", "time": LATER, "filters": cheap}, {"query": word_of(2), "time": LATER, "filters": cheap}]
    batch = prepared(stage.state, ask(*rows))
    given = np.array([[3], [-1]], dtype=np.int32)
    after = stage.run(batch.append(given, {"rank": np.zeros((2, 1), np.int16)}))
    assert after.item[:, :1].tolist() == given.tolist()
    for row, allowed in enumerate(batch.request("allowed")):
        found = after.item[row, 1:]
        found = found[found >= 0]
        assert len(found) == 3 * TOPICS  # three prices of each topic, all within the depth
        assert allowed[found].all()
        assert len(set(found.tolist())) == len(found)
    assert set(stage.writes) >= set(after.columns)
