"""How like the items are to what the subject acted on before: what they are, what they cost, and the last one.

The past is read in real time, unlike counts: what somebody just did matters on the very next page. A training row
knows what had come in by then (`received`), as the service did.
Letters: R requests, K candidates, H past actions, D dimensions of the item vectors, L levels of category.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import LEVELS
from pipeline.features.content import Vectors
from pipeline.features.ids import Keys
from pipeline.features.prices import Kinds, log_of
from pipeline.features.sequences import Ms, Past
from pipeline.features.ticks import TICK_MS
from pipeline.state import State

Floats = NDArray[np.float32]
Items = NDArray[np.int32]
Columns = dict[str, NDArray[Any]]

LIKENESS_NAMES: Final = (
    "past_likeness",
    "past_likeness_shrunk",
    "last_likeness",
    "last_same_categories",
    "times_before",
)
PRICE_NAMES: Final = ("usual_dearness", "dearness_distance", "price_place_distance")
LAST_NAME: Final = "log_hours_since_last"
SINCE: Final = {"log_hours_since_category_1": 0, "log_hours_since_category_2": 1, "log_hours_since_brand": LEVELS}
_SINCE: Final = tuple(SINCE.values())
PERSONAL_NAMES: Final = (*LIKENESS_NAMES, LAST_NAME, *PRICE_NAMES, *SINCE)
LENGTH: Final = 30  # past actions looked at
DECAY: Final = 0.95  # weight of an action relative to the one after it
STRENGTH: Final = 3.0  # past actions, by weight, before their mean is half believed
_WEIGHT: Final = (DECAY ** np.arange(LENGTH - 1, -1, -1)).astype(np.float32)


def past_of(state: State, subject_key: Keys, time: Ms) -> Past:
    """The last positive actions of each subject before a moment, as far as they had come in by then. All `[R]`."""
    return state.history.last(subject_key, time, LENGTH)


@dataclass(frozen=True, slots=True)
class Candidates:
    """item: `[R, K]`; group: `[L + 1, R, K]` as in `Facts`; dear, place: `[R, K]` as `Kinds` says of their prices."""

    item: Items
    group: NDArray[np.intp]
    dear: Floats
    place: Floats


@dataclass(frozen=True, slots=True)
class _Known:
    """The past as far as it was known at the request. item: `[R, H]`, 0 for none; weight, described: `[R, H]`;
    group: `[R, H, L + 1]` as `Facts.known`."""

    item: Items
    time: Ms
    weight: Floats
    described: Mask
    group: Items

    @classmethod
    def of(cls, past: Past, time: Ms, kinds: Kinds) -> "_Known":
        there, facts = past.item >= 0, kinds.facts
        item = np.maximum(past.item, 0)
        described = there & (facts.created.take(item) <= time[:, None])
        group = facts.known.take(np.where(described, item, facts.size), axis=0)
        return cls(item, past.time, there * _WEIGHT[-there.shape[1] :], described, group)


def personal_columns(past: Past, time: Ms, own: Candidates, kinds: Kinds, vectors: Vectors) -> Columns:
    """time: `[R]`; vectors: `[N, D]`. nan for a subject without a past."""
    some = past.item[:, -1] >= 0
    if not some.any():
        return {}
    known = _Known.of(past, time, kinds)
    hours = np.log1p(np.maximum(time[:, None] - past.time, 0) / TICK_MS).astype(np.float32)
    columns = (
        _likeness(known, own, vectors)
        | {"times_before": _times(past.item, own.item), LAST_NAME: hours[:, -1:]}
        | _prices(known, own, kinds)
        | _since(known.group, hours, own.group, len(kinds.facts.groups))
    )
    if some.all():
        return columns
    return {name: np.where(some[:, None], values, np.nan) for name, values in columns.items()}


def _likeness(past: _Known, own: Candidates, vectors: Vectors) -> Columns:
    """Cosine to the weighted mean of the past, and to its last item; shared levels of category with that."""
    total = np.add.reduce(past.weight, axis=1)
    theirs = vectors.take(past.item, axis=0) * past.described[..., None]
    mean = np.einsum("rh,rhd->rd", past.weight, theirs) / np.maximum(total, np.float32(1e-9))[:, None]
    length = np.sqrt((mean * mean).sum(axis=1))
    mine = vectors.take(own.item, axis=0)
    dot = np.einsum("rkd,rd->rk", mine, mean)
    same = own.group[:LEVELS] == past.group[:, -1, :LEVELS].T[..., None]
    return {
        "past_likeness": dot / np.maximum(length, np.float32(1e-9))[:, None],
        "past_likeness_shrunk": dot * (total / (total + np.float32(STRENGTH)))[:, None],
        "last_likeness": np.einsum("rkd,rd->rk", mine, theirs[:, -1]),
        "last_same_categories": np.add.reduce(same.view(np.uint8), axis=0, dtype=np.uint8),
    }


def _prices(past: _Known, own: Candidates, kinds: Kinds) -> Columns:
    """How dear the subject usually buys, drawn towards 0, and how far from that and from the usual place of its
    prices among those of their kinds the candidates are."""
    log_price = log_of(kinds.facts.price(past.item, past.time))
    dear, place = kinds.dearness(past.item, log_price), kinds.place(past.item, log_price)
    counted = np.where(np.isnan(dear), np.float32(0), past.weight)
    total = np.add.reduce(counted, axis=1)
    usual = _dot(counted, dear) / (total + np.float32(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        usual_place = _dot(counted, place) / total
    values = (usual[:, None], np.abs(own.dear - usual[:, None]), np.abs(own.place - usual_place[:, None]))
    return dict(zip(PRICE_NAMES, values, strict=True))


def _dot(weight: Floats, values: Floats) -> Floats:
    """`[R]`: weighted sums over `[R, H]`; what is not known counts for nothing."""
    return np.asarray(np.add.reduce(weight * np.where(np.isnan(values), np.float32(0), values), axis=1))


def _since(theirs: Items, hours: Floats, group: NDArray[np.intp], groups: int) -> Columns:
    """Log of the hours since the last action on the candidate's category, by level, and brand; nan for never.

    theirs: `[R, H, L + 1]`, `groups` = none; hours: `[R, H]`; group: `[L + 1, R, K]`, places of `groups`.
    """
    rows, size, width = len(hours), len(SINCE), groups + 1  # the last column of each level takes those that are none
    base = np.arange(0, rows * size * width, width).reshape(rows, size)
    latest = np.full(base.size * width, np.nan, dtype=np.float32)
    latest[theirs.take(_SINCE, axis=2) + base[:, None]] = hours[..., None]  # of one group the latest stays
    return dict(zip(SINCE, latest.take(group.take(_SINCE, axis=0) + base.T[..., None]), strict=True))


def _times(past: Items, item: Items) -> NDArray[np.uint8]:
    """`[R, K]`: how often each candidate stands in the past."""
    same = past[:, :, None] == item[:, None]
    return np.asarray(np.add.reduce(same.view(np.uint8), axis=1, dtype=np.uint8))
