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
    if len(tick) == 1:
        return _of_one_query(state, item[0], (int(tick[0]), int(query_key[0])), ctr)
    layers = state.pairs["query_items"]
    counts = layers.at(query_key, item, tick).astype(np.float64)
    shown, clicked, positive = (counts[..., layers.place(name)] for name in ("shown", "clicked", "positive"))
    times = np.log1p(state.counters["queries"].at(query_key, tick))
    values = (smoothed(clicked, shown, ctr, QUERY_STRENGTH), np.log1p(shown), np.log1p(positive), times)
    return _where(asked[:, None], QUERY_NAMES, values)


def segment_columns(state: State, item: Items, tick: Ints, segment_key: Keys, log_all: Floats) -> Columns:
    """The items within the request's segment, and their share of all positives; nan without a segment."""
    known = segment_key != 0
    if not known.any():
        return {}
    if len(tick) == 1:
        return _of_one_segment(state, item[0], (int(tick[0]), int(segment_key[0])), log_all)
    positive = positives(state.pairs["segments"], segment_key, item, tick)
    values = (np.log1p(positive), positive / (np.expm1(log_all) + TASTE_STRENGTH))
    return _where(known[:, None], SEGMENT_NAMES, values)


def _of_one_query(state: State, item: Items, at: tuple[int, int], ctr: Floats) -> Columns:
    """One request: only the items that have a count at all are worked out. item: `[K]`; at: the tick, and the key."""
    tick, query_key = at
    layers = state.pairs["query_items"]
    where, counts = layers.under(query_key, item, tick)
    each = (counts[:, layers.place(name)].astype(np.float64) for name in ("shown", "clicked", "positive"))
    shown, clicked, positive = each
    rate, logs = ctr.copy(), np.zeros((2, 1, len(item)))
    rate[0, where] = smoothed(clicked, shown, ctr[0].take(where), QUERY_STRENGTH)
    logs[0, 0, where], logs[1, 0, where] = np.log1p(shown), np.log1p(positive)
    times = np.log1p(state.counters["queries"].of_one(query_key, tick))
    return dict(zip(QUERY_NAMES, (rate, *logs, times), strict=True))


def _of_one_segment(state: State, item: Items, at: tuple[int, int], log_all: Floats) -> Columns:
    """As `_of_one_query`."""
    tick, segment_key = at
    layers = state.pairs["segments"]
    where, counts = layers.under(segment_key, item, tick)
    positive = counts[:, layers.place("positive")].astype(np.float64)
    values = np.zeros((2, 1, len(item)))
    values[0, 0, where] = np.log1p(positive)
    values[1, 0, where] = positive / (np.expm1(log_all[0].take(where)) + TASTE_STRENGTH)
    return dict(zip(SEGMENT_NAMES, values, strict=True))


def taste_columns(state: State, few: "Few", tick: Ints, subject_key: Keys) -> Columns:
    """Share of the subject's positives in the item's category, level by level, and brand, shrunk towards 0.

    subject_key: `[R]`, 0 = nobody; nan for nobody, and where the item has no such group.
    """
    known = subject_key != 0
    if not known.any():
        return {}
    layers, keys = state.pairs["affinity"], np.append(few.keys, 0)
    if len(tick) == 1:
        where, some = layers.under(int(subject_key[0]), keys, int(tick[0]))
        each = np.zeros((1, len(keys)))
        each[0, where] = some[:, layers.place("positive")]
    else:
        each = positives(layers, subject_key, keys[None], tick)
    total = each[:, -1]
    share = each[:, :-1] / (total + TASTE_STRENGTH)[:, None]
    share[~known] = np.nan
    actions = {ACTIONS_NAME: np.where(known, np.log1p(total), np.nan)[:, None]}
    return few.columns(share, TASTE_NAMES) | actions


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
    return layers.at(major, minor, tick)[..., layers.place("positive")].astype(np.float64)


def _where(known: Mask, names: tuple[str, ...], values: tuple[Floats, ...]) -> Columns:
    if known.all():
        return dict(zip(names, values, strict=True))
    return {name: np.where(known, value, np.nan) for name, value in zip(names, values, strict=True)}
