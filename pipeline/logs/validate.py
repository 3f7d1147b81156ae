"""What an event must be beyond its columns' types: one table of checks a type, run on whole frames.

Importers and the wire share these, so a row is refused for the same reason wherever it came from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec
import polars as pl

from pipeline.logs.events import CONTROL, MAX_ID, NO_CONTROL, SHOWN, SUGGESTED
from pipeline.logs.items import NAMED
from pipeline.logs.wire import MAX_TIME

Check = tuple[str, pl.Expr, str]  # field, true where the row is bad, reason

TWICE: Final = "must not show an item twice on one page"

_OBJECTS = {"item": ("attributes",), "user": ("attributes",), "impression": ("filters", "context")}


@dataclass(frozen=True, slots=True)
class Reject:
    """One refused event. `line` counts from 1 in its source; `raw` is what stood there; page: the request of a page, as
    far as it says one, which feedback may name."""

    place: str
    line: int
    field: str
    reason: str
    raw: str
    page: str | None = None


def problems(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Per row the first `field` and `reason` that refuses it, both null where the row is sound. Shape [N, 2]."""
    first, names = _judge(kind)
    codes = frame.select(code=first).to_series()
    if codes.null_count() == len(codes):
        nothing = pl.Series("field", [None] * len(codes), dtype=pl.String)
        return pl.DataFrame([nothing, nothing.alias("reason")])
    return codes.to_frame().join(names, on="code", how="left", maintain_order="left").select("field", "reason")


@cache  # of a post of one event, making the expression again would be half of the work
def _judge(kind: str) -> tuple[pl.Expr, pl.DataFrame]:
    """Per row the number of the first check that refuses it, and what the numbers say."""
    checks = list(_checks(kind))
    first = pl.coalesce(
        *(pl.when(bad).then(pl.lit(i, dtype=pl.Int32)) for i, (_, bad, _) in enumerate(checks)),
        pl.lit(None, dtype=pl.Int32),
    )
    names = pl.DataFrame(
        {"code": range(len(checks)), "field": [c[0] for c in checks], "reason": [c[2] for c in checks]},
        schema={"code": pl.Int32(), **_PROBLEM},
    )
    return first, names


_PROBLEM: dict[str, pl.DataType] = {"field": pl.String(), "reason": pl.String()}


def _checks(kind: str) -> Iterator[Check]:
    yield from _identifier("event_id", required=True)
    for name in ("time", "received"):
        bad = pl.col(name).is_null() | (pl.col(name) < 0) | (pl.col(name) >= MAX_TIME)
        yield name, bad, "must be a time from 1970 up to 2100, in milliseconds or RFC 3339"
    for name in _OBJECTS.get(kind, ()):
        yield name, ~is_object(name), "must be a JSON object"
    yield from _OF_KIND[kind]()


def _item() -> Iterator[Check]:
    yield from _identifier("item_id", required=True)
    yield from _identifier("kind")
    yield "kind", pl.col("kind").is_null() & ~pl.col("partial"), "is required"
    yield "removed", pl.col("removed") & pl.col("partial"), "must not be partial"
    known = pl.col("cleared").list.eval(pl.element().is_in(NAMED)).list.all()
    yield "cleared", ~known, "must name fields of an item"
    yield from _finite("price")
    yield "price", pl.col("price") < 0, "must not be negative"
    vector = pl.col("vector").list.eval(~pl.element().is_finite() | pl.element().is_null()).list.any()
    yield "vector", vector, "must hold finite numbers only"
    for name in ("category", "tags"):
        yield name, pl.col(name).list.eval(pl.element().is_null()).list.any(), "must hold strings, not null"


def _user() -> Iterator[Check]:
    yield from _identifier("user_id", required=True)


def _impression() -> Iterator[Check]:
    yield from _identifier("request_id", required=True)
    yield from _identifier("surface", required=True)
    yield from _subject()
    yield "order", ~pl.col("order").is_in(["shown", "unknown"]), "must be `shown` or `unknown`"
    yield "outcomes", ~pl.col("outcomes").is_in(["known", "unknown"]), "must be `known` or `unknown`"
    yield "page", pl.col("page") < 0, "must not be negative"
    yield "items", pl.col("items").is_null() | (pl.col("items").list.len() == 0), "must not be empty"
    yield from _shown()


def _shown() -> Iterator[Check]:
    cell = {name: pl.element().struct.field(name) for name in SHOWN}
    length = cell["item_id"].str.len_chars()
    bad_id = cell["item_id"].is_null() | ~length.is_between(1, MAX_ID)
    yield "items[].item_id", _any("items", bad_id), f"must have 1 to {MAX_ID} characters"
    yield "items[].item_id", _any("items", cell["item_id"].str.contains(CONTROL)), NO_CONTROL
    bad_position = cell["position"].is_null() | (cell["position"] < 0)
    yield "items[].position", _any("items", bad_position), "must be 0 or more"
    yield "items[].score", _any("items", ~cell["score"].is_finite()), "must be a finite number"
    for name in ("propensity", "marginal"):
        out = ~((cell[name] > 0) & (cell[name] <= 1))
        yield f"items[].{name}", _any("items", out), "must be above 0 and at most 1"
    ids = pl.col("items").list.eval(cell["item_id"])
    yield "items", ids.list.n_unique() != ids.list.len(), TWICE


def _feedback() -> Iterator[Check]:
    yield from _subject()
    yield from _identifier("item_id", required=True)
    yield from _identifier("action", required=True)
    yield from _identifier("request_id")
    yield "quantity", pl.col("quantity") < 1, "must be 1 or more"
    yield "dwell_ms", pl.col("dwell_ms") < 0, "must not be negative"


def _suggest() -> Iterator[Check]:
    yield from _identifier("request_id", required=True)
    yield from _identifier("placement", required=True)
    for name in ("item_id", "user_id", "session_id"):
        yield from _identifier(name)
    yield "shown", pl.col("shown").is_null(), "is required (an empty list when nothing was shown)"
    cell = {name: pl.element().struct.field(name) for name in SUGGESTED}
    bad = cell["query"].is_null() | cell["position"].is_null() | (cell["position"] < 0)
    yield "shown[]", _any("shown", bad), "must have a query and a position of 0 or more"


def _judgment() -> Iterator[Check]:
    missing = pl.col("query").is_null() | (pl.col("query") == "")
    yield "query", missing, "is required"
    yield from _identifier("item_id", required=True)
    yield "grade", pl.col("grade").is_null() | ~pl.col("grade").is_finite(), "must be a finite number"


def _identifier(name: str, *, required: bool = False) -> Iterator[Check]:
    out = ~pl.col(name).str.len_chars().is_between(1, MAX_ID)
    bad = pl.col(name).is_null() | out if required else out
    yield name, bad, f"must have 1 to {MAX_ID} characters"
    yield name, pl.col(name).str.contains(CONTROL), NO_CONTROL


def _subject() -> Iterator[Check]:
    yield from _identifier("user_id")
    yield from _identifier("session_id")
    missing = pl.col("user_id").is_null() & pl.col("session_id").is_null()
    yield "user_id", missing, "is required, or a session_id"


def _finite(name: str) -> Iterator[Check]:
    yield name, ~pl.col(name).is_finite(), "must be a finite number"


def _any(column: str, bad: pl.Expr) -> pl.Expr:
    return pl.col(column).list.eval(bad.fill_null(value=False)).list.any()


def is_object(name: str) -> pl.Expr:
    """Judged once per distinct text: logs repeat few contexts many times, and `{}` most."""
    return pl.col(name).map_batches(_objects, return_dtype=pl.Boolean())


def _objects(texts: pl.Series) -> pl.Series:
    distinct = texts.unique()
    sound = [text for text in distinct if text == "{}" or _parses(text)]
    return texts.is_in(sound).fill_null(value=False) if len(sound) < len(distinct) else texts.is_not_null()


def _parses(text: str | None) -> bool:
    try:
        return text is not None and isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


_OF_KIND = {
    "item": _item,
    "user": _user,
    "impression": _impression,
    "feedback": _feedback,
    "suggest": _suggest,
    "judgment": _judgment,
}
