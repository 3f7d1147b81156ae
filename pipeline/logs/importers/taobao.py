"""Alibaba's "User Behavior Data from Taobao": page views, favourites, carts, purchases.

Reads tables with named columns, or the original `UserBehavior.csv` without a header. A row that stands twice in the
source counts as one event.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import (
    Importer,
    Options,
    Sources,
    always_exact,
    chunk,
    columns,
    event_id,
    files,
    table,
    text,
)
from pipeline.logs.moments import Moments

_NAMES = ["user_id", "item_id", "category_id", "behavior", "ts_unix_s"]
_ACTIONS = {"pv": "view", "fav": "like", "cart": "cart", "buy": "purchase"}
_ORIGINAL = "UserBehavior.csv"


def recognises(sources: Sources) -> bool:
    return bool(_tables(sources))


def _tables(sources: Sources) -> list[Path]:
    return [p for p in files(sources) if p.name == _ORIGINAL or columns(p) >= set(_NAMES)]


def chunks(sources: Sources, _: Options, __: Moments) -> Iterator[Chunk]:
    found = [(path, _read(path)) for path in _tables(sources)]
    start = min((int(str(frame["time"].min())) for _, frame in found if len(frame)), default=0)
    for path, frame in found:
        yield chunk(path, "feedback", _feedback(frame))
        yield chunk(path, "item", _items(frame, start))


def _read(path: Path) -> pl.DataFrame:
    bare = path.name == _ORIGINAL
    frame = pl.read_csv(path, has_header=False, new_columns=_NAMES) if bare else table(path)
    return frame.with_row_index("line", offset=1).with_columns(time=pl.col("ts_unix_s").cast(pl.Int64) * 1000)


def _feedback(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "line",
        "time",
        event_id("event", "user_id", "item_id", "behavior", "ts_unix_s"),
        text("user_id"),
        text("item_id"),
        action=pl.col("behavior").replace(_ACTIONS),
    )


def _items(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    return frame.unique("item_id", keep="first", maintain_order=True).select(
        "line",
        event_id("item", "item_id"),
        text("item_id"),
        time=pl.lit(start),
        category=pl.concat_list(text("category_id")),
    )


TAOBAO = Importer(
    name="taobao",
    looks_for=f"tables with {', '.join(_NAMES)}, or {_ORIGINAL}",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
