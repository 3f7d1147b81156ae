"""The log's event schema, spelled once: columns and types of each event as it is stored.

Wire and importer rows differ in two ways from what is stored: `time` may be RFC 3339 on the wire, and the
free-form objects (`attributes`, `filters`, `context`) are stored as JSON text, so that one user's keys never
change a table's type.
"""

from typing import Final

import polars as pl

SCHEMA: Final = 1
MAX_ID: Final = 128
CONTROL: Final = r"[\x00-\x1f\x7f]"  # no id holds one: PostgreSQL keeps no U+0000, and U+001F marks who came back
NO_CONTROL: Final = "must not hold control characters (U+0000 to U+001F, U+007F)"

_EVENT: Final[dict[str, pl.DataType]] = {"event_id": pl.String(), "time": pl.Int64(), "received": pl.Int64()}
_SUBJECT: Final[dict[str, pl.DataType]] = {"user_id": pl.String(), "session_id": pl.String()}

SHOWN: Final[dict[str, pl.DataType]] = {
    "item_id": pl.String(),
    "position": pl.Int32(),
    "score": pl.Float64(),
    "propensity": pl.Float64(),
    "marginal": pl.Float64(),
    "channel": pl.String(),
}
SUGGESTED: Final[dict[str, pl.DataType]] = {"query": pl.String(), "position": pl.Int32()}

# type -> column -> polars type; the order is the order on disk.
COLUMNS: Final[dict[str, dict[str, pl.DataType]]] = {
    "item": _EVENT
    | {
        "item_id": pl.String(),
        "kind": pl.String(),
        "sponsored": pl.Boolean(),
        "title": pl.String(),
        "text": pl.String(),
        "category": pl.List(pl.String()),
        "brand": pl.String(),
        "price": pl.Float64(),
        "currency": pl.String(),
        "region": pl.String(),
        "tags": pl.List(pl.String()),
        "attributes": pl.String(),
        "available": pl.Boolean(),
        "vector": pl.List(pl.Float32()),
        "partial": pl.Boolean(),
        "removed": pl.Boolean(),
        "cleared": pl.List(pl.String()),
    },
    "user": _EVENT | {"user_id": pl.String(), "attributes": pl.String()},
    "impression": _EVENT
    | {"request_id": pl.String(), "surface": pl.String()}
    | _SUBJECT
    | {
        "query": pl.String(),
        "filters": pl.String(),
        "context": pl.String(),
        "items": pl.List(pl.Struct(SHOWN)),
        "order": pl.String(),
        "outcomes": pl.String(),
        "page": pl.Int32(),
        "bundle": pl.String(),
        "arm": pl.String(),
        "explored": pl.Boolean(),
        "tick": pl.Int64(),
    },
    "feedback": _EVENT
    | _SUBJECT
    | {
        "item_id": pl.String(),
        "action": pl.String(),
        "request_id": pl.String(),
        "value": pl.Int64(),
        "quantity": pl.Int64(),
        "dwell_ms": pl.Int64(),
        "query": pl.String(),
    },
    "suggest": _EVENT
    | {"request_id": pl.String(), "placement": pl.String(), "prefix": pl.String(), "query": pl.String()}
    | {"item_id": pl.String()}
    | _SUBJECT
    | {"shown": pl.List(pl.Struct(SUGGESTED)), "chosen": pl.String()},
    "judgment": _EVENT | {"query": pl.String(), "item_id": pl.String(), "grade": pl.Float64()},
}
TYPES: Final = tuple(COLUMNS)
HAPPENED: Final = ("impression", "feedback", "suggest")  # what people were shown and did
KNOWN: Final = ("item", "user", "judgment")  # what holds, since whenever

# What an absent field means. Anything not named here stays null, and in a partial row also what is in KEPT.
DEFAULTS: Final[dict[str, dict[str, object]]] = {
    "item": {"kind": "product", "sponsored": False, "available": True, "attributes": "{}"}
    | {"partial": False, "removed": False},
    "user": {"attributes": "{}"},
    "impression": {
        "filters": "{}",
        "context": "{}",
        "order": "shown",
        "outcomes": "known",
        "page": 0,
        "explored": False,
    },
    "feedback": {"quantity": 1},
    "suggest": {},
    "judgment": {},
}
KEPT: Final = ("kind", "sponsored", "available")


def subject() -> pl.Expr:
    """Who acted: `user_id`, else `s:` and the session."""
    return pl.coalesce(pl.col("user_id"), pl.lit("s:") + pl.col("session_id")).alias("subject")


def empty(kind: str) -> pl.DataFrame:
    """A frame of the type's columns without rows."""
    return pl.DataFrame(schema=COLUMNS[kind])


def conform(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the stored columns of its type, in order; what is absent takes its default.

    Surplus columns fall away, except `line` (the row's place in its source), which is kept at the end.
    Raises polars' InvalidOperationError when a value does not fit its column.
    """
    frame = frame if "received" in frame.columns else frame.with_columns(received=pl.col("time"))
    columns = [_column(frame, kind, name, dtype) for name, dtype in COLUMNS[kind].items()]
    rest = [pl.col("line").cast(pl.Int64)] if "line" in frame.columns else []
    return whole(kind, frame.select(*columns, *rest))


def whole(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """What rows of items leave out takes its default, unless they are partial."""
    if kind != "item":
        return frame
    said = pl.col("partial")
    return frame.with_columns(
        pl.when(said | pl.col(name).is_not_null()).then(name).otherwise(pl.lit(DEFAULTS[kind][name])).alias(name)
        for name in KEPT
    )


def _column(frame: pl.DataFrame, kind: str, name: str, dtype: pl.DataType) -> pl.Expr:
    default = None if kind == "item" and name in KEPT else DEFAULTS[kind].get(name)
    if name not in frame.columns:
        return pl.lit(default, dtype=dtype).alias(name)
    column = pl.col(name)
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        column = column.list.eval(_struct(frame.schema[name], dtype.inner))
    column = column.cast(dtype)
    if name == "received":
        return column.fill_null(pl.col("time"))
    return column if default is None else column.fill_null(pl.lit(default, dtype=dtype))


def _struct(given: pl.DataType, wanted: pl.Struct) -> pl.Expr:
    """A list's struct element with the wanted fields; fields the source lacks are null."""
    inner = given.inner if isinstance(given, pl.List) else None
    present = {field.name for field in inner.fields} if isinstance(inner, pl.Struct) else set()
    return pl.struct(
        (pl.element().struct.field(f.name) if f.name in present else pl.lit(None)).cast(f.dtype).alias(f.name)
        for f in wanted.fields
    )
