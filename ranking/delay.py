"""Conversions come late: from which age on a shown item's outcome is known. Pure functions of arrays.

The batch rule: learn only from what is older than the 90 % quantile of the delay, and count what is still missing at
that age, so that the level is right (after Chapelle, KDD 2014, and Yasui et al., WWW 2020).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

MATURE: Final = 0.9  # share of the conversions that must have come in
LEAST: Final = 50  # conversions of pages as old as the window, below which younger pages tell the delay as well


def full_delays(delay: Floats, age: Floats, window: float) -> Floats:
    """Delays of the conversions, ascending, of rows that are older than the window, so that late ones are not missing.

    delay: `[n]`, nan = did not convert; age: `[n]` of each row when the log ends; all in one unit. Where such rows
    are too few to tell, those of all rows, which are somewhat short.
    """
    converted = ~np.isnan(delay)
    old = delay[converted & (age >= window)]
    return np.sort(old if len(old) >= LEAST else delay[converted])


def seen_share(delays: Floats, age: Numbers, window: float) -> Floats:
    """Share of the conversions that have come in at each age, `[n]`; 1 from the window on, and where none is known.

    delays: `[m]` ascending.
    """
    if not len(delays):
        return np.ones(len(age))
    share = np.searchsorted(delays, age, side="right") / len(delays)
    return np.where(np.asarray(age) >= window, 1.0, share)


def mature_age(delays: Floats, window: float) -> float:
    """The age from which on `MATURE` of the conversions have come in; 0 where none is known."""
    if not len(delays):
        return 0.0
    return float(min(delays[int(np.ceil(MATURE * len(delays))) - 1], window))
