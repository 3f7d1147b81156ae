"""Tables as importers read them: rows that know their line, and what of each was refused or left out on the way.

A cell is cast by the field of the log that it fills, never by what its column looks like. A value that cannot be read
costs its row where the row is nothing without it, else the field alone, which is counted as mended. Of Podium's own
events, which `chunk` takes, it costs the row, as in JSON lines.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk, raw_text, sound
from pipeline.logs.events import COLUMNS, conform
from pipeline.logs.importers.base import Sources, files
from pipeline.logs.importers.cells import READERS, Decimal, is_text
from pipeline.logs.importers.delimited import ENDINGS, PLAIN, Dialect, column_names, read_delimited
from pipeline.logs.moments import Moments
from pipeline.logs.validate import Reject

TABLES: Final = (".parquet", *ENDINGS)
OWN_LINE: Final = "line, as the file has it"  # what a file's own column `line` is called

_NEEDED: Final = ("time", "grade")  # of the fields that are no text: without them there is no event
_LIST: Final = "|"  # between the parts of a list that is written as text
_PLAIN_TEXT: Final = "a column of text (String) or whole numbers; floats and truth values are no longer as written"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file. `frame`: its columns, of text where the file is text, and `line`: where a row begins, from 1.

    rejects: rows that are not in `frame` any more. mended: reason -> fields that were left out. strict: none are.
    """

    path: Path
    frame: pl.DataFrame
    rejects: tuple[Reject, ...] = ()
    mended: Mapping[str, int] = field(default_factory=dict)
    decimal: Decimal | None = None
    strict: bool = False

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.frame.columns) - {"line"}

    def need(self, *names: str) -> None:
        """Raise InputError for a column that the table has not."""
        for name in names:
            if name not in self.columns:
                told = ", ".join(sorted(self.columns))
                raise InputError(name, f"a column of that name; there are: {told}", place=str(self.path))

    def text(self, *names: str) -> "Table":
        """With these columns, where the table has them, as text. Raises InputError where numbers were not whole."""
        known = [name for name in names if name in self.frame.columns]
        for name in known:
            column = self.frame[name]
            if not (column.dtype.is_float() and column.fill_nan(None).is_null().all()):  # how pandas writes nothing
                _refuse_floats(name, column.dtype, self.path)
        floats = pl.selectors.float() & pl.selectors.by_name(known, require_all=False)
        return self.having(self.frame.with_columns(floats.fill_nan(None)).with_columns(pl.col(known).cast(pl.String)))

    def moments(self, name: str, reader: Moments, into: str = "time") -> "Table":
        """With the column's moments (ms, UTC) as `into`; rows without one are refused."""
        read = reader.column(self.frame[name])
        return self._reading(name, read["time"].alias(into), read["reason"])

    def reading(self, name: str, dtype: pl.DataType) -> "Table":
        """With the column as numbers or truth values; rows whose cell is none, or empty, are refused."""
        reader, reason = READERS[dtype]
        values = reader(self.frame[name], self.decimal).cast(dtype, strict=False)
        bad = pl.select(pl.when(values.is_null()).then(pl.lit(reason))).to_series()
        return self._reading(name, values, bad)

    def refusing(self, name: str, reason: pl.Series) -> "Table":
        """Without the rows for which there is a reason."""
        bad = reason.is_not_null()
        if not bad.any():
            return self
        rows, why = self.frame.filter(bad), reason.filter(bad)
        raw = self.raw(rows["line"].to_list())
        lost = [
            Reject(str(self.path), line, name, text, raw_text(row))
            for line, text, row in zip(rows["line"], why, raw, strict=True)
        ]
        return replace(self, frame=self.frame.filter(~bad), rejects=(*self.rejects, *lost))

    def having(self, frame: pl.DataFrame) -> "Table":
        return replace(self, frame=frame)

    def mending(self, reason: str, count: int) -> "Table":
        """With so many more fields left out."""
        if not count:
            return self
        return replace(self, mended=dict(Counter(self.mended) + Counter({reason: count})))

    def raw(self, lines: Sequence[int]) -> list[bytes]:
        """The rows that begin on these lines, as JSON."""
        wanted = pl.DataFrame({"line": lines}, schema={"line": self.frame.schema["line"]})
        rows = wanted.join(self.frame.unique("line", keep="first"), on="line", how="left", maintain_order="left")
        return rows.drop("line").write_ndjson().encode().splitlines()

    def refused(self) -> Chunk:
        """What was refused and mended so far: the first chunk of every table."""
        return Chunk(str(self.path), {}, list(self.rejects), mended=dict(self.mended))

    def chunk(self, kind: str, frame: pl.DataFrame) -> Chunk:
        """Rows of one type made of the table's, as a checked chunk; `line` tells where each came from.

        Raises InputError for a column that as a whole is not of its field's type.
        """
        made = replace(self, frame=frame, rejects=(), mended={})
        for name, dtype in COLUMNS[kind].items():
            if name in frame.columns and frame.schema[name] != dtype:
                made = made.fitted(name, dtype)
        try:
            stored = conform(kind, made.frame)
        except PolarsError as error:
            odd = [f"{name} is {dtype}" for name, dtype in frame.schema.items() if dtype.is_nested()]
            ways = "columns of the log's types, lists and objects as in docs/data.md"
            raise InputError(kind, ways, place=str(self.path), received=", ".join(odd) or None) from error
        chunk = sound(str(self.path), {kind: stored}, list(made.rejects), self.raw, 0, mend=True)
        return replace(chunk, mended=dict(Counter(made.mended) + Counter(chunk.mended)))

    def following(self, pages: Chunk, feedback: pl.DataFrame) -> Chunk:
        """The feedback that the rows of `pages` brought with them, as a checked chunk: where a page was refused, what
        was done on it goes with it."""
        frame, lost = feedback, []
        if pages.rejects:
            reasons = [(r.line, r.page, f"its page was refused: {r.field} {r.reason}") for r in pages.rejects]
            by_line = {line: why for line, _, why in reasons}
            by_page = {page: why for _, page, why in reasons if page is not None}
            why = pl.coalesce(
                pl.col("line").replace_strict(by_line, default=None, return_dtype=pl.String),
                pl.col("request_id").replace_strict(by_page, default=None, return_dtype=pl.String),
            )
            kept = replace(self, frame=feedback, rejects=()).refusing("request_id", feedback.select(why).to_series())
            frame, lost = kept.frame, list(kept.rejects)
        chunk = self.chunk("feedback", frame)
        return replace(chunk, rejects=sorted([*lost, *chunk.rejects], key=lambda reject: reject.line))

    def _reading(self, name: str, values: pl.Series, reason: pl.Series) -> "Table":
        read = self.refusing(name, reason)
        kept = values.filter(reason.is_null()) if len(read.frame) < len(values) else values
        return read.having(read.frame.with_columns(kept))

    def fitted(self, name: str, dtype: pl.DataType) -> "Table":
        """With the column as a field's type; cells that are none are left out, or their rows refused."""
        given = self.frame.schema[name]
        if dtype in READERS:
            return self._scalar(name, dtype)
        if dtype == pl.String():
            return self.text(name)
        if dtype == pl.List(pl.String()) and given == pl.String():
            parts = (
                pl.col(name).str.split(_LIST).list.eval(pl.element().str.strip_chars().replace("", None).drop_nulls())
            )
            return self.having(self.frame.with_columns(parts))
        for inner_name, inner in _named(name, given):
            _refuse_floats(inner_name, inner, self.path)
        return self

    def _scalar(self, name: str, dtype: pl.DataType) -> "Table":
        given = self.frame[name]
        if given.dtype.is_nested():
            raise InputError(name, f"a column of {dtype}", place=str(self.path), received=str(given.dtype))
        reader, reason = READERS[dtype]
        values = reader(given, self.decimal).cast(dtype, strict=False)
        there = given.is_not_nan() & given.is_not_null() if given.dtype.is_float() else given.is_not_null()
        bad = there & values.is_null()
        if not bad.any():
            return self.having(self.frame.with_columns(values))
        if self.strict or name in _NEEDED:
            why = f"must be {dtype}" if self.strict else reason
            return self._reading(name, values, pl.select(pl.when(bad).then(pl.lit(why))).to_series())
        return self.having(self.frame.with_columns(values)).mending(f"{name}: {reason}", int(bad.sum()))


def _named(name: str, dtype: pl.DataType) -> list[tuple[str, pl.DataType]]:
    """The parts of a list's type that name things."""
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    if name in ("category", "tags"):
        return [(f"{name}[]", inner)] if isinstance(inner, pl.DataType) else []
    fields = inner.fields if isinstance(inner, pl.Struct) else []
    return [
        (f"{name}[].{each.name}", each.dtype)
        for each in fields
        if each.name in ("item_id", "query") and isinstance(each.dtype, pl.DataType)
    ]


def _refuse_floats(name: str, dtype: pl.DataType, path: Path) -> None:
    if not is_text(dtype):
        raise InputError(name, _PLAIN_TEXT, place=str(path), received=str(dtype))


def is_table(path: Path) -> bool:
    return path.name.endswith(TABLES)


def named(sources: Sources, *stems: str) -> Path | None:
    """The first file called one of `stems`, as a table."""
    wanted = {stem + ending for stem in stems for ending in TABLES}
    return next((path for path in files(sources) if path.name in wanted), None)


def columns(path: Path | None) -> frozenset[str]:
    """Column names of a table; none for no file, for any other and for one that cannot be read."""
    if path is None or not is_table(path):
        return frozenset()
    try:
        return frozenset(_names(path))
    except (InputError, PolarsError):
        return frozenset()


def _names(path: Path) -> Sequence[str]:
    return (
        pl.scan_parquet(path, glob=False).collect_schema().names() if path.suffix == ".parquet" else column_names(path)
    )


def read_table(path: Path, dialect: Dialect = PLAIN, decimal: Decimal | None = None) -> Table:
    """A whole table. Raises InputError when the file is none."""
    rejects: list[Reject] = []
    if path.suffix != ".parquet":
        frame, lines, rejects = read_delimited(path, dialect)
        if all(frame[name].null_count() for name in frame.columns):
            said = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
            frame, lines = frame.filter(said), lines.filter(said)  # a row of separators alone is a blank line
    else:
        try:
            frame = pl.read_parquet(path, glob=False)
        except (PolarsError, OSError) as error:
            raise InputError("file", "a whole Parquet file; this is cut off, or none", place=str(path)) from error
        lines = pl.int_range(1, len(frame) + 1, dtype=pl.Int64, eager=True)
    frame = frame.rename({"line": OWN_LINE}, strict=False)
    return Table(path, frame.with_columns(line=lines), tuple(rejects), decimal=decimal)


def chunk(path: Path, kind: str, frame: pl.DataFrame) -> Chunk:
    """A frame of Podium's own events as a checked chunk; `line` is the row, from 1, unless it has lines of its own."""
    numbered = frame if "line" in frame.columns else frame.with_row_index("line", offset=1)
    return Table(path, numbered.cast({"line": pl.Int64}), strict=True).chunk(kind, numbered)
