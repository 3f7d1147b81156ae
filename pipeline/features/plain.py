"""The plain features: one function from a batch and a state to `[R, K, F]`, for training and serving alike.

Everything is read as of the request's tick or time; nothing here looks at sequences in real time. What cannot be
known is nan. What is fitted (priors, usual prices, how common words are) is frozen in the bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.catalogue import LEVELS, Catalogue
from pipeline.features.behaviour import (
    ITEM_NAMES,
    QUERY_NAMES,
    RECENT_NAMES,
    SEGMENT_NAMES,
    TASTE_NAMES,
    TickMemory,
    item_columns,
    query_columns,
    segment_columns,
    taste_columns,
)
from pipeline.features.content import Vectors, item_vectors
from pipeline.features.facts import HOUR_MS, Facts, FactsMemory
from pipeline.features.fitted import Fitted
from pipeline.features.match import MATCH_NAMES, Matcher
from pipeline.features.texts import Texts
from pipeline.state import State

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
SURFACES: Final = ("search", "recommend", "similar")

FACT_NAMES: Final = ("log_price", "relative_price", "has_text", "kind", "sponsored", "region_match")
AGE: Final = "log_age_hours"
REQUEST_NAMES: Final = ("surface", "query_terms", "query_letters")
SEED_NAMES: Final = ("seed_categories", "seed_brand", "seed_content")
# A log without clock time knows neither windows nor ages.
CLOCK_NAMES: Final = (*RECENT_NAMES, AGE)
EVERY: Final = (
    *ITEM_NAMES,
    *RECENT_NAMES,
    *QUERY_NAMES,
    *SEGMENT_NAMES,
    *TASTE_NAMES,
    *FACT_NAMES,
    AGE,
    *REQUEST_NAMES,
    *SEED_NAMES,
    *MATCH_NAMES,
)
NEEDS: Final = frozenset(
    f"request.{name}"
    for name in ("time", "tick", "subject", "subject_key", "query_key", "segment_key", "surface", "seed", "terms")
)


def names(clock: str) -> tuple[str, ...]:
    """The features of a log of this clock, in the order of the last axis."""
    return tuple(name for name in EVERY if clock == "exact" or name not in CLOCK_NAMES)


def left_out(clock: str) -> tuple[str, ...]:
    """The features such a log cannot have, for the report."""
    return tuple(name for name in EVERY if name not in names(clock))


class Memory:
    """What follows from the catalogue alone, kept until it grows: cheap to lose, never saved."""

    def __init__(self) -> None:
        self.facts = FactsMemory()
        self.ticks = TickMemory()
        self._vectors: tuple[Texts, Vectors] | None = None

    def vectors(self, catalogue: Catalogue, texts: Texts) -> Vectors:
        last = self._vectors
        if last is None or last[0] is not texts or len(last[1]) != len(catalogue):
            self._vectors = last = (texts, item_vectors(catalogue, texts))
        return last[1]


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
        columns = self._columns(batch, state)
        wanted = names(state.clock)
        out = np.empty((len(wanted), *batch.item.shape), dtype=np.float32)
        for place, name in enumerate(wanted):
            out[place] = columns[name]
        out[:, ~batch.mask] = np.nan
        return np.ascontiguousarray(np.moveaxis(out, 0, -1))

    def vectors(self, catalogue: Catalogue) -> Vectors:
        """`[N, D]` unit vectors of what the items are, for likeness between items."""
        return self.memory.vectors(catalogue, self.matcher.memory.of(catalogue))

    def _columns(self, batch: Batch, state: State) -> Columns:
        item, tick = batch.item, batch.request("tick")
        facts = self.memory.facts.of(state.catalogue)
        if not facts.size or not item.size:
            return dict.fromkeys(EVERY, np.full(item.shape, np.nan))
        described = np.ones(item.shape, dtype=np.bool_)
        if state.clock == "exact":
            described = facts.described(item, batch.request("time")[:, None])
        top = np.where(described, facts.groups[facts.group[item, 0]], 0)
        columns = item_columns(state, item, tick, top, self.fitted.priors, self.memory.ticks)
        columns |= query_columns(state, item, tick, batch.request("query_key"), columns["ctr"])
        columns |= segment_columns(state, item, tick, batch.request("segment_key"), columns["log_positive"])
        subject_key = np.where(batch.request("subject") != "", batch.request("subject_key"), 0)
        about = taste_columns(state, item, tick, subject_key, facts)
        columns["log_actions"] = about.pop("log_actions")
        about |= self._about(batch, facts, state)
        about |= self._seed(batch, facts, state.catalogue)
        match = self.matcher.features(batch.request("terms").tolist(), item, state.catalogue).astype(np.float64)
        about |= {name: match[..., place] for place, name in enumerate(MATCH_NAMES)}
        if not described.all():
            about = {name: np.where(described, value, np.nan) for name, value in about.items()}
        return columns | about | _request(batch)

    def _about(self, batch: Batch, facts: Facts, state: State) -> Columns:
        """What the items are."""
        item, time = batch.item, batch.request("time")[:, None]
        price = facts.price(item, time)
        with np.errstate(invalid="ignore", divide="ignore"):
            log_price = np.log(np.where(price > 0, price, np.nan))
        region, segment = facts.region[item], batch.request("segment_key")[:, None]
        matches = np.where((region != 0) & (segment != 0), region == segment, np.nan)
        return {
            "log_price": log_price,
            "relative_price": log_price - self.fitted.usual_price(facts.groups[facts.group[item, :2]]),
            "has_text": facts.has_text[item],
            "kind": facts.kind[item],
            "sponsored": facts.sponsored[item],
            "region_match": matches if state.segment == "region" else np.full(item.shape, np.nan),
            AGE: np.log1p(np.maximum(time - facts.created[item], 0) / HOUR_MS),
        }

    def _seed(self, batch: Batch, facts: Facts, catalogue: Catalogue) -> Columns:
        """Likeness to the item of a `similar` request; nan elsewhere."""
        item, seed = batch.item, batch.request("seed")
        if not (seed >= 0).any():
            return dict.fromkeys(SEED_NAMES, np.full(item.shape, np.nan))
        seeded = (seed >= 0)[:, None]
        own, theirs = facts.groups[facts.group[item]], facts.groups[facts.group[seed]][:, None]
        same = (own == theirs) & (own != 0)
        vectors = self.vectors(catalogue)
        cosine = (vectors[item] * vectors[seed][:, None]).sum(axis=2)
        values = (same[..., :LEVELS].sum(axis=2), same[..., LEVELS], cosine)
        return {name: np.where(seeded, value, np.nan) for name, value in zip(SEED_NAMES, values, strict=True)}


def _request(batch: Batch) -> Columns:
    """What the request is, the same for all its candidates: `[R, 1]`."""
    code: Mapping[str, int] = {surface: place for place, surface in enumerate(SURFACES)}
    terms = [(len(line), sum(map(len, line))) for line in batch.request("terms")]
    sizes = np.array(terms, dtype=np.float64).reshape(-1, 2)
    surface = np.array([code.get(name, len(SURFACES)) for name in batch.request("surface")], dtype=np.float64)
    return {"surface": surface[:, None], "query_terms": sizes[:, :1], "query_letters": sizes[:, 1:]}
