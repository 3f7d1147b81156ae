"""Alibaba's "User Behavior Data from Taobao": page views, favourites, carts, purchases.

Reads tables with named columns, or the original `UserBehavior.csv` without a header. A row that stands twice in the
source counts as one event.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, event_id, files
from pipeline.logs.importers.delimited import PLAIN, Dialect
from pipeline.logs.importers.tables import Table, columns, read_table
from pipeline.logs.moments import Moments

_NAMES = ["user_id", "item_id", "category_id", "behavior", "ts_unix_s"]
_ACTIONS = {"pv": "view", "fav": "like", "cart": "cart", "buy": "purchase"}
_ORIGINAL = "UserBehavior.csv"


def recognises(sources: Sources) -> bool:
    return bool(_tables(sources))


def _tables(sources: Sources) -> list[Path]:
    return [p for p in files(sources) if p.name == _ORIGINAL or columns(p) >= set(_NAMES)]


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    found = [_read(path, moments.knowing(unit="s")) for path in _tables(sources)]
    start = min((int(str(table.frame["time"].min())) for table in found if len(table.frame)), default=0)
    for table in found:
        yield table.refused()
        yield table.chunk("feedback", _feedback(table.frame))
        yield table.chunk("item", _items(table.frame, start))


def _read(path: Path, moments: Moments) -> Table:
    table = read_table(path, Dialect(names=_NAMES) if path.name == _ORIGINAL else PLAIN)
    return table.text("user_id", "item_id", "category_id", "behavior").moments("ts_unix_s", moments)


def _feedback(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        *("line", "time", "user_id", "item_id"),
        event_id("event", "user_id", "item_id", "behavior", "ts_unix_s"),
        action=pl.col("behavior").replace(_ACTIONS),
    )


def _items(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    known = frame.drop_nulls("item_id").unique("item_id", keep="first", maintain_order=True)
    return known.select(
        *("line", "item_id"),
        event_id("item", "item_id"),
        time=pl.lit(start),
        category=pl.concat_list("category_id").list.drop_nulls(),
    )


TAOBAO = Importer(
    name="taobao",
    looks_for=f"tables with {', '.join(_NAMES)}, or {_ORIGINAL}",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
