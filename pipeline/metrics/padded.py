"""From a long table, one row an item of a request, to padded arrays `[R, K]` with a mask."""

from collections.abc import Iterator, Sequence
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


def pad_by_size(frame: pl.DataFrame, by: str, columns: Sequence[str], order: str | None = None) -> Iterator[Padded]:
    """The same in parts of similar length: one long list does not make a million short ones as wide.

    Requests of a part are less than twice as long as its shortest, so padding at most doubles the memory.
    """
    keys, sizes, rows = _grouped(frame, by, columns, order)
    octave = np.frexp(sizes)[1]
    for part in np.unique(octave):
        chosen = octave == part
        some = rows if chosen.all() else rows.filter(pl.Series(np.repeat(chosen, sizes)))
        yield _lay_out(keys.filter(pl.Series(chosen)), sizes[chosen], some)


def _grouped(
    frame: pl.DataFrame, by: str, columns: Sequence[str], order: str | None
) -> tuple[pl.Series, NDArray[np.int64], pl.DataFrame]:
    """Keys `[R]` and sizes `[R]` of the requests by first appearance, and the columns laid out in that order."""
    starts = _run_starts(frame[by])
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


def _run_starts(keys: pl.Series) -> NDArray[np.int64]:
    """First row of each run of equal keys."""
    opens = keys.ne_missing(keys.shift()).to_numpy()
    return np.union1d(np.flatnonzero(opens), np.arange(min(1, len(keys))))


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
