"""The rows in order of time, cut into what is learned from, chosen by and reported on; and their order's worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.ranking import ndcg
from ranking.rows import Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parts:
    """To learn from, to stop and choose by, to report on; latest: the last two as one, to calibrate what is shipped."""

    learn: Rows
    choose: Rows
    report: Rows
    latest: Rows

    @classmethod
    def of(cls, rows: Rows, latest_share: float) -> "Parts":
        late, end = int(rows.requests * (1.0 - latest_share)), rows.requests
        last = (late + end) // 2
        bounds = (0, late), (late, last), (last, end), (late, end)
        return cls(*(rows.between(first, until) for first, until in bounds))

    @classmethod
    def mature(cls, rows: Rows, latest_share: float) -> "Parts":
        """Of the requests that are old enough for their conversions to be known."""
        old = rows.request[rows.later.mature]
        return cls.of(rows.between(0, int(old.max()) + 1 if len(old) else 0), latest_share)


def mean_ndcg(rows: Rows, score: NDArray[np.floating], *, exponential: bool = False) -> float:
    """Mean NDCG@10 over requests with a positive; nan without any."""
    found = ndcgs(rows, score, exponential=exponential)
    return float(found.mean()) if len(found) else float("nan")


def ndcgs(rows: Rows, score: NDArray[np.floating], *, exponential: bool = False) -> Floats:
    """NDCG@10 of each request with a positive, ties counted as their mean."""
    sizes = np.bincount(rows.request, minlength=rows.requests)
    mask = np.arange(int(sizes.max(initial=0))) < sizes[:, None]
    gains, scores = np.zeros(mask.shape), np.zeros(mask.shape)
    gains[mask] = np.exp2(rows.grade) - 1.0 if exponential else rows.grade
    scores[mask] = score
    found = ndcg(gains, scores, mask, 10, ties="expected")
    return found[~np.isnan(found)]
