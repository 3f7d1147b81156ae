"""The metrics by name, `ndcg@10` or `mrr`, for judged lists: what `podium metrics -m` understands.

A grade is a gain as it stands (`ndcg`) or as 2^grade - 1 (`ndcg_exp`); below 0 it is 0, as in trec_eval.
Binary metrics call an item relevant from grade 1 on. Ideal order and number of relevant items take in all
judged items of the query, retrieved or not; an item without judgment has grade 0.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics import binary, ranking
from pipeline.metrics.ranking import Floats, Mask, RankingMetric, Ties

RELEVANT = 1.0  # the least grade a binary metric calls relevant


@dataclass(frozen=True, slots=True)
class JudgedLists:
    """R queries: grades (0 where not judged), scores, retrieved and judged, each `[R, N]`; how ties count."""

    grades: Floats
    scores: Floats
    retrieved: Mask
    judged: Mask
    ties: Ties = "position"


Kernel = Callable[[JudgedLists, int | None], Floats]


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric with its cut. `values(lists)` is `[R]`, nan where a query has no value.

    fills: an undefined value may count 0 (no relevant item); never so for AUC, where 0 means all wrong.
    """

    label: str
    kernel: Kernel
    k: int | None
    fills: bool

    def values(self, lists: JudgedLists) -> Floats:
        """The metric of each query `[R]`."""
        return self.kernel(lists, self.k)


def parse_metric(label: str) -> Metric:
    """`ndcg@10` → the metric. Raises InputError for an unknown name, with the known ones, and for a bad cut."""
    found = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]*))?", label)
    if not found or found[1] not in METRICS:
        raise InputError("metric", f"one of {', '.join(METRICS)}, with or without a cut such as @10", received=label)
    name, k = found[1], int(found[2]) if found[2] else None
    if name == "auc" and k is not None:
        raise InputError("metric", "auc without a cut: it compares all pairs of the list", received=label)
    return Metric(label, METRICS[name], k, fills=name != "auc")


def _ndcg(lists: JudgedLists, k: int | None) -> Floats:
    gains = lists.grades
    return ranking.ndcg(gains, lists.scores, lists.retrieved, k, ties=lists.ties, ideal=gains)


def _ndcg_exp(lists: JudgedLists, k: int | None) -> Floats:
    gains = ranking.exponential(lists.grades)
    return ranking.ndcg(gains, lists.scores, lists.retrieved, k, ties=lists.ties, ideal=gains)


def _dcg(lists: JudgedLists, k: int | None) -> Floats:
    return ranking.dcg(lists.grades, lists.scores, lists.retrieved, k, ties=lists.ties)


def _binary(metric: RankingMetric) -> Kernel:
    def values(lists: JudgedLists, k: int | None) -> Floats:
        gains = lists.grades >= RELEVANT
        total = gains.sum(axis=-1)
        return metric(gains, lists.scores, lists.retrieved, k, relevant=total, ties=lists.ties)

    return values


def _judged(lists: JudgedLists, k: int | None) -> Floats:
    """Share of the first k retrieved items (fewer in a shorter list) that have a judgment; nan without a list."""
    length = lists.retrieved.sum(axis=-1)
    share = ranking.recall(lists.judged, lists.scores, lists.retrieved, k, length, ties=lists.ties)
    return share if k is None else share * length / np.minimum(length, k).clip(1)


def _auc(lists: JudgedLists, _: int | None) -> Floats:
    """Within each query's retrieved items; nan without both relevant and other ones among them."""
    values = np.full(len(lists.grades), np.nan)
    query = np.nonzero(lists.retrieved)[0]
    labels = (lists.grades >= RELEVANT)[lists.retrieved]
    values[np.unique(query)] = binary.aucs_by_group(labels, lists.scores[lists.retrieved], query)[0]
    return values


METRICS: dict[str, Kernel] = {
    "ndcg": _ndcg,
    "ndcg_exp": _ndcg_exp,
    "dcg": _dcg,
    "mrr": _binary(ranking.mrr),
    "map": _binary(ranking.average_precision),
    "recall": _binary(ranking.recall),
    "precision": _binary(ranking.precision),
    "hit_rate": _binary(ranking.hit_rate),
    "hit": _binary(ranking.hit_rate),
    "auc": _auc,
    "judged": _judged,
}
