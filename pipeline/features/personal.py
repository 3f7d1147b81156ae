"""How like the items are to what the subject acted on before: what they are, what they cost, and the last one.

The past is read as of the request's tick, as counts are, so that late delivery cannot change a training row.
Letters: R requests, K candidates, H past actions, D dimensions of the item vectors.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.content import Vectors
from pipeline.features.facts import Facts
from pipeline.features.ids import Keys
from pipeline.features.sequences import Ms, Past
from pipeline.features.ticks import SEAL_MS, TICK_MS
from pipeline.state import State

Floats = NDArray[np.float32]
Columns = dict[str, NDArray[Any]]

PERSONAL_NAMES: Final = (
    "past_likeness",
    "past_likeness_shrunk",
    "last_likeness",
    "last_same_categories",
    "log_hours_since_last",
    "times_before",
    "usual_dearness",
    "dearness_distance",
)
LENGTH: Final = 30  # past actions looked at
DECAY: Final = 0.95  # weight of an action relative to the one after it
STRENGTH: Final = 3.0  # past actions, by weight, before their mean is half believed
_UNKNOWN: Final = np.full((1, 1), np.nan, dtype=np.float32)


def past_of(state: State, subject_key: Keys, tick: Ms, time: Ms) -> Past:
    """The last positive actions of each subject, as far as they are counted at the tick. All `[R]`.

    Without clock time, where a tick says nothing, those before the request's place in the sequence.
    """
    if state.clock != "exact":
        return state.history.last(subject_key, time, LENGTH)
    return state.history.last(subject_key, tick * TICK_MS, LENGTH, tick * TICK_MS + SEAL_MS)


def personal_columns(
    past: Past, item: NDArray[np.int32], time: Ms, dear: Floats, known: tuple[Facts, Vectors, Floats]
) -> Columns:
    """`[R, K]` each; nan for who has no past. time: `[R]`; dear: `[R, K]`, log price over what is usual of the kind;
    known: the facts, the item vectors `[N, D]`, and how dear the past items were `[R, H]`."""
    facts, vectors, past_dear = known
    there = past.item >= 0
    some = there[:, -1]
    if not some.any():
        return dict.fromkeys(PERSONAL_NAMES, _UNKNOWN)
    weight = (there * DECAY ** np.arange(there.shape[1] - 1, -1, -1)).astype(np.float32)
    total = weight.sum(axis=1)
    mean, dearness = _means(past.item, weight, vectors, past_dear)
    length = np.sqrt((mean * mean).sum(axis=1))
    last = np.maximum(past.item[:, -1], 0)
    own = vectors[item]
    dot = np.einsum("rkd,rd->rk", own, mean)
    categories = facts.group[:, :-1]
    theirs = categories[last][:, None]
    same = (categories[item] == theirs) & (facts.groups[theirs] != 0)
    hours = (time - past.time[:, -1]) / TICK_MS
    values: tuple[NDArray[Any], ...] = (
        dot / np.maximum(length, 1e-9)[:, None],
        dot * (total / (total + STRENGTH))[:, None],
        np.einsum("rkd,rd->rk", own, vectors[last]),
        np.add.reduce(same, axis=2, dtype=np.float32),
        np.log1p(np.maximum(hours, 0.0))[:, None],
        _times(past.item, item),
        dearness[:, None],
        np.abs(dear - dearness[:, None]),
    )
    if some.all():
        return dict(zip(PERSONAL_NAMES, values, strict=True))
    return {n: np.where(some[:, None], value, np.nan) for n, value in zip(PERSONAL_NAMES, values, strict=True)}


def _means(past: NDArray[np.int32], weight: Floats, vectors: Vectors, dear: Floats) -> tuple[Floats, Floats]:
    """Weighted means over the past: of the vectors `[R, D]`, and of the dearness `[R]`, drawn towards 0."""
    total = np.maximum(weight.sum(axis=1), 1e-9)
    mean = np.einsum("rh,rhd->rd", weight, vectors[np.maximum(past, 0)]) / total[:, None]
    counted = np.where(np.isfinite(dear), weight, np.float32(0.0))
    return mean, (counted * np.nan_to_num(dear)).sum(axis=1) / (counted.sum(axis=1) + 1.0)


def _times(past: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.float64]:
    """How often each candidate stands in the past; `[R, K]`."""
    rows = np.arange(len(past), dtype=np.int64)[:, None] << 32
    code = np.sort((rows + past)[past >= 0])
    wanted = rows + item
    return (np.searchsorted(code, wanted, side="right") - np.searchsorted(code, wanted)).astype(np.float64)
