"""Where a file begins to count positions: the log counts from 0, others from 0 or from 1.

A file says it by its smallest position, as a whole: single pages may lack their first item. `--option positions=0` or
`1` settles it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from pipeline.errors import InputError
from pipeline.logs.importers.tables import Table

OPTION: Final = "positions"


def counting(options: Mapping[str, str]) -> int | None:
    """With which position a page begins, where an option says. Raises InputError for one that is neither 0 nor 1."""
    given = options.get(OPTION)
    if given not in (None, "0", "1"):
        raise InputError(f"--option {OPTION}", "0 or 1: the position of a page's first item", received=given)
    return None if given is None else int(given)


def counted_from_zero(table: Table, first: int | None = None, page: Sequence[str] = ()) -> Table:
    """With `position` as whole numbers from 0; rows that have none, or one below the first, are refused.

    first: the position of a page's first item; None: the file's smallest says, 0 or any other. page: the columns that
    tell pages of several rows apart. Where that is no more than likely, the rows are counted as mended.
    """
    table = table.reading("position", pl.Int32())
    least = 0 if first is None else first
    low = pl.when(pl.col("position") < least).then(pl.lit(f"must be {least} or more"))
    table = table.refusing("position", table.frame.select(low).to_series())
    smallest = table.frame["position"].min()
    if not isinstance(smallest, int):
        return table  # no row is left
    frame, doubts = from_zero(table.frame, first, smallest, page)
    for reason, rows in doubts.items():
        table = table.mending(reason, rows)
    return table.having(frame)


def from_zero(
    frame: pl.DataFrame, first: int | None, smallest: int, page: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows with `position` from 0, and what speaks against it, with how many rows; first, page: as above.

    smallest: the file's smallest position.
    """
    doubts = _doubts(frame, smallest, page) if first is None else {}
    begin = min(smallest, 1) if first is None else first
    return frame.with_columns(pl.col("position") - begin), doubts


def _doubts(frame: pl.DataFrame, smallest: int, page: Sequence[str]) -> dict[str, int]:
    if smallest > 1:
        said = f"position: the smallest is {smallest}; taken as counted from 1 (--option {OPTION}=0 if not)"
        return {said: len(frame)}
    if smallest == 1 or not page:
        return {}
    late = int(frame.select((pl.col("position").min().over(page) == 1).sum()).item())
    return (
        {f"position: counted from 0, on a page that begins with 1 (--option {OPTION}=1 if not)": late} if late else {}
    )
