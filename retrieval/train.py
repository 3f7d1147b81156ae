"""The batch jobs of retrieval: they write files into a given folder and return metrics."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.artifacts import write_json
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.logs.read import Log
from pipeline.state import State
from retrieval.config import CovisitConfig, Learned, LexicalConfig, RetrievalConfig
from retrieval.covisit import learn_neighbours
from retrieval.heldout import held_out, whole_history
from retrieval.lexical import build_index
from retrieval.tuning import choose, search

WEIGHTS: Final = "weights.json"


def train_lexical(catalogue: Catalogue, config: LexicalConfig, folder: Path) -> Mapping[str, float]:
    """The full-text index of the catalogue."""
    boosts = (config.title_boost, config.text_boost, config.about_boost)
    words = build_index(catalogue, boosts, folder)
    return {"items": len(catalogue), "words": words}


def train_fusion(
    log: Log, state: State, config: RetrievalConfig, *, seed: int, folder: Path
) -> Mapping[str, float] | None:
    """Learn how the channels are fused from what came latest in the log; `weights.json` holds every trial.

    None when there is nothing to hold out.
    """
    held = held_out(log, state, seed)
    if held is None:
        return None
    tried = search(held, config)
    best = choose(tried)
    metrics = {
        **best.about(),
        "requests": float(held.requests.size),
        "without_seen": float(held.unseen),
    }
    table = [trial.about() for trial in tried]
    write_json(folder / WEIGHTS, {"weights": best.fusion._asdict(), "metrics": {**metrics, "trials": table}})
    return metrics


def open_fusion(folder: Path | None) -> Learned:
    """The weights of a published artifact, the defaults without one. Raises ArtifactError when it does not hold any."""
    if folder is None:
        return Learned()
    try:
        weights = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))["weights"]
        popular, covisit, half_life_days = (float(weights[name]) for name in ("popular", "covisit", "half_life_days"))
        learned = Learned(popular, covisit, int(weights["days"]), half_life_days)
        if not all(0 <= value < math.inf for value in learned) or learned.days < 1:
            raise ValueError(f"{learned}")
        return learned
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(WEIGHTS, f"weights of the channels ({error})", place=str(folder)) from error


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
