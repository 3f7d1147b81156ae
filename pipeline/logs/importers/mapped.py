"""Any CSV or Parquet table of one event type, its columns mapped by options.

`--option user_id=uid --option item_id=sku --option time=ts --option action=click`: each names the column that holds
a field; a value that is no column is a constant. `type` is the event type (default feedback).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS, TYPES
from pipeline.logs.importers.base import TABLES, Importer, Options, Sources, always_exact, chunk, files, table
from pipeline.logs.moments import Moments

_LISTS = ("category", "tags")


def recognises(sources: Sources) -> bool:
    return bool(_tables(sources))


def _tables(sources: Sources) -> list[Path]:
    return [path for path in files(sources) if path.suffix in TABLES]


def chunks(sources: Sources, options: Options, moments: Moments) -> Iterator[Chunk]:
    mapping = dict(options)
    kind = mapping.pop("type", "feedback")
    if kind not in TYPES:
        raise InputError("--option type", f"one of {', '.join(TYPES)}", received=kind)
    fields = [name for name in COLUMNS[kind] if name not in ("items", "shown", "vector")]
    if unknown := [name for name in mapping if name not in fields]:
        raise InputError("--option", f"fields of `{kind}`: {', '.join(fields)}", received=unknown)
    for path in _tables(sources):
        frame = table(path)
        try:
            mapped = _map(path, frame, kind, mapping, moments)
        except PolarsError as error:
            raise InputError("--option", f"columns that fit their fields ({error})", place=str(path)) from error
        yield chunk(path, kind, mapped)


def _map(path: Path, frame: pl.DataFrame, kind: str, mapping: Mapping[str, str], moments: Moments) -> pl.DataFrame:
    wanted = {name: mapping.get(name, name) for name in COLUMNS[kind]}
    values: dict[str, pl.Expr | pl.Series] = {}
    for name, source in wanted.items():
        if source in frame.columns:
            timed = name in ("time", "received")
            values[name] = (
                moments.column(frame[source])["time"] if timed else _value(name, frame.schema[source], source)
            )
        elif name in mapping:
            values[name] = pl.lit(source)
    if "time" not in values or frame.schema.get(wanted["time"]) is None:
        raise InputError("time", "a column; name it with --option time=COLUMN", place=str(path))
    if "event_id" not in values:
        known = [n for n in ("user_id", "session_id", "item_id", "query", "action", "time") if n in values]
        parts = [values[name].cast(pl.String).fill_null("") for name in known]
        values["event_id"] = pl.concat_str(pl.lit(kind), *parts, separator=":")
    return frame.select(**values)


def _value(name: str, dtype: pl.DataType, source: str) -> pl.Expr:
    column = pl.col(source)
    if name in _LISTS and dtype == pl.String():
        return column.str.split("|")
    return column


CSV = Importer(
    name="csv",
    looks_for="files ending in .csv or .parquet",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
