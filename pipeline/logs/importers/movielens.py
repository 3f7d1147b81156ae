"""MovieLens: `ratings` with times (latest, 25M, ...) or `interactions` in order only (1M as sequences).

Each rating or interaction becomes a `click`: that somebody chose to rate is the implicit signal the field evaluates
on. Files may be Parquet or CSV; movies, users and tags may lack. A tag gives the movie a later `item` row, so that
no tag is known before it was given.
"""

from collections.abc import Iterator

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import (
    Importer,
    Options,
    Sources,
    chunk,
    columns,
    event_id,
    named,
    objects,
    table,
    text,
)
from pipeline.logs.moments import Moments

_RATINGS = {"userId", "movieId", "timestamp"}
_SEQUENCES = {"user_id", "pos", "movie_id"}
_TEXTS = ("certificate", "released", "director", "writers", "actors")


def recognises(sources: Sources) -> bool:
    return _timed(sources) or columns(named(sources, "interactions")) >= _SEQUENCES


def clock(sources: Sources) -> str:
    return "exact" if _timed(sources) else "order"


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    if _timed(sources):
        yield from _from_ratings(sources)
    else:
        yield from _from_sequences(sources)


def _timed(sources: Sources) -> bool:
    return columns(named(sources, "ratings")) >= _RATINGS


def _from_ratings(sources: Sources) -> Iterator[Chunk]:
    path = named(sources, "ratings")
    assert path is not None
    ratings = table(path).with_columns(time=pl.col("timestamp").cast(pl.Int64) * 1000)
    yield chunk(path, "feedback", _clicks(ratings, "userId", "movieId", "rating"))
    start = int(str(ratings["time"].min() or 0))
    if movies := named(sources, "movies"):
        frame = table(movies).rename({"movieId": "movie_id"})
        items = _items(frame, start)
        yield chunk(movies, "item", items)
        if tags := named(sources, "tags"):
            yield chunk(tags, "item", _tagged(items, table(tags)))


def _from_sequences(sources: Sources) -> Iterator[Chunk]:
    path = named(sources, "interactions")
    assert path is not None
    taken = table(path).with_columns(time=pl.col("pos").cast(pl.Int64))
    yield chunk(path, "feedback", _clicks(taken, "user_id", "movie_id", "click"))
    if movies := named(sources, "movies"):
        yield chunk(movies, "item", _items(table(movies), 0))
    if users := named(sources, "users"):
        yield chunk(users, "user", _users(table(users)))


def _clicks(frame: pl.DataFrame, user: str, item: str, prefix: str) -> pl.DataFrame:
    return frame.select(
        event_id(prefix, user, item),
        "time",
        text(user).alias("user_id"),
        text(item).alias("item_id"),
        action=pl.lit("click"),
    )


def _items(movies: pl.DataFrame, time: int) -> pl.DataFrame:
    """Genres are tags, the first is the category; the year in the title's brackets is an attribute."""
    genres = pl.col("genres").str.split("|").list.filter(pl.element() != "(no genres listed)")
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64)
    facts = movies.with_columns(year=year, genres=genres)
    known = [name for name in _TEXTS if name in movies.columns]
    return facts.select(
        event_id("item", "movie_id"),
        text("movie_id").alias("item_id"),
        "title",
        objects("year", *known),
        time=pl.lit(time),
        kind=pl.lit("content"),
        text=pl.col("plot") if "plot" in movies.columns else pl.lit(None),
        category=pl.col("genres").list.head(1),
        tags=pl.col("genres"),
    )


def _users(users: pl.DataFrame) -> pl.DataFrame:
    known = [name for name in ("gender", "age", "occupation", "zip_code") if name in users.columns]
    return users.select(event_id("user", "user_id"), text("user_id"), objects(*known), time=pl.lit(0))


def _tagged(items: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """One row each time a movie gets a tag it did not have, with genres and all its tags so far."""
    first = (
        tags.select(
            item_id=text("movieId"),
            tag=pl.col("tag").cast(pl.String).str.strip_chars().str.to_lowercase(),
            time=pl.col("timestamp").cast(pl.Int64) * 1000,
        )
        .drop_nulls()
        .sort("time", "item_id", "tag")
        .unique(["item_id", "tag"], keep="first", maintain_order=True)
        .with_row_index("line", offset=1)
    )
    so_far: dict[str, list[str]] = {}
    lists = []
    for item, tag in first.select("item_id", "tag").rows():
        so_far[item] = [*so_far.get(item, []), tag]
        lists.append(so_far[item])
    given = first.with_columns(given=pl.Series(lists, dtype=pl.List(pl.String)))
    base = items.drop("event_id", "time")
    return given.join(base, on="item_id", maintain_order="left").select(
        pl.col("line"),
        event_id("tag", "item_id", "time", "line"),
        "time",
        *(name for name in base.columns if name != "tags"),
        tags=pl.col("tags").list.concat("given"),
    )


MOVIELENS = Importer(
    name="movielens",
    looks_for="ratings (userId, movieId, timestamp) or interactions (user_id, pos, movie_id), as .parquet or .csv",
    recognises=recognises,
    clock=clock,
    chunks=chunks,
)
