"""The items as arrays: dense index and hashed attributes; `pipeline.timeline` says what changes about them.

Dense ids are private to a process: an item of the bundle has its place in UTF-8 order of item ids; live items
follow in store order. Letters: N items (the unknown one included), L levels of category.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from pipeline.batch import Array, Mask
from pipeline.config import Config
from pipeline.features.fields import ItemField
from pipeline.features.ids import Keys, key, key_column
from pipeline.logs.events import COLUMNS, DEFAULTS, empty
from pipeline.logs.items import FOLDED, folded, standing
from pipeline.reworded import Reworded, handed_down
from pipeline.stored import read_table
from pipeline.timeline import SCHEMA, Cursor, Snapshot, Timeline
from pipeline.values import attribute_labels

LEVELS = 4
UNKNOWN = 0  # the dense index that stands for every item nobody has heard of
NEVER = -(2**62)
_STATED = dict(COLUMNS["item"])


class CatalogueConfig(Config):
    """The `[catalogue]` section of podium.toml."""

    unknown: Literal["ignore", "accept"] = Field(
        "ignore",
        description="ids that no item event describes: never shown, or as any other; a log without any shows all",
    )


@dataclass(frozen=True)
class Catalogue:
    """rows: the latest description of each item, one row a dense id; timeline: see there. partials: of items with
    partial rows, the rows that count (`pipeline.logs.items.standing`).

    An item the log names but never describes is valid. Unless those are ignored, it is always available. Dense item
    UNKNOWN, with the id "" no event can have, is never available: it stands for what a caller names and nobody knows.
    """

    rows: pl.DataFrame
    timeline: Timeline
    bundled: int
    bundle_words: Reworded | None = field(default=None, repr=False, compare=False)
    partials: pl.DataFrame = field(default_factory=lambda: empty("item"), repr=False, compare=False)
    ignores: bool = False
    _cursor: Cursor = field(default_factory=Cursor, repr=False, compare=False)

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
        """`[N]`: the unknown item, and those that were named but never described; of the bundle's only where such are
        ignored."""
        unheard = self.rows["time"].is_null().to_numpy().copy()
        if not self.ignores:
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

    def at(self, time: int) -> Snapshot:
        """Price and availability as of a moment: rows with time <= `time`."""
        return self._cursor.at(self.timeline, time, len(self), not self.ignores)

    def ignoring(self, unknown: str) -> "Catalogue":
        """As configured (`CatalogueConfig.unknown`); where no item is described, all that are named may be shown."""
        ignores = unknown == "ignore" and len(self.timeline.time) > 0
        return Catalogue(self.rows, self.timeline, self.bundled, self.bundle_words, self.partials, ignores)

    def place_of(self, item_id: str) -> int | None:
        """The place of an item that is described and not removed."""
        place = self.index.get(item_id)
        if place is None or self.rows["time"][place] is None or self.rows["removed"][place]:
            return None
        return place

    def census(self) -> dict[str, int]:
        """How many items are described, how many are only named, and how many were removed."""
        removed = int(self.rows["removed"].sum())
        unknown = self.rows["time"].null_count() - 1
        return {"described": len(self) - 1 - unknown - removed, "unknown": unknown, "removed": removed}

    def extend(self, rows: pl.DataFrame, mentioned: pl.Series | None = None) -> "Catalogue":
        """With more item rows (`COLUMNS["item"]`, sorted by time) and items only mentioned by id.

        Known items keep their dense id; new ones follow in the order given.
        """
        if mentioned is not None and not len(rows) and (self.dense(mentioned) >= 0).all():
            return self
        stated = standing(pl.concat([self._stated(rows["item_id"]), rows.select(*_STATED)]))
        new = _in_order(folded(stated), rows["item_id"])
        if mentioned is not None:
            names = pl.DataFrame({"item_id": mentioned.unique(maintain_order=True)})
            names = names.join(new, on="item_id", how="anti").join(self.rows, on="item_id", how="anti")
            new = pl.concat([new, _undescribed(names["item_id"])])
        if not len(new):
            return self
        fresh = new.join(self.rows.select("item_id"), on="item_id", how="anti", maintain_order="left")
        changed = new.join(self.rows.select("item_id"), on="item_id", how="semi")
        kept = self.rows.update(changed, on="item_id", how="left", include_nulls=True) if len(changed) else self.rows
        place = np.sort(self.dense(changed["item_id"]))
        bundled = place[place < self.bundled]
        reworded = self.reworded.add(bundled, self.rows[bundled], kept[bundled])
        extended = Catalogue(pl.concat([kept, fresh]), self.timeline, self.bundled)
        timeline = self.timeline.join(Timeline.of_items(rows, extended.dense(rows["item_id"])))
        partials = _partials(self.partials.join(stated, on="item_id", how="anti"), stated)
        grown = Catalogue(extended.rows, timeline, self.bundled, reworded, partials, self.ignores)
        place = np.concatenate([place, np.arange(len(kept), len(grown), dtype=np.int32)])
        own = Catalogue(grown.rows[place], Timeline.empty(), 0)
        grown.__dict__.update(handed_down(self.__dict__, own, len(grown), place))
        return grown

    def _stated(self, item_ids: pl.Series) -> pl.DataFrame:
        """The rows that count of these items, as in the log; of the plain ones what they come to, as one whole row."""
        place = self.dense(item_ids.unique(maintain_order=True))
        plain = self.rows[place[place >= 0]].filter(pl.col("time").is_not_null())
        partial = self.partials.join(item_ids.unique().to_frame("item_id"), on="item_id", how="semi")
        plain = plain.join(partial, on="item_id", how="anti")
        whole = plain.with_columns(received="time", partial=False, cleared=pl.lit(None, _STATED["cleared"]))
        return pl.concat([whole.select(*_STATED), partial])

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
        self.timeline.table().write_parquet(folder / "timeline.parquet")
        self.partials.write_parquet(folder / "partials.parquet")

    @classmethod
    def open(cls, folder: Path) -> "Catalogue":
        """Raises ArtifactError when the files are not what `save` wrote."""
        rows = read_table(folder / "items.parquet", {name: _STATED[name] for name in FOLDED})
        line = Timeline.of(read_table(folder / "timeline.parquet", SCHEMA))
        return cls(rows, line, len(rows), partials=read_table(folder / "partials.parquet", _STATED))


def build_catalogue(items: pl.DataFrame, mentioned: pl.Series) -> Catalogue:
    """From item rows sorted by time, and every id the log mentions; dense ids in UTF-8 order of item_id."""
    stated = standing(items.select(*_STATED))
    new = folded(stated)
    names = pl.DataFrame({"item_id": pl.concat([mentioned, pl.Series([""])]).unique()})
    names = names.join(new, on="item_id", how="anti")
    rows = pl.concat([new, _undescribed(names["item_id"])]).sort("item_id")
    bare = Catalogue(rows, Timeline.empty(), len(rows))
    line = bare.timeline.join(Timeline.of_items(items, bare.dense(items["item_id"])))
    return Catalogue(rows, line, len(rows), partials=_partials(items.clear(), stated))


def _partials(known: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """What is known beside rows that count of other items: those of items that partial rows describe."""
    if not stated["partial"].any():
        return known
    partial = stated.filter(pl.col("partial")).select("item_id").unique()
    return pl.concat([known.select(*_STATED), stated.join(partial, on="item_id", how="semi")])


def _in_order(folded: pl.DataFrame, item_ids: pl.Series) -> pl.DataFrame:
    """The rows in order of first appearance among the ids."""
    order = item_ids.unique(maintain_order=True).to_frame("item_id")
    return order.join(folded, on="item_id", maintain_order="left").select(FOLDED)


def _undescribed(item_ids: pl.Series) -> pl.DataFrame:
    blank = pl.DataFrame(schema={name: _STATED[name] for name in FOLDED})
    bare = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String()})
    defaults = {name: pl.lit(value) for name, value in DEFAULTS["item"].items() if name in FOLDED}
    return pl.concat([blank, bare], how="diagonal").with_columns(**defaults)


def _codes(column: pl.Series, names: list[str]) -> NDArray[np.int64]:
    table = pl.DataFrame({"name": names}).with_row_index("code")
    found = pl.DataFrame({"name": column.cast(pl.String)}).join(table, on="name", how="left", maintain_order="left")
    return found["code"].cast(pl.Int64).fill_null(0).to_numpy()


def _keys_or_zero(column: pl.Series) -> Keys:
    return np.where(column.is_null().to_numpy(), 0, key_column(column))
