"""The item columns of every item at one tick: what the requests of an hour ask for again and again.

The values are those of `item_columns` bit for bit, since the same function fills the table.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.behaviour import Priors, item_columns
from pipeline.features.counters import Counters
from pipeline.features.ids import Keys
from pipeline.features.layers import CounterLayers
from pipeline.state import State

Table = NDArray[np.float32]
_ITEMS_AT_ONCE: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Of:
    """What a table follows from: the counters, the items' groups, and the tick."""

    base: Counters
    group: Keys
    tick: int

    def same(self, other: "_Of") -> bool:
        return self.base is other.base and self.group is other.group and self.tick == other.tick


class ItemTable:
    """Columns `names` of all items. A tick gets its table when it is asked for twice in a row.

    The large base layer is gone through once a tick; what the recent layer counts touches few items, which are
    filled in again whenever it changes.
    """

    def __init__(self) -> None:
        self._asked: _Of | None = None
        self._base: tuple[_Of, Table] | None = None
        self._whole: tuple[_Of, Counters, Table] | None = None

    @property
    def ready(self) -> bool:
        """Whether a table has been made."""
        return self._whole is not None

    def at(self, state: State, tick: int, group: Keys, priors: Priors, names: tuple[str, ...]) -> Table | None:
        """`[N, len(names)]`, None as long as it is not worth its making. group: `[N]`, each item's top category."""
        layers = state.counters["items"]
        of, recent = _Of(layers.base, group, tick), layers.recent
        whole = self._whole
        if whole is not None and whole[0].same(of) and whole[1] is recent:
            return whole[2]
        asked, self._asked = self._asked, of
        if asked is None or not asked.same(of):
            return None
        base = self._base
        if base is None or not base[0].same(of):
            counters = {**state.counters, "items": CounterLayers.of(layers.base)}
            every = np.arange(len(group), dtype=np.int64)
            base = of, filled(replace(state, counters=counters), every, of, priors, names)
            self._base = base
        table = base[1]
        if len(recent.keys):
            table = table.copy()
            table[recent.keys] = filled(state, recent.keys, of, priors, names)
        self._whole = (of, recent, table)
        return table


def filled(state: State, item: Keys, of: _Of, priors: Priors, names: tuple[str, ...]) -> Table:
    """`[len(item), len(names)]`."""
    table = np.empty((len(item), len(names)), dtype=np.float32)
    tick = np.full(1, of.tick, dtype=np.int64)
    for start in range(0, len(item), _ITEMS_AT_ONCE):
        part = item[start : start + _ITEMS_AT_ONCE]
        columns = item_columns(state, part[None], tick, of.group[part][None], priors)
        for place, name in enumerate(names):
            table[start : start + len(part), place] = columns[name][0]
    return table
