"""Metrics of predicted probabilities against 0/1 labels, over flat arrays `[n]`.

Every function takes `labels` (0 or 1) and `predictions`, both `[n]`, and gives nan where it is undefined.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

SMALLEST = 1e-15  # log loss clips here, as scikit-learn once did: a sure and wrong prediction costs 34.5


def auc(labels: Numbers, predictions: Numbers) -> float:
    """Chance that a positive scores above a negative, ties counting half (Hanley & McNeil 1982).

    nan when one of the two labels is missing.
    """
    values, _ = aucs_by_group(labels, predictions, np.zeros(len(labels), dtype=np.int64))
    return float(values[0]) if len(values) else float("nan")


def aucs_by_group(labels: Numbers, predictions: Numbers, groups: Numbers) -> tuple[Floats, NDArray[np.int64]]:
    """AUC and size of each group, groups ascending: `[G]` and `[G]`. nan for a group without both labels."""
    _, group = np.unique(groups, return_inverse=True)
    order = np.lexsort((predictions, group))
    group, label, score = group[order], np.asarray(labels, dtype=np.float64)[order], predictions[order]
    sizes = np.bincount(group)
    positives = np.bincount(group, weights=label)
    negatives = sizes - positives
    first = np.cumsum(sizes) - sizes
    rank = _average_ranks(group, score) - first[group]
    above = np.bincount(group, weights=label * rank) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.divide(above, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0), sizes


def grouped_auc(labels: Numbers, predictions: Numbers, groups: Numbers) -> float:
    """GAUC: AUC within each group (a user, a request), averaged by the groups' sizes (Zhu et al., KDD 2017).

    Only groups with both labels count; nan when there is none.
    """
    values, sizes = aucs_by_group(labels, predictions, groups)
    defined = ~np.isnan(values)
    return float(np.average(values[defined], weights=sizes[defined])) if defined.any() else float("nan")


def win_shares(labels: Numbers, predictions: Numbers) -> Floats:
    """Of a positive the share of negatives it scores above, of a negative the share of positives above it `[n]`.

    Ties count half. Their mean over the positives, and over the negatives, is the AUC; nan without other labels.
    """
    positive = np.asarray(labels) > 0
    shares = np.full(len(positive), np.nan)
    ordered = [np.sort(predictions[positive]), np.sort(predictions[~positive])]
    for mine, other in ((positive, ordered[1]), (~positive, ordered[0])):
        if len(other):
            below = np.searchsorted(other, predictions[mine], "left")
            upto = np.searchsorted(other, predictions[mine], "right")
            shares[mine] = (below + upto) / (2 * len(other))
    shares[~positive] = 1.0 - shares[~positive]
    return shares


def log_loss(labels: Numbers, predictions: Numbers) -> float:
    """Mean of `-log P(label)`, predictions clipped to [1e-15, 1 - 1e-15]; nan without rows."""
    return _mean(log_losses(labels, predictions))


def log_losses(labels: Numbers, predictions: Numbers) -> Floats:
    """Each row's term of `log_loss` `[n]`."""
    p = np.clip(np.asarray(predictions, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return -np.where(np.asarray(labels) > 0, np.log(p), np.log1p(-p))


def brier(labels: Numbers, predictions: Numbers) -> float:
    """Mean squared difference of prediction and label (Brier 1950); nan without rows."""
    return _mean((np.asarray(predictions, dtype=np.float64) - labels) ** 2)


def expected_calibration_error(labels: Numbers, predictions: Numbers, bins: int = 20) -> float:
    """ECE: |mean prediction - share of positives| of a bin, averaged by rows (Naeini et al., AAAI 2015).

    Bins hold equally many rows; equal predictions share a bin, so the order of the rows does not matter.
    nan without rows.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    if not len(predictions):
        return float("nan")
    place = equal_bins(predictions, bins)
    gap = np.bincount(place, weights=predictions - labels, minlength=bins)
    return float(np.abs(gap).sum() / len(predictions))


def equal_bins(predictions: Numbers, bins: int) -> NDArray[np.int64]:
    """The bin of each row `[n]`: equally many rows a bin, but equal predictions share one."""
    if not len(predictions):
        return np.zeros(0, dtype=np.int64)
    edges = np.sort(predictions)[np.arange(1, bins) * len(predictions) // bins]
    return np.searchsorted(edges, predictions, side="right")


def pcoc(labels: Numbers, predictions: Numbers) -> float:
    """Predicted clicks over clicks: 1 is calibrated, above 1 too sure; nan without positives."""
    observed = float(np.sum(labels))
    return float(np.sum(predictions, dtype=np.float64)) / observed if observed > 0 else float("nan")


def _average_ranks(group: Numbers, score: Numbers) -> Floats:
    """1-based ranks over the whole array, sorted by group then score; ties share their mean rank."""
    opens = np.ones(len(score), dtype=bool)
    opens[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    tie = np.cumsum(opens) - 1
    start = np.flatnonzero(opens)
    end = np.append(start[1:], len(score))
    return np.asarray(((start + 1 + end) / 2)[tie])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
