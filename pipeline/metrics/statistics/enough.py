"""How little is too little: the one rule by which every test and interval refuses.

A verdict needs a test that can find something at its level, and that errs about as often as it says. Counted is what
may be taken for independent of one another, whole groups (subjects) where there are some, else values:

    t, permutation  as many as a verdict by signs alone needs: all n of one sign come by chance once in 2 / 2^n, which
                    is within 5 % from 6 on; of m comparisons corrected together, within 5 % / m
    bootstrap       30: with fewer it finds a difference where there is none in over 7.5 % of cases, not in 5
                    (`benchmarks.significance`; docs/statistics.md)

And nothing can be said of values that are all the same: a sample without any spread tells none.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Kind = Literal["t", "permutation", "bootstrap"]

LEVEL: Final = 0.05
DRAWN: Final = 30  # units of a bootstrap
_SAME: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Lacking:
    """reason: why nothing is said; needed: how many units would do, None where no number would."""

    reason: str
    needed: int | None = None


def needed(kind: Kind, family: int = 1) -> int:
    """The fewest units of which a test or an interval of this kind speaks, among `family` comparisons."""
    return DRAWN if kind == "bootstrap" else 1 + math.ceil(math.log2(max(family, 1) / LEVEL))


def lacking(
    values: Numbers, groups: Numbers | None, kind: Kind, units: str = "", what: str = "value", family: int = 1
) -> Lacking | None:
    """Why nothing is said of the mean of `values` `[n]`, which are without nan; None where something is.

    groups: `[n]`; units: what is counted, in words; what: what each value is.
    """
    name = units or ("values" if groups is None else "groups")
    size = len(values) if groups is None else len(np.unique(groups))
    if few := too_few(size, kind, name, family):
        return few
    scale = _SAME * max(1.0, float(np.abs(values).max(initial=0.0)))
    if np.ptp(values) <= scale:
        return Lacking(f"no spread: the {what} of all {size} {name} is {float(values[0]):.4g}")
    if groups is not None:
        _, place = np.unique(groups, return_inverse=True)
        if float(np.abs(np.bincount(place, weights=values - values.mean())).max()) <= scale * len(values):
            return Lacking(f"no spread: the {size} {name} are alike on average")
    return None


def too_few(size: int, kind: Kind, units: str, family: int = 1) -> Lacking | None:
    """Why so many units are not enough."""
    least = needed(kind, family)
    return None if size >= least else Lacking(f"too few {units}: {size} of {least} needed", least)
