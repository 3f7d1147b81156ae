"""The batch jobs of retrieval: they write files into a given folder and return metrics."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.artifacts import write_json
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.logs.attribution import has_labelled
from pipeline.logs.read import Log
from pipeline.state import State
from pipeline.stored import read_array
from retrieval.config import CovisitConfig, Learned, LexicalConfig, RetrievalConfig
from retrieval.covisit import learn_neighbours
from retrieval.embedded import RECOMMENDED, SEARCHED
from retrieval.heldout import HeldOut, held_out, held_out_searches, whole_history
from retrieval.lexical import LexicalIndex, build_index
from retrieval.tuning import Found, choose, gated, search, search_trials, with_tower

WEIGHTS: Final = "weights.json"


def train_lexical(catalogue: Catalogue, config: LexicalConfig, folder: Path) -> Mapping[str, float]:
    """The full-text index of the catalogue."""
    boosts = (config.title_boost, config.text_boost, config.about_boost)
    words = build_index(catalogue, boosts, folder)
    return {"items": len(catalogue), "words": words}


def train_tower(
    log: Log, state: State, config: RetrievalConfig, *, seed: int, folder: Path, device: str = "auto"
) -> Mapping[str, float] | None:
    """Two towers, their vectors and index, and what they found of what was held out before they learned from it.

    None when there is nothing to learn from.
    """
    from retrieval.fitting import fit_towers  # torch takes long to import

    return fit_towers(log, state, config, seed=seed, folder=folder, device=device)


def train_fusion(
    log: Log,
    state: State,
    config: RetrievalConfig,
    *,
    seed: int,
    folder: Path,
    towers: Path | None = None,
    lexical: Path | None = None,
) -> Mapping[str, float] | None:
    """Learn how the channels are fused from what came latest in the log; `weights.json` holds every trial.

    towers, lexical: published artifacts, where there are any; the towers' of this log, state and seed. None when there
    is nothing to hold out.
    """
    held = held_out(log, state, seed, config.exclude)
    searches = held_out_searches(log, state, seed, config.exclude)
    if held is None:
        return None
    final = not has_labelled(log)  # without such pages there is no ranker
    tried = search(held, config, final=final)
    best = choose(tried, final=final)
    if (found := _found(towers, RECOMMENDED, held)) is not None:
        more = with_tower(held, config, best.fusion, found, final=final)
        best, tried = gated(best, choose(more, final=final)), tried + more
    metrics: dict[str, float] = {"requests": float(held.requests.size), "without_seen": float(held.unseen)}
    if searches and (found := _found(towers, SEARCHED, searches)) is not None:
        words = None if lexical is None else LexicalIndex.open(lexical)
        more = search_trials(searches, config, words, best.fusion, found)
        searched = gated(more[0], choose(more, final=final))
        best, tried = replace(best, fusion=searched.fusion), tried + more
        metrics |= {f"search_{name}": searched.about()[name] for name in ("recall@100", "ndcg@10")}
        metrics["searches"] = float(searches.requests.size)
    metrics = {**best.about(), **metrics}
    table = [trial.about() for trial in tried]
    write_json(folder / WEIGHTS, {"weights": best.fusion._asdict(), "metrics": {**metrics, "trials": table}})
    return metrics


def open_fusion(folder: Path | None) -> Learned:
    """The weights of a published artifact, the defaults without one. Raises ArtifactError when it does not hold any."""
    if folder is None:
        return Learned()
    try:
        weights = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))["weights"]
        numbers = {name: float(weights[name]) for name in Learned._fields if name != "days"}
        learned = Learned(days=int(weights["days"]), **numbers)
        if not all(0 <= value < math.inf for value in learned) or learned.days < 1:
            raise ValueError(f"{learned}")
        return learned
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(WEIGHTS, f"weights of the channels ({error})", place=str(folder)) from error


def _found(towers: Path | None, name: str, held: HeldOut) -> Found | None:
    """What the towers found for these requests. Raises ArtifactError when it was for others."""
    if towers is None or not (towers / name).is_file():
        return None
    found: Found = np.asarray(read_array(towers / name))
    if found.ndim != 2 or len(found) != held.requests.size:
        raise ArtifactError(name, f"{held.requests.size} requests; train the towers again", place=str(towers))
    return found


def train_covisit(state: State, config: CovisitConfig, folder: Path) -> Mapping[str, float]:
    """The nearest items of each item, from everything the state's subjects did."""
    history, items = whole_history(state), len(state.catalogue)
    neighbours = learn_neighbours(history, items, config)
    neighbours.save(folder)
    found = neighbours.item >= 0
    return {
        "items": items,
        "actions": len(history.item),
        "with_neighbours": int(found.any(axis=1).sum()),
        "pairs": int(found.sum()),
    }
