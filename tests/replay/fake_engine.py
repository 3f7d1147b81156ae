"""An engine small enough to work out by hand: it scores items by a table, or by their counts as of the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipeline.batch import Batch, best_first
from pipeline.bundle import Bundle
from pipeline.cascade import Cascade, Step
from pipeline.catalogue import UNKNOWN
from pipeline.features.ids import keys
from pipeline.filters import matching
from pipeline.stage import Effect
from pipeline.state import Frames, State
from serving.ports import Ask
from tests.frames import HOUR

NOTHING: frozenset[str] = frozenset()
CUTOFF = 100 * HOUR


@dataclass(frozen=True)
class Allow:
    """Which items a request may show."""

    state: State
    name: str = "allow"
    effect: Effect = Effect.PREPARE
    reads: frozenset[str] = frozenset({"request.time", "request.filters"})
    writes: frozenset[str] = frozenset({"request.allowed"})

    def run(self, batch: Batch) -> Batch:
        catalogue = self.state.catalogue
        allowed = np.empty(batch.size, dtype=object)
        for row, (time, filters) in enumerate(zip(batch.request("time"), batch.request("filters"), strict=True)):
            allowed[row] = matching(filters, catalogue, catalogue.at(int(time)))
        return batch.with_requests(allowed=allowed)


@dataclass(frozen=True)
class RecallAll:
    """Every item a request may show, but for those it never finds."""

    hidden: frozenset[int]
    name: str = "everything"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = frozenset({"request.allowed"})
    writes: frozenset[str] = frozenset({"channel"})

    def run(self, batch: Batch) -> Batch:
        allowed = np.stack(list(batch.request("allowed")))
        item = np.where(allowed, np.arange(allowed.shape[1], dtype=np.int32), np.int32(-1))
        item[:, list(self.hidden)] = -1
        return batch.append(item, {"channel": np.zeros(item.shape, dtype=np.int8)})


@dataclass(frozen=True)
class Score:
    """By a table of item ids, else by all positive actions counted as of the request."""

    state: State
    quality: Mapping[str, float] | None
    name: str = "score"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = NOTHING
    writes: frozenset[str] = frozenset({"score", "p_click"})

    def run(self, batch: Batch) -> Batch:
        item = np.maximum(batch.item, 0)
        if self.quality is None:
            tick = self.state.tick(batch.request("time"))[:, None]
            layers = self.state.counters["items"]
            score = layers.at(item.astype(np.int64), tick)[..., layers.place("positive")].astype(np.float64)
        else:
            table = np.array([self.quality.get(item_id, 0.0) for item_id in self.state.catalogue.ids])
            score = table[item]
        return batch.with_columns(score=score, p_click=1 / (1 + np.exp(-score)))


@dataclass(frozen=True)
class Cut:
    """The best `depth` by score."""

    state: State
    depth: int
    name: str = "cut"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score"})
    writes: frozenset[str] = NOTHING

    def run(self, batch: Batch) -> Batch:
        tie = self.state.catalogue.tie[np.maximum(batch.item, 0)]
        return batch.take(best_first(batch["score"], batch.mask, tie, self.depth))


@dataclass
class FakeEngine:
    """quality: scores of podium, None = by counts; hidden: items retrieval never finds; depth: of a slate."""

    state: State
    bundle: Bundle
    quality: Mapping[str, float] | None = None
    hidden: frozenset[str] = NOTHING
    depth: int = 200
    told: list[dict[str, int]] = field(default_factory=list)

    def learn(self, events: Frames) -> None:
        self.told.append({kind: len(rows) for kind, rows in events.items()})
        self.state = self.state.advance(events)

    def beside(self) -> "FakeEngine":
        return self

    def batch(self, asks: Sequence[Ask]) -> Batch:
        requests = {
            "id": np.array([ask.id for ask in asks], dtype=object),
            "time": np.array([ask.time for ask in asks], dtype=np.int64),
            "subject_key": keys([ask.subject for ask in asks]),
            "filters": np.array([ask.filters for ask in asks], dtype=object),
        }
        width = max(len(ask.items or ()) for ask in asks)
        item = np.full((len(asks), width), -1, dtype=np.int32)
        for row, ask in enumerate(asks):
            dense = self.state.catalogue.dense(pl.Series(ask.items or (), dtype=pl.String))
            item[row, : len(dense)] = np.where(dense >= 0, dense, UNKNOWN)
        return Batch(requests, item, {"channel": np.zeros(item.shape, dtype=np.int8)})

    def cascade(self, name: str) -> Cascade:
        state, given = self.state, frozenset({"request.time", "request.filters"})
        places = frozenset(state.catalogue.index[item] for item in self.hidden)
        quality = None if name in ("popularity", "bm25") else self.quality
        recall = [] if name == "rank" else [Step(RecallAll(places))]
        depth = 10_000 if name == "rank" else self.depth
        steps = [Step(Allow(state)), *recall, Step(Score(state, quality)), Step(Cut(state, depth))]
        return Cascade(name, tuple(steps), given)

    def cascade_name(self, ask: Ask) -> str:
        return "rank" if ask.items is not None else "search" if ask.query else "recommend"
