"""BM25 (Robertson & Zaragoza, 2009) with the constants and the length rounding of the index, so that scores agree."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
K1 = 1.2
B = 0.75


def bm25(frequency: Counts, length: Counts, *, documents: int, containing: int, average: float) -> NDArray[np.float64]:
    """The score of one term in one field of each document.

    frequency: `[D]` of the term; length: `[D]` words of the field; documents: how many the statistics are of;
    containing: how many of them hold the term; average: words of the field.
    """
    idf = np.log1p((documents - containing + 0.5) / (containing + 0.5))
    norm = K1 * (1 - B + B * rounded_length(length) / max(average, 1e-9))
    score: NDArray[np.float64] = idf * (K1 + 1) * frequency / (frequency + norm)
    return score


def rounded_length(length: Counts) -> NDArray[np.int64]:
    """The length as the index keeps it, in one byte: exact below 40, then 3 bits of mantissa."""
    return _LENGTHS[np.searchsorted(_LENGTHS, length, side="right") - 1]


def _lengths() -> NDArray[np.int64]:
    exact = list(range(24))
    return np.array(exact + [24 + (i if i < 8 else (8 | i & 7) << (i >> 3) - 1) for i in range(232)], dtype=np.int64)


_LENGTHS = _lengths()
