"""How dear items are for what they are: against the usual price of their kind, and among the prices of their kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import LEVELS
from pipeline.features.facts import Facts
from pipeline.features.fitted import QUANTILES, Fitted
from pipeline.features.ids import Keys

Floats = NDArray[np.float64]
Dear = NDArray[np.float32]
Items = NDArray[np.int32]
_SHARE = np.full(QUANTILES, 1 / QUANTILES, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Kinds:
    """What is usual of each item's category. top: `[N]` key of the top category; usual: `[N]` mean log price, nan
    where none is known; row: `[N]`, the place in quantiles, `[P + 1, Q]`, whose last row is of no category."""

    facts: Facts
    top: Keys
    usual: Floats
    row: NDArray[np.int64]
    quantiles: Dear

    @classmethod
    def of(cls, facts: Facts, fitted: Fitted) -> "Kinds":
        path = facts.groups[facts.group[:, :LEVELS]]
        row = fitted.price_row(path)
        none = np.full((1, QUANTILES), np.nan, dtype=np.float32)
        usual = np.append(fitted.price_mean, np.nan)[row]
        return cls(facts, np.ascontiguousarray(path[:, 0]), usual, row, np.concatenate([fitted.price_quantiles, none]))

    def dearness(self, item: Items, log_price: Floats) -> Dear:
        """Log of the price over the usual one; item and log_price have one shape."""
        return (log_price - self.usual.take(item)).astype(np.float32)

    def place(self, item: Items, log_price: Floats) -> Dear:
        """The share of the kind's prices that are below, 0 to 1 in steps of 1 / Q; nan where nothing is known."""
        edges = self.quantiles.take(self.row.take(item), axis=0)
        # Sixteenths add up to the same bits in any order.
        below = (edges < log_price.astype(np.float32)[..., None]).astype(np.float32) @ _SHARE
        below[np.isnan(log_price) | np.isnan(edges[..., 0])] = np.nan
        return np.asarray(below)


@dataclass(frozen=True, slots=True)
class Described:
    """What a moment says of all items: `[N, len(STATIC_NAMES) + 3]`, the static columns, the log of the price, how
    dear that is, and its place among the prices of its kind."""

    kinds: Kinds
    price: Floats
    values: Dear

    @classmethod
    def of(cls, kinds: Kinds, price: Floats, last: "Described | None") -> "Described":
        """price: `[N]`; last: of another moment, from which only the items whose price differs are worked out."""
        if last is None or last.kinds is not kinds:
            values, item = np.column_stack([kinds.facts.static, np.empty((len(price), 3), dtype=np.float32)]), None
        else:
            differs = (price != last.price) & ~(np.isnan(price) & np.isnan(last.price))
            values, item = last.values.copy(), differs.nonzero()[0].astype(np.int32)
        item = np.arange(len(price), dtype=np.int32) if item is None else item
        log_price = log_of(price.take(item))
        values[item, -3:] = np.stack([log_price, kinds.dearness(item, log_price), kinds.place(item, log_price)], axis=1)
        return cls(kinds, price, values)


def log_of(price: Floats) -> Floats:
    """nan for no price, and for nothing to pay."""
    return np.asarray(np.log(np.where(price > 0, price, np.nan)))
