"""Runs (what a system ranked), qrels (what was judged), and both in one table: read and checked.

A source is a path (`pipeline.metrics.tables.files`) or a Polars or pandas frame. A TREC run has `qid Q0 docno rank
score tag`, where, as in trec_eval, the score orders and the rank is not read; qrels have `qid 0 docno grade`.
In tables the first name present counts of those in `QUERY`, `ITEM`, `SCORE`, `GRADE` or `GROUP`; other
columns are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Union

import polars as pl

from pipeline.errors import InputError
from pipeline.metrics.tables.files import read_table

if TYPE_CHECKING:
    import pandas as pd

Source = Union[str, Path, pl.DataFrame, "pd.DataFrame"]

QUERY: Final = ("request_id", "query_id", "qid")
ITEM: Final = ("item_id", "docno", "doc_id")
SCORE: Final = ("score",)
GRADE: Final = ("grade", "label", "relevance")
GROUP: Final = ("group",)
TREC_RUN: Final = ("query_id", "Q0", "item_id", "rank", "score", "tag")
TREC_QRELS: Final = ("query_id", "iteration", "item_id", "grade")


@dataclass(frozen=True, slots=True)
class Listing:
    """frame: query_id, item_id and what else was read of score, grade (float64) and group.

    name and unit say how an error names a row; first is the number of row 0 (2 under a CSV header); rows:
    where in the source the frame's rows stood, None when none was left out.
    """

    frame: pl.DataFrame
    name: str
    unit: str
    first: int
    rows: pl.Series | None = None

    def place(self, row: int) -> str:
        """How an error names a row of the frame: `run.txt, line 3`."""
        return f"{self.name}, {self.unit} {self.first + (row if self.rows is None else self.rows[row])}"

    def repeated(self, query_id: object, item_id: object) -> InputError:
        """The error for an item that stands twice under a query; names the second time."""
        same = (pl.col("query_id") == pl.lit(query_id)) & (pl.col("item_id") == pl.lit(item_id))
        row = self.frame.select(pl.arg_where(same)).to_series()[1]
        expected = "each item once a query; remove one"
        return InputError("item", expected, place=self.place(row), received=(query_id, item_id))


def read_run(source: Source) -> Listing:
    """Read a run. Raises InputError naming file and line for anything that is not one."""
    return _scored(_read(source, "run", TREC_RUN, {"score": SCORE}))


def read_qrels(source: Source) -> Listing:
    """Read judgments. Raises InputError naming file and line for anything else."""
    qrels = _read(source, "qrels", TREC_QRELS, {"grade": GRADE})
    _refuse(qrels, pl.col("grade").is_null(), "grade", "a number in every row", "grade")
    return qrels


def read_judged(source: Source) -> Listing:
    """Read score and grade side by side; a null score was not retrieved, a null grade not judged.

    Ids stay as they are, and item_id may be missing.
    """
    return _read(source, "judged run", (), {"score": SCORE, "grade": GRADE}, side_by_side=True)


def refuse_outside(run: Listing) -> None:
    """Raise InputError for a score that is no probability."""
    _refuse(run, ~pl.col("score").is_between(0, 1), "score", "a probability, from 0 to 1, for this metric", "score")


def _scored(run: Listing) -> Listing:
    _refuse(run, pl.col("score").is_null(), "score", "a number in every row", "score")
    return run


def _read(
    source: Source,
    kind: str,
    trec: tuple[str, ...],
    values: dict[str, tuple[str, ...]],
    *,
    side_by_side: bool = False,
) -> Listing:
    raw = _opened(source, kind, trec)
    if raw.frame.is_empty():
        raise InputError(kind, "at least one row", place=raw.name)
    names = {"query_id": _column(raw, QUERY)}
    if not side_by_side or any(name in raw.frame.columns for name in ITEM):
        names["item_id"] = _column(raw, ITEM)
    ids = len(names)
    names |= {name: _column(raw, choices) for name, choices in values.items()}
    if "score" in values and GROUP[0] in raw.frame.columns:
        names["group"] = GROUP[0]
    listing = _without_blank_rows(raw, names)
    for name in list(names)[:ids]:
        listing = _identified(listing, name, names[name], as_text=not side_by_side)
    for name in values:
        listing = _numbered(listing, name, names[name])
    return listing


def _opened(source: Source, kind: str, trec: tuple[str, ...]) -> Listing:
    if isinstance(source, str | Path):
        if not trec and Path(source).name.removesuffix(".gz").rpartition(".")[2] not in ("parquet", "csv"):
            raise InputError("qrels", "judgments of its own for TREC text", place=str(source))
        frame, unit, first = read_table(Path(source), trec)
        return Listing(frame, str(source), unit, first)
    if isinstance(source, pl.DataFrame):
        return Listing(source, kind, "row", 0)
    try:
        return Listing(pl.from_pandas(source, nan_to_null=False), kind, "row", 0)
    except Exception as error:  # what Arrow says of a column it cannot hold comes in many classes
        expected = f"a path, or a Polars or pandas frame of text and numbers ({error})"
        raise InputError(kind, expected, received=type(source).__name__) from error


def _column(raw: Listing, choices: Sequence[str]) -> str:
    for name in choices:
        if name in raw.frame.columns:
            return name
    expected = f"one named {' or '.join(choices)}"
    raise InputError("columns", expected, place=raw.name, received=", ".join(raw.frame.columns))


def _without_blank_rows(raw: Listing, names: dict[str, str]) -> Listing:
    frame = raw.frame.select(pl.col(of).alias(name) for name, of in names.items())
    if not all(frame[name].null_count() for name in names):
        return replace(raw, frame=frame)
    kept = frame.select(pl.arg_where(~pl.all_horizontal(pl.all().is_null()))).to_series()
    return replace(raw, frame=frame[kept], rows=kept)


def _identified(listing: Listing, name: str, called: str, *, as_text: bool) -> Listing:
    ids = listing.frame[name]
    if not (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        expected = "strings or whole numbers; nothing else names an item"
        raise InputError(called, expected, place=listing.name, received=str(ids.dtype))
    if ids.null_count():
        _refuse(listing, pl.col(name).is_null(), called, "an id in every row", name)
    return replace(listing, frame=listing.frame.with_columns(ids.cast(pl.String))) if as_text else listing


def _numbered(listing: Listing, name: str, called: str) -> Listing:
    """The column as float64, proved to be no text and not nan, and for a grade finite; null stays null."""
    values = listing.frame[name]
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Null, pl.Boolean)):
        raise InputError(called, "a column of numbers", place=listing.name, received=str(values.dtype))
    if values.dtype == pl.String:
        number = values.str.strip_chars().cast(pl.Float64, strict=False)
        _refuse(listing, number.is_null() & values.is_not_null(), called, "a number in every row", name)
        values = number
    if not values.dtype.is_integer():
        values = values if values.dtype.is_float() else values.cast(pl.Float64)
        if name == "score":
            _refuse(listing, values.is_nan(), called, "a number, not nan", name)
        else:
            _refuse(listing, ~values.is_finite(), called, "a finite number", name)
    return replace(listing, frame=listing.frame.with_columns(values.alias(name)))


def _refuse(listing: Listing, bad: pl.Expr | pl.Series, field: str, expected: str, shown: str) -> None:
    """Raise InputError for the first row of the frame where `bad` holds."""
    found = listing.frame.select(bad).to_series()
    if found.any():
        row = found.arg_max()
        received = listing.frame[shown][row or 0]
        raise InputError(field, expected, place=listing.place(row or 0), received=received)
