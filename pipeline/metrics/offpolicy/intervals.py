"""Intervals of sums of ratios: linearised with Student's t, and by resampling whole groups."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.distributions import t_quantile, t_tail

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
Part = tuple[Floats, Floats]  # [n] above, [n] below: the value is sum above / sum below

DRAWS = 1000
CHUNK = 2_000_000
NORMAL = 1.959963984540054  # the 97.5 % quantile


def linearised(parts: Sequence[Part], groups: Numbers | None = None) -> tuple[float, float, int]:
    """Value, standard error and degrees of freedom of `sum over parts of sum(top) / sum(bottom)`.

    The error is that of the first-order expansion, summed within groups (Liang & Zeger 1986), with the small-sample
    factor G / (G - 1).
    """
    value, influence = 0.0, np.zeros(len(parts[0][0]))
    for top, bottom in parts:
        whole = float(bottom.sum())
        if whole == 0:
            return math.nan, math.nan, 0
        ratio = float(top.sum()) / whole
        value += ratio
        influence += (top - ratio * bottom) / whole
    together = group_sums(influence[:, None], groups)[:, 0]
    size = len(together)
    if size < 2:
        return value, math.nan, 0
    return value, math.sqrt(float(np.sum(together**2)) * size / (size - 1)), size - 1


def student(mean: float, error: float, freedom: int) -> tuple[float, float, float]:
    """95 % interval and two-sided p value of 0, by Student's t; nan without a degree of freedom, or any spread."""
    if not error > 0 or freedom < 1:
        return math.nan, math.nan, math.nan
    reach = t_quantile(0.975, freedom) * error
    return mean - reach, mean + reach, t_tail(mean / error, freedom)


def bootstrapped(
    parts: Sequence[Part], groups: Numbers | None, seed: int, draws: int = DRAWS
) -> tuple[float, float, float, float]:
    """Value, percentile interval and p value (twice the smaller tail, the observed one counted in)."""
    columns = np.stack([column for part in parts for column in part], axis=1)
    totals = group_sums(columns, groups)
    value = float(_values(totals.sum(axis=0, keepdims=True))[0])
    drawn = _values(resampled(totals, seed, draws))
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return value, float(low), float(high), min(1.0, 2 * (1 + tail) / (draws + 1))


def group_sums(values: Floats, groups: Numbers | None) -> Floats:
    """`[n, P]` summed within groups: `[G, P]`; without groups the values themselves."""
    if groups is None:
        return values
    _, place = np.unique(groups, return_inverse=True)
    sums = [np.bincount(place, weights=column) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64)


def resampled(totals: Floats, seed: int, draws: int = DRAWS) -> Floats:
    """Sums `[draws, P]` over G of the G rows of `totals` `[G, P]`, drawn with replacement."""
    rng = np.random.default_rng(seed)
    size = len(totals)
    at_once = max(1, CHUNK // size)
    sums = []
    for done in range(0, draws, at_once):
        some = min(at_once, draws - done)
        picks = rng.integers(0, size, (some, size)) + size * np.arange(some)[:, None]
        counts = np.bincount(picks.ravel(), minlength=some * size).reshape(some, size)
        sums.append(counts.astype(np.float64) @ totals)
    return np.concatenate(sums)


def _values(sums: Floats) -> Floats:
    top, bottom = sums[:, 0::2], sums[:, 1::2]
    ratio = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return np.asarray(ratio.sum(axis=1), dtype=np.float64)
