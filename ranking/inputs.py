"""What a scorer is given of the items to score, and what it gives back: the same in training and in service.

Letters: n items to score, R requests they belong to, H past items of a request's subject, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Which = slice | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """features: `[n, F]`, nan = unknown; item: `[n]` dense ids; request: `[n]`, each item's row of `history`;
    history: `[R, H]` the subject's last positive items as of the tick, oldest first, -1 padded in front."""

    features: NDArray[np.float32]
    item: NDArray[np.int32]
    request: NDArray[np.int64]
    history: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.item)

    def rows(self, which: Which) -> "Inputs":
        """Some of the items: a slice, a mask `[n]` or places. The requests stay as they are numbered."""
        return Inputs(self.features[which], self.item[which], self.request[which], self.history)

    def between(self, first: int, last: int) -> "Inputs":
        """The items of requests `first` up to, not including, `last`, numbered from 0; requests must ascend."""
        low, high = np.searchsorted(self.request, [first, last])
        part = slice(int(low), int(high))
        return Inputs(self.features[part], self.item[part], self.request[part] - first, self.history[first:last])

    @classmethod
    def joined(cls, parts: Sequence["Inputs"]) -> "Inputs":
        """All of them as one, the requests numbered on. At least one part."""
        sizes = np.array([len(part.history) for part in parts])
        request = [part.request + before for part, before in zip(parts, np.cumsum(sizes) - sizes, strict=True)]
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.item for part in parts]),
            np.concatenate(request),
            np.concatenate([part.history for part in parts]),
        )

    @classmethod
    def plain(cls, features: NDArray[np.float32]) -> "Inputs":
        """Features `[n, F]` alone, for a scorer that reads nothing else."""
        nothing = np.full(len(features), -1, dtype=np.int32)
        return cls(features, nothing, np.zeros(len(features), dtype=np.int64), np.full((1, 0), -1, dtype=np.int32))


class Scorer(Protocol):
    """A model of clicks, and of what follows them. Safe to call from several threads."""

    def raw(self, inputs: Inputs, threads: int = 1) -> tuple[Floats, Floats]:
        """Log-odds of a click, and of a conversion once clicked, `[n]` each; nan where nothing is known of one."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `open` of the same class reads."""
        ...
