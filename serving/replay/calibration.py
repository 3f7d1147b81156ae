"""Whether `p_click` means what it says: predicted against observed, over the shown items."""

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import binary
from serving.replay.answers import Slates
from serving.replay.requests import Task
from serving.replay.slices import Summary, plain

BINS = 10


def calibration(slates: Slates, task: Task, groups: NDArray[np.int64]) -> dict[str, Summary | list[Summary]] | None:
    """`probabilities`: AUC over all rows, GAUC within a subject, log loss, ECE and predicted over observed clicks;
    `bins`: mean prediction and share of positives of equally many rows each. None without predictions.

    The label is any positive action attributed to the shown item, at whatever position it stood; pages of unknown
    outcomes have none.
    """
    predicted = slates.p_click
    there = ~np.isnan(predicted) & (slates.item >= 0) & task.known[:, None]
    if not there.any():
        return None
    label = (task.labels.gains(slates.item) > 0)[there].astype(np.float64)
    p = predicted[there]
    group = np.broadcast_to(groups[:, None], predicted.shape)[there]
    values = {
        "n": len(p),
        "auc": binary.auc(label, p),
        "gauc": binary.grouped_auc(label, p, group),
        "log_loss": binary.log_loss(label, p),
        "ece": binary.expected_calibration_error(label, p),
        "pcoc": binary.pcoc(label, p),
    }
    return {"probabilities": plain(values), "bins": reliability(label, p)}


def reliability(label: NDArray[np.float64], predicted: NDArray[np.float64]) -> list[Summary]:
    """Rows by prediction ascending in bins of equal size: mean prediction, share of positives, n."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [
        {"predicted": float(predicted[part].mean()), "observed": float(label[part].mean()), "n": len(part)}
        for part in parts
    ]
