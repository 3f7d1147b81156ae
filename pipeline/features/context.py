"""What people did with items for a query, within a segment, and one subject with what items are.

Counts of pairs as of the request's tick. Letters: R requests, K candidates, G groups (category prefixes and brands).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import LEVELS
from pipeline.features.ids import Keys
from pipeline.features.layers import PairLayers
from pipeline.features.rates import smoothed
from pipeline.features.runs import coded
from pipeline.state import State

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Items = NDArray[np.int32]
Columns = dict[str, NDArray[Any]]

QUERY_STRENGTH: Final = 10.0  # impressions for a query that weigh as much as what is known of the item
TASTE_STRENGTH: Final = 5.0  # positive actions of a subject before its tastes are half believed

QUERY_NAMES: Final = ("query_ctr", "query_log_shown", "query_log_positive", "query_log_asked")
SEGMENT_NAMES: Final = ("segment_log_positive", "segment_share")
TASTE_NAMES: Final = (*(f"taste_category_{level + 1}" for level in range(LEVELS)), "taste_brand")
ACTIONS_NAME: Final = "log_actions"


def query_columns(state: State, item: Items, tick: Ints, query_key: Keys, ctr: Floats) -> Columns:
    """The items under this very query, drawn towards the item's own rate `ctr` `[R, K]`; nan without a query."""
    asked = query_key != 0
    if not asked.any():
        return {}
    layers, queries = state.pairs["query_items"], state.counters["queries"]
    if len(tick) == 1:
        one = int(query_key[0])
        counts, times = layers.of_one(one, coded(item[0], tick))[None], queries.of_one(one, int(tick[0]))
    else:
        counts, times = layers.at(query_key, item, tick), queries.at(query_key, tick)
    shown, clicked, positive = (counts[..., layers.place(name)] for name in ("shown", "clicked", "positive"))
    rate = smoothed(clicked, shown, ctr, QUERY_STRENGTH)
    return _where(asked[:, None], QUERY_NAMES, (rate, np.log1p(shown), np.log1p(positive), np.log1p(times)))


def segment_columns(state: State, item: Items, tick: Ints, segment_key: Keys, log_all: Floats) -> Columns:
    """The items within the request's segment, and their share of all positives; nan without a segment."""
    known = segment_key != 0
    if not known.any():
        return {}
    positive = positives(state.pairs["segments"], segment_key, item, tick)
    return _where(known[:, None], SEGMENT_NAMES, segment_values(positive, log_all))


def segment_values(positive: Floats, log_all: Floats) -> tuple[Floats, Floats]:
    return np.log1p(positive), positive / (np.expm1(log_all) + TASTE_STRENGTH)


def taste_columns(state: State, few: "Few", tick: Ints, subject_key: Keys) -> Columns:
    """Share of the subject's positives in the item's category, level by level, and brand, shrunk towards 0.

    subject_key: `[R]`, 0 = nobody; nan for nobody, and where the item has no such group.
    """
    known = subject_key != 0
    if not known.any():
        return {}
    each = positives(state.pairs["affinity"], subject_key, np.append(few.keys, 0)[None], tick)
    each[~known] = np.nan
    total = each[:, -1:]
    return few.columns(each[:, :-1] / (total + TASTE_STRENGTH), TASTE_NAMES) | {ACTIONS_NAME: np.log1p(total)}


class Few:
    """The groups of the candidates, each once: candidates share few of them, so that each is looked up once.

    keys: `[F]`, 0 = no such group.
    """

    def __init__(self, group: NDArray[np.intp], groups: Keys) -> None:
        """group: `[D, R, K]`, places in `groups` `[G]`."""
        asked = np.zeros(len(groups), dtype=np.bool_)
        asked[group.reshape(-1)] = True
        self.which = np.flatnonzero(asked)
        self.keys = groups[self.which]
        self._group = group
        self._size = len(groups)

    def columns(self, values: Floats, names: tuple[str, ...]) -> Columns:
        """Values `[R, F]` of each group as one column `[R, K]` a name, for the first of the D groups; nan for none."""
        spread = np.full((len(values), self._size), np.nan, dtype=np.float32)
        spread[:, self.which] = np.where(self.keys != 0, values, np.nan)
        row = np.arange(0, spread.size, self._size)[:, None]
        found = spread.reshape(-1).take(self._group[: len(names)] + row)
        return dict(zip(names, found, strict=True))


def positives(layers: PairLayers, major: Keys, minor: NDArray[np.integer], tick: Ints) -> Floats:
    """`[R, K]`; minor: `[R, K]`, or `[1, K]` alike for all."""
    if len(tick) == 1:
        counts = layers.of_one(int(major[0]), coded(minor[0], tick))[None]
    else:
        counts = layers.at(major, minor, tick)
    return counts[..., layers.place("positive")].astype(np.float64)


def _where(known: Mask, names: tuple[str, ...], values: tuple[Floats, ...]) -> Columns:
    if known.all():
        return dict(zip(names, values, strict=True))
    return {name: np.where(known, value, np.nan) for name, value in zip(names, values, strict=True)}
