"""The batch jobs of retrieval: they write files into a given folder and return metrics."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.catalogue import Catalogue
from pipeline.state import State
from retrieval.config import CovisitConfig, LexicalConfig
from retrieval.covisit import item_neighbours
from retrieval.lexical import build_index


def train_lexical(catalogue: Catalogue, config: LexicalConfig, folder: Path) -> Mapping[str, float]:
    """The full-text index of the catalogue."""
    boosts = (config.title_boost, config.text_boost, config.about_boost)
    words = build_index(catalogue, boosts, folder)
    return {"items": len(catalogue), "words": words}


def train_covisit(state: State, config: CovisitConfig, folder: Path) -> Mapping[str, float]:
    """The nearest items of each item, from everything the state's subjects did."""
    history = state.history.base if state.history.recent is None else state.history.base.merge(state.history.recent)
    items = len(state.catalogue)
    neighbours = item_neighbours(
        np.asarray(history.item),
        history.start,
        items,
        window=config.window,
        cap=config.cap,
        most=config.neighbours,
        damping=(config.damping_from, config.damping_to),
        backward=config.backward,
    )
    neighbours.save(folder)
    found = neighbours.item >= 0
    return {
        "items": items,
        "actions": len(history.item),
        "with_neighbours": int(found.any(axis=1).sum()),
        "pairs": int(found.sum()),
    }
