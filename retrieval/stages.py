"""The retrieval stages: each channel appends its candidates, `Fuse` makes one row an item of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, best_first
from pipeline.stage import Effect
from pipeline.state import State
from retrieval.config import (
    CHANNELS,
    CovisitConfig,
    FreshConfig,
    LexicalConfig,
    PopularConfig,
    RetrievalConfig,
    TowerConfig,
)
from retrieval.covisit import Neighbours, covisit_scores
from retrieval.dataset import asked
from retrieval.embedded import Towers
from retrieval.fusion import collapse, rrf
from retrieval.lexical import Hits, LexicalIndex
from retrieval.popular import PopularIndex

Columns = frozenset[str]
FOUND: Columns = frozenset({"channel", "rank", "recall_score"})


@dataclass(frozen=True, slots=True)
class Lexical:
    """Items that hold the query's words, live ones included."""

    state: State
    index: LexicalIndex
    config: LexicalConfig
    name: str = "lexical"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.terms", "request.filters", "request.allowed"})
    writes: Columns = FOUND

    def run(self, batch: Batch) -> Batch:
        rows = zip(*(batch.request(name) for name in ("terms", "filters", "allowed")), strict=True)
        return append(batch, self.name, [self._search(*row) for row in rows])

    def _search(self, terms: list[str], filters: Any, allowed: Array) -> Hits:
        item, score = self.index.find(terms, filters, self.config.depth, allowed, self.state.catalogue)
        return _best(item, score, self.state, self.config.depth)


@dataclass(frozen=True, slots=True)
class Popular:
    """What most people act on lately, in the request's segment if that has enough to tell."""

    state: State
    index: PopularIndex
    config: PopularConfig
    name: str = "popular"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.tick", "request.segment_key", "request.allowed"})
    writes: Columns = FOUND

    def run(self, batch: Batch) -> Batch:
        return append(batch, "popular", self.find(batch, np.ones(batch.size, dtype=np.bool_)))

    def find(self, batch: Batch, wanted: NDArray[np.bool_]) -> list[Hits]:
        """Items and counts of each request, none where it is not `wanted` `[R]`."""
        found: list[Hits] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * batch.size
        tick, segment, allowed = (batch.request(name) for name in ("tick", "segment_key", "allowed"))
        for row in np.flatnonzero(wanted):
            popularity = self.index.at(self.state, int(tick[row]), int(segment[row]))
            place = np.flatnonzero(allowed[row][popularity.order])[: self.config.depth]
            found[row] = (popularity.order[place].astype(np.int32), popularity.count[place].astype(np.float32))
        return found


@dataclass(frozen=True, slots=True)
class Rescue:
    """Popular items for requests that found nothing, and `request.rescued`, so that the answer can say so."""

    popular: Popular
    name: str = "rescue"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.tick", "request.segment_key", "request.allowed"})
    writes: Columns = FOUND | {"request.rescued"}

    def run(self, batch: Batch) -> Batch:
        empty = np.logical_not(batch.mask.any(axis=1))
        found = self.popular.find(batch, empty)
        rescued = np.array([len(item) > 0 for item, _ in found], dtype=np.bool_)
        return append(batch, "popular", found).with_requests(rescued=rescued)


@dataclass(frozen=True, slots=True)
class Covisit:
    """Neighbours of what the subject acted on last; of the seed on a `similar` request."""

    state: State
    neighbours: Neighbours
    config: CovisitConfig
    name: str = "covisit"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.history", "request.surface", "request.seed", "request.allowed"})
    writes: Columns = FOUND

    def run(self, batch: Batch) -> Batch:
        seeds = seeds_of(batch, self.config.recent)
        age = np.arange(seeds.shape[1] - 1, -1, -1.0)
        row, item, score = covisit_scores(self.neighbours, seeds, np.broadcast_to(self.config.decay**age, seeds.shape))
        edges = np.searchsorted(row, np.arange(batch.size + 1))
        found = []
        for place, allowed in enumerate(batch.request("allowed")):
            own = slice(edges[place], edges[place + 1])
            kept = allowed[item[own]]
            hits = (item[own][kept], score[own][kept].astype(np.float32))
            found.append(_best(*hits, self.state, self.config.depth))
        return append(batch, self.name, found)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Items that came after the bundle and are like what the subject acted on last, or like the seed of a `similar`
    request: what nobody has acted on yet is found by no other channel without a query.

    vectors: `[N, D]`, of length 1, what the items are; recent, decay: as for co-visits.
    """

    state: State
    vectors: NDArray[np.float32]
    config: FreshConfig
    recent: int = 10
    decay: float = 0.7
    name: str = "fresh"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.history", "request.surface", "request.seed", "request.allowed"})
    writes: Columns = FOUND

    def run(self, batch: Batch) -> Batch:
        first = self.state.catalogue.bundled
        late = self.vectors[first:]
        found: list[Hits] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * batch.size
        seeds = seeds_of(batch, self.recent)
        if not len(late) or not seeds.shape[1]:
            return append(batch, self.name, found)
        weight = (seeds >= 0) * self.decay ** np.arange(seeds.shape[1] - 1, -1, -1.0)
        for row in np.flatnonzero(weight.any(axis=1)).tolist():
            wanted = weight[row].astype(np.float32) @ self.vectors[seeds[row]]
            likeness = (late * wanted).sum(axis=1)
            item = np.flatnonzero((likeness > 0) & batch.request("allowed")[row][first:])
            found[row] = _best((item + first).astype(np.int32), likeness[item], self.state, self.config.depth)
        return append(batch, self.name, found)


@dataclass(frozen=True, slots=True)
class Tower:
    """Items whose vectors are nearest to the request's; none where the towers know nothing of what is asked."""

    state: State
    towers: Towers
    config: TowerConfig
    name: str = "tower"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset(
        f"request.{name}" for name in ("normalised", "terms", "history", "surface", "seed", "segment_key", "allowed")
    )
    writes: Columns = FOUND

    def run(self, batch: Batch) -> Batch:
        index, contexts = self.towers.at(self.state.catalogue)
        inputs = asked(batch, self.towers.about.spec)
        rows = np.flatnonzero(self.towers.understands(inputs, batch.request("normalised") != ""))
        found: list[Hits] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * batch.size
        if len(rows):
            allowed = list(batch.request("allowed")[rows])
            vectors = self.towers.encode(inputs.rows(rows), contexts)
            for row, score, item in zip(rows, *index.search(vectors, self.config.depth, allowed), strict=True):
                found[row] = _best(item[item >= 0], score[item >= 0], self.state, self.config.depth)
        return append(batch, self.name, found)


@dataclass(frozen=True, slots=True)
class Given:
    """The caller's own items, each kept as it is, in the caller's order; they need no `Fuse`."""

    k0: float = 60.0
    name: str = "given"
    effect: Effect = Effect.RECALL
    reads: Columns = frozenset({"request.given"})
    writes: Columns = FOUND | {"score", "channels"}

    def run(self, batch: Batch) -> Batch:
        item = batch.request("given").astype(np.int32)
        rank = np.broadcast_to(np.arange(item.shape[1]), item.shape)
        score = rrf(rank[..., None] + 1, [1.0], self.k0)
        channel = CHANNELS.index("given")
        columns: dict[str, Array] = {
            "channel": np.full(item.shape, channel, np.int8),
            "rank": rank.astype(np.int16),
            "recall_score": score.astype(np.float32),
            "score": score,
            "channels": np.full(item.shape, 1 << channel, np.int32),
        }
        return batch.append(item, columns)


@dataclass(frozen=True, slots=True)
class Fuse:
    """One row an item, scored by the ranks it has in the channels; the best `fused` stay.

    `channel`, `rank` and `recall_score` remain those of its best rank; `channels` has a bit for each that found it.
    """

    state: State
    config: RetrievalConfig
    name: str = "fuse"
    effect: Effect = Effect.ORDER
    reads: Columns = FOUND
    writes: Columns = frozenset({"score", "channels"})

    def run(self, batch: Batch) -> Batch:
        if not batch.item.shape[1]:
            none = np.empty(batch.item.shape)
            return batch.with_columns(score=none, channels=none.astype(np.int32))
        place, ranks = collapse(batch.item, batch["channel"], batch["rank"], len(CHANNELS))
        score = rrf(ranks, self.config.weights, self.config.k0)
        channels = (ranks > 0) @ (1 << np.arange(len(CHANNELS), dtype=np.int32))
        item = np.take_along_axis(batch.item, np.maximum(place, 0), axis=1)
        order = best_first(score, place >= 0, self.state.catalogue.tie[item], self.config.fused)
        chosen = np.maximum(order, 0)
        taken = batch.take(np.where(order >= 0, np.take_along_axis(place, chosen, axis=1), -1))
        return taken.with_columns(
            score=np.take_along_axis(score, chosen, axis=1),
            channels=np.take_along_axis(channels, chosen, axis=1).astype(np.int32),
        )


def seeds_of(batch: Batch, recent: int) -> NDArray[np.int32]:
    """`[R, recent]`: what each subject acted on last, or the seed of a `similar` request alone, -1 padded in front."""
    seeds: NDArray[np.int32] = batch.request("history")[:, -recent:].copy()
    similar = batch.request("surface") == "similar"
    if seeds.shape[1]:
        seeds[similar] = -1
        seeds[similar, -1] = batch.request("seed")[similar]
    return seeds


def _best(item: NDArray[np.int32], score: NDArray[np.float32], state: State, depth: int) -> Hits:
    """The `depth` best by score, ties by item id."""
    order = np.lexsort((state.catalogue.tie[item], -score))[:depth]
    return item[order], score[order]


def append(batch: Batch, channel: str, found: Sequence[Hits]) -> Batch:
    """The channel's candidates, best first, beside those that are there."""
    width = max((len(item) for item, _ in found), default=0)
    items = np.full((batch.size, width), -1, dtype=np.int32)
    scores = np.zeros((batch.size, width), dtype=np.float32)
    for row, (item, score) in enumerate(found):
        items[row, : len(item)] = item
        scores[row, : len(item)] = score
    columns: dict[str, Array] = {
        "channel": np.full(items.shape, CHANNELS.index(channel), np.int8),
        "rank": np.broadcast_to(np.arange(width, dtype=np.int16), items.shape),
        "recall_score": scores,
    }
    return batch.append(items, columns)
