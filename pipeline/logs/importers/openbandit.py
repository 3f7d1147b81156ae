"""The Open Bandit Dataset: one shown item a row, with its position, its click and the true propensity.

The source does not say which rows made one page, nor who saw them: each row is a page of one item and a session of
its own. The propensity there is P(item at this position | request), our `marginal`. Item ids are per campaign, so
the campaign (the file's name) is part of them; the logging policy is the `arm`. The publisher counts positions from 1;
a file that has a position 0 counts from 0. A row without a click or its absence is a page of unknown outcomes.
"""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, files, objects
from pipeline.logs.importers.positions import counted_from_zero, counting
from pipeline.logs.importers.shown import probable
from pipeline.logs.importers.tables import Table, columns, read_table
from pipeline.logs.moments import Moments

_NEEDED: Final = {"timestamp", "item_id", "position", "click", "propensity_score"}


def recognises(sources: Sources) -> bool:
    return bool(_campaigns(sources))


def _campaigns(sources: Sources) -> list[Path]:
    return [path for path in files(sources) if columns(path) >= _NEEDED]


def chunks(sources: Sources, options: Options, moments: Moments) -> Iterator[Chunk]:
    beside = {path.name.partition(".")[0]: path for path in files(sources)}
    for path in _campaigns(sources):
        campaign = path.name.partition(".")[0]
        table = _rows(path, campaign, moments.knowing(zone=UTC), counting(options))
        yield table.refused()
        pages = table.chunk("impression", _impressions(table.frame))
        yield pages
        yield table.following(pages, _clicks(table.frame))
        yield from _items(campaign, table, beside.get(f"items_{campaign}"))


def _rows(path: Path, campaign: str, moments: Moments, first: int | None) -> Table:
    """With `time`, `request_id` and the campaign's `item_id`; what cannot be read of a row costs it, its click and its
    propensity where they are empty or no such thing only itself."""
    table = read_table(path).text("item_id", "behavior_policy").moments("timestamp", moments)
    table = counted_from_zero(table, first).fitted("click", pl.Boolean())
    table = probable(table.fitted("propensity_score", pl.Float64()), "propensity_score")
    frame = table.frame
    row = pl.col("line") - (path.suffix != ".parquet")  # the line above a text's rows is none of them
    request = pl.concat_str(pl.lit(campaign), row.cast(pl.String), separator=":")
    policy = pl.col("behavior_policy") if "behavior_policy" in frame.columns else pl.lit(None, dtype=pl.String)
    return table.having(
        frame.with_columns(
            behavior_policy=policy,
            request_id=request,
            item_id=pl.concat_str(pl.lit(campaign), pl.col("item_id"), separator=":"),
        )
    )


def _impressions(rows: pl.DataFrame) -> pl.DataFrame:
    features = [name for name in rows.columns if name.startswith("user_feature_")]
    cell = pl.struct(item_id="item_id", position="position", marginal="propensity_score")
    return rows.select(
        *("line", "time", "request_id"),
        (pl.col("request_id") + ":0").alias("event_id"),
        surface=pl.lit("recommend"),
        session_id=pl.col("request_id"),
        context=objects(*features) if features else pl.lit("{}"),
        items=pl.concat_list(cell),
        outcomes=pl.when(pl.col("click").is_null()).then(pl.lit("unknown")).otherwise(pl.lit("known")),
        arm=pl.col("behavior_policy"),
    )


def _clicks(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("click")).select(
        *("line", "time", "request_id", "item_id"),
        event_id=pl.lit("click:") + pl.col("request_id"),
        session_id=pl.col("request_id"),
        action=pl.lit("click"),
    )


def _items(campaign: str, table: Table, described: Path | None) -> Iterator[Chunk]:
    """Only what is the same under both policies is kept of an item: its first feature."""
    first = table.frame["time"].min()
    known = table.frame.group_by("item_id", maintain_order=True).agg(pl.col("line").first())
    if described is None:
        known = known.with_columns(item_feature_0=pl.lit(None, dtype=pl.Float64))
    else:
        told = read_table(described).text("item_id")
        told.need("item_id", "item_feature_0")
        told = told.fitted("item_feature_0", pl.Float64())
        yield told.refused()
        item = pl.concat_str(pl.lit(campaign), pl.col("item_id"), separator=":").alias("item_id")
        facts = told.frame.select(item, "item_feature_0").unique("item_id", keep="first")
        known = known.join(facts, on="item_id", how="left", maintain_order="left")
    yield table.chunk(
        "item",
        known.drop_nulls("item_id").select(
            *("line", "item_id"),
            objects("item_feature_0"),
            event_id=pl.lit("item:") + pl.col("item_id"),
            time=pl.lit(first if isinstance(first, int) else 0, dtype=pl.Int64),
        ),
    )


OPENBANDIT = Importer(
    name="openbandit",
    looks_for="tables with timestamp, item_id, position, click, propensity_score",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
