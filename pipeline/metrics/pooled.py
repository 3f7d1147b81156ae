"""Metrics of all rows together: AUC, grouped AUC, and of predicted probabilities log loss, Brier, ECE, PCOC.

Each is written as a function of sums over clusters (the rows of one request). So its interval is that of a
bootstrap which draws whole clusters: a draw adds up other sums, and no row is read twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import binary

Numbers = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sums:
    """of: `[C, S]` of C clusters; `value([..., S]) -> [...]` the metric of clusters added up; rows read."""

    of: Floats
    value: Callable[[Floats], Floats]
    rows: int


Kernel = Callable[[Numbers, Numbers, Numbers, int, Mapping[str, float]], Sums]


@dataclass(frozen=True, slots=True)
class Entry:
    """probability: the score is read as P(relevant), must lie in [0, 1], and only judged rows count.

    Else rows without judgment count as not relevant, as in the ranking metrics. grouped: rows may be in
    groups other than requests.
    """

    kernel: Kernel
    parameters: Mapping[str, float] = field(default_factory=dict)
    probability: bool = False
    grouped: bool = False


def _log_loss(labels: Numbers, p: Numbers, cluster: Numbers, clusters: int, _: Mapping[str, float]) -> Sums:
    return _mean_of(binary.log_losses(labels, p), cluster, clusters)


def _brier(labels: Numbers, p: Numbers, cluster: Numbers, clusters: int, _: Mapping[str, float]) -> Sums:
    return _mean_of((p - labels) ** 2, cluster, clusters)


def _pcoc(labels: Numbers, p: Numbers, cluster: Numbers, clusters: int, _: Mapping[str, float]) -> Sums:
    return Sums(_added(cluster, clusters, p, labels), quotient, len(p))


def _ece(labels: Numbers, p: Numbers, cluster: Numbers, clusters: int, parameters: Mapping[str, float]) -> Sums:
    """The bins are those of all rows, in every draw."""
    bins = int(parameters["bins"])
    place = binary.equal_bins(p, bins)
    gaps = np.bincount(cluster * bins + place, weights=p - labels, minlength=clusters * bins)
    sizes = np.bincount(cluster, minlength=clusters)
    return Sums(np.column_stack([gaps.reshape(clusters, bins), sizes]), _gaps_per_row, len(p))


def _auc(labels: Numbers, scores: Numbers, cluster: Numbers, clusters: int, _: Mapping[str, float]) -> Sums:
    """Draws use the AUC's first-order terms (DeLong et al. 1988; of clusters, Obuchowski 1997).

    A positive's term is the share of negatives it beats, a negative's the share of positives that beat it.
    """
    positive = labels > 0
    wins = binary.win_shares(positive, scores)
    over = [wins * positive, positive, wins * ~positive, ~positive]
    mean = float(wins[positive].mean()) if positive.any() else float("nan")
    return Sums(_added(cluster, clusters, *over), partial(_first_order, mean=mean), len(labels))


def _gauc(labels: Numbers, scores: Numbers, cluster: Numbers, clusters: int, _: Mapping[str, float]) -> Sums:
    values, sizes = binary.aucs_by_group(labels, scores, cluster)
    defined = ~np.isnan(values)
    of = np.zeros((clusters, 2))
    of[np.unique(cluster)[defined]] = np.column_stack([values * sizes, sizes])[defined]
    return Sums(of, quotient, int(of[:, 1].sum()))


def _mean_of(each: Numbers, cluster: Numbers, clusters: int) -> Sums:
    return Sums(_added(cluster, clusters, each, np.ones(len(each))), quotient, len(each))


def _added(cluster: Numbers, clusters: int, *columns: Numbers) -> Floats:
    added = [np.bincount(cluster, weights=column, minlength=clusters) for column in columns]
    return np.column_stack(added).astype(np.float64, copy=False)


def quotient(sums: Floats) -> Floats:
    """The first sum over the second, nan where that is 0."""
    whole = sums[..., 1]
    out = np.full(whole.shape, np.nan)
    np.divide(sums[..., 0], whole, out=out, where=whole > 0)
    return out


def _gaps_per_row(sums: Floats) -> Floats:
    gaps = np.abs(sums[..., :-1]).sum(axis=-1)
    return quotient(np.stack([gaps, sums[..., -1]], axis=-1))


def _first_order(sums: Floats, mean: float) -> Floats:
    return np.asarray(quotient(sums[..., :2]) + quotient(sums[..., 2:]) - mean)


REL = {"rel": 1.0}

METRICS: dict[str, Entry] = {
    "auc_pooled": Entry(_auc, REL),
    "gauc": Entry(_gauc, REL, grouped=True),
    "log_loss": Entry(_log_loss, REL, probability=True),
    "brier": Entry(_brier, REL, probability=True),
    "ece": Entry(_ece, REL | {"bins": 20.0}, probability=True),
    "pcoc": Entry(_pcoc, REL, probability=True),
}
