"""The items as arrays: dense index, hashed attributes, and a timeline of price and availability.

Dense ids are private to a process: an item of the bundle has its place in UTF-8 order of item ids; live items
follow in store order. Letters: N items (the unknown one included), L levels of category.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Mask
from pipeline.features.fields import ItemField
from pipeline.features.ids import Keys, key, key_column
from pipeline.logs.events import COLUMNS
from pipeline.reworded import Reworded, handed_down
from pipeline.stored import read_table
from pipeline.values import attribute_labels

LEVELS = 4
UNKNOWN = 0  # the dense index that stands for every item nobody has heard of
NEVER = -(2**62)
_TIMELINE = {"time": pl.Int64(), "item": pl.Int32(), "available": pl.Boolean(), "price": pl.Float64()}
_TIMELINE |= {"stated": pl.Int64()}
_FIELDS = [name for name in COLUMNS["item"] if name not in ("event_id", "received")]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What changes about items, in order of time: `[C]` each.

    time: from when on it is known, ms; stated: from when on it is true. A row that came late is known only after it
    was received, and not at all when a later statement about its item was known by then.
    """

    time: NDArray[np.int64]
    item: NDArray[np.int32]
    available: Mask
    price: NDArray[np.float64]
    stated: NDArray[np.int64]

    @classmethod
    def empty(cls) -> "Timeline":
        none = np.empty(0, np.int64)
        return cls(none, none.astype(np.int32), np.empty(0, np.bool_), np.empty(0), none)

    def join(self, other: "Timeline") -> "Timeline":
        """Both, in whatever parts the rows came."""
        both = [np.concatenate([getattr(self, name), getattr(other, name)]) for name in _TIMELINE]
        time, item, stated = both[0], both[1], both[4]
        order = np.lexsort((stated, time))
        if (time != stated).any():
            order = order[_standing(item[order], stated[order])]
        return Timeline(*(array[order] for array in both))


@dataclass(frozen=True)
class Catalogue:
    """rows: the latest description of each item, one row a dense id; timeline: see there.

    An item the log names but never describes is valid and always available. Dense item UNKNOWN, with the id "" no
    event can have, is never available: it stands for what a caller names and nobody knows.
    """

    rows: pl.DataFrame
    timeline: Timeline
    bundled: int
    bundle_words: Reworded | None = field(default=None, repr=False, compare=False)
    _cursor: "_Cursor" = field(default_factory=lambda: _Cursor(), repr=False, compare=False)  # noqa: PLW0108 (defined below)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> list[str]:
        return self.rows["item_id"].to_list()

    @cached_property
    def index(self) -> Mapping[str, int]:
        return {item: place for place, item in enumerate(self.ids)}

    @cached_property
    def tie(self) -> NDArray[np.int32]:
        """`[N]`: rank by item_id in UTF-8 order, which decides between equal scores."""
        order = np.argsort(self.rows["item_id"].to_numpy(), kind="stable") if len(self) else np.empty(0, int)
        tie = np.empty(len(self), dtype=np.int32)
        tie[order] = np.arange(len(self), dtype=np.int32)
        return tie

    @cached_property
    def kind(self) -> Keys:
        return key_column(self.rows["kind"])

    @cached_property
    def brand(self) -> Keys:
        """`[N]` key, 0 = none."""
        return _keys_or_zero(self.rows["brand"])

    @cached_property
    def region(self) -> Keys:
        return _keys_or_zero(self.rows["region"])

    @cached_property
    def unheard(self) -> Mask:
        """`[N]`: the unknown item, and live ones that were named but never described."""
        unheard = self.rows["time"].is_null().to_numpy().copy()
        unheard[: self.bundled] = False
        unheard[UNKNOWN] = True
        return unheard

    @cached_property
    def kinds(self) -> Array:
        """`[N]` text."""
        return self.rows["kind"].fill_null("product").to_numpy()

    @cached_property
    def sponsored(self) -> Mask:
        return self.rows["sponsored"].fill_null(False).to_numpy()

    @cached_property
    def brands(self) -> list[str]:
        """Names by `brand_code`, "" first."""
        return ["", *self.rows["brand"].drop_nulls().unique().sort().to_list()]

    @cached_property
    def brand_code(self) -> NDArray[np.int64]:
        """`[N]` place in `brands`, 0 = none; for counting, where keys are for comparing."""
        return _codes(self.rows["brand"], self.brands)

    @cached_property
    def top_categories(self) -> list[str]:
        return ["", *self.rows["category"].list.first().drop_nulls().unique().sort().to_list()]

    @cached_property
    def top_category(self) -> NDArray[np.int64]:
        """`[N]` place in `top_categories`, 0 = none."""
        return _codes(self.rows["category"].list.first(), self.top_categories)

    @cached_property
    def category(self) -> Keys:
        """`[N, L]` key of each prefix of the category path, 0 where the path is shorter."""
        levels = []
        for level in range(1, LEVELS + 1):
            path = self.rows.select(
                pl.when(pl.col("category").list.len() >= level)
                .then(pl.col("category").list.head(level).list.join("\x1f"))
                .alias("path")
            )["path"]
            levels.append(_keys_or_zero(path))
        return np.stack(levels, axis=1)

    @cached_property
    def labels(self) -> tuple[Keys, NDArray[np.int64]]:
        """Keys of tags (`tag:x`) and attributes (`name=value`), and the item each belongs to; both `[T]`."""
        found: list[int] = []
        owner: list[int] = []
        rows = self.rows.select("tags", "attributes").iter_rows()
        for place, (tags, attributes) in enumerate(rows):
            names = [f"tag:{tag}" for tag in tags or ()]
            names += attribute_labels(attributes)
            found += [key(name) for name in names]
            owner += [place] * len(names)
        return np.array(found, dtype=np.int64), np.array(owner, dtype=np.int64)

    @cached_property
    def created(self) -> NDArray[np.int64]:
        """`[N]` ms of the first description, NEVER where there is none."""
        created = np.full(len(self), NEVER, dtype=np.int64)
        items, first = np.unique(self.timeline.item, return_index=True)
        created[items] = self.timeline.time[first]
        return created

    @cached_property
    def _fields(self) -> dict[str, ItemField]:
        return {}

    @property
    def reworded(self) -> Reworded:
        """Bundled items that are found by other words than the bundle knows."""
        return self.bundle_words or Reworded.none(self.rows)

    def item_field(self, name: str) -> ItemField:
        """One field of every item, read once. name: as `Declared.item` allows."""
        if name not in self._fields:
            self._fields[name] = ItemField.of(self.rows, name)
        return self._fields[name]

    def at(self, time: int) -> "Snapshot":
        """Price and availability as of a moment: rows with time <= `time`."""
        return self._cursor.at(self, time)

    def extend(self, rows: pl.DataFrame, mentioned: pl.Series | None = None) -> "Catalogue":
        """With more item rows (`COLUMNS["item"]`, sorted by time) and items only mentioned by id.

        Known items keep their dense id; new ones follow in the order given.
        """
        if mentioned is not None and not len(rows) and (self.dense(mentioned) >= 0).all():
            return self
        new = _described(rows)
        if mentioned is not None:
            names = pl.DataFrame({"item_id": mentioned.unique(maintain_order=True)})
            names = names.join(new, on="item_id", how="anti").join(self.rows, on="item_id", how="anti")
            new = pl.concat([new, _undescribed(names["item_id"])])
        if not len(new):
            return self
        fresh = new.join(self.rows.select("item_id"), on="item_id", how="anti", maintain_order="left")
        known = self.rows.select("item_id", known="time")
        changed = (
            new.join(known, on="item_id").filter((pl.col("time") >= pl.col("known")).fill_null(True)).drop("known")
        )
        kept = self.rows.update(changed, on="item_id", how="left", include_nulls=True) if len(changed) else self.rows
        place = np.sort(self.dense(changed["item_id"]))
        bundled = place[place < self.bundled]
        reworded = self.reworded.add(bundled, self.rows[bundled], kept[bundled])
        extended = Catalogue(pl.concat([kept, fresh]), self.timeline, self.bundled)
        timeline = self.timeline.join(_timeline(rows, extended))
        grown = Catalogue(extended.rows, timeline, self.bundled, reworded)
        place = np.concatenate([place, np.arange(len(kept), len(grown), dtype=np.int32)])
        own = Catalogue(grown.rows[place], Timeline.empty(), 0)
        grown.__dict__.update(handed_down(self.__dict__, own, len(grown), place))
        return grown

    def dense(self, item_ids: pl.Series) -> NDArray[np.int32]:
        """The dense index of each id, -1 for unknown ones."""
        if len(item_ids) < 5_000:
            index = self.index
            return np.array([index.get(item, -1) for item in item_ids], dtype=np.int32)
        places = pl.DataFrame({"item_id": self.rows["item_id"]}).with_row_index("place")
        found = pl.DataFrame({"item_id": item_ids}).join(places, on="item_id", how="left", maintain_order="left")
        return found["place"].cast(pl.Int32).fill_null(-1).to_numpy()

    def save(self, folder: Path) -> None:
        self.rows.write_parquet(folder / "items.parquet")
        line = self.timeline
        frame = {name: getattr(line, name) for name in _TIMELINE}
        pl.DataFrame(frame).write_parquet(folder / "timeline.parquet")

    @classmethod
    def open(cls, folder: Path) -> "Catalogue":
        """Raises ArtifactError when the files are not what `save` wrote."""
        rows = read_table(folder / "items.parquet", {name: COLUMNS["item"][name] for name in _FIELDS})
        frame = read_table(folder / "timeline.parquet", _TIMELINE)
        line = Timeline(*(frame[name].to_numpy() for name in _TIMELINE))
        return cls(rows, line, len(rows))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """available: `[N]`; price: `[N]`, nan = unknown. Do not write to them."""

    version: int
    available: Mask
    price: NDArray[np.float64]


class _Cursor:
    """Remembers the last snapshot, since requests mostly come in order of time."""

    def __init__(self) -> None:
        self.last: Snapshot | None = None

    def at(self, catalogue: Catalogue, time: int) -> Snapshot:
        line = catalogue.timeline
        version = int(np.searchsorted(line.time, time, side="right"))
        last = self.last
        if last is not None and last.version == version:
            return last
        if last is None or last.version > version:
            available = np.ones(len(catalogue), dtype=np.bool_)
            available[line.item] = False
            available[UNKNOWN] = False
            last = Snapshot(0, available, np.full(len(catalogue), np.nan))
        since = slice(last.version, version)
        available, price = last.available.copy(), last.price.copy()
        available[line.item[since]] = line.available[since]
        price[line.item[since]] = line.price[since]
        self.last = Snapshot(version, available, price)
        return self.last


def build_catalogue(items: pl.DataFrame, mentioned: pl.Series) -> Catalogue:
    """From item rows sorted by time, and every id the log mentions; dense ids in UTF-8 order of item_id."""
    new = _described(items)
    names = pl.DataFrame({"item_id": pl.concat([mentioned, pl.Series([""])]).unique()})
    names = names.join(new, on="item_id", how="anti")
    rows = pl.concat([new, _undescribed(names["item_id"])]).sort("item_id")
    bare = Catalogue(rows, Timeline.empty(), len(rows))
    return Catalogue(rows, bare.timeline.join(_timeline(items, bare)), len(rows))


def _described(items: pl.DataFrame) -> pl.DataFrame:
    """The latest row of each item, in order of first appearance."""
    order = items.select("item_id").unique(keep="first", maintain_order=True)
    latest = items.select(_FIELDS).unique("item_id", keep="last")
    return order.join(latest, on="item_id", maintain_order="left").select(_FIELDS)


def _undescribed(item_ids: pl.Series) -> pl.DataFrame:
    schema = {name: kind for name, kind in COLUMNS["item"].items() if name in _FIELDS}
    empty = pl.DataFrame(schema=schema)
    bare = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String()})
    return pl.concat([empty, bare], how="diagonal").with_columns(
        kind=pl.lit("product"), sponsored=pl.lit(False), available=pl.lit(True), attributes=pl.lit("{}")
    )


def _timeline(items: pl.DataFrame, catalogue: Catalogue) -> Timeline:
    time, received = items["time"].to_numpy(), items["received"].to_numpy()
    return Timeline(
        np.where(received <= time, time, received + 1),
        catalogue.dense(items["item_id"]),
        items["available"].fill_null(True).to_numpy(),
        items["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        time,
    )


def _standing(item: NDArray[np.int32], stated: NDArray[np.int64]) -> NDArray[np.intp]:
    """Places, ascending, of the rows before which nothing stated later was known of the same item."""
    by_item = np.argsort(item, kind="stable")
    moments, rank = np.unique(stated, return_inverse=True)
    code = item[by_item].astype(np.int64) * len(moments) + rank[by_item]
    return np.sort(by_item[code == np.maximum.accumulate(code)])


def _codes(column: pl.Series, names: list[str]) -> NDArray[np.int64]:
    table = pl.DataFrame({"name": names}).with_row_index("code")
    found = pl.DataFrame({"name": column.cast(pl.String)}).join(table, on="name", how="left", maintain_order="left")
    return found["code"].cast(pl.Int64).fill_null(0).to_numpy()


def _keys_or_zero(column: pl.Series) -> Keys:
    return np.where(column.is_null().to_numpy(), 0, key_column(column))
