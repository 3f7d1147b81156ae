"""What a catalogue keeps when items are added or described anew: a change of one must not cost a reading of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.ids import Keys

WORDS = ("title", "text", "brand", "category", "tags", "kind", "region", "attributes")  # what an item is found by

Places = NDArray[np.int32]
Labels = tuple[Keys, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Reworded:
    """Bundled items whose words are not those of the bundle any more. item: `[C]` dense ids, ascending; rows: `[C]`, as
    the bundle describes them."""

    item: Places
    rows: pl.DataFrame

    @classmethod
    def none(cls, rows: pl.DataFrame) -> "Reworded":
        return cls(np.empty(0, dtype=np.int32), rows.clear())

    def add(self, item: Places, old: pl.DataFrame, new: pl.DataFrame) -> "Reworded":
        """With the items `[M]` whose words differ. old, new: `[M]` their rows; those known as reworded stay."""
        fresh = np.flatnonzero(differing(old, new, WORDS) & ~np.isin(item, self.item))
        if not len(fresh):
            return self
        every = np.concatenate([self.item, item[fresh]])
        order = np.argsort(every)
        return Reworded(every[order], pl.concat([self.rows, old[fresh]])[order])


def differing(left: pl.DataFrame, right: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """`[M]`: the rows that are not alike in these columns."""
    differs = np.zeros(len(left), dtype=np.bool_)
    for name in columns:
        differs |= left[name].ne_missing(right[name]).to_numpy()
    return differs


class Columns(Protocol):
    """What is read of item rows one by one. labels: keys, and the place of the row each belongs to."""

    @property
    def kind(self) -> Keys: ...
    @property
    def brand(self) -> Keys: ...
    @property
    def region(self) -> Keys: ...
    @property
    def category(self) -> Keys: ...
    @property
    def labels(self) -> Labels: ...


def handed_down(known: Mapping[str, Any], own: Columns, size: int, place: Places) -> dict[str, Any]:
    """The columns that were read before (`known`, by name) for a catalogue of `size` items that differs at `place`
    only, which is ascending. own: the rows there."""
    plain = {name: getattr(own, name) for name in ("kind", "brand", "region", "category") if name in known}
    found: dict[str, Any] = {name: _patched(known[name], size, place, values) for name, values in plain.items()}
    if "labels" in known:
        found["labels"] = _relabelled(known["labels"], size, place, own.labels)
    return found


def _patched(column: Keys, size: int, place: Places, values: Keys) -> Keys:
    grown = np.empty((size, *column.shape[1:]), dtype=column.dtype)
    grown[: len(column)] = column
    grown[place] = values
    return grown


def _relabelled(labels: Labels, size: int, place: Places, own: Labels) -> Labels:
    """Labels in order of their items."""
    anew = np.zeros(size, dtype=np.bool_)
    anew[place] = True
    kept = ~anew[labels[1]]
    owner = np.concatenate([labels[1][kept], place[own[1]]])
    order = np.argsort(owner, kind="stable")
    return np.concatenate([labels[0][kept], own[0]])[order], owner[order]
