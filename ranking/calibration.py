"""Scores to probabilities that mean what they say. Pure functions of arrays.

Both keep the total: fitted on rows of equal weight, the predictions add up to the positives (PCOC = 1).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
_STEPS: Final = 50


def sigmoid(logit: Numbers) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64))))


def logit(probability: Numbers) -> Floats:
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1.0 - 1e-7)
    return np.log(p) - np.log1p(-p)


def platt(scores: Numbers, labels: Numbers) -> tuple[float, float]:
    """Slope and intercept of `sigmoid(slope * score + intercept)` by maximum likelihood (Platt, 1999), Newton's method.

    scores, labels (0 or 1): `[n]`. The slope is never negative, so that the order stays; scores that say nothing,
    or labels of one kind, give slope 0 or 1 and the best intercept that is finite.
    """
    if not len(labels) or labels.min() == labels.max():
        return 1.0, 0.0
    score = np.asarray(scores, dtype=np.float64)
    centre, scale = float(score.mean()), float(score.std()) or 1.0
    x = (score - centre) / scale
    weights = np.array([0.0, float(logit(np.array([labels.mean()]))[0])])
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(_STEPS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - labels)
        curvature = (design * (p * (1.0 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    if weights[0] <= 0.0:
        return 0.0, float(logit(np.array([labels.mean()]))[0])
    return float(weights[0] / scale), float(weights[1] - weights[0] * centre / scale)


def line(scores: Numbers, values: Numbers) -> tuple[float, float]:
    """Slope and intercept of the least squares line, the slope never negative; slope 0 where scores say nothing."""
    score = np.asarray(scores, dtype=np.float64)
    spread = float(((score - score.mean()) ** 2).sum())
    slope = float(((score - score.mean()) * values).sum()) / spread if spread > 0.0 else 0.0
    slope = max(slope, 0.0)
    return slope, float(np.mean(values)) - slope * float(score.mean())


def isotonic(scores: Numbers, labels: Numbers) -> tuple[Floats, Floats]:
    """The non-decreasing step function nearest to the labels: pool adjacent violators (Ayer et al., 1955).

    scores, labels: `[n]`. Returns the smallest score of each step and its value, both `[S]` ascending.
    """
    distinct, place, sizes = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    totals = np.bincount(place, weights=labels, minlength=len(distinct))
    start: list[int] = []
    total: list[float] = []
    size: list[int] = []
    for i in range(len(distinct)):
        start.append(i)
        total.append(float(totals[i]))
        size.append(int(sizes[i]))
        while len(start) > 1 and total[-2] * size[-1] >= total[-1] * size[-2]:
            start.pop()
            total[-2:] = [total[-2] + total[-1]]
            size[-2:] = [size[-2] + size[-1]]
    return distinct[start], np.array(total) / np.array(size)


def step_values(starts: Floats, values: Floats, scores: Numbers) -> Floats:
    """The value of the step each score lies on; scores below the first step take its value."""
    place = np.maximum(np.searchsorted(starts, scores, side="right") - 1, 0)
    return np.asarray(values[place], dtype=np.float64)
