"""Sequences of item ids in time order (`interactions`: user_id, pos, item_id), as SASRec's and S3-Rec's data sets."""

from collections.abc import Iterator

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_order, event_id
from pipeline.logs.importers.tables import columns, named, read_table
from pipeline.logs.moments import Moments


def recognises(sources: Sources) -> bool:
    return columns(named(sources, "interactions")) >= {"user_id", "pos", "item_id"}


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    path = named(sources, "interactions")
    assert path is not None
    taken = read_table(path).text("user_id", "item_id").reading("pos", pl.Int64())
    yield taken.refused()
    clicks = taken.frame.select(
        *("line", "user_id", "item_id"),
        event_id("click", "user_id", "pos"),
        time="pos",
        action=pl.lit("click"),
    )
    yield taken.chunk("feedback", clicks)
    if attributes := named(sources, "item_attributes"):
        described = read_table(attributes).text("item_id")
        described.need("item_id", "attribute_ids")
        yield described.refused()
        items = described.frame.select(
            *("line", "item_id"),
            event_id("item", "item_id"),
            time=pl.lit(0),
            tags="attribute_ids",
        )
        yield described.chunk("item", items)


SEQUENCES = Importer(
    name="sequences",
    looks_for="a table called interactions with user_id, pos, item_id",
    recognises=recognises,
    clock=always_order,
    chunks=chunks,
)
