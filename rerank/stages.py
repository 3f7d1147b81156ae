"""Stages that turn scored candidates into a slate: the order of the candidates is the order of the page.

`score` stays the ranker's value. Where a request has an explicit sort, only `Sort` and `TopK` act on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Ints, Mask, best_first
from pipeline.catalogue import NEVER, Catalogue
from pipeline.filters import Filters
from pipeline.stage import Effect
from rerank.config import RerankConfig
from rerank.context import Listed
from rerank.listwise import Listwise, merit_of
from rerank.mmr import mmr_orders
from rerank.rules import RELEVANCE, boosted, relevance
from rerank.windows import scatter


@dataclass(frozen=True, slots=True)
class Rearrange:
    """Reranks the best `depth` of each request as a list. Without an explicit sort, `relevance` says the new order: its
    j-th item has the j-th best score, so that what comes after weighs it on the ranker's scale and those behind `depth`
    stay behind; elsewhere it is the score as merchandised. vectors: `[N, D]`, unit length, of every item."""

    model: Listwise
    catalogue: Catalogue
    vectors: NDArray[np.float32]
    name: str = "listwise"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"score", "request.sort"})
    writes: frozenset[str] = frozenset({"relevance"})

    def run(self, batch: Batch) -> Batch:
        score = boosted(batch)
        found, rows = score.copy(), _by_relevance(batch)
        if len(rows) and batch.item.shape[1]:
            found[rows] = self._rearranged(batch.rows(rows), score[rows])
        return batch.with_columns(relevance=found)

    def _rearranged(self, batch: Batch, score: NDArray[np.float64]) -> NDArray[np.float64]:
        before = best_first(score, batch.mask & np.isfinite(score), self.catalogue.tie[batch.item])
        head = before[:, : self.model.about.depth]
        top = Batch(batch.requests, batch.item, {"score": score}).take(head)
        places = self.model.order(listed(top, self.catalogue, self.vectors))
        after = before.copy()
        after[:, : head.shape[1]] = np.where(places >= 0, np.take_along_axis(head, np.maximum(places, 0), axis=1), -1)
        best = np.take_along_axis(score, np.maximum(before, 0), axis=1)
        # Equal scores would fall back to the order of item ids.
        best = best - np.arange(best.shape[1]) * 1e-12 * np.abs(best[:, :1])
        row, place = np.nonzero(after >= 0)
        found = score.copy()
        found[row, after[row, place]] = best[row, place]
        return found


def listed(batch: Batch, catalogue: Catalogue, vectors: NDArray[np.float32]) -> Listed:
    """The candidates as what a list is judged by. Of a category path the deepest level counts."""
    mask, item = batch.mask, np.maximum(batch.item, 0)
    path = catalogue.category[item]
    deepest = np.maximum((path != 0).sum(axis=2) - 1, 0)[:, :, None]
    category = np.take_along_axis(path, deepest, axis=2)[:, :, 0]
    return Listed(mask, merit_of(batch["score"]), category, catalogue.brand[item], vectors[item])


@dataclass(frozen=True, slots=True)
class Sort:
    """Best first by what the request sorts by; unknown prices and dates last, ties by item id."""

    catalogue: Catalogue
    name: str = "sort"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score", "request.sort", "request.price"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        value = relevance(batch).copy()
        for row, sort in enumerate(batch.request("sort")):
            item = batch.item[row]
            if sort in ("price_asc", "price_desc"):
                price = batch.request("price")[row][item]
                value[row] = price if sort == "price_desc" else -price
            elif sort == "newest":
                created = self.catalogue.created[item]
                value[row] = np.where(created == NEVER, np.nan, created)
        return batch.take(best_first(value, batch.mask, self.catalogue.tie[batch.item]))


@dataclass(frozen=True, slots=True)
class Diversify:
    """MMR over the best `depth` of each request; those behind follow by score.

    vectors: `[N, D]`, unit length, of every item; trade: where the request does not say what it wants. Relevance is
    the score between the worst and the best of the `depth`, so that it is on the scale of a cosine.
    """

    catalogue: Catalogue
    vectors: NDArray[np.float32]
    trade: float = 1.0
    depth: int = 50
    window: int | None = None
    name: str = "diversify"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score", "request.sort", "request.diversity"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        wanted = batch.request("diversity").astype(np.float64)
        trade = np.clip(np.where(np.isnan(wanted), self.trade, 1.0 - wanted), 0.0, 1.0)
        rows = _by_relevance(batch)
        if not len(rows):
            return batch
        order = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        score = relevance(batch)
        order[rows] = best_first(score[rows], batch.mask[rows], self.catalogue.tie[batch.item[rows]])
        mixed = rows[trade[rows] < 1.0]
        if len(mixed):
            head = order[mixed, : self.depth]
            order[mixed, : self.depth] = diversified(
                head, score[mixed], batch.item[mixed], self.vectors, trade[mixed], window=self.window
            )
        return batch.take(order)


def diversified(
    head: Ints,
    score: NDArray[np.float64],
    item: NDArray[np.int32],
    vectors: NDArray[np.float32],
    trade: NDArray[np.float64],
    *,
    window: int | None = None,
) -> Ints:
    """The places `head` `[R, T]` (best first, -1 = none) in the order of MMR; score and item: `[R, K]`."""
    there = head >= 0
    place = np.maximum(head, 0)
    relevance = unit_range(np.take_along_axis(score, place, axis=1), there)
    vector = vectors[np.take_along_axis(item, place, axis=1)]
    picks = mmr_orders(relevance, vector, head.shape[1], trade, window)
    # Where there is no candidate the relevance is nan, so -1 stays behind every candidate.
    return np.take_along_axis(head, picks, axis=1)


def unit_range(score: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """Scores from 0 (worst of the row) to 1 (best); 1 where all are equal; nan outside the mask."""
    known = mask & np.isfinite(score)
    low = np.where(known, score, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    high = np.where(known, score, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    above = np.subtract(score, low, out=np.zeros_like(score), where=known)
    spread = np.subtract(high, low, out=np.zeros_like(low), where=high > low)
    scaled = np.divide(above, spread, out=np.ones_like(score), where=spread > 0)
    return np.where(known, scaled, np.nan)


@dataclass(frozen=True, slots=True)
class Windows:
    """Scatters categories and brands over the first slots, as `config` says.

    A rule is off for the attribute the shopper filtered on. `request.relaxations` counts the slots at which the
    candidates left no choice but to break a rule.
    """

    catalogue: Catalogue
    config: RerankConfig
    name: str = "windows"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"request.sort", "request.filters"})
    writes: frozenset[str] = frozenset({"request.relaxations"})

    def run(self, batch: Batch) -> Batch:
        config = self.config
        order = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        relaxations = np.zeros(batch.size, dtype=np.int16)
        rules = (
            (config.category_window, config.category_at_most),
            (config.brand_window, config.brand_at_most),
        )
        category = self.catalogue.category[:, config.category_level - 1]
        for row in _by_relevance(batch):
            places = np.flatnonzero(batch.mask[row])
            near = places[: config.first + config.explore]  # no slot can reach behind them
            groups = np.zeros((len(order[row]), 2), dtype=np.int64)
            on = self._asked(batch.request("filters")[row])
            for attribute, values in enumerate((category, self.catalogue.brand)):
                if on[attribute]:
                    groups[near, attribute] = values[batch.item[row, near]]
            arranged, broken = scatter(near, groups, rules, config.first, config.explore)
            rest = np.flatnonzero(~batch.mask[row])
            order[row] = np.concatenate([arranged, places[len(near) :], rest])
            relaxations[row] = broken.sum()
        return batch.take(order).with_requests(relaxations=relaxations)

    def _asked(self, filters: Filters) -> tuple[bool, bool]:
        """Whether the rules of category and of brand are on for these filters."""
        deep = any(len(path) >= self.config.category_level for path in filters.category)
        return not deep, not filters.brand


@dataclass(frozen=True, slots=True)
class TopK:
    """Keeps the first k of each slate, in its order."""

    k: int = 200
    name: str = "top_k"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        return batch.keep(np.cumsum(batch.mask, axis=1) <= self.k)


def _by_relevance(batch: Batch) -> NDArray[np.intp]:
    """Requests without an explicit sort."""
    return np.flatnonzero(batch.request("sort") == RELEVANCE)
