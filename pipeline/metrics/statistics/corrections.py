"""Many comparisons at once: p values adjusted so that a family of them errs no more often than one would.

An adjusted value is compared with alpha as it stands. nan stays nan and is no member of the family.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.flips import FLIPS

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

_AT_ONCE: Final = 1_000_000  # permuted values held at one time


def bonferroni(p_values: Numbers) -> Floats:
    """`[m]`: m p. P(any false finding) <= alpha, whatever the dependence."""
    p_values = np.asarray(p_values, dtype=np.float64)
    return np.minimum(1.0, p_values * np.count_nonzero(~np.isnan(p_values)))


def holm(p_values: Numbers) -> Floats:
    """`[m]`: step-down (Holm 1979). Promises what Bonferroni does, and never finds less."""
    return _stepped(p_values, lambda p: np.maximum.accumulate(p * np.arange(len(p), 0, -1)))


def benjamini_hochberg(p_values: Numbers) -> Floats:
    """`[m]`: step-up (Benjamini & Hochberg 1995). The expected share of false ones among the findings is <= alpha,
    for independent or positively dependent tests."""
    return _stepped(p_values, lambda p: np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1])


def tukey_hsd(values: Numbers, seed: int, groups: Numbers | None = None, flips: int = FLIPS) -> Floats:
    """p values `[S, S]` of all pairs of S systems, valid together; 1 on the diagonal.

    Randomised Tukey's honestly significant difference (Carterette 2012, after Westfall & Young 1993): the labels of
    the systems are permuted within each request, and a pair's difference is held against the range of all S means.
    values `[R, S]`: a row with a nan is left out; groups `[R]`: the rows of one group are permuted alike.
    """
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values).any(axis=1)
    values = values[known]
    if not len(values):
        return np.full((values.shape[1], values.shape[1]), np.nan)
    if groups is not None:
        _, group = np.unique(np.asarray(groups)[known], return_inverse=True)
        values = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1)
    values = values - values.mean(axis=1, keepdims=True)
    sums = values.sum(axis=0)
    apart = np.abs(sums[:, None] - sums[None, :]) - 1e-12 * np.abs(values).sum()
    ranges = np.sort(_permuted_ranges(values, flips, np.random.default_rng(seed)))
    return np.asarray((1 + flips - np.searchsorted(ranges, apart, side="left")) / (1 + flips), dtype=np.float64)


def _permuted_ranges(values: Floats, flips: int, generator: np.random.Generator) -> Floats:
    """`[flips]`: largest less smallest column sum of `values` `[R, S]`, each row permuted by itself."""
    at_once = max(1, _AT_ONCE // values.size)
    ranges = np.empty(flips)
    for start in range(0, flips, at_once):
        shape = (min(at_once, flips - start), *values.shape)
        permuted = generator.permuted(np.broadcast_to(values, shape).copy(), axis=-1)
        ranges[start : start + at_once] = np.ptp(permuted.sum(axis=1), axis=1)
    return ranges


def _stepped(p_values: Numbers, steps: Callable[[Floats], Floats]) -> Floats:
    """`steps` takes and gives ascending p values."""
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values, kind="stable")[: np.count_nonzero(~np.isnan(p_values))]
    adjusted[order] = np.minimum(1.0, steps(p_values[order]))
    return adjusted
