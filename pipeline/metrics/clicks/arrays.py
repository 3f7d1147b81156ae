"""Small tools of arrays that the click models share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def dense(values: Numbers) -> Ints:
    """The rank of each value among the different ones, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64).reshape(-1)


def mean_by(group: Numbers, values: Numbers, groups: int) -> Floats:
    """Mean of the values of each group, `[groups]`; nan where there is none."""
    many = np.bincount(group, minlength=groups)
    total = np.bincount(group, weights=values, minlength=groups)
    return np.where(many > 0, total / np.maximum(many, 1), np.nan)


def shrunk(hits: Numbers, shown: Numbers, mean: float, strength: float) -> Floats:
    """Rates drawn to `mean` as if `strength` more had been shown: the mean of a Beta posterior."""
    return np.asarray((hits + mean * strength) / (shown + strength))


def moments(hits: Numbers, shown: Numbers) -> tuple[float, float]:
    """Mean and strength (alpha + beta) of the Beta that rates are drawn from, by moments (Kleinman, JASA 1973)."""
    known = shown > 0
    hits, shown = hits[known], shown[known]
    total = shown.sum()
    mean = float(np.clip(hits.sum() / max(total, 1e-9), 1e-6, 1 - 1e-6)) if total else 0.5
    if len(shown) < 2:
        return mean, 1.0
    spread_ = float((shown * (hits / shown - mean) ** 2).sum()) / (mean * (1 - mean)) - (len(shown) - 1)
    room = float(total - (shown**2).sum() / total) - (len(shown) - 1)
    correlation = np.clip(spread_ / room, 0.002, 0.5) if room > 0 else 0.5
    return mean, float(1.0 / correlation - 1.0)
