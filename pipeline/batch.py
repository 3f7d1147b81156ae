"""Requests and their candidates as padded arrays: one request and a thousand are the same call.

Letters: R requests, K candidates a request (padded), N items of the catalogue. Everything that belongs to one
request runs along the last candidate axis.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]

REQUEST = "request."


@dataclass(frozen=True, slots=True)
class Batch:
    """Immutable. `requests`: name -> `[R, ...]`; `item`: `[R, K]` int32, dense catalogue index, -1 = none;
    `columns`: name -> `[R, K]` or `[R, K, D]`.

    Between recall and fusion an item may stand once for each channel that found it; afterwards once.
    Raises ValueError when a column does not have the shape of `item`.
    """

    requests: Mapping[str, Array]
    item: NDArray[np.int32]
    columns: Mapping[str, Array]

    def __post_init__(self) -> None:
        rows = self.item.shape[0]
        wrong = {name: array.shape for name, array in self.requests.items() if array.shape[:1] != (rows,)}
        wrong |= {n: array.shape for n, array in self.columns.items() if array.shape[:2] != self.item.shape}
        if wrong:
            raise ValueError(f"columns do not fit candidates of shape {self.item.shape}: {wrong}")
        object.__setattr__(self, "requests", MappingProxyType(dict(self.requests)))
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    @classmethod
    def of(cls, requests: Mapping[str, Array]) -> "Batch":
        """Requests without candidates yet."""
        rows = len(next(iter(requests.values())))
        return cls(requests, np.empty((rows, 0), dtype=np.int32), {})

    @property
    def mask(self) -> Mask:
        """`[R, K]`: where there is a candidate."""
        return self.item >= 0

    @property
    def size(self) -> int:
        """R."""
        return int(self.item.shape[0])

    def request(self, name: str) -> Array:
        return self.requests[name]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def has(self, name: str) -> bool:
        """Whether the column is there, by the name a stage declares (`request.query`, `score`)."""
        if name.startswith(REQUEST):
            return name.removeprefix(REQUEST) in self.requests
        return name in self.columns

    def with_requests(self, **columns: Array) -> "Batch":
        return replace(self, requests={**self.requests, **columns})

    def with_columns(self, **columns: Array) -> "Batch":
        return replace(self, columns={**self.columns, **columns})

    def without(self, name: str) -> "Batch":
        """Less a column, where it is there: what nobody reads any more should not be carried along."""
        return replace(self, columns={n: array for n, array in self.columns.items() if n != name})

    def take(self, order: Ints) -> "Batch":
        """Candidates by place: `order` `[R, J]` holds places in `0..K-1`, or -1 for none."""
        order = np.asarray(order)
        if not self.item.shape[1]:
            return self
        place = np.maximum(order, 0)
        item = np.where(order >= 0, np.take_along_axis(self.item, place, axis=1), np.int32(-1))
        columns = {}
        for name, array in self.columns.items():
            index = place if array.ndim == 2 else place[:, :, None]
            columns[name] = np.take_along_axis(array, index, axis=1)
        return replace(self, item=item, columns=columns)

    def keep(self, kept: Mask) -> "Batch":
        """Drop candidates where `kept` `[R, K]` is false and close the gaps, the order unchanged."""
        kept = kept & self.mask
        width = int(kept.sum(axis=1).max(initial=0))
        order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
        return self.take(np.where(np.take_along_axis(kept, order, axis=1), order, -1))

    def append(self, item: NDArray[np.int32], columns: Mapping[str, Array]) -> "Batch":
        """Add candidates `[R, J]`; a column that only one side has is filled with its type's zero."""
        both = {}
        for name in {*self.columns, *columns}:
            have = columns.get(name, self.columns.get(name))
            assert have is not None
            shapes = (self.item.shape + have.shape[2:], item.shape + have.shape[2:])
            old = self.columns.get(name, np.zeros(shapes[0], dtype=have.dtype))
            new = columns.get(name, np.zeros(shapes[1], dtype=have.dtype))
            both[name] = np.concatenate([old, new], axis=1)
        return replace(self, item=np.concatenate([self.item, item], axis=1), columns=both)

    def rows(self, index: Array) -> "Batch":
        """Some requests, by place or mask along R."""
        requests = {name: array[index] for name, array in self.requests.items()}
        return Batch(requests, self.item[index], {name: array[index] for name, array in self.columns.items()})


def best_first(score: Floats, mask: Mask, tie: Ints, k: int | None = None) -> Ints:
    """Places of the candidates by score descending, ties by `tie` ascending; `[R, min(k, K)]`, -1 = none.

    NaN sorts after every number and never reaches the top.
    """
    value = np.where(mask, np.nan_to_num(score, nan=-np.inf, posinf=np.inf, neginf=-np.inf), -np.inf)
    order = np.lexsort((tie, -value, ~mask), axis=1)
    order = order[:, : order.shape[1] if k is None else k]
    return np.where(np.take_along_axis(mask, order, axis=1), order, -1)
