"""Metrics of any run against any judgments: the work behind `podium metrics`, no model of ours involved.

Every judged query counts. One that the run lacks counts 0, and so does one without a relevant item, as in
`trec_eval -c` (`empty="skip"` leaves the latter out). Queries of the run without judgments are left out and
counted. Equal scores stand by item_id ascending (`ties="id"`), by item_id descending and compared in single
precision as in trec_eval (`"trec"`), or count as the mean over their orders (`"expected"`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.evaluation import EmptyRule, Rules, evaluate_lists, rules
from pipeline.metrics.report import RunReport
from pipeline.metrics.statistics.compare import DRAWS
from pipeline.metrics.tables.frames import codes, evaluate_listing
from pipeline.metrics.tables.listings import Listing, Source, read_judged, read_qrels, read_run, refuse_outside
from pipeline.metrics.tables.lists import LongLists, TieRule


def metrics_report(
    run_path: str | Path,
    qrels_path: str | Path | None,
    names: Sequence[str],
    ties: TieRule = "id",
    empty: EmptyRule = "zero",
) -> RunReport:
    """`podium metrics --run RUN --qrels QRELS -m NAME ...`; without qrels the run's own grades count."""
    if qrels_path is None:
        return evaluate_frame(run_path, names, ties, empty)
    return evaluate_run(run_path, qrels_path, names, ties, empty)


def evaluate_run(
    run: Source,
    qrels: Source,
    metrics: Sequence[str] = ("ndcg@10",),
    ties: TieRule = "id",
    empty: EmptyRule = "zero",
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> RunReport:
    """Evaluate a run (path, Polars or pandas frame) against judgments.

    metrics: names of `pipeline.metrics.names`; no cut without `@k`. seed, draws: of the bootstrap intervals;
    0 draws leave them out. Raises InputError for unknown metrics and rules, for bad input by file and line,
    and where run and judgments have no query in common.
    """
    chosen = rules(metrics, ties, empty, seed, draws)
    ranked, judged = read_run(run), read_qrels(qrels)
    if chosen.probabilities:
        refuse_outside(ranked)
    if _aligned(ranked.frame, judged.frame):
        report = evaluate_listing(_beside(ranked, judged), chosen)
        return replace(report, per_query=report.per_query.sort("query_id"))
    return _evaluate_joined(ranked, judged, chosen)


def evaluate_frame(
    frame: Source,
    metrics: Sequence[str] = ("ndcg@10",),
    ties: TieRule = "id",
    empty: EmptyRule = "zero",
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> RunReport:
    """Evaluate one table which has score and grade side by side: nothing is joined, and a list whose rows
    stand together is not sorted by request.

    frame: path of Parquet or CSV, or a Polars or pandas frame. A null score was not retrieved, a null grade
    not judged. Without item ids doubles cannot be seen, and `ties` must be `expected`. Else as `evaluate_run`,
    but that `per_query` has the requests in the order in which they first appear.
    """
    chosen = rules(metrics, ties, empty, seed, draws)
    listing = read_judged(frame)
    if chosen.probabilities:
        refuse_outside(listing)
    return evaluate_listing(listing, chosen)


def _aligned(run: pl.DataFrame, qrels: pl.DataFrame) -> bool:
    """Whether both have the same items of the same queries in the same rows, as the two halves of a table do."""
    return run.height == qrels.height and all(run[name].equals(qrels[name]) for name in ("query_id", "item_id"))


def _beside(run: Listing, qrels: Listing) -> Listing:
    return replace(run, frame=run.frame.with_columns(qrels.frame["grade"]))


def _evaluate_joined(ranked: Listing, judged: Listing, chosen: Rules) -> RunReport:
    queries = judged.frame["query_id"].unique().sort()
    others = ranked.frame.select(pl.col("query_id").unique()).filter(~pl.col("query_id").is_in(queries.implode()))
    rows = _side_by_side(ranked, judged, pl.concat([queries, others["query_id"]]))
    _refuse_strangers(ranked, judged, queries, others.height)
    rows = rows.filter(pl.col("query") < len(queries))
    starts = np.flatnonzero(np.diff(rows["query"].to_numpy(), prepend=np.uint32(len(queries))))
    lists = LongLists(
        starts=starts,
        sizes=np.diff(starts, append=rows.height),
        score=rows["score"].fill_null(0.0).to_numpy(),
        grade=rows["grade"].fill_null(0.0).clip(lower_bound=0.0).to_numpy(),
        item=rows["item_id"],
        retrieved=rows["score"].is_not_null().to_numpy(),
        judged=(rows["grade"].fill_null(-1.0) >= 0).to_numpy(),
    )
    return evaluate_lists(lists, queries, others.height, chosen, _groups(rows))


def _refuse_strangers(run: Listing, qrels: Listing, queries: pl.Series, strangers: int) -> None:
    if strangers and strangers == run.frame["query_id"].n_unique():
        received = f"{run.frame['query_id'][0]} in {run.name}, {queries[0]} in {qrels.name}"
        raise InputError("query", "at least one that is both in the run and judged", place=run.name, received=received)


def _side_by_side(run: Listing, qrels: Listing, queries: pl.Series) -> pl.DataFrame:
    """One row a (query, item), queries together: score (null: not retrieved), grade (null: not judged).

    Raises InputError for an item that stands twice under a query.
    """
    query = pl.col("query_id").cast(pl.Enum(queries)).to_physical().cast(pl.UInt32).alias("query")
    nothing, float64 = pl.lit(None, pl.Float64), pl.Float64
    group = [name for name in ("group",) if name in run.frame.columns]
    scored = run.frame.select(query, "item_id", pl.col("score").cast(float64), *group, grade=nothing)
    graded = qrels.frame.select(query, "item_id", pl.col("grade").cast(float64), score=nothing)
    # One stable sort of both joins them and shows what is double. Of a pair the run's row comes first.
    rows = _paired(pl.concat([scored, graded], how="diagonal"))
    _refuse_repeated(rows, run, qrels, queries)
    partner = pl.col("grade").shift(-1)
    paired = pl.col("second").shift(-1, fill_value=False)
    rows = rows.with_columns(grade=pl.when(paired).then(partner).otherwise(pl.col("grade")))
    return rows.filter(~pl.col("second"))


def _paired(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with those of a (query, item) together, and `second`: whether a row has the item of the one before.

    Sorted by a number made of the query and a hash of the item, in a third of the time that the text takes;
    should two items of a query share a hash, by the text.
    """
    key = pl.col("query").cast(pl.UInt64) * 2**32 + (pl.col("item_id").hash() // 2**32)
    again = [pl.col(name) == pl.col(name).shift() for name in ("query", "item_id")]
    second = pl.all_horizontal(again).fill_null(False)
    keyed = rows.with_columns(key=key).sort("key", maintain_order=True).with_columns(second=second)
    if keyed.select(((pl.col("key") == pl.col("key").shift()) != pl.col("second")).any()).item():
        return rows.sort("query", "item_id", maintain_order=True).with_columns(second=second)
    return keyed.drop("key")


def _refuse_repeated(rows: pl.DataFrame, run: Listing, qrels: Listing, queries: pl.Series) -> None:
    from_run = pl.col("score").is_not_null()
    double = rows.filter(pl.col("second") & (from_run == from_run.shift())).head(1)
    if double.height:
        listing = qrels if double["score"][0] is None else run
        raise listing.repeated(queries[double["query"][0]], double["item_id"][0])


def _groups(rows: pl.DataFrame) -> NDArray[np.int64] | None:
    return codes(rows["group"]) if "group" in rows.columns else None
