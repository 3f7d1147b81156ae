"""From probabilities to what a shown item is worth. Pure functions of arrays.

`score = p_click * (g_click + p_convert * (g_purchase - g_click))`: the expected gain of showing the item, when a
purchase takes the place of the click that led to it. Letters: R requests, K candidates.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def expected_gain(p_click: Floats, p_convert: Floats, click_gain: Floats, purchase_gain: Floats) -> Floats:
    """`[R, K]`. p_click, p_convert: `[R, K]`, a p_convert of nan counts as 0; the gains: `[R]`."""
    convert = np.nan_to_num(p_convert, nan=0.0)
    click, purchase = click_gain[:, None], purchase_gain[:, None]
    return np.asarray(p_click * (click + convert * (purchase - click)))


def request_gains(gains: Mapping[str, float], weights: Sequence[Mapping[str, float] | None]) -> tuple[Floats, Floats]:
    """Gain of a click and of a purchase for each request, `[R]` each: the configured ones unless it brings its own."""
    both = [
        (own.get("click", gains.get("click", 1.0)), own.get("purchase", gains.get("purchase", 1.0)))
        for own in (weight or {} for weight in weights)
    ]
    table = np.array(both, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
