"""What every off-policy estimator gives back, and when it refuses.

An estimator adds up ratios of sums over n units (requests, logged actions): `sum(top) / sum(bottom)`, a `Part` each.
A plain mean has ones below. Its 95 % interval is of the kind `interval` names: "t" (the linearised, cluster-robust
standard error of Liang & Zeger 1986 with Student's t on the number of groups less one) or "bootstrap" (percentiles of
1,000 resamples of whole groups, Efron & Tibshirani 1993). Units of one group (a subject) may depend on each other;
without groups every unit stands alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.intervals import Part, bootstrapped, linearised, student
from pipeline.metrics.statistics.enough import lacking
from pipeline.metrics.statistics.enough import too_few as too_few_units

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
IntervalKind = Literal["t", "bootstrap"]

LEAST, LEAST_SHARE = 100, 0.01
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's value with its 95 % interval.

    n: units; ess: effective number of the weights; max_weight: the largest; clipped_share: the share of the weight
    that clipping took away. refused: why there is no number (mean, low and high are nan then), else None; unsure: why
    there is a mean without an interval, else None.
    """

    mean: float
    low: float
    high: float
    n: int
    ess: float
    max_weight: float
    clipped_share: float = 0.0
    refused: str | None = None
    unsure: str | None = None


@dataclass(frozen=True, slots=True)
class Contrast:
    """Value of a less value of b on the same units, with its 95 % interval and two-sided p of no difference."""

    mean: float
    low: float
    high: float
    p: float
    n: int
    refused: str | None = None

    @property
    def sign(self) -> int:
        """1: a is better; -1: b is; 0: the interval holds 0, or there is no number."""
        return int(self.low > 0) - int(self.high < 0)


def refused(reason: str, n: int = 0) -> Estimate:
    """No number, and why."""
    return Estimate(NAN, NAN, NAN, n, NAN, NAN, 0.0, reason)


def no_contrast(reason: str, n: int = 0) -> Contrast:
    """No difference, and why."""
    return Contrast(NAN, NAN, NAN, NAN, n, reason)


def effective_size(weights: Numbers) -> float:
    """ESS, `(sum w)^2 / sum w^2` (Kish 1965): how many equal weights would say as much. 0 without a weight."""
    squares = float(np.sum(np.square(weights, dtype=np.float64)))
    return float(np.sum(weights)) ** 2 / squares if squares > 0 else 0.0


def too_few(weights: Numbers) -> str | None:
    """Why these weights carry no estimate: their ESS is below max(100, 1 % of their number); None when they do."""
    size, least = effective_size(weights), max(LEAST, LEAST_SHARE * len(weights))
    if size >= least:
        return None
    return f"effective sample size {size:.1f} of {len(weights)} weights is below {least:.0f}"


def too_few_groups(n: int, groups: Numbers | None, interval: IntervalKind) -> str | None:
    """Why so many subjects (units, without groups) give no interval; None when they do."""
    size, name = (n, "units") if groups is None else (len(np.unique(groups)), "subjects")
    few = too_few_units(size, interval, name)
    return None if few is None else few.reason


def checked(propensity: Numbers, field: str = "propensity") -> Floats:
    """The propensities as floats. Raises InputError naming the first that is missing, 0, negative or above 1."""
    values = np.asarray(propensity, dtype=np.float64)
    bad = ~((values > 0) & (values <= 1))
    if bad.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(bad))
        row = ", ".join(map(str, place))
        expected = "a probability above 0 and at most 1, as logged; leave such rows out"
        raise InputError(field, expected, place=f"row {row}", received=float(values[place]))
    return values


def estimate(
    parts: Sequence[Part],
    weights: Numbers,
    *,
    groups: Numbers | None = None,
    interval: IntervalKind = "t",
    clipped_share: float = 0.0,
    variance: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """The sum of the parts with its interval, refused where the weights are too few.

    variance: what is to be added to that of the sample, such as an estimated examination's ("t" only).
    """
    n = len(parts[0][0])
    if reason := too_few(weights) or too_few_groups(n, groups, interval):
        return refused(reason, n)
    mean, low, high, _ = _inferred(parts, groups, interval, variance, seed)
    why = f"no spread: all units are worth {mean:.4g}" if np.isnan(low) else None
    most = float(np.max(weights))
    return Estimate(mean, low, high, n, effective_size(weights), most, clipped_share, unsure=why)


def contrast(
    a: Sequence[Part],
    b: Sequence[Part],
    weights: Numbers | Sequence[Numbers],
    *,
    groups: Numbers | None = None,
    interval: IntervalKind = "t",
    variance: float = 0.0,
    seed: int = 0,
) -> Contrast:
    """Value of a less value of b over the same units, refused where the weights of either are too few.

    weights: what both share, or those of a and of b.
    """
    n = len(a[0][0])
    for each in (weights,) if isinstance(weights, np.ndarray) else weights:
        if reason := too_few(each):
            return no_contrast(reason, n)
    if reason := too_few_groups(n, groups, interval):
        return no_contrast(reason, n)
    parts = [*a, *((-top, bottom) for top, bottom in b)]
    mean, low, high, p = _inferred(parts, groups, interval, variance, seed)
    if np.isnan(low):
        return no_contrast(f"no spread: the difference of all units is {mean:.4g}", n)
    return Contrast(mean, low, high, p, n)


def _inferred(
    parts: Sequence[Part], groups: Numbers | None, interval: IntervalKind, variance: float, seed: int
) -> tuple[float, float, float, float]:
    if interval == "bootstrap":
        return bootstrapped(parts, groups, seed)
    mean, error, freedom = linearised(parts, groups)
    return mean, *student(mean, float(np.sqrt(error**2 + variance)), freedom)


def plain_mean(values: Numbers, groups: Numbers | None = None) -> Estimate:
    """Mean of the values that are not nan, unweighted: nothing to refuse but their absence."""
    known = ~np.isnan(values)
    if not known.any():
        return refused("no request has a value", 0)
    kept, own = np.asarray(values, dtype=np.float64)[known], _some(groups, known)
    if why := lacking(kept, own, "t", "subjects"):
        return Estimate(float(kept.mean()), NAN, NAN, len(kept), float(len(kept)), 1.0, unsure=why.reason)
    mean, low, high, _ = _inferred([(kept, np.ones(len(kept)))], own, "t", 0.0, 0)
    return Estimate(mean, low, high, len(kept), float(len(kept)), 1.0)


def _some(groups: Numbers | None, rows: NDArray[np.bool_]) -> Numbers | None:
    return None if groups is None else groups[rows]
