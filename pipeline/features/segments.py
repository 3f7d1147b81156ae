"""What a segment did with every item at one tick: few segments ask again and again within an hour."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.features.context import segment_values
from pipeline.features.layers import PairLayers
from pipeline.features.table import Sheet
from pipeline.state import State

Table = NDArray[np.float32]
_KEPT: Final = 16  # segments


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the tables of segments were made of; None for a segment that was asked for once."""

    sheet: Sheet
    layers: PairLayers
    tables: dict[int, Table | None] = field(default_factory=dict)


class SegmentMemory:
    """Tables of the segments of the tick asked for last."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def of(self, state: State, sheet: Sheet, segment_key: int) -> Table | None:
        """`[N, 2]` as `segment_values`; None when it is asked for the first time, which may stay the only one."""
        layers, kept = state.pairs["segments"], self._kept
        if kept is None or kept.sheet is not sheet or kept.layers is not layers:
            self._kept = kept = _Kept(sheet, layers)
        if (table := kept.tables.get(segment_key)) is not None:
            return table
        if segment_key in kept.tables:
            counts = layers.of_all(segment_key, sheet.tick, len(sheet.values))
            positive = counts[:, layers.place("positive")].astype(np.float64)
            log_all = sheet.values[:, sheet.names.index("log_positive")].astype(np.float64)
            table = np.stack(segment_values(positive, log_all), axis=1).astype(np.float32)
        elif len(kept.tables) >= _KEPT:
            kept.tables.pop(next(iter(kept.tables)), None)
        kept.tables[segment_key] = table
        return table
