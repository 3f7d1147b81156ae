"""A small shop with words, the channels opened over it, and batches of requests to ask it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.batch import Array, Batch
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.features.ids import key
from pipeline.filters import NO_FILTERS
from pipeline.prepare import Allow, Analyse, History, NoCorrection, Normalise
from pipeline.state import State, initial_state
from retrieval.config import RetrievalConfig
from retrieval.covisit import Neighbours
from retrieval.lexical import LexicalIndex
from retrieval.popular import PopularIndex
from retrieval.stages import Covisit, Fuse, Lexical, Popular, Rescue
from retrieval.train import train_covisit, train_lexical
from tests.frames import HOUR, act, frame, item

NOW = 400 * HOUR
CONFIG = RetrievalConfig()
WORDS = ["red", "blue", "green", "mug", "lamp", "chair", "shoe", "coat", "steel", "wood", "large", "small"]


def items(count: int = 60, seed: int = 0) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        item(
            f"item-{place:03d}",
            title=" ".join(rng.choice(WORDS, rng.integers(1, 5))),
            text=" ".join(rng.choice(WORDS, rng.integers(0, 60))) or None,
            brand=str(rng.choice(["acme", "zeta"])),
            category=["home", str(rng.choice(["kitchen", "hall"]))],
            tags=["new"] if place % 5 == 0 else None,
            price=float(place),
        )
        for place in range(count)
    ]


def acts(count: int = 400, seed: int = 1, items: int = 60) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        act("click", f"item-{int(items * rng.random() ** 3):03d}", int(rng.integers(0, NOW)), user_id=f"u{n % 9}")
        | {"event_id": f"f{n}"}
        for n in range(count)
    ]


def catalogue_of(rows: Sequence[Mapping[str, object]]) -> Catalogue:
    return build_catalogue(frame("item", *rows), pl.Series([], dtype=pl.String))


def state_of(catalogue: Catalogue, rows: Sequence[Mapping[str, object]], clock: str = "exact") -> State:
    blank = initial_state(clock, catalogue, {"click": 1.0, "purchase": 3.0})
    return blank.advance({"feedback": frame("feedback", *rows)})


def lexical_index(catalogue: Catalogue, folder: Path) -> LexicalIndex:
    folder.mkdir()
    train_lexical(catalogue, CONFIG.lexical, folder)
    return LexicalIndex.open(folder)


def ask(*requests: Mapping[str, object]) -> Batch:
    """A batch of requests from the few fields that matter."""
    base = {"query": "", "surface": "search", "user": "", "time": NOW, "seed": -1, "filters": NO_FILTERS, "segment": 0}
    rows = [base | {"id": str(n)} | dict(row) for n, row in enumerate(requests)]

    def objects(name: str) -> Array:
        column = np.empty(len(rows), dtype=object)
        for place, row in enumerate(rows):
            column[place] = row[name]
        return column

    def numbers(name: str, kind: type) -> Array:
        return np.array([row[name] for row in rows], dtype=kind)

    return Batch.of(
        {
            "id": objects("id"),
            "time": numbers("time", np.int64),
            "subject_key": np.array([key(str(row["user"])) for row in rows], dtype=np.int64),
            "query": objects("query"),
            "surface": objects("surface"),
            "seed": numbers("seed", np.int32),
            "segment_key": numbers("segment", np.int64),
            "filters": objects("filters"),
        }
    )


def prepared(state: State, batch: Batch) -> Batch:
    for stage in (Normalise(state), NoCorrection(), Analyse(), History(state), Allow(state)):
        batch = stage.run(batch)
    return batch


class Shop:
    """A state and every channel opened over it."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
        self.state = state_of(catalogue_of(rows), acts())
        (folder / "covisit").mkdir()
        train_covisit(self.state, CONFIG.covisit, folder / "covisit")
        neighbours = Neighbours.open(folder / "covisit")
        self.lexical = Lexical(self.state, lexical_index(self.state.catalogue, folder / "lexical"), CONFIG.lexical)
        self.popular = Popular(self.state, PopularIndex(CONFIG.popular), CONFIG.popular)
        self.covisit = Covisit(self.state, neighbours, CONFIG.covisit)
        self.rescue = Rescue(self.popular)
        self.fuse = Fuse(self.state, CONFIG)
        self.channels = (self.lexical, self.popular, self.covisit, self.rescue)

    def ids(self, batch: Batch, row: int = 0) -> list[str]:
        return [self.state.catalogue.ids[place] for place in batch.item[row] if place >= 0]
