"""MIND, the news log of MSN: impressions in a shuffled order, clicks, and each user's earlier clicks.

Reads `impressions`/`news` tables or the publisher's `behaviors.tsv`/`news.tsv`. Times carry no zone and are taken as
UTC. The publisher says that `history` holds clicks of the four weeks before the impressions and gives no times: they
are spread evenly, in their order, over the four weeks before the file's first impression.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, event_id, files, text
from pipeline.logs.importers.tables import chunk, columns, named, read_table
from pipeline.logs.moments import Moments

HISTORY_MS = 28 * 86_400_000
_TABLE = {"impression_id", "user_id", "time", "candidates", "clicked"}
_BEHAVIORS = ["impression_id", "user_id", "time", "history", "impressions"]
_NEWS = ["news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"]


_LABEL = "-([01])$"


def recognises(sources: Sources) -> bool:
    return _original(sources, "behaviors.tsv") is not None or columns(named(sources, "impressions")) >= _TABLE


def _original(sources: Sources, name: str) -> Path | None:
    return next((path for path in files(sources) if path.name == name), None)


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    path, pages = _pages(sources)
    yield chunk(path, "impression", _impressions(pages))
    yield chunk(path, "feedback", _clicks(pages))
    start = int(str(pages["time"].min() or 0))
    if "history" in pages.columns:
        yield chunk(path, "feedback", _history(pages, start))
    if (news := _original(sources, "news.tsv")) is not None:
        yield chunk(news, "item", _items(_tsv(news, _NEWS), start))
    elif (news := named(sources, "news")) is not None:
        yield chunk(news, "item", _items(read_table(news).frame, start))


def _pages(sources: Sources) -> tuple[Path, pl.DataFrame]:
    """Columns line, request_id, user_id, time (ms), candidates, clicked and, if the source has it, history."""
    path = _original(sources, "behaviors.tsv")
    if path is not None:
        frame = _from_behaviors(_tsv(path, _BEHAVIORS))
    else:
        path = named(sources, "impressions")
        assert path is not None
        frame = read_table(path).frame.with_columns(pl.col("time").cast(pl.Datetime("ms")).cast(pl.Int64))
    if "line" not in frame.columns:
        frame = frame.with_row_index("line", offset=1)
    return path, frame.with_columns(text("impression_id").alias("request_id"), text("user_id"))


def _tsv(path: Path, names: list[str]) -> pl.DataFrame:
    return pl.read_csv(
        path,
        separator="\t",
        has_header=False,
        new_columns=names,
        quote_char=None,
        infer_schema=False,
    )


def _from_behaviors(frame: pl.DataFrame) -> pl.DataFrame:
    shown = pl.col("impressions").str.split(" ")
    time = pl.col("time").str.to_datetime("%m/%d/%Y %I:%M:%S %p", time_unit="ms")
    return frame.with_columns(
        time=time.cast(pl.Int64),
        history=pl.col("history").fill_null("").str.split(" ").list.filter(pl.element() != ""),
        candidates=shown.list.eval(pl.element().str.replace(_LABEL, "")),
        clicked=shown.list.eval(pl.element().str.extract(_LABEL) == "1"),
    )


def _impressions(pages: pl.DataFrame) -> pl.DataFrame:
    cells = pl.struct(item_id=pl.element(), position=pl.int_range(pl.len(), dtype=pl.Int32))
    return pages.select(
        "line",
        "request_id",
        "user_id",
        "time",
        (pl.col("request_id") + ":0").alias("event_id"),
        surface=pl.lit("recommend"),
        items=pl.col("candidates").list.eval(cells),
        order=pl.lit("unknown"),
        outcomes=pl.when(pl.col("clicked").list.eval(pl.element().is_not_null()).list.all())
        .then(pl.lit("known"))
        .otherwise(pl.lit("unknown")),
    )


def _clicks(pages: pl.DataFrame) -> pl.DataFrame:
    shown = pages.select("line", "request_id", "user_id", "time", item_id="candidates", clicked="clicked")
    clicked = shown.explode("item_id", "clicked").filter(pl.col("clicked").cast(pl.Int8) == 1)
    return clicked.select(
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


def _items(news: pl.DataFrame, start: int) -> pl.DataFrame:
    return news.select(
        event_id("item", "news_id"),
        text("news_id").alias("item_id"),
        "title",
        time=pl.lit(start - HISTORY_MS),
        kind=pl.lit("content"),
        text=pl.col("abstract"),
        category=pl.concat_list("category", "subcategory"),
    )


MIND = Importer(
    name="mind",
    looks_for="impressions.parquet (impression_id, user_id, time, candidates, clicked), or behaviors.tsv",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
