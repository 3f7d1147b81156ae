"""What clipping would do: the estimate and the effective number of weights at each level."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.offpolicy.actions import clipped_share
from pipeline.metrics.offpolicy.estimate import effective_size

Numbers = NDArray[Any]
WARN_ABOVE = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """One clip level: the mean it gives, the effective number of weights, and the share of weight it takes away."""

    clip: float
    mean: float
    ess: float
    clipped_share: float


def curve(worth: Numbers, weight: Numbers, units: int, levels: Sequence[float]) -> list[Level]:
    """`sum worth * min(weight, clip) / units` at each level.

    worth, weight `[m]`: of the weighted events (clicks: gain times discount); units: what the mean is over. A curve
    that has not levelled off says that the level decides, not the data.
    """
    rows = []
    for clip in levels:
        cut = np.minimum(weight, clip)
        mean = float(np.sum(worth * cut)) / units if units else float("nan")
        rows.append(Level(float(clip), mean, effective_size(cut), clipped_share(weight, clip)))
    return rows


def warning(share: float) -> str | None:
    """What to say of an estimate that lost this share of its weight; None below 1 %."""
    if share <= WARN_ABOVE:
        return None
    return f"clipping took {share:.1%} of the weight: biased toward what the logger put on top"
