"""The job of the two towers: learn from all but the latest, see what is found of that, then go on with everything."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artifacts import sha256, write_json
from pipeline.logs.read import Log
from pipeline.nn import device_of
from pipeline.onnx import export
from pipeline.state import State
from retrieval.config import Learned, RetrievalConfig
from retrieval.covisit import learn_neighbours
from retrieval.dataset import QUERY_WORDS, Pairs, asked, item_bags, spec_of, training_pairs
from retrieval.embedded import (
    ABOUT,
    CONTEXTS,
    HEARD,
    ITEM,
    ITEM_INPUTS,
    RECOMMENDED,
    SEARCHED,
    USER,
    USER_INPUTS,
)
from retrieval.heldout import HeldOut, held_out, held_out_searches
from retrieval.learning import Learner
from retrieval.nearest import Exact
from retrieval.towers import ItemTower, UserTower
from retrieval.tuning import Found, plain_channels, pools, tried
from retrieval.vectors import VECTORS, build_index

LEAST: Final = 100  # pairs below which there is nothing to learn
_JUDGED = 500  # held-out requests of a kind that say when to stop
_DEEP, _TOP = 100, 10
_TOLD: Final = 4  # share of the catalogue, one in so many, that may be looked through before finding says nothing
_FURTHER = 3  # of so many passes, one more over everything
_TOGETHER = 200_000  # pairs of all passes, up to which they are few
_AGAIN = 0.5  # share of the learning rate at which they begin
_ROWS_AT_ONCE = 256


def fit_towers(
    log: Log, state: State, config: RetrievalConfig, *, seed: int, folder: Path, device: str
) -> Mapping[str, float] | None:
    """Write the towers into `folder`; returns what was measured before the latest was learned from.

    None with fewer than `LEAST` pairs, or nothing to hold out.
    """
    held = {
        RECOMMENDED: held_out(log, state, seed, config.exclude),
        SEARCHED: held_out_searches(log, state, seed, config.exclude),
    }
    there = {name: each for name, each in held.items() if each is not None}
    spec = spec_of(state.catalogue, buckets=config.tower.buckets, history=config.tower.history)
    pairs = training_pairs(log, state, spec)
    known = pairs.rows(_before(pairs, there))
    if len(known) < LEAST or not there:
        return None
    bags = item_bags(state.catalogue, spec)
    early = there[RECOMMENDED].state if RECOMMENDED in there else state
    learner = Learner.of(early, spec, config.tower, bags, _chosen(known, state), seed=seed, device=device_of(device))
    passes = _until_best(learner, known, list(there.values()))
    found = {
        name: _nearest(learner, each, np.arange(each.requests.size), config.tower.depth) for name, each in there.items()
    }
    metrics = _measured(there, found, config)
    learner.widen(state, _chosen(pairs, state))
    for pace in _paces(max(1, round(passes / _FURTHER)), _AGAIN):
        learner.epoch(pairs, pace)
    for name, items in found.items():
        np.save(folder / name, items, allow_pickle=False)
    metrics |= _save(learner, pairs, folder)
    return {"pairs": float(len(pairs)), "passes": float(passes), **metrics}


def _before(pairs: Pairs, held: Mapping[str, HeldOut]) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), dtype=np.bool_)
    for each in held.values():
        kept &= each.before(pairs.subject_key, pairs.time)
    return kept


def _chosen(pairs: Pairs, state: State) -> NDArray[np.int64]:
    return np.bincount(pairs.item, minlength=len(state.catalogue))


def _until_best(learner: Learner, known: Pairs, held: list[HeldOut]) -> int:
    """Train until recall falls, and go back to the best; returns after how many passes that was."""
    best, best_at, kept = -1.0, 0, learner.towers.state_dict()
    for passed, pace in enumerate(_paces(_passes(len(known), learner.config.epochs)), 1):
        learner.epoch(known, pace)
        recall = float(np.mean([_recall(learner, each) for each in held]))
        if recall > best:
            kept = {name: value.clone() for name, value in learner.towers.state_dict().items()}
            best, best_at = recall, passed
        elif passed - best_at >= learner.config.patience:
            break
    learner.towers.load_state_dict(kept)
    return best_at


def _passes(pairs: int, most: int) -> int:
    """All that are allowed while the pairs of them together are few, at least half of them."""
    return max(-(-most // 2), min(most, _TOGETHER // pairs))


def _paces(passes: int, first: float = 1.0) -> list[tuple[float, float]]:
    """Share of the learning rate at the start and the end of each pass: it falls to 0 in a straight line."""
    return list(pairwise(np.linspace(first, 0.0, passes + 1).tolist()))


def _recall(learner: Learner, held: HeldOut) -> float:
    """At 100, over some of the requests; of a catalogue so small that 100 say nothing, at less."""
    step = -(-held.requests.size // _JUDGED)
    rows = np.arange(0, held.requests.size, step)
    depth = min(_DEEP, max(_TOP, len(held.state.catalogue) // _TOLD))
    found = _nearest(learner, held, rows, depth)
    shares = [np.isin(own, items).mean() for own, items in zip(held.relevant(rows), found, strict=True)]
    return float(np.mean(shares))


def _nearest(learner: Learner, held: HeldOut, rows: NDArray[np.intp], depth: int) -> Found:
    """The nearest items that may be shown, `[R, depth]`, -1 = none."""
    vectors, contexts = learner.items()
    index, found = Exact.of(vectors), []
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        batch = held.prepared(rows[first : first + _ROWS_AT_ONCE])
        users = learner.users(asked(batch, learner.spec), contexts)
        found.append(index.search(users, depth, list(batch.request("allowed")))[1])
    return np.concatenate(found)


def _measured(held: Mapping[str, HeldOut], found: Mapping[str, Found], config: RetrievalConfig) -> dict[str, float]:
    """Recall at 100 and NDCG at 10 of the towers alone, and of the other channels alone on the same requests."""
    out: dict[str, float] = {}
    if RECOMMENDED in held:
        own = held[RECOMMENDED]
        usual = config.filled(Learned())
        neighbours = learn_neighbours(own.known, len(own.state.catalogue), usual.covisit)
        made = pools(own, plain_channels(own, usual, neighbours), found[RECOMMENDED])
        alone = {"tower": Learned(0, 0, tower=1), "covisit": Learned(0, 1), "popular": Learned(1, 0)}
        for name, trial in zip(alone, tried(made, list(alone.values()), config), strict=True):
            out |= {f"{name}_recall@100": float(trial.recall.mean()), f"{name}_ndcg@10": float(trial.ndcg.mean())}
    if SEARCHED in held:
        made = pools(held[SEARCHED], (), found[SEARCHED])
        (trial,) = tried(made, [Learned(search_tower=1)], config, search=True)
        out |= {"search_recall@100": float(trial.recall.mean()), "search_ndcg@10": float(trial.ndcg.mean())}
    return out


def _save(learner: Learner, pairs: Pairs, folder: Path) -> dict[str, float]:
    vectors, contexts = learner.items()
    made = build_index(vectors, learner.config.index, folder)
    np.save(folder / CONTEXTS, contexts, allow_pickle=False)
    heard = np.zeros(learner.spec.buckets, dtype=np.bool_)
    heard[learner.bags.bucket] = True
    heard[np.unique(pairs.words)] = True
    heard[0] = False
    np.save(folder / HEARD, heard, allow_pickle=False)
    _export(learner, folder)
    files = {name: sha256(folder / name) for name in (USER, ITEM, CONTEXTS, HEARD, VECTORS)}
    spec = learner.spec
    about = {"buckets": spec.buckets, "segments": spec.segments, "history": spec.history, "prices": spec.prices}
    write_json(folder / ABOUT, {"spec": about, "items": len(vectors), "dim": vectors.shape[1], "files": files})
    return {name: value for name, value in made.items() if name in ("items", "lists")}


def _export(learner: Learner, folder: Path) -> None:
    towers, spec = learner.towers.cpu(), learner.spec
    dim = learner.config.dimensions
    two = {
        "history": torch.zeros(2, spec.history, dim),
        "known": torch.ones(2, spec.history),
        "words": torch.ones(2, QUERY_WORDS, dtype=torch.int64),
        "segment": torch.zeros(2, dtype=torch.int64),
        "surface": torch.zeros(2, dtype=torch.int64),
    }
    export(UserTower(towers), two, ("vector",), folder / USER, dynamic=dict.fromkeys(USER_INPUTS, ("rows",)))
    bag = {"bucket": torch.ones(2, 8, dtype=torch.int64), "weight": torch.ones(2, 8)}
    axes = dict.fromkeys(ITEM_INPUTS, ("rows", "features"))
    export(ItemTower(towers), bag, ("vector", "context"), folder / ITEM, dynamic=axes)
