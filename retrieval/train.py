"""The batch jobs of retrieval: they write files into a given folder and return metrics."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.artifacts import write_json
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.sequences import Sequences
from pipeline.logs.read import Log
from pipeline.state import State
from retrieval.config import CovisitConfig, Learned, LexicalConfig, RetrievalConfig
from retrieval.covisit import Neighbours, half_life, item_neighbours
from retrieval.heldout import held_out, whole_history
from retrieval.lexical import build_index
from retrieval.tuning import choose, trials

WEIGHTS: Final = "weights.json"
HALF_LIVES: Final = (0.0, 7.0, 2.0)  # days, tried for the co-visits


def train_lexical(catalogue: Catalogue, config: LexicalConfig, folder: Path) -> Mapping[str, float]:
    """The full-text index of the catalogue."""
    boosts = (config.title_boost, config.text_boost, config.about_boost)
    words = build_index(catalogue, boosts, folder)
    return {"items": len(catalogue), "words": words}


def train_fusion(
    log: Log, state: State, config: RetrievalConfig, *, seed: int, folder: Path
) -> Mapping[str, float] | None:
    """Learn the weights of the channels and the half-life of co-visits from what came latest in the log.

    Writes `weights.json` with every trial. None when there is nothing to hold out.
    """
    held = held_out(log, state, seed)
    if held is None:
        return None
    lives = (config.covisit.half_life_days,) if config.covisit.half_life_days is not None else HALF_LIVES
    tried = []
    for days in lives if state.clock == "exact" else (0.0,):
        tried += trials(held, config, _neighbours(held.known, len(state.catalogue), config.covisit, days), days)
    best, known = choose(tried), config.filled(Learned())
    usual = min(tried, key=lambda trial: (trial.half_life_days, abs(trial.popular - (known.popular.weight or 0.0))))
    metrics = {
        **best.about(),
        "recall@100 default": usual.about()["recall@100"],
        "requests": float(held.requests.size),
        "without_seen": float(held.unseen),
    }
    weights = Learned(best.popular, best.covisit, best.half_life_days)._asdict()
    table = [trial.about() for trial in tried]
    write_json(folder / WEIGHTS, {"weights": weights, "metrics": {**metrics, "trials": table}})
    return metrics


def open_fusion(folder: Path | None) -> Learned:
    """The weights of a published artifact, the defaults without one. Raises ArtifactError when it does not hold any."""
    if folder is None:
        return Learned()
    try:
        weights = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))["weights"]
        return Learned(**{name: float(value) for name, value in weights.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(WEIGHTS, f"weights of the channels ({error})", place=str(folder)) from error


def train_covisit(state: State, config: CovisitConfig, folder: Path) -> Mapping[str, float]:
    """The nearest items of each item, from everything the state's subjects did."""
    history, items = whole_history(state), len(state.catalogue)
    neighbours = _neighbours(history, items, config, config.half_life_days or 0.0)
    neighbours.save(folder)
    found = neighbours.item >= 0
    return {
        "items": items,
        "actions": len(history.item),
        "with_neighbours": int(found.any(axis=1).sum()),
        "pairs": int(found.sum()),
    }


def _neighbours(history: Sequences, items: int, config: CovisitConfig, half_life_days: float) -> Neighbours:
    return item_neighbours(
        np.asarray(history.item),
        history.start,
        items,
        window=config.window,
        cap=config.cap,
        most=config.neighbours,
        damping=(config.damping_from, config.damping_to),
        backward=config.backward,
        strength=half_life(history.time, half_life_days) if half_life_days else None,
    )
