"""What is found of one surface: how much each place is looked at, relative to the first, or why nobody can say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Examination:
    """Examination of each place over that of the first, `[P]` (so `ratios[0]` is 1), with its 95 % interval.

    All three are empty when `refused` says why nothing is reported. method: what it was found by.
    """

    ratios: Floats
    low: Floats
    high: Floats
    method: str
    refused: str = ""


def refusal(method: str, reason: str) -> Examination:
    """No number, and why."""
    nothing = np.empty(0)
    return Examination(nothing, nothing, nothing, method, reason)
