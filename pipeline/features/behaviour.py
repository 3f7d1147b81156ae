"""What people did with items, as numbers: rates and volumes, of all time, of windows and decayed.

All read from counters as of the request's tick, never from what came in since, so that late delivery cannot change
a training row. Letters: R requests, K candidates, A counted things, P moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.ids import Keys
from pipeline.features.layers import CounterLayers
from pipeline.features.rates import decay_weights, smoothed
from pipeline.state import COUNTED, DAY, State

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, Floats]

SHOWN, POSITIVE, CLICKED, CLICK, CART, PURCHASE, HIDE = (
    COUNTED.index(name) for name in ("shown", "positive", "clicked", "click", "cart", "purchase", "hide")
)
WINDOWS: Final = {"6h": 6, "1d": DAY, "7d": 7 * DAY}  # ticks
EDGES: Final = (6, DAY, 3 * DAY, 7 * DAY)  # ticks back at which the look-ups are made; all windows are among them
HALF_LIVES: Final = {"6h": 6.0, "3d": 3.0 * DAY}  # ticks

ITEM_NAMES: Final = ("ctr", "log_shown", "log_positive", "convert_rate", "cart_rate", "hide_rate")
# A log without clock time knows neither windows nor ages.
RECENT_NAMES: Final = (
    *(f"ctr_{name}" for name in WINDOWS),
    *(f"log_shown_{name}" for name in WINDOWS),
    *(f"log_clicks_{name}" for name in WINDOWS),
    "trend",
    "trend_6h",
    *(f"ctr_decayed_{name}" for name in HALF_LIVES),
    *(f"log_clicks_decayed_{name}" for name in HALF_LIVES),
)
KNOWN_NAME: Final = "log_hours_known"


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
        columns |= _recent(_within(layers, item, tick, now), prior["click"])
    return columns


def hours_known(first: Ints, tick: Ints) -> Floats:
    """log(1 + hours) since the first tick that counts anything of an item; they broadcast."""
    known = tick - first
    return np.asarray(np.log1p(np.where(known >= 0, known, np.nan)))


def _within(layers: CounterLayers, item: Ints, tick: Ints, now: Floats) -> Floats:
    """`[len(EDGES), R, K, A]`: what is counted of the last ticks."""
    back = np.array(EDGES)[:, None, None]
    return np.asarray(now[None] - layers.at(item[None], tick[None, :, None] - back))


def _recent(within: Floats, prior: tuple[Floats, Floats]) -> Columns:
    """within: `[len(EDGES), R, K, A]`."""
    shown, clicked, click = (within[..., what] for what in (SHOWN, CLICKED, CLICK))
    columns: Columns = {}
    for name, ticks in WINDOWS.items():
        edge = EDGES.index(ticks)
        columns[f"ctr_{name}"] = smoothed(clicked[edge], shown[edge], *prior)
        columns[f"log_shown_{name}"] = np.log1p(shown[edge])
        columns[f"log_clicks_{name}"] = np.log1p(click[edge])
    few, day, week = (click[EDGES.index(WINDOWS[name])] for name in ("6h", "1d", "7d"))
    columns["trend"] = np.log((day + 1.0) / (week / 7.0 + 1.0))
    columns["trend_6h"] = np.log((few + 1.0) / (day / 4.0 + 1.0))
    for name, half_life in HALF_LIVES.items():
        weights = decay_weights(EDGES, half_life)
        columns[f"ctr_decayed_{name}"] = smoothed(_decayed(clicked, weights), _decayed(shown, weights), *prior)
        columns[f"log_clicks_decayed_{name}"] = np.log1p(_decayed(click, weights))
    return columns


def _decayed(within: Floats, weights: tuple[float, ...]) -> Floats:
    """within: `[len(EDGES), ...]`, each edge's count holding those of the nearer ones."""
    total: Floats = weights[0] * within[0]
    for place, weight in enumerate(weights[1:]):
        total = total + weight * (within[place + 1] - within[place])
    return total
