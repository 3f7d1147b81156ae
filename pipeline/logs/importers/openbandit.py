"""The Open Bandit Dataset: one shown item a row, with its position, its click and the true propensity.

The source does not say which rows made one page, nor who saw them: each row is a page of one item and a session of
its own. The propensity there is P(item at this position | request), our `marginal`. Item ids are per campaign, so
the campaign (the file's name) is part of them; the logging policy is the `arm`.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, files, objects, text
from pipeline.logs.importers.tables import chunk, columns, read_table
from pipeline.logs.moments import Moments

_NEEDED = {"timestamp", "item_id", "position", "click", "propensity_score"}


def recognises(sources: Sources) -> bool:
    return bool(_campaigns(sources))


def _campaigns(sources: Sources) -> list[Path]:
    return [path for path in files(sources) if columns(path) >= _NEEDED]


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    beside = {path.stem: path for path in files(sources)}
    for path in _campaigns(sources):
        rows = _rows(path)
        yield chunk(path, "impression", _impressions(rows))
        yield chunk(path, "feedback", _clicks(rows))
        described = beside.get(f"items_{path.stem}")
        start = int(str(rows["time"].min() or 0))
        yield chunk(path, "item", _items(path.stem, rows, described, start))


def _rows(path: Path) -> pl.DataFrame:
    frame = read_table(path).frame.with_row_index("row", offset=1)
    stamp = pl.col("timestamp")
    if frame.schema["timestamp"] == pl.String():
        stamp = stamp.str.to_datetime(time_zone="UTC")
    frame = frame if "behavior_policy" in frame.columns else frame.with_columns(behavior_policy=pl.lit(None))
    request = pl.concat_str(pl.lit(path.stem), pl.col("row").cast(pl.String), separator=":")
    return frame.with_columns(
        time=stamp.cast(pl.Datetime("ms", "UTC")).cast(pl.Int64),
        request_id=request,
        item_id=pl.concat_str(pl.lit(path.stem), text("item_id"), separator=":"),
    )


def _impressions(rows: pl.DataFrame) -> pl.DataFrame:
    features = [name for name in rows.columns if name.startswith("user_feature_")]
    cell = pl.struct(
        item_id=pl.col("item_id"),
        position=pl.col("position").cast(pl.Int32) - 1,
        marginal=pl.col("propensity_score").cast(pl.Float64),
    )
    return rows.select(
        *("line", "time", "request_id"),
        (pl.col("request_id") + ":0").alias("event_id"),
        surface=pl.lit("recommend"),
        session_id=pl.col("request_id"),
        context=objects(*features) if features else pl.lit("{}"),
        items=pl.concat_list(cell),
        arm=text("behavior_policy"),
    )


def _clicks(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("click").cast(pl.Int8) == 1).select(
        *("line", "time", "request_id", "item_id"),
        event_id=pl.lit("click:") + pl.col("request_id"),
        session_id=pl.col("request_id"),
        action=pl.lit("click"),
    )


def _items(campaign: str, rows: pl.DataFrame, described: Path | None, start: int) -> pl.DataFrame:
    """Only what is the same under both policies is kept of an item: its first feature."""
    known = rows.select("item_id").unique(maintain_order=True)
    if described is not None:
        item = pl.concat_str(pl.lit(campaign), text("item_id"), separator=":").alias("item_id")
        facts = read_table(described).frame.select(item, "item_feature_0").unique("item_id", keep="first")
        known = known.join(facts, on="item_id", how="left", maintain_order="left")
    else:
        known = known.with_columns(item_feature_0=pl.lit(None, dtype=pl.Float64))
    return known.select(
        "item_id",
        objects("item_feature_0"),
        event_id=pl.lit("item:") + pl.col("item_id"),
        time=pl.lit(start),
    )


OPENBANDIT = Importer(
    name="openbandit",
    looks_for="tables with timestamp, item_id, position, click, propensity_score",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
