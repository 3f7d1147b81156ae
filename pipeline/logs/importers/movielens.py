"""MovieLens: `ratings` with times (latest, 25M, ...) or `interactions` in order only (1M as sequences).

Each rating or interaction becomes a `click`: that somebody chose to rate is the implicit signal the field evaluates
on. Files may be Parquet or CSV; movies, users and tags may lack. A tag gives the movie a later `item` row, so that
no tag is known before it was given.
"""

from collections.abc import Iterator

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, event_id, objects
from pipeline.logs.importers.tables import Table, columns, named, read_table
from pipeline.logs.moments import Moments

_RATINGS = {"userId", "movieId", "timestamp"}
_SEQUENCES = {"user_id", "pos", "movie_id"}
_NUMBERS = {"age", "occupation"}
_TEXTS = ("certificate", "released", "director", "writers", "actors")


def recognises(sources: Sources) -> bool:
    return _timed(sources) or columns(named(sources, "interactions")) >= _SEQUENCES


def clock(sources: Sources) -> str:
    return "exact" if _timed(sources) else "order"


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    if _timed(sources):
        yield from _from_ratings(sources, moments.knowing(unit="s"))
    else:
        yield from _from_sequences(sources)


def _timed(sources: Sources) -> bool:
    return columns(named(sources, "ratings")) >= _RATINGS


def _from_ratings(sources: Sources, moments: Moments) -> Iterator[Chunk]:
    path = named(sources, "ratings")
    assert path is not None
    ratings = read_table(path).text("userId", "movieId").moments("timestamp", moments)
    yield ratings.refused()
    yield ratings.chunk("feedback", _rated(ratings.frame))
    start = int(str(ratings.frame["time"].min() or 0))
    if movies := named(sources, "movies"):
        described = _movies(read_table(movies), "movieId")
        items = _items(described.frame, start)
        yield described.refused()
        yield described.chunk("item", items)
        if path := named(sources, "tags"):
            tags = read_table(path)
            tags.need("movieId", "tag", "timestamp")
            tags = tags.text("movieId", "tag").moments("timestamp", moments)
            yield tags.refused()
            yield tags.chunk("item", _tagged(items, tags.frame))


def _from_sequences(sources: Sources) -> Iterator[Chunk]:
    path = named(sources, "interactions")
    assert path is not None
    taken = read_table(path).text("user_id", "movie_id").reading("pos", pl.Int64())
    yield taken.refused()
    yield taken.chunk("feedback", _clicks(taken.frame.with_columns(time="pos"), "user_id", "movie_id", "click"))
    if movies := named(sources, "movies"):
        described = _movies(read_table(movies), "movie_id")
        yield described.refused()
        yield described.chunk("item", _items(described.frame, 0))
    if users := named(sources, "users"):
        people = read_table(users).text("user_id")
        people.need("user_id")
        for name in _NUMBERS & people.columns:
            people = people.fitted(name, pl.Int64())
        yield people.refused()
        yield people.chunk("user", _users(people.frame))


def _rated(ratings: pl.DataFrame) -> pl.DataFrame:
    """A click a rating. Somebody who rates a movie again clicks again: later ratings have their time in their id."""
    clicks = _clicks(ratings, "userId", "movieId", "rating")
    again = clicks["event_id"].is_duplicated()
    if not again.any():
        return clicks
    later = pl.col("time") > pl.col("time").min().over("event_id")
    timed = pl.concat_str("event_id", pl.col("time").cast(pl.String), separator=":")
    return clicks.with_columns(event_id=pl.when(later).then(timed).otherwise("event_id"))


def _clicks(frame: pl.DataFrame, user: str, item: str, prefix: str) -> pl.DataFrame:
    return frame.select(
        event_id(prefix, user, item),
        *("line", "time"),
        pl.col(user).alias("user_id"),
        pl.col(item).alias("item_id"),
        action=pl.lit("click"),
    )


def _movies(table: Table, name: str) -> Table:
    """Columns movie_id, title and genres as text, null where the table has not the latter two."""
    table.need(name)
    table = table.having(table.frame.rename({name: "movie_id"}))
    lacking = [pl.lit(None, dtype=pl.String).alias(n) for n in ("title", "genres") if n not in table.columns]
    return table.having(table.frame.with_columns(lacking)).text("movie_id", "title", "genres", "plot")


def _items(movies: pl.DataFrame, time: int) -> pl.DataFrame:
    """Genres are tags, the first is the category; the year in the title's brackets is an attribute."""
    genres = pl.col("genres").str.split("|").list.filter(pl.element() != "(no genres listed)")
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64)
    facts = movies.with_columns(year=year, genres=genres)
    known = [name for name in _TEXTS if name in movies.columns]
    return facts.select(
        "line",
        event_id("item", "movie_id"),
        pl.col("movie_id").alias("item_id"),
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
    return users.select(*("line", "user_id"), event_id("user", "user_id"), objects(*known), time=pl.lit(0))


def _tagged(items: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """One row each time a movie gets a tag it did not have, with genres and all its tags so far."""
    first = (
        tags.select(*("line", "time"), item_id="movieId", tag=pl.col("tag").str.strip_chars().str.to_lowercase())
        .drop_nulls()
        .sort("time", "item_id", "tag")
        .unique(["item_id", "tag"], keep="first", maintain_order=True)
        .with_row_index("number", offset=1)
    )
    so_far: dict[str, list[str]] = {}
    lists = []
    for item, tag in first.select("item_id", "tag").rows():
        so_far[item] = [*so_far.get(item, []), tag]
        lists.append(so_far[item])
    given = first.with_columns(given=pl.Series(lists, dtype=pl.List(pl.String)))
    base = items.drop("event_id", "time", "line")
    return given.join(base, on="item_id", maintain_order="left").select(
        *("line", "time"),
        event_id("tag", "item_id", "time", "number"),
        *(name for name in base.columns if name != "tags"),
        tags=pl.col("tags").list.concat("given"),
    )


MOVIELENS = Importer(
    name="movielens",
    looks_for="ratings (userId, movieId, timestamp) or interactions (user_id, pos, movie_id), as tables",
    recognises=recognises,
    clock=clock,
    chunks=chunks,
)
