"""Delimited text: every cell is text, and every row knows the line on which it begins.

The separator (`,`, `;`, tab or `|`) is the one that cuts the header into most names; `sep=;` above it, as Excel writes,
or `--option separator=;` settles it. A row that is wrong is refused by itself.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.importers.encoded import utf8_text
from pipeline.logs.importers.rows import SOUND, Rows, cut
from pipeline.logs.validate import Reject

ENDINGS: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SEPARATORS: Final = (",", ";", "\t", "|")

_HEADER_BYTES: Final = 2**18
_TOLD: Final = re.compile(rb"sep=(.)\r?\n")  # Excel's first line


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is known of a file ahead of reading. None: its beginning tells."""

    separator: str | None = None
    encoding: str | None = None
    names: Sequence[str] | None = None  # of the columns of a file without a header
    quoted: bool = True


PLAIN: Final = Dialect()


@dataclass(frozen=True, slots=True)
class _Header:
    """Names of the columns; the rows begin at byte `end`."""

    names: tuple[str, ...]
    separator: str
    end: int


def column_names(path: Path, dialect: Dialect = PLAIN) -> tuple[str, ...]:
    """The names in the header. Raises InputError for what is no delimited text."""
    return _header(utf8_text(path, dialect.encoding, _HEADER_BYTES), path, dialect).names


def read_delimited(path: Path, dialect: Dialect = PLAIN) -> tuple[pl.DataFrame, pl.Series, list[Reject]]:
    """The sound rows as text, null where a cell is empty; the line on which each begins; and the rows refused.

    Raises InputError for what is no delimited text.
    """
    data = utf8_text(path, dialect.encoding)
    header = _header(data, path, dialect)
    width = len(header.names)
    rows = cut(data, header.end, header.separator.encode(), width, quoted=dialect.quoted)
    frame = _parsed(rows, header, path, quoted=dialect.quoted)
    lines = pl.Series(rows.line, dtype=pl.Int64).filter(pl.Series(rows.fault == SOUND))
    if len(lines) != len(frame):
        raise InputError("file", f"{len(lines)} rows, as its line ends tell", place=str(path), received=len(frame))
    return frame, lines, rows.rejects(str(path), width)


def _parsed(rows: Rows, header: _Header, path: Path, *, quoted: bool) -> pl.DataFrame:
    text = rows.data[header.end :] if rows.regular else rows.sound_text()
    schema: dict[str, pl.DataType] = dict.fromkeys(header.names, pl.String())
    if not text.strip(b"\r\n"):
        return pl.DataFrame(schema=schema)
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            schema=schema,
            separator=header.separator,
            quote_char='"' if quoted else None,
        )
    except PolarsError as error:
        raise InputError("file", f"rows of {len(schema)} cells, as its header says", place=str(path)) from error
    return frame.with_columns(pl.all().replace("", None)) if quoted and b'""' in text else frame


def _header(data: bytes, path: Path, dialect: Dialect) -> _Header:
    separator = dialect.separator
    if dialect.names is not None:
        return _Header(tuple(dialect.names), separator or ",", 0)
    start = 0
    if told := _TOLD.match(data):
        start, separator = told.end(), separator or told[1].decode("latin-1")
    while data[start : start + 1] in (b"\n", b"\r"):
        start += 1
    if not data[start:].strip():
        raise InputError("file", "a line of column names, and rows; it is empty", place=str(path))
    line = data.count(b"\n", 0, start) + 1
    end = _end_of_names(data, start)
    try:
        text = data[start:end].decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        fix = "column names in UTF-8; name another encoding with --option encoding=..."
        raise InputError("encoding", fix, place=f"{path}, line {line}") from error
    if separator is None:
        separator = max(SEPARATORS, key=lambda each: len(_names(text, each)))  # of equals the first
    names = _names(text, separator)
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise InputError("columns", "each name once", place=f"{path}, line {line}", received=", ".join(double))
    return _Header(names, separator, end)


def _names(text: str, separator: str) -> tuple[str, ...]:
    cells = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    return tuple(name.strip() or f"column {place}" for place, name in enumerate(cells, start=1))


def _end_of_names(data: bytes, start: int) -> int:
    """Where the header ends: with the first line end outside quotes; where they never end, with the first."""
    first = end = data.find(b"\n", start) + 1 or len(data)
    while data.count(b'"', start, end) % 2 and end < len(data):
        end = data.find(b"\n", end) + 1 or len(data)
    return first if data.count(b'"', start, end) % 2 else end
