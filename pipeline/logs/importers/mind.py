"""MIND, the news log of MSN: impressions in a shuffled order, clicks, and each user's earlier clicks.

Reads `impressions`/`news` tables or the publisher's `behaviors.tsv`/`news.tsv`. Times carry no zone and are taken as
UTC, month first. The publisher says that `history` holds clicks of the four weeks before the impressions and gives no
times: they are spread evenly, in their order, over the four weeks before the file's first impression.

A page with a candidate that is labelled neither 0 nor 1, as all are in the publisher's test set, is one of unknown
outcomes; the clicks it tells of stand. A row that is refused takes all it tells of with it: page, clicks and history.
"""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, event_id, files
from pipeline.logs.importers.delimited import Dialect
from pipeline.logs.importers.tables import Table, columns, named, read_table
from pipeline.logs.moments import Moments

HISTORY_MS: Final = 28 * 86_400_000
_TABLE: Final = {"impression_id", "user_id", "time", "candidates"}
_BEHAVIORS: Final = ("impression_id", "user_id", "time", "history", "impressions")
_NEWS: Final = ("news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities")
_LABEL: Final = "-([01])$"


def recognises(sources: Sources) -> bool:
    return _original(sources, "behaviors.tsv") is not None or columns(named(sources, "impressions")) >= _TABLE


def _original(sources: Sources, name: str) -> Path | None:
    return next((path for path in files(sources) if path.name == name), None)


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    table = _pages(sources).moments("time", moments.knowing(dates="mdy", zone=UTC))
    shown = "impressions" if "impressions" in table.columns else "candidates"
    table = table.refusing(shown, table.frame.select(_misshapen()).to_series())
    yield table.refused()
    pages = table.chunk("impression", _impressions(table.frame))
    yield pages
    yield table.following(pages, _clicks(table.frame))
    lost = pl.Series([reject.line for reject in pages.rejects], dtype=pl.Int64)
    sound = table.frame.filter(~pl.col("line").is_in(lost.implode()))
    first = sound["time"].min()
    start = first if isinstance(first, int) else HISTORY_MS
    yield table.chunk("feedback", _history(sound, start))
    news = _news(sources)
    if news is not None:
        yield news.refused()
        yield news.chunk("item", _items(news.frame, start))


def _pages(sources: Sources) -> Table:
    """Columns line, request_id, user_id, time as written, candidates, clicked (null: unlabelled) and history."""
    path = _original(sources, "behaviors.tsv")
    if path is not None:
        table = read_table(path, Dialect(separator="\t", names=_BEHAVIORS, quoted=False))
        shown = _words("impressions")
        table = table.having(
            table.frame.with_columns(
                history=_words("history"),
                candidates=shown.list.eval(pl.element().str.replace(_LABEL, "")),
                clicked=shown.list.eval(pl.element().str.extract(_LABEL).cast(pl.Int8)),
            )
        )
    else:
        path = named(sources, "impressions")
        assert path is not None
        table = _listed(read_table(path))
    table = table.text("impression_id", "user_id")
    return table.having(table.frame.rename({"impression_id": "request_id"}))


def _words(name: str) -> pl.Expr:
    return pl.col(name).fill_null("").str.split(" ").list.filter(pl.element() != "")


def _listed(table: Table) -> Table:
    """The table form, whose lists are lists. Raises InputError where they are not, or hold fractions for ids."""
    frame = table.frame
    for name, dtype in (("candidates", pl.String()), ("clicked", pl.Int8()), ("history", pl.String())):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=pl.List(dtype)).alias(name))
        given = frame.schema[name]
        if not isinstance(given, pl.List) or (dtype == pl.String() and given.inner.is_float()):
            fix = "a column of lists of " + ("ids" if dtype == pl.String() else "0 and 1")
            raise InputError(name, fix, place=str(table.path), received=str(given))
        frame = frame.with_columns(pl.col(name).cast(pl.List(dtype)))
    unlabelled = pl.col("candidates").list.eval(pl.lit(None, dtype=pl.Int8))
    return table.having(frame.with_columns(clicked=pl.coalesce("clicked", unlabelled)))


def _misshapen() -> pl.Expr:
    """Why a row shows no page."""
    shown, labels = pl.col("candidates").list.len().fill_null(0), pl.col("clicked").list.len().fill_null(0)
    empty = pl.when(shown == 0).then(pl.lit("must name what the page showed"))
    return empty.when(shown != labels).then(pl.lit("must be as many as there are labels in `clicked`"))


def _impressions(pages: pl.DataFrame) -> pl.DataFrame:
    cells = pl.struct(item_id=pl.element(), position=pl.int_range(pl.len(), dtype=pl.Int32))
    labelled = pl.col("clicked").list.eval(pl.element().is_in([0, 1]).fill_null(value=False)).list.all()
    return pages.select(
        "line",
        "request_id",
        "user_id",
        "time",
        (pl.col("request_id") + ":0").alias("event_id"),
        surface=pl.lit("recommend"),
        items=pl.col("candidates").list.eval(cells),
        order=pl.lit("unknown"),
        outcomes=pl.when(labelled).then(pl.lit("known")).otherwise(pl.lit("unknown")),
    )


def _clicks(pages: pl.DataFrame) -> pl.DataFrame:
    """One a page and item, however often the page names it."""
    shown = pages.select("line", "request_id", "user_id", "time", item_id="candidates", clicked="clicked")
    clicked = shown.explode("item_id", "clicked").filter(pl.col("clicked") == 1)
    return clicked.unique(["line", "item_id"], keep="first", maintain_order=True).select(
        event_id("click", "request_id", "item_id"),
        *("line", "time", "user_id", "item_id", "request_id"),
        action=pl.lit("click"),
    )


def _history(pages: pl.DataFrame, start: int) -> pl.DataFrame:
    """What each user's first impression says was clicked before, each item once, where it stands last."""
    first = pages.sort("time", "request_id").unique("user_id", keep="first", maintain_order=True)
    clicks = (
        first.select("line", "user_id", item_id="history")
        .filter(pl.col("item_id").list.len() > 0)
        .explode("item_id")
        .unique(["user_id", "item_id"], keep="last", maintain_order=True)
    )
    place = pl.int_range(pl.len()).over("user_id")
    before = (pl.len().over("user_id") - place) * HISTORY_MS // (pl.len().over("user_id") + 1)
    return clicks.select(
        event_id("history", "user_id", "item_id"),
        *("line", "user_id", "item_id"),
        time=start - before,
        action=pl.lit("click"),
    )


def _news(sources: Sources) -> Table | None:
    path = _original(sources, "news.tsv")
    if path is not None:
        return read_table(path, Dialect(separator="\t", names=_NEWS, quoted=False))
    path = named(sources, "news")
    if path is None:
        return None
    table = read_table(path)
    table.need("news_id")
    return table


def _items(news: pl.DataFrame, start: int) -> pl.DataFrame:
    """What describes the news may be missing, as a column or in a row."""
    told = {name: pl.col(name) if name in news.columns else pl.lit(None, dtype=pl.String) for name in _NEWS}
    return news.select(
        "line",
        event_id("item", "news_id"),
        item_id="news_id",
        title=told["title"],
        time=pl.lit(start - HISTORY_MS),
        kind=pl.lit("content"),
        text=told["abstract"],
        category=pl.concat_list(told["category"], told["subcategory"]).list.drop_nulls(),
    )


MIND = Importer(
    name="mind",
    looks_for="impressions.parquet (impression_id, user_id, time, candidates, clicked), or behaviors.tsv",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
