"""Shown items, one a row, become the pages they stood on: rows of one request and page, wherever in the file."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS, CONTROL, MAX_ID, SHOWN
from pipeline.logs.importers.base import event_id
from pipeline.logs.importers.positions import counted_from_zero
from pipeline.logs.importers.tables import Table

CLICKED: Final = "clicked"  # whether the row's item was clicked, which makes feedback too; empty: not known
_PAGE: Final = ["request_id", "page"]
_OF_PAGE: Final = [n for n in COLUMNS["impression"] if n not in ("event_id", "time", "received", "items", *_PAGE)]
_SHARES: Final = ("propensity", "marginal")
_NUMBERS: Final = ("score", *_SHARES)


def pages(table: Table) -> Iterator[Chunk]:
    """Impressions of a table that is `placed`, whose columns are fields of pages and of shown items; and its clicks.

    An item that stands on a page twice counts where it stands first.
    """
    table = _agreeing(_sized(table))
    frame = table.frame
    first = frame.sort("position", "line").unique([*_PAGE, "item_id"], keep="first", maintain_order=True)
    yield table.mending("items: an item twice on one page", len(frame) - len(first)).refused()
    known = [pl.col("received").min()] if "received" in frame.columns else []
    known += [pl.col(name).drop_nulls().first() for name in _OF_PAGE if name in frame.columns]
    if CLICKED in frame.columns and "outcomes" not in frame.columns:
        unknown = pl.when(pl.col(CLICKED).is_null().any()).then(pl.lit("unknown"))
        known.append(unknown.alias("outcomes"))
    cells = pl.struct(name for name in SHOWN if name in frame.columns)
    shown = first.group_by(_PAGE, maintain_order=True).agg(pl.col("line", "time").min(), *known, items=cells)
    whole = table.chunk("impression", shown.sort("line").with_columns(_surface(shown), event_id("", *_PAGE)))
    yield whole
    if CLICKED in frame.columns:
        yield table.following(whole, _feedback(frame.filter(pl.col(CLICKED))))


def _sized(table: Table) -> Table:
    """Without rows that would refuse their whole page; numbers of a cell are read, or left out."""
    for name in ("item_id", "request_id"):
        sound = (
            pl.col(name).is_not_null() & (pl.col(name).str.len_chars() <= MAX_ID) & ~pl.col(name).str.contains(CONTROL)
        )
        why = pl.when(~sound).then(pl.lit(f"must have 1 to {MAX_ID} characters, none of them a control character"))
        table = table.refusing(name, table.frame.select(why).to_series())
    if CLICKED in table.columns:
        table = table.fitted(CLICKED, pl.Boolean())
    for name in _NUMBERS:
        if name in table.columns:
            table = table.fitted(name, pl.Float64())
    for name in _SHARES:
        if name in table.columns:
            table = probable(table, name)
    return table


def probable(table: Table, name: str) -> Table:
    """With the column's numbers where they are probabilities of what happened; the others are left out."""
    value = pl.col(name)
    known = (value > 0) & (value <= 1)
    lost = int(table.frame.select((~known).fill_null(value=False).sum()).item())
    kept = table.frame.with_columns(pl.when(known).then(value).alias(name))
    return table.having(kept).mending(f"{name}: must be above 0 and at most 1", lost)


def placed(table: Table, first: int | None = None) -> Table:
    """With the page and the position of each row, which count from 0.

    first: the position of a page's first item, None where the file is to say. Without positions the items of a page
    stand in the order of the file; rows refused later leave their place empty.
    """
    table = table.text("request_id")
    if "page" in table.columns:
        table = table.fitted("page", pl.Int32())
        table = table.having(table.frame.with_columns(pl.col("page").fill_null(0)))
    else:
        table = table.having(table.frame.with_columns(page=pl.lit(0, dtype=pl.Int32)))
    if "position" not in table.columns:
        place = pl.int_range(pl.len(), dtype=pl.Int32).over(_PAGE, order_by="line")
        return table.having(table.frame.with_columns(position=place))
    return counted_from_zero(table, first, page=_PAGE)


def _agreeing(table: Table) -> Table:
    """Without the rows of pages whose rows say different things of the page: which is true the file does not tell."""
    for name in _OF_PAGE:
        if name in table.columns:
            several = pl.col(name).drop_nulls().n_unique().over(_PAGE) > 1
            why = pl.when(several).then(pl.lit("must be the same in all rows of a page"))
            table = table.refusing(name, table.frame.select(why).to_series())
    return table


def _surface(shown: pl.DataFrame) -> pl.Expr:
    """What the table says; else a page with a query is a search, any other a recommendation."""
    asked = pl.col("query").is_not_null() if "query" in shown.columns else pl.lit(value=False)
    by_rule = pl.when(asked).then(pl.lit("search")).otherwise(pl.lit("recommend"))
    return (pl.col("surface").fill_null(by_rule) if "surface" in shown.columns else by_rule).alias("surface")


def _feedback(clicks: pl.DataFrame) -> pl.DataFrame:
    known = [name for name in ("user_id", "session_id", "query", "received") if name in clicks.columns]
    rows = clicks.unique([*_PAGE, "item_id"], keep="first", maintain_order=True)
    return rows.select(
        event_id("click", *_PAGE, "item_id"),
        *("line", "time", "request_id", "item_id"),
        *known,
        action=pl.lit("click"),
    )
