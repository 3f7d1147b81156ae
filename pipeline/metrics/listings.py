"""Runs (what a system ranked) and qrels (what was judged), read from files or data frames and checked.

A file is Parquet (`.parquet`), CSV with a header (`.csv`), or else TREC text with fields apart by blanks: a
run has `qid Q0 docno rank score tag`, where, as in trec_eval, the score orders and the rank is not read;
qrels have `qid 0 docno grade`. Text is UTF-8 and may be compressed (`.gz`). In tables the first name present
counts of those in `QUERY`, `ITEM`, `SCORE` or `GRADE`; other columns are not read.
"""

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import polars as pl

from pipeline.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Source = Union[str, Path, pl.DataFrame, "pd.DataFrame"]

QUERY = ("request_id", "query_id", "qid")
ITEM = ("item_id", "docno", "doc_id")
SCORE = ("score",)
GRADE = ("grade", "label", "relevance")
TREC_RUN = ("query_id", "Q0", "item_id", "rank", "score", "tag")
TREC_QRELS = ("query_id", "iteration", "item_id", "grade")


@dataclass(frozen=True, slots=True)
class Listing:
    """frame: query_id and item_id (strings), value (float64), row (0-based in the source).

    name and unit say how an error names a row; first is the number of row 0 (2 under a CSV header).
    """

    frame: pl.DataFrame
    name: str
    unit: str
    first: int

    def place(self, row: int) -> str:
        """How an error names a row: `run.txt, line 3`."""
        return f"{self.name}, {self.unit} {row + self.first}"

    def repeated(self, query_id: str, item_id: str) -> InputError:
        """The error for an item that stands twice under a query; names the second time."""
        same = (pl.col("query_id") == query_id) & (pl.col("item_id") == item_id)
        row = self.frame.filter(same)["row"].sort()[1]
        return InputError(
            "item", "each item once a query; remove one", place=self.place(row), received=(query_id, item_id)
        )


def read_run(source: Source) -> Listing:
    """Read a run: value is the score. Raises InputError naming file and line for anything that is not one."""
    run = _read(source, "run", TREC_RUN, SCORE)
    _refuse(run, pl.col("value").is_nan(), "score", "a number, not nan", "value")
    return run


def read_qrels(source: Source) -> Listing:
    """Read judgments: value is the grade. Raises InputError naming file and line for anything else."""
    qrels = _read(source, "qrels", TREC_QRELS, GRADE)
    _refuse(qrels, ~pl.col("value").is_finite(), "grade", "a finite number", "value")
    return qrels


def _read(source: Source, kind: str, trec: tuple[str, ...], value: tuple[str, ...]) -> Listing:
    if isinstance(source, str | Path):
        raw = _read_file(Path(source), trec)
    elif isinstance(source, pl.DataFrame):
        raw = Listing(source, kind, "row", 0)
    else:
        raw = Listing(pl.from_pandas(source, nan_to_null=False), kind, "row", 0)
    if raw.frame.is_empty():
        raise InputError(kind, "at least one row", place=raw.name)
    names = [_column(raw, choices) for choices in (QUERY, ITEM, value)]
    return _checked(raw, *names)


def _column(raw: Listing, choices: Sequence[str]) -> str:
    for name in choices:
        if name in raw.frame.columns:
            return name
    raise InputError(
        "columns", f"one named {' or '.join(choices)}", place=raw.name, received=", ".join(raw.frame.columns)
    )


def _checked(raw: Listing, query: str, item: str, value: str) -> Listing:
    """The three columns, renamed and typed, each row proved."""
    for name in (query, item):
        if raw.frame[name].dtype.is_float() or raw.frame[name].dtype.is_nested():
            raise InputError(name, "strings or whole numbers; nothing else names an item", place=raw.name)
    if not (raw.frame[value].dtype.is_numeric() or raw.frame[value].dtype in (pl.String, pl.Null)):
        raise InputError(value, "a column of numbers", place=raw.name, received=str(raw.frame[value].dtype))
    number = pl.col(value)
    if raw.frame[value].dtype == pl.String:
        number = number.str.strip_chars()
    frame = raw.frame.with_row_index("row").filter(~pl.all_horizontal(pl.col(query, item, value).is_null()))
    typed = frame.select(
        pl.col(query).cast(pl.String).alias("query_id"),
        pl.col(item).cast(pl.String).alias("item_id"),
        number.cast(pl.Float64, strict=False).alias("value"),
        pl.col(value).alias("received"),
        "row",
    )
    listing = Listing(typed, raw.name, raw.unit, raw.first)
    _refuse(listing, pl.col("query_id").is_null(), query, "an id in every row", "query_id")
    _refuse(listing, pl.col("item_id").is_null(), item, "an id in every row", "item_id")
    _refuse(listing, pl.col("value").is_null(), value, "a number in every row", "received")
    return Listing(typed.drop("received"), raw.name, raw.unit, raw.first)


def _refuse(listing: Listing, bad: pl.Expr, field: str, expected: str, shown: str) -> None:
    rows = listing.frame.filter(bad).head(1)
    if rows.height:
        raise InputError(field, expected, place=listing.place(rows["row"][0]), received=rows[shown][0])


def _read_file(path: Path, trec: tuple[str, ...]) -> Listing:
    if not path.is_file():
        raise InputError("file", "an existing file (Parquet, CSV or TREC text)", place=str(path))
    if path.suffix == ".parquet":
        try:
            return Listing(pl.read_parquet(path), str(path), "row", 0)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError("file", f"Parquet ({error})", place=str(path)) from error
    data = _text(path)
    if not data.strip():
        raise InputError("file", "at least one row", place=str(path))
    if Path(path.name.removesuffix(".gz")).suffix == ".csv":
        return Listing(_csv(data, path), str(path), "line", 2)
    return _trec(data, path, trec)


def _text(path: Path) -> bytes:
    """The file's bytes, proved to be UTF-8, without byte-order mark and carriage returns."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError("file", f"gzip ({error})", place=str(path)) from error
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("encoding", "UTF-8 text; convert the file", place=f"{path}, line {line}") from error
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")


def _csv(data: bytes, path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(data, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            "file", f"CSV with a header and as many fields in each row ({reason})", place=str(path)
        ) from error


def _trec(data: bytes, path: Path, columns: tuple[str, ...]) -> Listing:
    if any(odd in data for odd in (b"\t", b"  ", b" \n", b"\n ")) or data[:1] == b" " or data[-1:] == b" ":
        data = re.sub(rb"(?m)^ | $", b"", re.sub(rb"[ \t]+", b" ", data))
    lines = data.lstrip(b"\n")
    try:
        schema = dict.fromkeys(columns, pl.String())
        frame = pl.read_csv(lines, separator=" ", has_header=False, quote_char=None, schema=schema)
    except pl.exceptions.PolarsError:
        # Which line it was Polars does not say; the file is known to be wrong, so reading it slowly is fine.
        raise _odd_line(data, path, columns) from None
    if frame.filter(pl.col(columns[-1]).is_null() & pl.col(columns[0]).is_not_null()).height:
        raise _odd_line(data, path, columns)
    return Listing(frame, str(path), "line", 1 + len(data) - len(lines))


def _odd_line(data: bytes, path: Path, columns: tuple[str, ...]) -> InputError:
    """The error for the first line which has too few or too many fields."""
    for number, line in enumerate(data.decode("utf-8").split("\n"), start=1):
        if line and len(line.split(" ")) != len(columns):
            return InputError(
                "line", f"{len(columns)} fields: {' '.join(columns)}", place=f"{path}, line {number}", received=line
            )
    return InputError("file", f"lines of {len(columns)} fields: {' '.join(columns)}", place=str(path))
