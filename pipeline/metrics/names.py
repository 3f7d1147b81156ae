"""The metrics by name, `ndcg@10`, `rbp(p=0.5)@20` or `mrr`: what `podium metrics -m` understands.

A grade is a gain as it stands (`ndcg`, `dcg`) or as 2^grade - 1 (`ndcg_exp`, `dcg_exp`); below 0 it is no
judgment, as in trec_eval. Binary metrics call an item relevant from grade `rel` on. Ideal order and number
of relevant items take in all judged items of the query, retrieved or not; an item without judgment has
grade 0. Those of `pipeline.metrics.pooled` are one value of all rows, the others the mean over queries.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics import binary, browsing, pooled, ranking
from pipeline.metrics.order import Floats, Mask, Places
from pipeline.metrics.ranking import RankingMetric, Ties

Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class JudgedLists:
    """R queries: grades (0 where not judged), scores, retrieved and judged, each `[R, N]`; how ties count.

    highest: the top grade of the whole evaluation. order: as in `pipeline.metrics.ranking`.
    """

    grades: Floats
    scores: Floats
    retrieved: Mask
    judged: Mask
    highest: float
    ties: Ties = "position"
    order: Places | None = None


Kernel = Callable[[JudgedLists, int | None, Parameters], Floats]


@dataclass(frozen=True, slots=True)
class Entry:
    """A metric of a list: its parameters with their defaults, whether it may have a cut.

    fills: an undefined value may count 0 (no relevant item); never so for AUC, where 0 means all wrong.
    """

    kernel: Kernel
    parameters: Parameters = field(default_factory=dict)
    cut: bool = True
    fills: bool = True


@dataclass(frozen=True, slots=True)
class Metric:
    """A named metric with its cut and parameters. `values(lists)` is `[R]`, nan where a query has no value."""

    label: str
    entry: Entry
    k: int | None
    parameters: Parameters

    @property
    def fills(self) -> bool:
        return self.entry.fills

    def values(self, lists: JudgedLists) -> Floats:
        """The metric of each query `[R]`."""
        return self.entry.kernel(lists, self.k, self.parameters)


@dataclass(frozen=True, slots=True)
class PooledMetric:
    """A named metric of all rows together."""

    label: str
    entry: pooled.Entry
    parameters: Parameters


def parse_metric(label: str) -> Metric | PooledMetric:
    """`ndcg@10` → the metric. Raises InputError for an unknown name, with the known ones, and for a bad cut."""
    found = re.fullmatch(r"([a-z_]+)(?:\(([^()]*)\))?(?:@([1-9][0-9]{0,8}))?", label)
    if not found or found[1] not in {**METRICS, **pooled.METRICS}:
        known = ", ".join([*METRICS, *pooled.METRICS])
        raise InputError("metric", f"one of {known}, with or without a cut such as @10", received=label)
    name, k = found[1], int(found[3]) if found[3] else None
    entry = METRICS.get(name)
    if k is not None and (entry is None or not entry.cut):
        raise InputError("metric", f"{name} without a cut: it takes in the whole list", received=label)
    if entry is None:
        of_all = pooled.METRICS[name]
        return PooledMetric(label, of_all, _parameters(label, name, of_all.parameters, found[2]))
    return Metric(label, entry, k, _parameters(label, name, entry.parameters, found[2]))


def _parameters(label: str, name: str, defaults: Parameters, text: str | None) -> Parameters:
    """`p=0.5, rel=2` over the defaults."""
    chosen = dict(defaults)
    for part in text.split(",") if text is not None else ():
        key, _, value = part.strip().partition("=")
        if key not in defaults:
            known = ", ".join(f"{known}={default:g}" for known, default in defaults.items())
            raise InputError("metric", f"{name} with {known or 'no parameter'}", received=label)
        least, greatest = RANGES[key]
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", value) or not least < float(value) < greatest:
            raise InputError("metric", f"{key} a number above {least:g} and below {greatest:g}", received=label)
        chosen[key] = float(value)
    return chosen


def _ndcg(lists: JudgedLists, k: int | None, _: Parameters) -> Floats:
    gains = lists.grades
    return ranking.ndcg(gains, lists.scores, lists.retrieved, k, ties=lists.ties, ideal=gains, order=lists.order)


def _ndcg_exp(lists: JudgedLists, k: int | None, _: Parameters) -> Floats:
    gains = ranking.exponential(lists.grades)
    return ranking.ndcg(gains, lists.scores, lists.retrieved, k, ties=lists.ties, ideal=gains, order=lists.order)


def _dcg(lists: JudgedLists, k: int | None, _: Parameters) -> Floats:
    return ranking.dcg(lists.grades, lists.scores, lists.retrieved, k, ties=lists.ties, order=lists.order)


def _dcg_exp(lists: JudgedLists, k: int | None, _: Parameters) -> Floats:
    gains = ranking.exponential(lists.grades)
    return ranking.dcg(gains, lists.scores, lists.retrieved, k, ties=lists.ties, order=lists.order)


def _binary(metric: RankingMetric) -> Kernel:
    def values(lists: JudgedLists, k: int | None, parameters: Parameters) -> Floats:
        gains = lists.grades >= parameters["rel"]
        total = gains.sum(axis=-1)
        cut = {} if k is None else {"k": k}
        return metric(gains, lists.scores, lists.retrieved, **cut, relevant=total, ties=lists.ties, order=lists.order)

    return values


def _bpref(lists: JudgedLists, _: int | None, parameters: Parameters) -> Floats:
    gains = lists.grades >= parameters["rel"]
    others = lists.judged & ~gains
    return ranking.bpref(
        gains,
        lists.scores,
        lists.retrieved,
        others=others,
        ties=lists.ties,
        relevant=gains.sum(axis=-1),
        irrelevant=others.sum(axis=-1),
        order=lists.order,
    )


def _rbp(lists: JudgedLists, k: int | None, parameters: Parameters) -> Floats:
    return _rbp_of(lists.grades >= parameters["rel"], lists, k, parameters)


def _rbp_residual(lists: JudgedLists, k: int | None, parameters: Parameters) -> Floats:
    return np.asarray(1.0 - _rbp_of(lists.judged, lists, k, parameters))


def _rbp_of(gains: Mask, lists: JudgedLists, k: int | None, parameters: Parameters) -> Floats:
    p = parameters["p"]
    return browsing.rbp(gains, lists.scores, lists.retrieved, k, persistence=p, ties=lists.ties, order=lists.order)


def _err(lists: JudgedLists, k: int | None, parameters: Parameters) -> Floats:
    highest = parameters["max"] or lists.highest
    if lists.highest > highest:
        raise InputError("metric", f"err with max at least {lists.highest:g}, the top grade", received=highest)
    stops = browsing.stop_chance(lists.grades, highest)
    return browsing.err(stops, lists.scores, lists.retrieved, k, ties=lists.ties, order=lists.order)


def _judged(lists: JudgedLists, k: int | None, _: Parameters) -> Floats:
    """Share of the first k retrieved items (fewer in a shorter list) that have a judgment; nan without a list."""
    length = lists.retrieved.sum(axis=-1)
    share = ranking.recall(lists.judged, lists.scores, lists.retrieved, k, length, ties=lists.ties, order=lists.order)
    return share if k is None else share * length / np.minimum(length, k).clip(1)


def _auc(lists: JudgedLists, _: int | None, parameters: Parameters) -> Floats:
    """Within each query's retrieved items; nan without both relevant and other ones among them."""
    values = np.full(len(lists.grades), np.nan)
    query = np.nonzero(lists.retrieved)[0]
    labels = (lists.grades >= parameters["rel"])[lists.retrieved]
    values[np.unique(query)] = binary.aucs_by_group(labels, lists.scores[lists.retrieved], query)[0]
    return values


REL = {"rel": 1.0}  # the least grade a binary metric calls relevant
P = {"p": browsing.PERSISTENCE}
RANGES = {"rel": (0.0, 1e6), "p": (0.0, 1.0), "max": (0.0, 60.0), "bins": (0.0, 1e5)}

METRICS: dict[str, Entry] = {
    "ndcg": Entry(_ndcg),
    "ndcg_exp": Entry(_ndcg_exp),
    "dcg": Entry(_dcg),
    "dcg_exp": Entry(_dcg_exp),
    "mrr": Entry(_binary(ranking.mrr), REL),
    "map": Entry(_binary(ranking.average_precision), REL),
    "recall": Entry(_binary(ranking.recall), REL),
    "precision": Entry(_binary(ranking.precision), REL),
    "hit_rate": Entry(_binary(ranking.hit_rate), REL),
    "hit": Entry(_binary(ranking.hit_rate), REL),
    "r_precision": Entry(_binary(ranking.r_precision), REL, cut=False),
    "bpref": Entry(_bpref, REL, cut=False),
    "rbp": Entry(_rbp, P | REL),
    "rbp_residual": Entry(_rbp_residual, P),
    "err": Entry(_err, {"max": 0.0}),
    "auc": Entry(_auc, REL, cut=False, fills=False),
    "judged": Entry(_judged),
}
