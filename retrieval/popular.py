"""What most people act on lately: the order everyone gets, computed once an hour."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.features.layers import CounterLayers
from pipeline.state import DAY, State
from retrieval.config import PopularConfig

Counts = NDArray[np.int64]
_KEPT = 64  # orders remembered


def popular_order(
    counts: NDArray[np.number[Any]], tie: NDArray[np.integer[Any]], created: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """`[N]` items by count descending, ties by `tie` ascending; of those nobody acted on, the newest first."""
    newest = np.zeros(len(counts), np.int64) if created is None else np.where(counts > 0, 0, -created)
    return np.lexsort((tie, newest, -counts))


@dataclass(frozen=True, slots=True)
class Popularity:
    """order: `[N]` items, most popular first; count: `[N]`, positive actions of each, in that order."""

    order: NDArray[np.int64]
    count: Counts
    source: CounterLayers


@dataclass(frozen=True, slots=True)
class PopularIndex:
    """Orders by tick and segment, for one history of events. A tick's counts are final once it may be used."""

    config: PopularConfig
    _known: "OrderedDict[tuple[int, int, int], Popularity]" = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    def at(self, state: State, tick: int, segment: int) -> Popularity:
        """The order in a segment (0 = none), or everyone's where the segment has too few positive actions."""
        key = (tick, segment, len(state.catalogue))
        known = self._known.get(key)
        # Without clock time there is one tick for everything, and its counts do grow.
        if known is None or (state.clock != "exact" and known.source is not state.counters["items"]):
            known = self._known[key] = self._compute(state, tick, segment)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known

    def ahead(self, state: State, tick: int) -> "PopularIndex":
        """The orders of a tick for the segments that the one before was asked for; to be made in any thread."""
        segments = {segment for known, segment, _ in tuple(self._known) if known == tick - 1}
        made = PopularIndex(self.config)
        for segment in {0, *segments}:
            made.at(state, tick, segment)
        return made

    def take(self, other: "PopularIndex") -> None:
        """Take over what another has."""
        self._known.update(other._known)

    def _compute(self, state: State, tick: int, segment: int) -> Popularity:
        source = state.counters["items"]
        items = np.arange(len(state.catalogue), dtype=np.int64)
        if segment:
            local = self._local(state, segment, items, tick)
            if local.sum() < self.config.segment_minimum:
                return self.at(state, tick, 0)
            counts = local
        else:
            counts = self._everywhere(state, items, tick)
            if not counts.any():  # nobody did anything lately: what was ever popular says more than what is newest
                counts = source.at(items, np.array(tick))[:, source.place("positive")].astype(np.int64)
        order = popular_order(counts, state.catalogue.tie, state.catalogue.created)
        return Popularity(order, counts[order], source)

    def _everywhere(self, state: State, items: Counts, tick: int) -> Counts:
        layers, at = state.counters["items"], np.array(tick)
        windowed = state.clock == "exact"
        found = layers.window(items, at, self.config.window_days * DAY) if windowed else layers.at(items, at)
        return found[:, layers.place("positive")].astype(np.int64)

    def _local(self, state: State, segment: int, items: Counts, tick: int) -> Counts:
        layers, asked = state.pairs["segments"], (np.array([segment]), items[None], np.array([tick]))
        windowed = state.clock == "exact"
        found = layers.window(*asked, self.config.window_days * DAY) if windowed else layers.at(*asked)
        return found[0, :, layers.place("positive")].astype(np.int64)
