"""The metrics of each mode, over slates and labels: one value a request, nan where it has none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Ints, Mask
from pipeline.metrics import binary, ranking
from pipeline.metrics.ranking import Ties
from serving.ports import DEPTH
from serving.replay.chance import random_first, random_ndcg, random_recall
from serving.replay.labels import Labels

Floats = NDArray[np.float64]
Values = dict[str, Floats]  # metric -> [R]
K = 10
GRADED = 1.0  # the least grade of a judgment that counts as relevant where metrics are binary


@dataclass(frozen=True, slots=True)
class Lists:
    """R lists in order: gains, scores and mask `[R, K]`; ideal `[R, M]`, the gains of all that is relevant; least:
    the smallest gain that binary metrics call relevant."""

    gains: Floats
    scores: Floats
    mask: Mask
    ideal: Floats
    least: float
    ties: Ties

    @property
    def hits(self) -> Mask:
        return self.gains >= self.least

    @property
    def relevant(self) -> NDArray[np.int64]:
        return np.asarray((self.ideal >= self.least).sum(axis=1))


Metric = Callable[[Lists], Floats]


def _ndcg(lists: Lists) -> Floats:
    return ranking.ndcg(lists.gains, lists.scores, lists.mask, K, ties=lists.ties, ideal=lists.ideal)


def _ndcg_exp(lists: Lists) -> Floats:
    gains, ideal = ranking.exponential(lists.gains), ranking.exponential(lists.ideal)
    return ranking.ndcg(gains, lists.scores, lists.mask, K, ties=lists.ties, ideal=ideal)


def _binary(metric: ranking.RankingMetric, k: int | None) -> Metric:
    def values(lists: Lists) -> Floats:
        return metric(lists.hits, lists.scores, lists.mask, k, relevant=lists.relevant, ties=lists.ties)

    return values


def _auc(lists: Lists) -> Floats:
    values = np.full(len(lists.gains), np.nan)
    row = np.nonzero(lists.mask)[0]
    aucs, _ = binary.aucs_by_group(lists.hits[lists.mask], lists.scores[lists.mask], row)
    values[np.unique(row)] = aucs
    return values


_ORDER: Mapping[str, Metric] = {f"ndcg@{K}": _ndcg, f"ndcg_exp@{K}": _ndcg_exp, "mrr": _binary(ranking.mrr, None)}
_DEEP: Mapping[str, Metric] = {
    f"ndcg@{K}": _ndcg,
    "mrr": _binary(ranking.mrr, None),
    f"hit@{K}": _binary(ranking.hit_rate, K),
    **{f"recall@{k}": _binary(ranking.recall, k) for k in (20, 100, DEPTH)},
}
METRICS: Mapping[str, Mapping[str, Metric]] = {
    "rank": {
        **_ORDER,
        "map": _binary(ranking.average_precision, None),
        f"hit@{K}": _binary(ranking.hit_rate, K),
        "auc": _auc,
    },
    "funnel": _DEEP,
    "next": _DEEP,
    "judged": _ORDER,
}
HEADLINE: Mapping[str, Sequence[str]] = {
    "rank": (f"ndcg@{K}",),
    "funnel": (f"ndcg@{K}", "recall@100"),
    "next": (f"ndcg@{K}", "recall@100"),
    "judged": (f"ndcg@{K}", f"ndcg_exp@{K}"),
}


def measure(
    mode: str,
    item: Ints,
    asked: Mask,
    labels: Labels,
    *,
    ties: Ties = "position",
    only: Sequence[str] | None = None,
) -> Values:
    """Every metric of the mode, or `only` some, for slates `item` `[R, K]`; nan where `asked` `[R]` is false or
    nothing is relevant. ties="expected": the mean over all orders of each slate."""
    gains, mask = labels.gains(item), item >= 0
    order = np.zeros(item.shape[1]) if ties == "expected" else -np.arange(item.shape[1], dtype=np.float64)
    least = GRADED if mode == "judged" else np.finfo(np.float64).tiny
    lists = Lists(gains, np.broadcast_to(order, item.shape), mask, labels.ideal(), least, ties)
    wanted = METRICS[mode] if only is None else {name: METRICS[mode][name] for name in only}
    return {name: np.where(asked, metric(lists), np.nan) for name, metric in wanted.items()}


def measure_random(labels: Labels, choices: NDArray[np.int64]) -> Values:
    """The metrics of `funnel` and `next` for a random order of all that the filters allow, `choices` `[R]`."""
    relevant = labels.count
    total: Floats = np.bincount(labels.row, weights=labels.gain, minlength=labels.requests).astype(np.float64)
    first, mrr = random_first(relevant, choices, DEPTH)
    return {
        f"ndcg@{K}": random_ndcg(total, labels.ideal(), choices, K),
        "mrr": mrr,
        f"hit@{K}": np.where(relevant > 0, first[:, :K].sum(axis=1), np.nan),
        **{f"recall@{k}": random_recall(relevant, choices, k) for k in (20, 100, DEPTH)},
    }


def judged_share(item: Ints, asked: Mask, logged: Labels) -> Floats:
    """judged@10 `[R]`: the share of the first 10 places whose item the log had shown. What it never showed counts as
    not relevant, so a low share means that the other metrics say little."""
    top = item[:, :K]
    size = (top >= 0).sum(axis=1)
    known = (logged.gains(top) > 0).sum(axis=1)
    share: Floats = np.divide(known, size, out=np.full(len(top), np.nan), where=asked & (size > 0))
    return share


def true_ndcg(item: Ints, asked: Mask, truth: Labels) -> Floats:
    """NDCG@10 `[R]` against the truth's utility; an item the truth does not judge gains 0."""
    top = item[:, :K]
    scores = np.broadcast_to(-np.arange(top.shape[1], dtype=np.float64), top.shape)
    value = ranking.ndcg(truth.gains(top), scores, top >= 0, K, ideal=truth.ideal())
    return np.where(asked, value, np.nan)
