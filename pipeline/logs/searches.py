"""Searches of which a log knows no page: what people did after a query that the feedback itself names."""

import polars as pl

from pipeline.logs.events import subject
from pipeline.logs.read import Log
from pipeline.logs.sessions import IDLE_MS

_READ = ("event_id", "time", "received", "user_id", "session_id", "item_id", "action", "request_id", "query")


def told_searches(log: Log, *, before: int | None = None) -> pl.DataFrame:
    """Feedback that names a query and no page of the log: event_id, subject, query, item_id, action, time, received,
    and `asked_at`, the moment of its search; sorted by (time, event_id).

    What one subject does after one query, with less than half an hour between two acts, follows one search, which is
    asked at the first of them. before: ms; only what happened earlier.
    """
    query = pl.col("query").str.strip_chars()
    told = log.scan("feedback", before=before).select(_READ).filter(query != "").collect()
    if told["request_id"].null_count() < len(told):
        pages = log.scan("impression", before=before).select("request_id").unique().collect()
        told = told.join(pages, on="request_id", how="anti")
    told = told.select("event_id", subject(), query, "item_id", "action", "time", "received")
    asked = told.sort("subject", "query", "time", "event_id")
    gap = pl.col("time").diff().over("subject", "query")
    opens = pl.when(gap.is_null() | (gap >= IDLE_MS)).then("time")
    asked = asked.with_columns(asked_at=opens.forward_fill().over("subject", "query"))
    return asked.sort("time", "event_id")


def searches_of(told: pl.DataFrame) -> pl.DataFrame:
    """One row a search of `told_searches`: time (of asking), subject, query; in order of time."""
    asked = told.select("subject", "query", time="asked_at").unique()
    return asked.sort("time", "subject", "query").select("time", "subject", "query")
