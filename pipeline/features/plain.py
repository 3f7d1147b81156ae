"""The plain features: one function from a batch and a state to `[R, K, F]`, for training and serving alike.

Everything is read as of the request's tick or time, the subject's past as of the tick as well. What cannot be known
is nan. What is fitted (priors, usual prices, how common words are) is frozen in the bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Mask
from pipeline.catalogue import LEVELS, Catalogue
from pipeline.features.behaviour import (
    ITEM_NAMES,
    QUERY_NAMES,
    RECENT_NAMES,
    SEGMENT_NAMES,
    TASTE_NAMES,
    item_columns,
    query_columns,
    segment_columns,
    taste_columns,
)
from pipeline.features.content import Vectors, item_vectors
from pipeline.features.facts import HOUR_MS, Facts, FactsMemory
from pipeline.features.fitted import Fitted
from pipeline.features.ids import Keys
from pipeline.features.match import MATCH_NAMES, Matcher
from pipeline.features.personal import PERSONAL_NAMES, past_of, personal_columns
from pipeline.features.table import ItemTable
from pipeline.features.texts import Texts
from pipeline.state import State

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
SURFACES: Final = ("search", "recommend", "similar")

FACT_NAMES: Final = ("log_price", "relative_price", "has_text", "kind", "sponsored", "region_match")
AGE: Final = "log_age_hours"
REQUEST_NAMES: Final = ("surface", "query_terms", "query_letters")
SEED_NAMES: Final = ("seed_categories", "seed_brand", "seed_content")
# A log without clock time knows neither windows nor ages.
CLOCK_NAMES: Final = (*RECENT_NAMES, AGE)
# In this order: what a tick says of items, what is asked for, and from TASTE_NAMES on what an item's description says.
EVERY: Final = (
    *ITEM_NAMES,
    *RECENT_NAMES,
    *QUERY_NAMES,
    *SEGMENT_NAMES,
    *REQUEST_NAMES,
    *TASTE_NAMES,
    *FACT_NAMES,
    AGE,
    *SEED_NAMES,
    *PERSONAL_NAMES,
    *MATCH_NAMES,
)
NEEDS: Final = frozenset(
    f"request.{name}"
    for name in ("time", "tick", "subject", "subject_key", "query_key", "segment_key", "surface", "seed", "terms")
)


@cache
def names(clock: str) -> tuple[str, ...]:
    """The features of a log of this clock, in the order of the last axis."""
    return tuple(name for name in EVERY if clock == "exact" or name not in CLOCK_NAMES)


def left_out(clock: str) -> tuple[str, ...]:
    """The features such a log cannot have, for the report."""
    return tuple(name for name in EVERY if name not in names(clock))


class Memory:
    """What follows from the catalogue or from one tick, kept until it changes: cheap to lose, never saved."""

    def __init__(self) -> None:
        self.facts = FactsMemory()
        self.table = ItemTable()
        self._vectors: tuple[Texts, Vectors] | None = None
        self._kinds: tuple[Facts, Keys, Floats] | None = None

    def vectors(self, catalogue: Catalogue, texts: Texts) -> Vectors:
        last = self._vectors
        if last is None or last[0] is not texts or len(last[1]) != len(catalogue):
            self._vectors = last = (texts, item_vectors(catalogue, texts))
        return last[1]

    def kinds(self, facts: Facts, fitted: Fitted) -> tuple[Keys, Floats]:
        """Top category and usual log price of each item, `[N]`."""
        last = self._kinds
        if last is None or last[0] is not facts:
            path = facts.groups[facts.group[:, :LEVELS]]
            self._kinds = last = (facts, np.ascontiguousarray(path[:, 0]), fitted.usual_price(path))
        return last[1], last[2]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """fitted: what training froze; matcher: the words. Open one a process and share it."""

    fitted: Fitted
    matcher: Matcher
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def of(cls, fitted: Fitted) -> "FeatureSet":
        return cls(fitted, Matcher(fitted.text))

    def values(self, batch: Batch, state: State) -> NDArray[np.float32]:
        """`[R, K, len(names(state.clock))]`; nan where a feature is unknown or there is no candidate."""
        wanted = names(state.clock)
        out = np.empty((*batch.item.shape, len(wanted)), dtype=np.float32)
        facts = self.memory.facts.of(state.catalogue)
        if not facts.size or not batch.item.size:
            out[:] = np.nan
            return out
        described = np.ones(batch.item.shape, dtype=np.bool_)
        if state.clock == "exact":
            described = facts.described(batch.item, batch.request("time")[:, None])
        about = wanted.index(TASTE_NAMES[0])
        columns = self._counted(batch, state, described, out)
        columns |= self._personal(batch, facts, state) | self._seed(batch, facts, state.catalogue) | _request(batch)
        for place, name in enumerate(wanted):
            if name in columns:
                out[..., place] = columns[name]
        words = out[..., len(wanted) - len(MATCH_NAMES) :]
        self.matcher.features(batch.request("terms").tolist(), batch.item, state.catalogue, words)
        if not described.all():
            out[..., about:][~described] = np.nan
        if not batch.mask.all():
            out[~batch.mask] = np.nan
        return out

    def vectors(self, catalogue: Catalogue) -> Vectors:
        """`[N, D]` unit vectors of what the items are, for likeness between items."""
        return self.memory.vectors(catalogue, self.matcher.memory.of(catalogue))

    def _counted(self, batch: Batch, state: State, described: Mask, out: NDArray[np.float32]) -> Columns:
        """Item columns, written into `out`; and what queries and segments add to them."""
        item, tick = batch.item, batch.request("tick")
        facts = self.memory.facts.of(state.catalogue)
        top, _ = self.memory.kinds(facts, self.fitted)
        counted = names(state.clock)[: names(state.clock).index(QUERY_NAMES[0])]
        priors = self.fitted.priors
        table = None
        if (tick == tick[0]).all() and (described | (top[item] == 0) | (item < 0)).all():
            table = self.memory.table.at(state, int(tick[0]), top, priors, counted)
        if table is not None:
            out[..., : len(counted)] = table[item]
        else:
            found = item_columns(state, item.astype(np.int64), tick, np.where(described, top[item], 0), priors)
            for place, name in enumerate(counted):
                out[..., place] = found[name]
        wide = item.astype(np.int64)
        ctr, log_positive = (out[..., counted.index(name)].astype(np.float64) for name in ("ctr", "log_positive"))
        columns = query_columns(state, wide, tick, batch.request("query_key"), ctr)
        return columns | segment_columns(state, wide, tick, batch.request("segment_key"), log_positive)

    def _personal(self, batch: Batch, facts: Facts, state: State) -> Columns:
        """What the items are, and how that suits the subject."""
        item, time, tick = batch.item, batch.request("time"), batch.request("tick")
        subject_key = np.where(batch.request("subject") != "", batch.request("subject_key"), 0)
        columns = self._about(batch, facts, state) | taste_columns(state, item, tick, subject_key, facts)
        past = past_of(state, subject_key, tick, time)
        _, usual = self.memory.kinds(facts, self.fitted)
        before = _log(facts.price(past.item, past.time)) - usual[past.item]
        dear, vectors = columns["relative_price"].astype(np.float32), self.vectors(state.catalogue)
        return columns | personal_columns(past, item, time, dear, (facts, vectors, before.astype(np.float32)))

    def _about(self, batch: Batch, facts: Facts, state: State) -> Columns:
        """What the items are."""
        item, time = batch.item, batch.request("time")
        _, usual = self.memory.kinds(facts, self.fitted)
        alone = len(time) == 1
        price = state.catalogue.at(int(time[0])).price[item] if alone else facts.price(item, time[:, None])
        log_price = _log(price)
        region, segment = facts.region[item], batch.request("segment_key")[:, None]
        matches = np.where((region != 0) & (segment != 0), region == segment, np.nan)
        return {
            "log_price": log_price,
            "relative_price": log_price - usual[item],
            "has_text": facts.has_text[item],
            "kind": facts.kind[item],
            "sponsored": facts.sponsored[item],
            "region_match": matches if state.segment == "region" else np.full(item.shape, np.nan),
            AGE: np.log1p(np.maximum(time[:, None] - facts.created[item], 0) / HOUR_MS),
        }

    def _seed(self, batch: Batch, facts: Facts, catalogue: Catalogue) -> Columns:
        """Likeness to the item of a `similar` request; nan elsewhere."""
        item, seed = batch.item, batch.request("seed")
        if not (seed >= 0).any():
            return dict.fromkeys(SEED_NAMES, np.full((1, 1), np.nan))
        seeded = (seed >= 0)[:, None]
        own, theirs = facts.groups[facts.group[item]], facts.groups[facts.group[seed]][:, None]
        same = (own == theirs) & (own != 0)
        vectors = self.vectors(catalogue)
        cosine = np.einsum("rkd,rd->rk", vectors[item], vectors[seed])
        values = (same[..., :LEVELS].sum(axis=2), same[..., LEVELS], cosine)
        return {name: np.where(seeded, value, np.nan) for name, value in zip(SEED_NAMES, values, strict=True)}


def _log(price: Floats) -> Floats:
    """nan for no price, and for nothing to pay."""
    known = price > 0
    return np.log(price, where=known, out=np.full(price.shape, np.nan))


def _request(batch: Batch) -> Columns:
    """What the request is, the same for all its candidates: `[R, 1]`."""
    code: Mapping[str, int] = {surface: place for place, surface in enumerate(SURFACES)}
    terms = [(len(line), sum(map(len, line))) for line in batch.request("terms")]
    sizes = np.array(terms, dtype=np.float64).reshape(-1, 2)
    surface = np.array([code.get(name, len(SURFACES)) for name in batch.request("surface")], dtype=np.float64)
    return {"surface": surface[:, None], "query_terms": sizes[:, :1], "query_letters": sizes[:, 1:]}
