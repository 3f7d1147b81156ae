"""What people did, as numbers: rates and volumes of items, of items for a query, and of a subject's tastes.

All read from counters as of the request's tick, never from what came in since, so that late delivery cannot change
a training row. Letters: R requests, K candidates, A counted things, P moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import LEVELS
from pipeline.features.counters import Counters
from pipeline.features.facts import Facts
from pipeline.features.ids import Keys, pair
from pipeline.features.layers import CounterLayers
from pipeline.features.rates import smoothed
from pipeline.state import COUNTED, DAY, State

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, Floats]

SHOWN, POSITIVE, CLICKED, CLICK, CART, PURCHASE, HIDE = (
    COUNTED.index(name) for name in ("shown", "positive", "clicked", "click", "cart", "purchase", "hide")
)
WINDOWS: Final = {"6h": 6, "1d": DAY, "7d": 7 * DAY}  # ticks
QUERY_STRENGTH: Final = 10.0  # impressions for a query that weigh as much as what is known of the item
TASTE_STRENGTH: Final = 5.0  # positive actions of a subject before its tastes are half believed

ITEM_NAMES: Final = ("ctr", "log_shown", "log_positive", "convert_rate", "cart_rate", "hide_rate")
RECENT_NAMES: Final = (
    *(f"ctr_{name}" for name in WINDOWS),
    *(f"log_shown_{name}" for name in WINDOWS),
    *(f"log_clicks_{name}" for name in WINDOWS),
    "trend",
    "log_hours_known",
)
QUERY_NAMES: Final = ("query_ctr", "query_log_shown", "query_log_positive")
SEGMENT_NAMES: Final = ("segment_log_positive", "segment_share")
TASTE_NAMES: Final = (*(f"taste_category_{level + 1}" for level in range(LEVELS)), "taste_brand", "log_actions")


@dataclass(frozen=True, slots=True)
class Prior:
    """A Beta prior for each group of items and one for the rest: (mean, strength). group: `[G]` sorted keys."""

    group: Keys
    mean: Floats
    strength: Floats

    def of(self, group: Keys) -> tuple[Floats, Floats]:
        """Mean and strength for items of these groups; place 0 holds what is true of all items."""
        if not len(self.group):
            return np.broadcast_to(self.mean[0], group.shape), np.broadcast_to(self.strength[0], group.shape)
        place = np.minimum(np.searchsorted(self.group, group), len(self.group) - 1)
        place = np.where(self.group[place] == group, place + 1, 0)
        return self.mean[place], self.strength[place]


Priors = Mapping[str, Prior]  # click, convert, cart, hide


class TickMemory:
    """Counts of every item at one tick: what a tick's requests ask for again and again.

    Only the base layer is remembered, which no event changes; the recent layer is small and asked each time.
    """

    def __init__(self) -> None:
        self._last: tuple[Counters, tuple[int, int], NDArray[np.int32]] | None = None
        self._first: tuple[Counters, Ints] | None = None

    def at(self, layers: CounterLayers, item: NDArray[np.int32], tick: Ints, back: Ints, items: int) -> Floats:
        """`[P, R, K, A]`: counts at each request's tick and `back` `[P]` ticks before; as `CounterLayers.at`."""
        moments = tick[None, :, None] - back[:, None, None]
        wanted = item.astype(np.int64)[None]
        if len(tick) == 0 or (tick != tick[0]).any():
            return layers.at(wanted, moments).astype(np.float64)
        counts = self._every(layers.base, int(tick[0]), back, items)[:, item]
        if len(layers.recent.keys):
            counts = counts + layers.recent.at(wanted, moments)
        return counts.astype(np.float64)

    def first(self, base: Counters, items: int) -> Ints:
        """`[items]`: the first tick that counts anything of each item."""
        last = self._first
        if last is None or last[0] is not base or len(last[1]) != items:
            self._first = last = (base, base.first(np.arange(items, dtype=np.int64)))
        return last[1]

    def _every(self, base: Counters, tick: int, back: Ints, items: int) -> NDArray[np.int32]:
        last = self._last
        if last is None or last[0] is not base or last[1] != (tick, items):
            every = np.arange(items, dtype=np.int64)[None]
            self._last = last = (base, (tick, items), base.at(every, (tick - back)[:, None]))
        return last[2]


def item_columns(
    state: State, item: NDArray[np.int32], tick: Ints, group: Keys, priors: Priors, memory: TickMemory
) -> Columns:
    """Rates and volumes of items. item, group: `[R, K]`, -1 = none; tick: `[R]`. Windows only on clock time."""
    windows = tuple(WINDOWS.values()) if state.clock == "exact" else ()
    layers = state.counters["items"]
    counts = memory.at(layers, item, tick, np.array([0, *windows]), len(state.catalogue))
    prior = {name: known.of(group) for name, known in priors.items()}
    now = counts[0]
    columns = {
        "ctr": smoothed(now[..., CLICKED], now[..., SHOWN], *prior["click"]),
        "log_shown": np.log1p(now[..., SHOWN]),
        "log_positive": np.log1p(now[..., POSITIVE]),
        "convert_rate": smoothed(now[..., PURCHASE], now[..., CLICK], *prior["convert"]),
        "cart_rate": smoothed(now[..., CART], now[..., CLICK], *prior["cart"]),
        "hide_rate": smoothed(now[..., HIDE], now[..., SHOWN], *prior["hide"]),
    }
    if windows:
        columns |= _recent(now[None] - counts[1:], prior["click"])
        columns["log_hours_known"] = np.log1p(_ticks_known(layers, item, tick, memory, len(state.catalogue)))
    return columns


def _recent(within: Floats, prior: tuple[Floats, Floats]) -> Columns:
    """within: `[len(WINDOWS), R, K, A]`."""
    columns: Columns = {}
    for place, name in enumerate(WINDOWS):
        clicks, shown = within[place, ..., CLICK], within[place, ..., SHOWN]
        columns[f"ctr_{name}"] = smoothed(clicks, shown, *prior)
        columns[f"log_shown_{name}"] = np.log1p(shown)
        columns[f"log_clicks_{name}"] = np.log1p(clicks)
    day, week = within[1, ..., CLICK], within[2, ..., CLICK]
    columns["trend"] = np.log((day + 1.0) / (week / 7.0 + 1.0))
    return columns


def _ticks_known(layers: CounterLayers, item: NDArray[np.int32], tick: Ints, memory: TickMemory, items: int) -> Floats:
    """Ticks since anybody first met the item, `[R, K]`; nan when nobody has yet."""
    known_as = item.astype(np.int64)
    first = memory.first(layers.base, items)[item]
    if len(layers.recent.keys):
        first = np.minimum(first, layers.recent.first(known_as))
    known = tick[:, None] - first
    return np.where(known >= 0, known, np.nan).astype(np.float64)


def query_columns(state: State, item: NDArray[np.int32], tick: Ints, query_key: Keys, ctr: Floats) -> Columns:
    """The items under this very query, drawn towards the item's own rate `ctr` `[R, K]`; nan without a query."""
    asked = (query_key != 0)[:, None]
    key = pair(query_key[:, None], item.astype(np.int64))
    counts = state.counters["query_items"].at(key, tick[:, None]).astype(np.float64)
    rate = smoothed(counts[..., CLICK], counts[..., SHOWN], ctr, QUERY_STRENGTH)
    values = (rate, np.log1p(counts[..., SHOWN]), np.log1p(counts[..., POSITIVE]))
    return {name: np.where(asked, value, np.nan) for name, value in zip(QUERY_NAMES, values, strict=True)}


def segment_columns(state: State, item: NDArray[np.int32], tick: Ints, segment_key: Keys, log_all: Floats) -> Columns:
    """The items within the request's segment, and their share of all positives; nan without a segment."""
    known = (segment_key != 0)[:, None]
    key = pair(segment_key[:, None], item.astype(np.int64))
    positive = state.counters["segments"].at(key, tick[:, None])[..., POSITIVE].astype(np.float64)
    values = (np.log1p(positive), positive / (np.expm1(log_all) + TASTE_STRENGTH))
    return {name: np.where(known, value, np.nan) for name, value in zip(SEGMENT_NAMES, values, strict=True)}


def taste_columns(state: State, item: NDArray[np.int32], tick: Ints, subject_key: Keys, facts: Facts) -> Columns:
    """Share of the subject's positives in the item's category, level by level, and brand, shrunk towards 0.

    subject_key: `[R]`, 0 = nobody; nan for nobody, and where the item has no such group.
    """
    known = subject_key != 0
    group = facts.group[item]
    layers = state.counters["affinity"]
    asked = np.zeros(len(facts.groups), dtype=np.bool_)
    asked[group] = True
    few = np.flatnonzero(asked)
    if len(few) < group[0].size:
        each = _positives(layers, pair(subject_key[:, None], facts.groups[few][None, :]), tick[:, None])
        place = (np.cumsum(asked) - 1)[group]
        count = np.take_along_axis(each, place.reshape(len(item), -1), axis=1).reshape(group.shape)
    else:
        count = _positives(layers, pair(subject_key[:, None, None], facts.groups[group]), tick[:, None, None])
    total = _positives(layers, pair(subject_key, np.zeros_like(subject_key)), tick)
    share = count / (total + TASTE_STRENGTH)[:, None, None]
    share = np.where(known[:, None, None] & (facts.groups[group] != 0), share, np.nan)
    columns = {name: share[..., place] for place, name in enumerate(TASTE_NAMES[:-1])}
    columns[TASTE_NAMES[-1]] = np.where(known, np.log1p(total), np.nan)[:, None]
    return columns


def _positives(layers: CounterLayers, key: Keys, tick: Ints) -> Floats:
    return np.asarray(layers.at(key, tick)[..., POSITIVE], dtype=np.float64)
