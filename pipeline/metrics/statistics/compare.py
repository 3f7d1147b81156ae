"""How sure a mean is: intervals of one system, tests of the paired difference of two.

Three ways, which docs/statistics.md compares: Student's t, sign flips (the paired permutation test), and the
percentile bootstrap. Each takes values as independent (requests), or whole groups of them (a user's requests)
when values of one group depend on each other. All draws come from the seed: the same values give the same answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.distributions import t_quantile, t_tail
from pipeline.metrics.statistics.enough import lacking
from pipeline.metrics.statistics.flips import FLIPS, flip_p_value

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

NAN = float("nan")
DRAWS = 1000
CHUNK = 400_000  # resampled indices at once: they and what they pick stay in the cache


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval, over the n values that were not nan. refused: why there is no interval (low and
    high are nan then), else None; needed: how many units would do. The mean is nan when n is 0."""

    mean: float
    low: float
    high: float
    n: int
    refused: str | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of a - b over the n pairs, its 95 % interval, and the two-sided p value of no difference. refused, needed:
    as of an interval; then there is no p value either."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    refused: str | None = None
    needed: int | None = None


def bootstrap_interval(
    values: Numbers, seed: int, groups: Numbers | None = None, draws: int = DRAWS, units: str = ""
) -> Interval:
    """Percentile bootstrap (Efron & Tibshirani 1993) of the mean of `values` `[n]`; nan values are left out.

    groups `[n]`: whole groups are drawn, and the mean stays the mean over values; units: what is drawn, in words.
    """
    values, groups = _known(np.asarray(values, dtype=np.float64), groups)
    if why := lacking(values, groups, "bootstrap", units):
        return Interval(_mean(values), NAN, NAN, len(values), why.reason, why.needed)
    means = _resampled_means(values, groups, seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def paired_bootstrap(
    a: Numbers, b: Numbers, seed: int, groups: Numbers | None = None, draws: int = DRAWS, units: str = ""
) -> Difference:
    """Is the mean of `a` above that of `b` on the same requests? Both `[n]`; a pair with a nan is left out.

    The p value is twice the smaller share of resampled differences on either side of 0, the observed one
    counted in (Davison & Hinkley 1997, section 4.2), so it is never below 2 / (draws + 1).
    """
    difference, groups = _known(_minus(a, b), groups)
    if why := lacking(difference, groups, "bootstrap", units, "difference"):
        return Difference(_mean(difference), NAN, NAN, NAN, len(difference), why.reason, why.needed)
    means = _resampled_means(difference, groups, seed, draws)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p_value = min(1.0, 2 * (1 + tail) / (draws + 1))
    return Difference(float(difference.mean()), float(low), float(high), p_value, len(difference))


def t_interval(values: Numbers, groups: Numbers | None = None, level: float = 0.95, units: str = "") -> Interval:
    """Student's interval of the mean of `values` `[n]`; nan values are left out. groups `[n]`: see `mean_error`."""
    values, groups = _known(np.asarray(values, dtype=np.float64), groups)
    if why := lacking(values, groups, "t", units):
        return Interval(_mean(values), NAN, NAN, len(values), why.reason, why.needed)
    return Interval(*_t_bounds(values, groups, level), len(values))


def paired_t(a: Numbers, b: Numbers, groups: Numbers | None = None, units: str = "", family: int = 1) -> Difference:
    """Student's paired test (1908) of the mean of a - b, both `[n]`; a pair with a nan is left out.

    groups `[n]`: see `mean_error`; family: comparisons that are corrected together.
    """
    difference, groups = _known(_minus(a, b), groups)
    if why := lacking(difference, groups, "t", units, "difference", family):
        return Difference(_mean(difference), NAN, NAN, NAN, len(difference), why.reason, why.needed)
    mean, low, high = _t_bounds(difference, groups, 0.95)
    error, dof = mean_error(difference, groups)
    return Difference(mean, low, high, t_tail(mean / error, dof), len(difference))


def paired_permutation(
    a: Numbers,
    b: Numbers,
    seed: int,
    groups: Numbers | None = None,
    flips: int = FLIPS,
    units: str = "",
    family: int = 1,
) -> Difference:
    """Fisher's randomisation test (1935; in retrieval: Smucker, Allan & Carterette 2007) of the mean of a - b.

    Had the two systems been alike, each difference could as well have the other sign: p is the share of sign
    patterns with as large a mean; with groups `[n]` the differences of a group turn together. A pair with a nan is
    left out. The interval is Student's: the flips give none. family: comparisons that are corrected together.
    """
    difference, groups = _known(_minus(a, b), groups)
    if why := lacking(difference, groups, "permutation", units, "difference", family):
        return Difference(_mean(difference), NAN, NAN, NAN, len(difference), why.reason, why.needed)
    mean, low, high = _t_bounds(difference, groups, 0.95)
    total = difference if groups is None else _totals(difference, groups)[0]
    return Difference(mean, low, high, flip_p_value(total, seed, flips), len(difference))


def mean_error(values: Numbers, groups: Numbers | None = None) -> tuple[float, float]:
    """Standard error of the mean of `values` `[n]` without nan, and its degrees of freedom; (nan, 0) below two groups.

    With groups the variance is that of group totals (Liang & Zeger 1986), made unbiased for independent values, and
    the degrees are Satterthwaite's for it (Bell & McCaffrey 2002), here in closed form: G - 1 for G groups of one
    size, fewer when a few groups hold most values. Without groups: n - 1.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return float("nan"), 0.0
    apart = values - values.mean()
    if groups is None:
        return float(np.sqrt(np.sum(apart**2) / (n - 1) / n)), n - 1.0
    total, size = _totals(apart, groups)
    share = size / n
    # The residual totals' covariance is n (diag(share) - share share'): its trace, and that of its square.
    trace = 1.0 - np.sum(share**2)
    square = np.sum(share**2) - 2.0 * np.sum(share**3) + np.sum(share**2) ** 2
    if len(size) < 2:
        return float("nan"), 0.0
    return float(np.sqrt(np.sum(total**2) / trace) / n), float(trace**2 / square)


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


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else NAN


def _minus(a: Numbers, b: Numbers) -> Floats:
    return np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)


def _known(values: Floats, groups: Numbers | None) -> tuple[Floats, Numbers | None]:
    """Without the nan values."""
    known = ~np.isnan(values)
    return values[known], None if groups is None else np.asarray(groups)[known]


def _totals(values: Floats, groups: Numbers) -> tuple[Floats, NDArray[np.intp]]:
    """Of each group `[G]`: the sum of its values, and how many they are."""
    _, group = np.unique(groups, return_inverse=True)
    return np.bincount(group, weights=values).astype(np.float64, copy=False), np.bincount(group)


def _t_bounds(values: Floats, groups: Numbers | None, level: float) -> tuple[float, float, float]:
    """Mean, low and high; the bounds are nan with fewer than two groups."""
    mean = float(values.mean()) if len(values) else float("nan")
    error, dof = mean_error(values, groups)
    half = t_quantile((1.0 + level) / 2.0, dof) * error if dof > 0 else float("nan")
    return mean, mean - half, mean + half


def _resampled_means(values: Floats, groups: Numbers | None, seed: int, draws: int) -> Floats:
    """Means `[draws]` of samples drawn with replacement."""
    if groups is None:
        return np.concatenate([values[rows].mean(axis=1) for rows in _samples(len(values), seed, draws)])
    total, size = _totals(values, groups)
    samples = _samples(len(size), seed, draws)
    return np.concatenate([total[rows].sum(axis=1) / size[rows].sum(axis=1) for rows in samples])


def _samples(n: int, seed: int, draws: int) -> Iterator[NDArray[np.uint32]]:
    """Indices below n, `[some, n]` at a time, `draws` rows in all."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // n)
    for done in range(0, draws, at_once):
        yield generator.integers(0, n, size=(min(at_once, draws - done), n), dtype=np.uint32)
