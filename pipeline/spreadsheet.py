"""CSV for people, who open it in a spreadsheet: there a cell that begins with `=` is a program."""

from pathlib import Path
from typing import Final

import polars as pl

_FORMULA: Final = r"^[=+\-@\t\r\n＝＋－＠]"
_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in which no text is taken for a formula: an apostrophe comes before one that would be, which
    spreadsheets do not show. Numbers, also those written as text, stay as they are."""
    text = pl.col(pl.String)
    formula = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    frame.with_columns(pl.when(formula).then(pl.lit("'") + text).otherwise(text).name.keep()).write_csv(path)
