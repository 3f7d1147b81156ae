"""Judged product search: one row a (query, product) with a grade from 1 up, as Home Depot's and CrowdFlower's.

The log's grade is the source's minus 1, fractions kept, so that 0 is "not relevant". There is no time: items stand
at 0, judgments at 1.
"""

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_order, event_id, files
from pipeline.logs.importers.tables import columns, read_table
from pipeline.logs.moments import Moments

_GRADES = ("relevance", "median_relevance")
_QUERIES = ("search_term", "query")


def recognises(sources: Sources) -> bool:
    return _judgments(sources) is not None


def _judgments(sources: Sources) -> Path | None:
    return next((path for path in files(sources) if _is_judged(columns(path))), None)


def _is_judged(names: frozenset[str]) -> bool:
    return {"id", "product_title"} <= names and bool(names & set(_GRADES)) and bool(names & set(_QUERIES))


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    path = _judgments(sources)
    assert path is not None
    table = read_table(path)
    item = "product_uid" if "product_uid" in table.columns else "id"
    grade = next(name for name in _GRADES if name in table.columns)
    query = next(name for name in _QUERIES if name in table.columns)
    table = table.text("id", item, query, "product_title", "product_description").reading(grade, pl.Float64())
    yield table.refused()
    yield table.chunk("item", _items(table.frame, item))
    judgments = table.frame.select(
        "line",
        event_id("judgment", "id"),
        pl.col(item).alias("item_id"),
        time=pl.lit(1),
        query=pl.col(query).str.strip_chars(),
        grade=(pl.col(grade) - 1).round(6),
    )
    yield table.chunk("judgment", judgments)


def _items(frame: pl.DataFrame, item: str) -> pl.DataFrame:
    described = "product_description" in frame.columns
    rows = frame.drop_nulls(item).unique(item, keep="first", maintain_order=True)
    return rows.select(
        "line",
        event_id("item", item),
        pl.col(item).alias("item_id"),
        time=pl.lit(0),
        title=pl.col("product_title"),
        text=_plain("product_description") if described else pl.lit(None),
    )


def _plain(name: str) -> pl.Expr:
    """The description without markup: scripts and styles go whole, tags leave a blank."""
    return (
        pl.col(name)
        .str.replace_all(r"(?is)<(script|style)\b.*?</(script|style)\s*>", " ")
        .str.replace_all(r"(?s)<!--.*?-->|</?[A-Za-z][^<>]*>", " ")
        .map_elements(unescape, return_dtype=pl.String())
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )


JUDGED = Importer(
    name="judged",
    looks_for="a table with id, product_title, a query (search_term or query) and relevance or median_relevance",
    recognises=recognises,
    clock=always_order,
    chunks=chunks,
)
