"""From a long table, one row an item of a request, to padded arrays `[R, K]` with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Padded:
    """R requests, the longest of K items. keys `[R]`; mask and each column `[R, K]`, 0 outside the mask."""

    keys: pl.Series
    mask: NDArray[np.bool_]
    columns: dict[str, NDArray[Any]]

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]


def pad(frame: pl.DataFrame, by: str, columns: Sequence[str], order: str | None = None) -> Padded:
    """Lay the numeric `columns` out with one row for each value of `by`, in the order these first appear.

    Within a request rows keep their order, or ascend by `order` (strings by their UTF-8 bytes): with
    `order="item_id"` the metrics break ties by item_id. A frame whose requests stand together is not sorted.
    """
    keys, sizes, rows = _grouped(frame, by, columns, order)
    return _lay_out(keys, sizes, rows)


def _grouped(
    frame: pl.DataFrame, by: str, columns: Sequence[str], order: str | None
) -> tuple[pl.Series, NDArray[np.int64], pl.DataFrame]:
    """Keys `[R]` and sizes `[R]` of the requests by first appearance, and the columns laid out in that order."""
    starts = run_starts(frame[by])
    keys, sizes = frame[by].gather(starts), np.diff(starts, append=frame.height)
    distinct = keys.unique(maintain_order=True)
    if len(distinct) < len(keys):
        code = _codes(frame[by], distinct)
        keys, sizes = distinct, np.bincount(code.to_numpy(), minlength=len(distinct))
    elif order is None:
        return keys, sizes, frame.select(columns)
    else:
        code = frame[by].rle_id()
    sort_by = [pl.lit(code)] if order is None else [pl.lit(code), pl.col(order)]
    rows = frame.select(list(dict.fromkeys([*columns, *([order] if order else [])])))
    return keys, sizes, rows.sort(sort_by, maintain_order=True).select(columns)


def run_starts(keys: pl.Series) -> NDArray[np.int64]:
    """First row of each run of equal keys."""
    if keys.dtype.is_integer() and not keys.null_count():
        values = keys.to_numpy()
        opens = values[1:] != values[:-1]
    else:
        opens = keys.ne_missing(keys.shift()).to_numpy()[1:]
    return np.concatenate([np.zeros(min(1, len(keys)), dtype=np.int64), np.flatnonzero(opens) + 1])


def _codes(keys: pl.Series, distinct: pl.Series) -> pl.Series:
    """The place of each key among the distinct ones."""
    numbered = distinct.to_frame("key").with_row_index("code")
    rows = keys.to_frame("key")
    return rows.join(numbered, on="key", how="left", nulls_equal=True, maintain_order="left")["code"]


def _lay_out(keys: pl.Series, sizes: NDArray[np.int64], rows: pl.DataFrame) -> Padded:
    width = int(sizes.max(initial=0))
    mask = np.arange(width) < sizes[:, None]
    full = bool(mask.all())
    return Padded(keys, mask, {name: _spread(rows[name].to_numpy(), mask, full) for name in rows.columns})


def _spread(values: NDArray[Any], mask: NDArray[np.bool_], full: bool) -> NDArray[Any]:
    if full:
        return values.reshape(mask.shape)
    out = np.zeros(mask.shape, dtype=values.dtype)
    # A boolean mask is filled row by row, which is the order of the long table.
    out[mask] = values
    return out
