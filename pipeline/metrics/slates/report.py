"""One report of ranking metrics and slate metrics: `podium metrics --items`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from pipeline.errors import InputError
from pipeline.metrics.evaluation import EmptyRule
from pipeline.metrics.report import RunReport
from pipeline.metrics.runs import metrics_report
from pipeline.metrics.slates.items import read_items
from pipeline.metrics.slates.run import is_slate_metric, slate_values
from pipeline.metrics.tables.listings import read_qrels, read_run
from pipeline.metrics.tables.lists import TieRule


def report_with_slates(
    run_path: str | Path,
    qrels_path: str | Path | None,
    items_path: str | Path | None,
    names: Sequence[str],
    ties: TieRule = "id",
    empty: EmptyRule = "zero",
) -> RunReport:
    """`metrics_report`, and of the names that are slate metrics their values, with the table of items.

    ties says how ranking metrics count equal scores; on a page they stand by item_id. Raises InputError for a slate
    metric without a table, and whatever the two parts raise.
    """
    of_slates = [name for name in names if is_slate_metric(name)]
    others = [name for name in names if not is_slate_metric(name)]
    if not of_slates:
        return metrics_report(run_path, qrels_path, others, ties, empty)
    if items_path is None:
        raise InputError("--items", f"a table of items for {', '.join(of_slates)}")
    qrels = None if qrels_path is None else read_qrels(qrels_path)
    slates = slate_values(read_run(run_path), read_items(items_path), of_slates, qrels, empty=empty)
    if others:
        report = metrics_report(run_path, qrels_path, others, ties, empty)
        by_query = slates.per_query.rename({"query_id": "page"})
        keys = report.per_query["query_id"].cast(pl.String)
        beside = report.per_query.with_columns(page=keys).join(by_query, on="page", how="left", maintain_order="left")
        joined = beside.select("query_id", *[name for name in dict.fromkeys(names) if name in beside.columns])
    else:
        joined = slates.per_query
        report = RunReport(slates.metrics, joined, slates.queries, ties, empty)
    metrics = {name: (slates.metrics if name in slates.metrics else report.metrics)[name] for name in names}
    return replace(report, metrics=metrics, per_query=joined, notes=slates.notes)
