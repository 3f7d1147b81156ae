"""What an item is, as of a moment: kind, price, age, what it has, and where it stands in the catalogue.

An item counts as described from its first item row on; before that its description is missing, so that a row
logged later never shows in an earlier request. Letters: N items, C changes of items, M items asked for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import NEVER, Catalogue
from pipeline.features.ids import Keys, key
from pipeline.timeline import PRICE

Floats = NDArray[np.float64]
KINDS: Final = ("product", "content", "ad")
HOUR_MS: Final = 3_600_000
_AFTER_ALL: Final = 2**62
STATIC_NAMES: Final = ("has_text", "kind", "sponsored")


@dataclass(frozen=True, slots=True)
class Facts:
    """created: `[N]` ms, after all time where there is no description; static: `[N, len(STATIC_NAMES)]`; groups: `[G]`
    distinct category prefixes and brands (0 = none); group: `[N, L + 1]` places in `groups`, levels then brand;
    known: `[N + 1, L + 1]` the same, but G for none, as in the last row; prices: per change, sorted by (item, time)."""

    size: int
    created: NDArray[np.int64]
    static: NDArray[np.float32]
    region: Keys
    groups: Keys
    group: NDArray[np.int32]
    known: NDArray[np.int32]
    times: NDArray[np.int64]
    codes: NDArray[np.int64]
    prices: Floats

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Facts":
        names = np.array([key(kind) for kind in KINDS], dtype=np.int64)
        matches = catalogue.kind[:, None] == names[None, :]
        kind = np.where(matches.any(axis=1), matches.argmax(axis=1), len(KINDS)).astype(np.float64)
        rows = catalogue.rows
        has = (rows["title"].str.len_bytes().fill_null(0) > 0).to_numpy().astype(np.float64)
        has += (rows["text"].str.len_bytes().fill_null(0) > 0).to_numpy()
        sponsored = rows["sponsored"].fill_null(value=False).to_numpy()
        groups, group = np.unique(np.column_stack([catalogue.category, catalogue.brand]), return_inverse=True)
        places = group.reshape(len(catalogue), -1).astype(np.int32)
        known = np.full((len(catalogue) + 1, places.shape[1]), len(groups), dtype=np.int32)
        np.copyto(known[:-1], places, where=groups[places] != 0)
        times, codes, prices = _price_changes(catalogue)
        return cls(
            size=len(catalogue),
            created=np.where(catalogue.created == NEVER, _AFTER_ALL, catalogue.created),
            static=np.column_stack([has, kind, sponsored]).astype(np.float32),
            region=catalogue.region,
            groups=groups,
            group=places,
            known=known,
            times=times,
            codes=codes,
            prices=prices,
        )

    def price(self, item: NDArray[np.int32], time: NDArray[np.int64]) -> Floats:
        """The price as of a moment, nan = unknown; item and time broadcast."""
        if not len(self.codes):
            return np.full(np.broadcast_shapes(item.shape, time.shape), np.nan)
        rank = self.times.searchsorted(time, side="right")
        wanted = item.astype(np.int64) * (len(self.times) + 1) + rank
        place = self.codes.searchsorted(wanted, side="right") - 1
        # Of a place before the first, the last is taken, which is later than what is wanted or of another item.
        own = (wanted - self.codes.take(place)).view(np.uint64) <= rank.view(np.uint64)
        return np.where(own, self.prices.take(place), np.nan)


def _price_changes(catalogue: Catalogue) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Distinct times; and each change's code (item, place of its time) with its price, sorted by code."""
    line = catalogue.timeline
    says = (line.told & PRICE) != 0
    time, item, price = line.time[says], line.item[says], line.price[says]
    times = np.unique(time)
    codes = item.astype(np.int64) * (len(times) + 1) + np.searchsorted(times, time, side="right")
    order = np.argsort(codes, kind="stable")
    return times, codes[order], price[order]


class FactsMemory:
    """The facts of the catalogue seen last."""

    def __init__(self) -> None:
        self._last: tuple[Catalogue, Facts] | None = None

    def of(self, catalogue: Catalogue) -> Facts:
        last = self._last
        if last is None or last[0] is not catalogue:
            self._last = last = (catalogue, Facts.of(catalogue))
        return last[1]
