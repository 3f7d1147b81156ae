"""Smoothed rates: few trials are drawn towards what is usual, by a Beta prior fitted to the log.

Pure functions of arrays.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

WEAKEST: Final = 2.0
STRONGEST: Final = 500.0
USUAL: Final = 20.0  # the strength taken where the log cannot tell


def beta_prior(successes: Numbers, trials: Numbers) -> tuple[float, float]:
    """Mean and strength (in trials) of the Beta distribution the rates of `[I]` items are drawn from.

    Moments of the beta-binomial (Kleinman, JASA 1973): with p the pooled rate, k items and n trials in all, the
    scatter S = sum n_i (p_i - p)^2 is expected to be p (1 - p) ((k - 1) + rho (n - sum n_i^2 / n - (k - 1))), and the
    strength is 1 / rho - 1. Where that says nothing (fewer than 5 items, no scatter) the strength is `USUAL`.
    Mean 0 when nothing ever succeeded.
    """
    tried = trials > 0
    n, c = trials[tried].astype(np.float64), np.minimum(successes[tried], trials[tried]).astype(np.float64)
    total = float(n.sum())
    mean = float(c.sum()) / total if total else 0.0
    spread = mean * (1.0 - mean)
    room = total - float((n * n).sum()) / total - (len(n) - 1) if total else 0.0
    if len(n) < 5 or spread <= 0.0 or room <= 0.0:
        return mean, USUAL
    scatter = float((n * (c / n - mean) ** 2).sum())
    rho = (scatter / spread - (len(n) - 1)) / room
    return mean, float(np.clip(1.0 / rho - 1.0 if rho > 0.0 else STRONGEST, WEAKEST, STRONGEST))


def smoothed(successes: Numbers, trials: Numbers, mean: Numbers | float, strength: Numbers | float) -> Floats:
    """(c + strength * mean) / (n + strength), at most 1: feedback without an impression may exceed the trials."""
    return np.asarray(np.minimum((successes + strength * mean) / (trials + strength), 1.0), dtype=np.float64)


def decay_weights(edges: tuple[int, ...], half_life: float) -> tuple[float, ...]:
    """What an event between two edges (0 and the first, the first and the second, ...) weighs: the mean of
    2^(-age / half_life) over the ages between them; what is older than the last edge weighs nothing.

    A step function in place of the exponential, so that a decayed count is a sum of differences of cumulative ones:
    exact, mergeable, the same wherever it is computed.
    """
    ages = np.array((0, *edges), dtype=np.float64)
    tail = np.exp2(-ages / half_life) * half_life / np.log(2.0)
    return tuple(float(weight) for weight in (tail[:-1] - tail[1:]) / np.diff(ages))
