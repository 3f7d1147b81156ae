"""How often each query was typed on each day. Every search becomes a `suggest` event that showed nothing.

The searches of a day are spread evenly over it, query by query in order of name, since only their day is known.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS
from pipeline.logs.importers.base import (
    Importer,
    Options,
    Sources,
    always_exact,
    chunk,
    columns,
    files,
    table,
    text,
)
from pipeline.logs.moments import Moments
from pipeline.logs.partitions import DAY_MS


def recognises(sources: Sources) -> bool:
    return _counts(sources) is not None


def _counts(sources: Sources) -> Path | None:
    return next((path for path in files(sources) if columns(path) >= {"query", "date", "searches"}), None)


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    path = _counts(sources)
    assert path is not None
    frame = table(path).with_row_index("line", offset=1)
    if frame.schema["date"] == pl.String():
        frame = frame.with_columns(pl.col("date").str.to_date())
    searches = (
        frame.filter(pl.col("searches") > 0)
        .sort("date", "query")
        .with_columns(number=pl.int_ranges(pl.col("searches").cast(pl.Int64)))
    )
    each = searches.explode("number")
    midnight = pl.col("date").cast(pl.Datetime("ms")).cast(pl.Int64)
    share = pl.int_range(pl.len()).over("date") * DAY_MS // pl.len().over("date")
    request = pl.concat_str(
        pl.col("query").map_elements(_short, return_dtype=pl.String()), text("date"), text("number"), separator=":"
    )
    yield chunk(
        path,
        "suggest",
        each.select(
            "line",
            "query",
            time=midnight + share,
            event_id=pl.lit("search:") + request,
            request_id=request,
            placement=pl.lit("complete"),
            chosen=pl.col("query"),
            shown=pl.lit([], dtype=COLUMNS["suggest"]["shown"]),
        ),
    )


def _short(query: str) -> str:
    """An id of fixed length: queries may be longer than an id."""
    return blake2b(query.encode(), digest_size=8).hexdigest()


QUERY_COUNTS = Importer(
    name="query-counts",
    looks_for="a table with query, date, searches",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
