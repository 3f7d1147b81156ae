"""Requests of logs that show no pages: the next item of a history, and the judged items of a query."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.features.text import one_spelling
from pipeline.logs.events import subject
from serving.replay.labels import Labels
from serving.replay.requests import REQUESTS, Asking, Task, asks_of, sampled, with_candidates

_BARE = {
    "filters": pl.lit("{}"),
    "context": pl.lit("{}"),
    "arm": pl.lit(None, pl.String),
    "order": pl.lit("unknown"),
    "outcomes": pl.lit("known"),
}


def next_task(
    feedback: pl.DataFrame,
    known: pl.DataFrame | None,
    gains: Mapping[str, float],
    sample: int | None,
    asking: Asking,
) -> Task:
    """One request at the moment of each held-out positive: a search where it names a query, else a recommendation;
    relevant is that item alone.

    A request sees what is strictly earlier: positives of one sitting with one time stamp are asked about one by
    one, each with the history before the sitting. known: all feedback there is, whose items before the request
    are then excluded from its slate; a held-out item that was seen before cannot be shown and leaves the mean.
    """
    positive = [action for action, gain in gains.items() if gain > 0]
    told = feedback.filter(pl.col("action").is_in(positive)).with_columns(subject())
    told = told.filter(pl.col("subject").is_not_null()).sort("subject", "time", "event_id")
    place = pl.int_range(pl.len()).over("subject")
    told = told.with_columns(request_id=pl.format("next:{}:{}", "subject", place))
    told = told.filter(pl.col("request_id").is_in(sampled(told["request_id"], sample).implode()))
    requests = told.sort("time", "event_id").with_row_index("row")
    requests = requests.with_columns(
        pl.col("query").str.strip_chars().replace("", None), page=pl.lit(0, pl.Int32), **_BARE
    )
    requests = requests.with_columns(
        surface=pl.when(pl.col("query").is_null()).then(pl.lit("recommend")).otherwise(pl.lit("search"))
    )
    gain = requests["action"].replace_strict(dict(gains), default=0.0, return_dtype=pl.Float64).to_numpy()
    item = asking.catalogue.dense(requests["item_id"])
    asks = asks_of(requests, asking)
    if known is not None:
        seen = _seen(requests, known.filter(pl.col("action").is_in(positive)))
        asks = tuple(
            replace(ask, filters=replace(ask.filters, exclude_items=tuple(ids or ())))
            for ask, ids in zip(asks, seen, strict=True)
        )
        again = [told_id in (ids or ()) for told_id, ids in zip(requests["item_id"], seen, strict=True)]
        gain = np.where(again, 0.0, gain)
    labels = Labels(len(requests), np.arange(len(requests)), item, gain).positive
    return Task("next", requests.select(REQUESTS), asks, labels)


def _seen(requests: pl.DataFrame, known: pl.DataFrame) -> list[list[str] | None]:
    """The items of each request's subject before it."""
    earlier = known.select(subject(), "item_id", seen_at="time").drop_nulls("subject")
    pairs = requests.select("row", "subject", "time").join(earlier, on="subject")
    lists = pairs.filter(pl.col("seen_at") < pl.col("time")).group_by("row").agg(pl.col("item_id").unique().sort())
    joined = requests.select("row").join(lists, on="row", how="left", maintain_order="left")
    seen: list[list[str] | None] = joined["item_id"].to_list()
    return seen


def judged_task(judgments: pl.DataFrame, sample: int | None, asking: Asking) -> Task:
    """One rank request a query over its judged items, grades as they stand; an item judged twice counts once,
    with the higher grade. The query, under one of its spellings, is the request's id."""
    judgments = judgments.with_columns(one_spelling(judgments["query"]))
    kept = judgments.filter(pl.col("query").is_in(sampled(judgments["query"], sample).implode()))
    cells = kept.group_by("query", "item_id").agg(gain=pl.col("grade").max(), time=pl.col("time").max())
    pages = cells.group_by("query").agg(time=pl.col("time").max() + 1).sort("query").with_row_index("row")
    pages = pages.with_columns(
        request_id="query", page=pl.lit(0, pl.Int32), subject=pl.lit(None, pl.String), surface=pl.lit("search"), **_BARE
    )
    cells = cells.join(pages.select("row", "query"), on="query").sort("row", "item_id")
    cells = cells.with_columns(gain=pl.col("gain").clip(0), position=pl.lit(-1, pl.Int32))
    return with_candidates("judged", pages, cells, asking)
