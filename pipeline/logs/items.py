"""What the rows of an item say together.

A whole row says everything anew: what it does not name is not there. A partial row changes what it names and keeps the
rest; `attributes` are merged by name (RFC 7396), and null takes a field away. A row that removes ends the item, until
the next whole row. Rows count in order of (time, event_id), so it is of no matter how they were delivered: the latest
row that names a field decides it.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import polars as pl

from pipeline.logs.events import COLUMNS, DEFAULTS

_APART: Final = ("event_id", "time", "received", "item_id", "partial", "removed", "cleared")
NAMED: Final = tuple(name for name in COLUMNS["item"] if name not in _APART)  # what a row may say of an item
FOLDED: Final = tuple(name for name in COLUMNS["item"] if name not in ("received", "partial", "cleared"))
_PLAIN: Final = tuple(name for name in NAMED if name != "attributes")
_WHOLE: Final = ~pl.col("partial")


def standing(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of items that count, in order of time: the latest whole one of each, and of later partial ones the
    last, and those that name what none after them does."""
    rows = rows.sort("time", "event_id")
    if not rows["partial"].any():
        return rows.unique("item_id", keep="last", maintain_order=True)
    rows = rows.with_row_index("_place")
    base = pl.when(_WHOLE).then("_place").max().over("item_id").fill_null(0)
    rows = rows.filter(pl.col("_place") >= base)
    decides = pl.any_horizontal(_last(_names(name)) for name in _PLAIN)
    latest = pl.col("_place") == pl.col("_place").max().over("item_id")
    counts = _WHOLE | latest | decides | pl.col("_place").is_in(_merged_in(rows).implode())
    return rows.filter(counts).drop("_place")


def folded(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an item, of FOLDED columns, with the time and the event_id of the last row that counts."""
    rows = standing(rows)
    if rows["partial"].any():
        fields = [pl.col(name).filter(_names(name)).last() for name in _PLAIN]
        last = [pl.col("event_id", "time").last(), pl.col("removed").filter(_WHOLE).last().fill_null(value=False)]
        attributes = _attributes(rows)
        rows = rows.group_by("item_id", maintain_order=True).agg(*last, *fields)
        rows = rows.join(attributes, on="item_id", how="left", maintain_order="left")
    usual = [pl.lit(DEFAULTS["item"].get(name), dtype=COLUMNS["item"][name]) for name in NAMED]
    said = [
        pl.coalesce(pl.when(~pl.col("removed")).then(name), other) for name, other in zip(NAMED, usual, strict=True)
    ]
    return rows.with_columns(each.alias(name) for name, each in zip(NAMED, said, strict=True)).select(FOLDED)


def _names(name: str) -> pl.Expr:
    """Whether a row says something of a field."""
    return _WHOLE | pl.col(name).is_not_null() | _clears(name)


def _clears(name: str) -> pl.Expr:
    return pl.col("cleared").list.contains(name).fill_null(value=False)


def _last(names: pl.Expr) -> pl.Expr:
    return pl.when(names).then("_place").max().over("item_id") == pl.col("_place")


def _merged_in(rows: pl.DataFrame) -> pl.Series:
    """Places of the partial rows that change an attribute no later row changes."""
    patches = rows.filter(~_WHOLE & ((pl.col("attributes") != "{}") | _clears("attributes")))
    found: list[int] = []
    for _, places, texts, clears in _by_item(patches, "_place"):
        later: set[str] = set()
        for place, text, clear in zip(reversed(places), reversed(texts), reversed(clears), strict=True):
            patch = msgspec.json.decode(text)
            if clear or any(name not in later or isinstance(value, dict) for name, value in patch.items()):
                found.append(place)
            if clear:
                break
            later |= patch.keys()
    return pl.Series(found, dtype=pl.UInt32)


def _attributes(rows: pl.DataFrame) -> pl.DataFrame:
    """`item_id`, `attributes`, merged."""
    merged: dict[str, str] = {}
    rows = rows.with_columns(_whole=_WHOLE)
    single = rows.filter((pl.col("attributes") != "{}") | _WHOLE | _clears("attributes"))
    for item, wholes, texts, clears in _by_item(single, "_whole"):
        if len(texts) == 1 and wholes[0]:  # as it was written
            merged[item] = texts[0] or "{}"
            continue
        value: dict[str, Any] = {}
        for whole, text, clear in zip(wholes, texts, clears, strict=True):
            change = msgspec.json.decode(text or "{}")
            value = change if whole else merge_patch({} if clear else value, change)
        merged[item] = msgspec.json.encode(value).decode()
    return pl.DataFrame({"item_id": list(merged), "attributes": list(merged.values())}, schema=_MERGED)


_MERGED: Final = {"item_id": pl.String(), "attributes": pl.String()}


def _by_item(rows: pl.DataFrame, name: str) -> Iterator[tuple[Any, ...]]:
    columns = (pl.col(name, "attributes"), _clears("attributes").alias("_clears"))
    yield from rows.group_by("item_id", maintain_order=True).agg(*columns).iter_rows()


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396, of objects: null takes a member away, an object is merged, anything else replaces."""
    merged = dict(target)
    waiting = [(merged, patch)]
    while waiting:  # no recursion: how deep the patch is, its sender says
        into, change = waiting.pop()
        for name, value in change.items():
            if value is None:
                into.pop(name, None)
            elif isinstance(value, dict):
                kept = into.get(name)
                into[name] = dict(kept) if isinstance(kept, dict) else {}
                waiting.append((into[name], value))
            else:
                into[name] = value
    return merged
