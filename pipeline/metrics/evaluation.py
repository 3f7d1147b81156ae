"""From judged lists to a report: the values of each, the pooled ones, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.names import REL, Metric, PooledMetric, parse_metric
from pipeline.metrics.order import Floats
from pipeline.metrics.pooled import Sums, quotient
from pipeline.metrics.report import QueryCounts, RunReport
from pipeline.metrics.statistics.resampling import intervals
from pipeline.metrics.tables.lists import LongLists, TieRule, list_values

EmptyRule = Literal["zero", "skip"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What to work out and by which rules; seed and draws are of the bootstrap."""

    metrics: tuple[Metric | PooledMetric, ...]
    ties: TieRule
    empty: EmptyRule
    seed: int
    draws: int

    @property
    def probabilities(self) -> bool:
        """Whether scores must be probabilities."""
        return any(isinstance(metric, PooledMetric) and metric.entry.probability for metric in self.metrics)


def rules(labels: Sequence[str], ties: TieRule, empty: EmptyRule, seed: int, draws: int) -> Rules:
    """Raises InputError for unknown metrics and rules, with the known ones."""
    chosen = tuple(parse_metric(label) for label in dict.fromkeys(labels))
    if not chosen:
        raise InputError("metric", "at least one, such as ndcg@10")
    for field, value, known in (("ties", ties, get_args(TieRule)), ("empty", empty, get_args(EmptyRule))):
        if value not in known:
            raise InputError(field, f"one of {', '.join(known)}", received=value)
    for field, number in (("seed", seed), ("draws", draws)):
        if number < 0:
            raise InputError(field, "a whole number from 0", received=number)
    return Rules(chosen, ties, empty, seed, draws)


def evaluate_lists(
    lists: LongLists, queries: pl.Series, unjudged: int, chosen: Rules, group: NDArray[np.int64] | None = None
) -> RunReport:
    """The report of R judged lists. queries `[R]`: their ids; unjudged: lists left out before, of which only
    the number is told; group `[n]`: for `gauc`, codes from 0."""
    each = [metric for metric in chosen.metrics if isinstance(metric, Metric)]
    values = list_values(lists, each, chosen.ties)
    if chosen.empty == "zero":
        for label in (metric.label for metric in each if metric.entry.fills):
            np.nan_to_num(values[label], copy=False)
    by_query = {label: _mean(value) for label, value in values.items()}
    by_group: dict[str, Sums] = {}
    for metric in (metric for metric in chosen.metrics if isinstance(metric, PooledMetric)):
        grouped = metric.entry.grouped and group is not None
        (by_group if grouped else by_query)[metric.label] = _pooled(lists, metric, group if grouped else None)
    found = intervals(by_query, chosen.seed, chosen.draws) | intervals(by_group, chosen.seed, chosen.draws)
    return RunReport(
        metrics={metric.label: found[metric.label] for metric in chosen.metrics},
        per_query=pl.DataFrame({"query_id": queries, **values}),
        queries=_counts(lists, unjudged),
        ties=chosen.ties,
        empty=chosen.empty,
    )


def _mean(values: Floats) -> Sums:
    known = ~np.isnan(values)
    return Sums(np.column_stack([np.where(known, values, 0.0), known]), quotient, int(known.sum()))


def _pooled(lists: LongLists, metric: PooledMetric, group: NDArray[np.int64] | None) -> Sums:
    rows = np.ones(len(lists.score), dtype=bool) if lists.retrieved is None else lists.retrieved
    if metric.entry.probability and lists.judged is not None:
        rows = rows & lists.judged
    score, label = lists.score[rows], lists.grade[rows] >= metric.parameters["rel"]
    cluster = (lists.list_of_row if group is None else group)[rows]
    clusters = len(lists.sizes) if group is None else int(group.max(initial=-1)) + 1
    return metric.entry.kernel(label, score, cluster, clusters, metric.parameters)


def _counts(lists: LongLists, unjudged: int) -> QueryCounts:
    relevant = np.logical_or.reduceat(lists.grade >= REL["rel"], lists.starts)
    found = (
        len(lists.sizes)
        if lists.retrieved is None
        else int(np.logical_or.reduceat(lists.retrieved, lists.starts).sum())
    )
    return QueryCounts(
        judged=len(lists.sizes),
        missing=len(lists.sizes) - found,
        empty=len(lists.sizes) - int(relevant.sum()),
        unjudged=unjudged,
    )
