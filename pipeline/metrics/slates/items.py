"""The table of items that slate metrics look things up in: read from a file or a frame, and checked.

Columns: `item_id` (or another name of `ITEM`); `category`, text, or a list that is a path from the broadest down;
`topics`, a list of several (without it an item's whole category path is its only topic); `vector`, a list of numbers;
`popularity`, how many interactions. In CSV `topics` and `vector` have `|` between their parts. What is not in the table
is not in the catalogue.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.tables.files import read_table
from pipeline.metrics.tables.listings import ITEM

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
BETWEEN: Final = "|"
_LEVEL: Final = "\x1f"  # between the levels of a path, as one text


@dataclass(frozen=True, slots=True)
class ItemTable:
    """N items. ids `[N]`; paths `[N, L]`: codes of the category path's prefixes, 0 where it ends; topics `[N, M]`:
    codes, -1 none; vectors `[N, D]`, zero where an item has none; popularity `[N]`, counts. None where the table has no
    such column."""

    ids: pl.Series
    paths: Codes | None
    topics: Codes | None
    vectors: NDArray[np.float32] | None
    popularity: Floats | None

    def dense(self, item_ids: pl.Series) -> Codes:
        """The place of each id in the table `[n]`, -1 where it is not in it."""
        places = pl.DataFrame({"id": self.ids, "place": pl.int_range(len(self.ids), dtype=pl.Int32, eager=True)})
        found = item_ids.to_frame("id").join(places, on="id", how="left", maintain_order="left")
        return found["place"].fill_null(-1).to_numpy()


def read_items(source: str | Path | pl.DataFrame) -> ItemTable:
    """Raises InputError for a table without item ids, with an id twice, or with a column of another kind."""
    if isinstance(source, pl.DataFrame):
        frame, name = source, "items"
    else:
        path = Path(source)
        if path.name.removesuffix(".gz").rpartition(".")[2] not in {"parquet", "csv"}:
            raise InputError("--items", "a file ending in .parquet or .csv", received=str(path))
        frame, name = read_table(path, ())[0], str(source)
    called = next((each for each in ITEM if each in frame.columns), None)
    if called is None or frame.is_empty():
        raise InputError("item_id", "a column of ids, and at least one row", place=name)
    ids = frame[called].cast(pl.String)
    if ids.null_count() or ids.is_duplicated().any():
        odd = None if ids.null_count() else ids.filter(ids.is_duplicated())[0]
        raise InputError(called, "every row an id, each once", place=name, received=odd)
    category = _category(frame, name)
    topics = _topics(frame, name)
    if topics is None and category is not None:
        topics = _codes(category.list.join(_LEVEL))[:, None]
    paths = None if category is None else _paths(category)
    return ItemTable(ids, paths, topics, _vectors(frame, name), _popularity(frame, name))


def _lists(frame: pl.DataFrame, column: str, name: str) -> pl.Series:
    """The column as lists; text is taken apart at `|`."""
    values = frame[column]
    if values.dtype == pl.String:
        return values.str.split(BETWEEN)
    if isinstance(values.dtype, pl.Array):
        return values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise InputError(column, f"lists, or text with {BETWEEN} between the parts", place=name)
    return values


def _category(frame: pl.DataFrame, name: str) -> pl.Series | None:
    """Paths, an empty list where there is none; a text is a path of one level."""
    if "category" not in frame.columns:
        return None
    values = frame["category"]
    if isinstance(values.dtype, pl.List):
        values = values.cast(pl.List(pl.String))
    elif values.dtype.is_nested() or values.dtype.is_float():
        raise InputError("category", "text, or a list of text", place=name, received=str(values.dtype))
    else:
        values = values.cast(pl.String).reshape((-1, 1)).arr.to_list()
    return values.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))).fill_null([])


def _paths(category: pl.Series) -> Codes:
    """`[N, L]`. The same name below two parents is two categories."""
    levels = int(category.list.len().max() or 0)  # type: ignore[arg-type]
    depth = category.list.len().to_numpy()[:, None]
    codes = [_codes(category.list.head(level).list.join(_LEVEL)) + 1 for level in range(1, max(levels, 1) + 1)]
    return np.where(np.arange(len(codes)) < depth, np.stack(codes, axis=1), 0)


def _topics(frame: pl.DataFrame, name: str) -> Codes | None:
    """`[N, M]`, M the most topics of an item; each once an item."""
    if "topics" not in frame.columns:
        return None
    lists = _lists(frame, "topics", name).cast(pl.List(pl.String)).list.unique(maintain_order=True)
    rows = pl.DataFrame({"topic": lists}).with_row_index("item").explode("topic", empty_as_null=True)
    rows = rows.with_columns(code=_codes(rows["topic"])).filter(pl.col("code") >= 0)
    slot = rows.select(pl.int_range(pl.len()).over("item")).to_series().to_numpy()
    topics = np.full((frame.height, int(slot.max(initial=0)) + 1), -1, dtype=np.int32)
    topics[rows["item"].to_numpy(), slot] = rows["code"].to_numpy()
    return topics


def _codes(names: pl.Series) -> Codes:
    """A number for each name; -1 for null and for no text."""
    known = pl.Series(names.unique().drop_nulls().sort()).filter(names.unique().drop_nulls().sort() != "")
    return names.replace_strict(known, np.arange(len(known)), default=-1, return_dtype=pl.Int32).to_numpy()


def _vectors(frame: pl.DataFrame, name: str) -> NDArray[np.float32] | None:
    if "vector" not in frame.columns:
        return None
    try:
        lists = _lists(frame, "vector", name).cast(pl.List(pl.Float32))
    except pl.exceptions.PolarsError as error:
        raise InputError("vector", "lists of numbers", place=name) from error
    sizes = lists.list.len().drop_nulls().unique()
    if len(sizes) != 1 or not sizes[0]:
        raise InputError("vector", "lists of one length", place=name, received=sizes.sort().to_list())
    vectors = np.zeros((frame.height, int(sizes[0])), dtype=np.float32)
    vectors[lists.is_not_null().to_numpy()] = lists.drop_nulls().explode().to_numpy().reshape(-1, int(sizes[0]))
    return vectors


def _popularity(frame: pl.DataFrame, name: str) -> Floats | None:
    if "popularity" not in frame.columns:
        return None
    values: Any = frame["popularity"].cast(pl.Float64, strict=False).to_numpy()
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise InputError("popularity", "a count from 0 for every item", place=name)
    return np.asarray(values, dtype=np.float64)
