"""Examination from pages in a drawn order: how much less a place is looked at than the first.

Intervention by randomisation (Joachims, Swaminathan and Schnabel, WSDM 2017): where the order was drawn, every place
holds equally good items, so that its click rate over that of the first place is its examination over the first's.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

STRENGTH: Final = 10.0  # expected clicks of a place before it is half believed


def position_ratios(position: Numbers, clicked: Numbers, weight: Numbers, strength: float = STRENGTH) -> Floats:
    """Click rate of each place over that of the first, `[places]`, drawn to 1 by a Gamma prior of mean 1.

    position, clicked (0 or 1), weight: `[n]` shown items of pages in a drawn order; weight: 1 / P(item at its place).
    strength: of the prior, in expected clicks; 0 for the plain ratio. Empty when the first place was never clicked:
    then nothing can be said.
    """
    if not len(position):
        return np.empty(0)
    scale = weight / weight.mean()
    shown = np.bincount(position, weights=scale)
    clicks = np.bincount(position, weights=scale * clicked)
    if not clicks[0]:
        return np.empty(0)
    expected = shown * (clicks[0] / shown[0])
    return np.asarray((clicks + strength) / (expected + strength))


def examination(ratios: Floats, position: Numbers) -> Floats:
    """The ratio of each shown item's place, `[n]`: 1 where it is not known; places past the last are like the last."""
    if not len(ratios):
        return np.ones(len(position))
    return np.where(position >= 0, ratios[np.clip(position, 0, len(ratios) - 1)], 1.0)
