"""How sure a mean is: percentile bootstrap of one system, and of the paired difference of two.

Resampling is by value (a request), or by group (a user) when values of one group depend on each other.
All draws come from the seed: the same values give the same interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

DRAWS = 1000
CHUNK = 400_000  # resampled indices at once: they and what they pick stay in the cache


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval, over the n values that were not nan. All three are nan when n is 0."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of a - b over the n pairs, its 95 % interval, and the two-sided p value of no difference."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int


def bootstrap_interval(values: Numbers, seed: int, groups: Numbers | None = None, draws: int = DRAWS) -> Interval:
    """Percentile bootstrap (Efron & Tibshirani 1993) of the mean of `values` `[n]`; nan values are left out.

    groups `[n]`: whole groups are drawn, and the mean stays the mean over values.
    """
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    values = values[known]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    means = _resampled_means(values, None if groups is None else np.asarray(groups)[known], seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def paired_bootstrap(
    a: Numbers, b: Numbers, seed: int, groups: Numbers | None = None, draws: int = DRAWS
) -> Difference:
    """Is the mean of `a` above that of `b` on the same requests? Both `[n]`; a pair with a nan is left out.

    The p value is twice the smaller share of resampled differences on either side of 0, the observed one
    counted in (Davison & Hinkley 1997, section 4.2), so it is never below 2 / (draws + 1).
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    known = ~np.isnan(difference)
    difference = difference[known]
    if not len(difference):
        return Difference(float("nan"), float("nan"), float("nan"), float("nan"), 0)
    means = _resampled_means(difference, None if groups is None else np.asarray(groups)[known], seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p_value = min(1.0, 2 * (1 + tail) / (draws + 1))
    return Difference(float(difference.mean()), float(low), float(high), p_value, len(difference))


def standard_error(values: Numbers, groups: Numbers | None = None) -> float:
    """Of the mean of `values` `[n]`. groups `[n]`: values of one group may depend on each other (Liang & Zeger, 1986);
    group 0 is nobody's, whose values stand alone. nan without values."""
    if not len(values):
        return float("nan")
    apart = np.asarray(values, dtype=np.float64) - np.mean(values)
    if groups is None:
        return float(np.sqrt(np.sum(apart**2)) / len(apart))
    alone = np.asarray(groups) == 0
    _, place = np.unique(np.asarray(groups)[~alone], return_inverse=True)
    together = np.bincount(place, weights=apart[~alone])
    return float(np.sqrt(np.sum(together**2) + np.sum(apart[alone] ** 2)) / len(apart))


def _resampled_means(values: Floats, groups: Numbers | None, seed: int, draws: int) -> Floats:
    """Means `[draws]` of samples drawn with replacement."""
    if groups is None:
        return np.concatenate([values[rows].mean(axis=1) for rows in _samples(len(values), seed, draws)])
    _, group = np.unique(groups, return_inverse=True)
    total, size = np.bincount(group, weights=values), np.bincount(group)
    samples = _samples(len(size), seed, draws)
    return np.concatenate([total[rows].sum(axis=1) / size[rows].sum(axis=1) for rows in samples])


def _samples(n: int, seed: int, draws: int) -> Iterator[NDArray[np.uint32]]:
    """Indices below n, `[some, n]` at a time, `draws` rows in all."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // n)
    for done in range(0, draws, at_once):
        yield generator.integers(0, n, size=(min(at_once, draws - done), n), dtype=np.uint32)
