"""Quantiles of durations from counts in buckets that grow by 5 %: mergeable, of fixed size, within 2.5 % of the truth.

Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (2019).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

BUCKETS: Final = 520  # up to 3 years
_STEP: Final = 1.05


def sketch(milliseconds: NDArray[np.int64]) -> Counts:
    """`[BUCKETS]`: how many durations fall into each bucket; what is not positive into the first."""
    grade = np.ceil(np.log(np.maximum(milliseconds, 1)) / np.log(_STEP)).astype(np.int64)
    return np.bincount(np.minimum(grade, BUCKETS - 1), minlength=BUCKETS).astype(np.int64)


def quantile(counts: Counts, share: float) -> float | None:
    """The duration (ms) that `share` of those counted do not exceed; None when none was counted."""
    total = int(counts.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(counts), max(1, np.ceil(share * total))))
    return round(2 * _STEP**place / (_STEP + 1), 1) if place else 1.0
