"""Sequences of item ids in time order (`interactions`: user_id, pos, item_id), as SASRec's and S3-Rec's data sets."""

from collections.abc import Iterator

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import (
    Importer,
    Options,
    Sources,
    always_order,
    chunk,
    columns,
    event_id,
    named,
    table,
    text,
)
from pipeline.logs.moments import Moments


def recognises(sources: Sources) -> bool:
    return columns(named(sources, "interactions")) >= {"user_id", "pos", "item_id"}


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    path = named(sources, "interactions")
    assert path is not None
    taken = table(path).select(
        event_id("click", "user_id", "pos"),
        text("user_id"),
        text("item_id"),
        time=pl.col("pos").cast(pl.Int64),
        action=pl.lit("click"),
    )
    yield chunk(path, "feedback", taken)
    if attributes := named(sources, "item_attributes"):
        items = table(attributes).select(
            event_id("item", "item_id"),
            text("item_id"),
            time=pl.lit(0),
            tags=pl.col("attribute_ids").cast(pl.List(pl.String)),
        )
        yield chunk(attributes, "item", items)


SEQUENCES = Importer(
    name="sequences",
    looks_for="interactions.parquet or .csv with user_id, pos, item_id",
    recognises=recognises,
    clock=always_order,
    chunks=chunks,
)
