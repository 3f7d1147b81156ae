"""Metrics of any run against any judgments: the work behind `podium metrics`, no model of ours involved.

Every judged query counts. One that the run lacks counts 0, and so does one without a relevant item, as in
`trec_eval -c` (`empty="skip"` leaves the latter out). Queries of the run without judgments are left out and
counted. Equal scores stand by item_id ascending (`ties="id"`), by item_id descending and compared in single
precision as in trec_eval (`"trec"`), or count as the mean over their orders (`"expected"`).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.metrics.compare import Interval, bootstrap_interval
from pipeline.metrics.listings import Listing, Source, read_qrels, read_run
from pipeline.metrics.names import RELEVANT, JudgedLists, Metric, parse_metric
from pipeline.metrics.padded import Padded, pad_by_size
from pipeline.metrics.ranking import Floats

TieRule = Literal["expected", "id", "trec"]
EmptyRule = Literal["zero", "skip"]


@dataclass(frozen=True, slots=True)
class QueryCounts:
    """judged queries; of these missing from the run, and empty (no relevant item); unjudged ones of the run."""

    judged: int
    missing: int
    empty: int
    unjudged: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """metrics: label → mean with 95 % bootstrap interval; per_query: query_id and a column for each label."""

    metrics: dict[str, Interval]
    per_query: pl.DataFrame
    queries: QueryCounts
    ties: str
    empty: str

    def as_json(self, per_query: bool = False) -> dict[str, object]:
        """Plain values for JSON: `{"metrics": {"ndcg@10": {"mean", "low", "high", "n"}}, ...}`, nan as null."""
        report: dict[str, object] = {
            "metrics": {label: _plain(interval) for label, interval in self.metrics.items()},
            "queries": asdict(self.queries),
            "ties": self.ties,
            "empty": self.empty,
        }
        if per_query:
            values = self.per_query.with_columns(pl.col(list(self.metrics)).fill_nan(None))
            report["per_query"] = {row.pop("query_id"): row for row in values.iter_rows(named=True)}
        return report

    def lines(self, per_query: bool = False) -> list[str]:
        """For a reader: one line a metric, then, on demand, one a query."""
        said = [f"{label:<14}{i.mean:.6f}  [{i.low:.6f}, {i.high:.6f}]  n={i.n}" for label, i in self.metrics.items()]
        counts = self.queries
        said.append(f"queries: {counts.judged} judged, {counts.missing} missing in the run, {counts.unjudged} unjudged")
        if per_query:
            rows = self.per_query.iter_rows(named=True)
            said += [f"{row['query_id']}  " + "  ".join(f"{m}={row[m]:.6f}" for m in self.metrics) for row in rows]
        return said


def metrics_report(
    run_path: str | Path, qrels_path: str | Path, names: Sequence[str], ties: str = "id", empty: str = "zero"
) -> RunReport:
    """`podium metrics --run RUN --qrels QRELS -m NAME ...`: `evaluate_run` on two files."""
    return evaluate_run(run_path, qrels_path, names, ties, empty)


def evaluate_run(
    run: Source,
    qrels: Source,
    metrics: Sequence[str] = ("ndcg@10",),
    ties: str = "id",
    empty: str = "zero",
    *,
    seed: int = 0,
) -> RunReport:
    """Evaluate a run (path, Polars or pandas frame) against judgments.

    metrics: names of `pipeline.metrics.names`; no cut without `@k`. seed: of the bootstrap intervals.
    Raises InputError for unknown metrics and rules, and for bad input by file and line.
    """
    chosen = [parse_metric(label) for label in dict.fromkeys(metrics)]
    if not chosen:
        raise InputError("metric", "at least one, such as ndcg@10")
    _choice("ties", ties, get_args(TieRule))
    _choice("empty", empty, get_args(EmptyRule))
    ranked, judged = read_run(run), read_qrels(qrels)
    queries, counts = _count_queries(ranked.frame, judged.frame)
    rows = _side_by_side(ranked, judged, queries, ties).filter(pl.col("query") < counts.judged)
    values = _values(rows, chosen, counts.judged, ties)
    for metric in chosen:
        if empty == "zero" and metric.fills:
            np.nan_to_num(values[metric.label], copy=False)
    return RunReport(
        metrics={label: bootstrap_interval(each, seed) for label, each in values.items()},
        per_query=pl.DataFrame({"query_id": queries.head(counts.judged), **values}),
        queries=counts,
        ties=ties,
        empty=empty,
    )


def _count_queries(run: pl.DataFrame, qrels: pl.DataFrame) -> tuple[pl.Series, QueryCounts]:
    """All query ids, the judged ones first and ascending."""
    judged, ranked = qrels.select("query_id").unique().sort("query_id"), run.select("query_id").unique()
    unjudged = ranked.join(judged, on="query_id", how="anti").sort("query_id")
    relevant = qrels.filter(pl.col("value") >= RELEVANT)["query_id"].n_unique()
    counts = QueryCounts(
        judged=judged.height,
        missing=judged.height - (ranked.height - unjudged.height),
        empty=judged.height - relevant,
        unjudged=unjudged.height,
    )
    return pl.concat([judged, unjudged])["query_id"], counts


def _side_by_side(run: Listing, qrels: Listing, queries: pl.Series, ties: str) -> pl.DataFrame:
    """One row a (query, item), in the order ties take: score (null: not retrieved), grade (null: not judged).

    Raises InputError for an item that stands twice under a query.
    """
    query = pl.col("query_id").cast(pl.Enum(queries)).to_physical().cast(pl.UInt32).alias("query")
    nothing, value = pl.lit(None, pl.Float64), pl.col("value")
    scored = run.frame.select(query, "item_id", score=value, grade=nothing)
    graded = qrels.frame.select(query, "item_id", score=nothing, grade=value)
    # One stable sort of both joins them, orders the ties and shows what is double: the three cost twice as
    # much one by one. Of a pair the run's row comes first.
    rows = pl.concat([scored, graded]).sort("query", "item_id", descending=[False, ties == "trec"], maintain_order=True)
    same = [pl.col(name) == pl.col(name).shift() for name in ("query", "item_id")]
    rows = rows.with_columns(second=pl.all_horizontal(same).fill_null(False))
    _refuse_repeated(rows, run, qrels, queries)
    partner = pl.col("grade").shift(-1)
    paired = pl.col("second").shift(-1, fill_value=False)
    rows = rows.with_columns(grade=pl.when(paired).then(partner).otherwise(pl.col("grade")))
    return rows.filter(~pl.col("second"))


def _refuse_repeated(rows: pl.DataFrame, run: Listing, qrels: Listing, queries: pl.Series) -> None:
    from_run = pl.col("score").is_not_null()
    double = rows.filter(pl.col("second") & (from_run == from_run.shift())).head(1)
    if double.height:
        listing = qrels if double["score"][0] is None else run
        raise listing.repeated(queries[double["query"][0]], double["item_id"][0])


def _values(rows: pl.DataFrame, chosen: Sequence[Metric], judged: int, ties: str) -> dict[str, Floats]:
    """Each metric of each judged query `[judged]`, nan where it has none."""
    columns = rows.select(
        "query",
        score=pl.col("score").fill_null(0.0).cast(pl.Float32 if ties == "trec" else pl.Float64),
        grade=pl.col("grade").fill_null(0.0).clip(lower_bound=0.0),
        retrieved=pl.col("score").is_not_null(),
        judged=pl.col("grade").is_not_null(),
    )
    values = {metric.label: np.full(judged, np.nan) for metric in chosen}
    for part in pad_by_size(columns, "query", ["score", "grade", "retrieved", "judged"]):
        lists = _judged_lists(part, ties)
        for metric in chosen:
            values[metric.label][part.keys.to_numpy()] = metric.values(lists)
    return values


def _judged_lists(part: Padded, ties: str) -> JudgedLists:
    return JudgedLists(
        grades=part["grade"],
        scores=part["score"],
        retrieved=part["retrieved"],
        judged=part["judged"],
        ties="expected" if ties == "expected" else "position",
    )


def _choice(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(field, f"one of {', '.join(known)}", received=value)


def _plain(interval: Interval) -> dict[str, float | int | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(interval).items()}
