"""What people did, as numbers: rates and volumes of items, of items for a query, and of a subject's tastes.

All read from counters as of the request's tick, never from what came in since, so that late delivery cannot change
a training row. Letters: R requests, K candidates, A counted things, P moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import LEVELS
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
_UNKNOWN: Final = np.full((1, 1), np.nan)
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


def item_columns(state: State, item: Ints, tick: Ints, group: Keys, priors: Priors) -> Columns:
    """Rates and volumes of items. item, group: `[R, K]`; tick: `[R]`. Windows only on clock time."""
    layers = state.counters["items"]
    now = layers.at(item, tick[:, None]).astype(np.float64)
    prior = {name: known.of(group) for name, known in priors.items()}
    columns = {
        "ctr": smoothed(now[..., CLICKED], now[..., SHOWN], *prior["click"]),
        "log_shown": np.log1p(now[..., SHOWN]),
        "log_positive": np.log1p(now[..., POSITIVE]),
        "convert_rate": smoothed(now[..., PURCHASE], now[..., CLICK], *prior["convert"]),
        "cart_rate": smoothed(now[..., CART], now[..., CLICK], *prior["cart"]),
        "hide_rate": smoothed(now[..., HIDE], now[..., SHOWN], *prior["hide"]),
    }
    if state.clock == "exact":
        back = np.array(list(WINDOWS.values()))[:, None, None]
        within = now[None] - layers.at(item[None], tick[None, :, None] - back)
        columns |= _recent(within, prior["click"])
        known = tick[:, None] - layers.first(item)
        columns["log_hours_known"] = np.log1p(np.where(known >= 0, known, np.nan))
    return columns


def _recent(within: Floats, prior: tuple[Floats, Floats]) -> Columns:
    """within: `[len(WINDOWS), R, K, A]`."""
    columns: Columns = {}
    for place, name in enumerate(WINDOWS):
        columns[f"ctr_{name}"] = smoothed(within[place, ..., CLICKED], within[place, ..., SHOWN], *prior)
        columns[f"log_shown_{name}"] = np.log1p(within[place, ..., SHOWN])
        columns[f"log_clicks_{name}"] = np.log1p(within[place, ..., CLICK])
    day, week = within[1, ..., CLICK], within[2, ..., CLICK]
    columns["trend"] = np.log((day + 1.0) / (week / 7.0 + 1.0))
    return columns


def query_columns(state: State, item: Ints, tick: Ints, query_key: Keys, ctr: Floats) -> Columns:
    """The items under this very query, drawn towards the item's own rate `ctr` `[R, K]`; nan without a query."""
    asked = query_key != 0
    if not asked.any():
        return dict.fromkeys(QUERY_NAMES, _UNKNOWN)
    counts = state.counters["query_items"].at(pair(query_key[:, None], item), tick[:, None])
    shown, clicked, positive = (counts[..., what].astype(np.float64) for what in (SHOWN, CLICKED, POSITIVE))
    values = (smoothed(clicked, shown, ctr, QUERY_STRENGTH), np.log1p(shown), np.log1p(positive))
    return _where(asked[:, None], QUERY_NAMES, values)


def segment_columns(state: State, item: Ints, tick: Ints, segment_key: Keys, log_all: Floats) -> Columns:
    """The items within the request's segment, and their share of all positives; nan without a segment."""
    known = segment_key != 0
    if not known.any():
        return dict.fromkeys(SEGMENT_NAMES, _UNKNOWN)
    counts = state.counters["segments"].at(pair(segment_key[:, None], item), tick[:, None])
    positive = counts[..., POSITIVE].astype(np.float64)
    values = (np.log1p(positive), positive / (np.expm1(log_all) + TASTE_STRENGTH))
    return _where(known[:, None], SEGMENT_NAMES, values)


def taste_columns(state: State, item: NDArray[np.int32], tick: Ints, subject_key: Keys, facts: Facts) -> Columns:
    """Share of the subject's positives in the item's category, level by level, and brand, shrunk towards 0.

    subject_key: `[R]`, 0 = nobody; nan for nobody, and where the item has no such group.
    """
    known = subject_key != 0
    if not known.any():
        return dict.fromkeys(TASTE_NAMES, _UNKNOWN)
    layers = state.counters["affinity"]
    group = facts.group[item]
    # Candidates share few groups: each is looked up once for a request.
    asked = np.zeros(len(facts.groups), dtype=np.bool_)
    asked[group] = True
    few = np.flatnonzero(asked)
    keys = np.append(facts.groups[few], 0)
    each = _positives(layers, pair(subject_key[:, None], keys), tick[:, None])
    total = each[:, -1]
    share = each[:, :-1] / (total + TASTE_STRENGTH)[:, None]
    share[~known] = np.nan
    share[:, facts.groups[few] == 0] = np.nan
    place = np.zeros(len(facts.groups), dtype=np.int64)
    place[few] = np.arange(len(few))
    found = share[np.arange(len(item))[:, None, None], place[group]]
    columns = {name: found[..., level] for level, name in enumerate(TASTE_NAMES[:-1])}
    columns[TASTE_NAMES[-1]] = np.where(known, np.log1p(total), np.nan)[:, None]
    return columns


def _where(known: Mask, names: tuple[str, ...], values: tuple[Floats, ...]) -> Columns:
    if known.all():
        return dict(zip(names, values, strict=True))
    return {name: np.where(known, value, np.nan) for name, value in zip(names, values, strict=True)}


def _positives(layers: CounterLayers, key: Keys, tick: Ints) -> Floats:
    return np.asarray(layers.at(key, tick)[..., POSITIVE], dtype=np.float64)
