"""What changes about items with time: price, availability, and whether they are there at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask

SCHEMA: Final[Mapping[str, pl.DataType]] = {
    "time": pl.Int64(),
    "item": pl.Int32(),
    "available": pl.Boolean(),
    "price": pl.Float64(),
    "removed": pl.Boolean(),
    "told": pl.UInt8(),
    "stated": pl.Int64(),
    "event": pl.String(),
}
T = TypeVar("T", bound=np.generic)
AVAILABLE, PRICE, REMOVED = 1, 2, 4  # bits of `told`
_BITS: Final = (AVAILABLE, PRICE, REMOVED)


@dataclass(frozen=True, slots=True)
class Timeline:
    """What changes about items, in order of time: `[C]` each.

    time: from when on it is known, ms; stated: from when on it is true; event: its id, which decides between two of one
    moment; told: which of available, price and removed it says. What came late is known only after it was received,
    and not at all when a later statement about the same was known by then.
    """

    time: NDArray[np.int64]
    item: NDArray[np.int32]
    available: Mask
    price: NDArray[np.float64]
    removed: Mask
    told: NDArray[np.uint8]
    stated: NDArray[np.int64]
    event: pl.Series

    @classmethod
    def empty(cls) -> "Timeline":
        return cls.of(pl.DataFrame(schema=SCHEMA))

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Timeline":
        arrays = {name: frame[name].to_numpy() for name in SCHEMA if name != "event"}
        return cls(**arrays, event=frame["event"])

    @classmethod
    def of_items(cls, rows: pl.DataFrame, item: NDArray[np.int32]) -> "Timeline":
        """What item rows of the log say. item: their dense ids."""
        time, received = rows["time"].to_numpy(), rows["received"].to_numpy()
        removed = rows["removed"].to_numpy()
        named = pl.col("cleared").list
        told = rows.select(
            available=~pl.col("partial") | pl.col("available").is_not_null() | named.contains("available"),
            price=~pl.col("partial") | pl.col("price").is_not_null() | named.contains("price"),
            removed=~pl.col("partial"),
        )
        says = (told[name].fill_null(value=False).to_numpy() for name in told.columns)
        bits = sum(bit * each for bit, each in zip(_BITS, says, strict=True))
        return cls(
            np.where(received <= time, time, received + 1),
            item,
            rows["available"].fill_null(value=True).to_numpy(),
            rows["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
            removed,
            np.where(removed, REMOVED, bits).astype(np.uint8),
            time,
            rows["event_id"],
        )

    def table(self) -> pl.DataFrame:
        return pl.DataFrame({name: getattr(self, name) for name in SCHEMA}, schema=SCHEMA)

    def join(self, other: "Timeline") -> "Timeline":
        """Both, in whatever parts the rows came."""
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in SCHEMA if name != "event"}
        event = pl.concat([self.event, other.event])
        keys = (both["item"], both["stated"], both["time"])
        order = np.lexsort(keys)
        if _twice(*(key[order] for key in keys)):
            order = np.lexsort((event.rank("ordinal").to_numpy(), *keys))
        joined = {name: array[order] for name, array in both.items()}
        if (joined["time"] != joined["stated"]).any():
            joined["told"] = _standing(joined["item"], joined["stated"], joined["told"])
            kept = np.flatnonzero(joined["told"])
            joined = {name: array[kept] for name, array in joined.items()}
            order = order[kept]
        return Timeline(**joined, event=event.gather(order))


def _twice(*keys: NDArray[Any]) -> bool:
    """Whether two neighbours are alike in all."""
    return bool(np.logical_and.reduce([key[1:] == key[:-1] for key in keys]).any())


def _standing(item: NDArray[np.int32], stated: NDArray[np.int64], told: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`[C]`: what each row, in order of time, says that nothing stated later about the same was known before."""
    stands = np.zeros_like(told)
    for bit in _BITS:
        here = np.flatnonzero(told & bit)
        by_item = here[np.argsort(item[here], kind="stable")]
        moments, rank = np.unique(stated[by_item], return_inverse=True)
        code = item[by_item].astype(np.int64) * (len(moments) + 1) + rank
        stands[by_item[code == np.maximum.accumulate(code)]] |= bit
    return stands


@dataclass(frozen=True, slots=True)
class Snapshot:
    """available: `[N]`; price: `[N]`, nan = unknown. Do not write to them."""

    version: int
    available: Mask
    price: NDArray[np.float64]
    _heard: Mask
    _offered: Mask
    _removed: Mask

    @classmethod
    def start(cls, size: int, line: Timeline, unheard: bool) -> "Snapshot":
        """Before everything. unheard: whether items that nothing is ever told of may be shown."""
        heard = np.full(size, unheard, dtype=np.bool_)
        heard[line.item] = False
        heard[:1] = False  # the item that stands for what nobody knows
        offered, removed = np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        return cls(0, heard, np.full(size, np.nan), heard, offered, removed)

    def until(self, line: Timeline, version: int) -> "Snapshot":
        """With the rows of the timeline up to `version`, which is no smaller than this one's."""
        new = slice(self.version, version)
        item, told = line.item[new], line.told[new]
        heard = self._heard.copy()
        heard[item] = True

        def changed(known: NDArray[T], bit: int, values: NDArray[T]) -> NDArray[T]:
            says = (told & bit) != 0
            after = known.copy()
            after[item[says]] = values[new][says]
            return after

        offered = changed(self._offered, AVAILABLE, line.available)
        removed = changed(self._removed, REMOVED, line.removed)
        price = changed(self.price, PRICE, line.price)
        return Snapshot(version, heard & offered & ~removed, price, heard, offered, removed)


class Cursor:
    """Remembers the last snapshot, since requests mostly come in order of time."""

    def __init__(self) -> None:
        self._last: Snapshot | None = None

    def at(self, line: Timeline, time: int, size: int, unheard: bool) -> Snapshot:
        version = int(np.searchsorted(line.time, time, side="right"))
        last = self._last
        if last is None or last.version > version:
            last = Snapshot.start(size, line, unheard)
        if last.version < version:
            last = last.until(line, version)
        self._last = last
        return last
