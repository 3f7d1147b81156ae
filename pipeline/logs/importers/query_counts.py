"""How often each query was typed on each day. Every search becomes a `suggest` event that showed nothing.

The searches of a day are spread evenly over it, query by query in order of name, since only their day is known.
"""

from collections.abc import Iterator
from datetime import UTC
from hashlib import blake2b
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, files
from pipeline.logs.importers.tables import Table, columns, read_table
from pipeline.logs.moments import Moments
from pipeline.logs.partitions import DAY_MS

_MOST = 10_000_000  # searches of one query on one day: more is a mistake, and a search is an event


def recognises(sources: Sources) -> bool:
    return _counts(sources) is not None


def _counts(sources: Sources) -> Path | None:
    return next((path for path in files(sources) if columns(path) >= {"query", "date", "searches"}), None)


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    path = _counts(sources)
    assert path is not None
    table = read_table(path).text("query").moments("date", moments.knowing(zone=UTC)).reading("searches", pl.Int64())
    table = _counted_once(_named(table))
    yield table.refused()
    yield table.chunk("suggest", _searches(table.frame))


def _named(table: Table) -> Table:
    """Without rows that have no query, or no searches that could be."""
    nothing = pl.when(pl.col("query").is_null()).then(pl.lit("is empty; a query is required"))
    table = table.refusing("query", table.frame.select(nothing).to_series())
    few = pl.when(~pl.col("searches").is_between(0, _MOST)).then(pl.lit(f"must be from 0 to {_MOST}"))
    table = table.refusing("searches", table.frame.select(few).to_series())
    return table.having(table.frame.with_columns(day=pl.col("time") // DAY_MS))


def _counted_once(table: Table) -> Table:
    """Of several counts of one query on one day the largest holds, whatever their order; the others are refused.

    A row that says the same again is left out.
    """
    told = table.frame.sort("line").unique(["day", "query", "searches"], keep="first", maintain_order=True)
    table = table.having(told).mending("row: the same again", len(table.frame) - len(told))
    order = table.frame.sort("searches", "line", descending=[True, False], maintain_order=True)
    first = order.unique(["day", "query"], keep="first")["line"]
    again = pl.when(~pl.col("line").is_in(first.implode())).then(pl.lit("is counted in another row for the same day"))
    return table.refusing("query", table.frame.select(again).to_series())


def _searches(counts: pl.DataFrame) -> pl.DataFrame:
    """A row a search."""
    each = (
        counts.filter(pl.col("searches") > 0)
        .sort("day", "query")
        .with_columns(number=pl.int_ranges(pl.col("searches")))
        .explode("number")
    )
    share = pl.int_range(pl.len()).over("day") * DAY_MS // pl.len().over("day")
    name = pl.col("query").map_elements(_short, return_dtype=pl.String())
    date = pl.from_epoch("day", time_unit="d").cast(pl.String)
    request = pl.concat_str(name, date, pl.col("number").cast(pl.String), separator=":")
    return each.select(
        *("line", "query"),
        time=pl.col("day") * DAY_MS + share,
        event_id=pl.lit("search:") + request,
        request_id=request,
        placement=pl.lit("complete"),
        chosen=pl.col("query"),
        shown=pl.lit([], dtype=COLUMNS["suggest"]["shown"]),
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
