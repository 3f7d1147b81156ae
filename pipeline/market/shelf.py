"""What stands on the shelves on a given day, and what the shop believes about it.

The true appeal of each item drifts from day to day; the shop knows it imperfectly, and knows little of newcomers.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.market.catalogue import PRICE_SPREAD, PRICE_TASTE, TASTES, Catalogue, Ints, price_columns, sellable
from pipeline.market.world import DAY, START, Floats, World

SHARPNESS = 0.7  # correlation of what the shop knows with the true appeal
NEWCOMER = 0.8  # what the shop assumes of an item it has just received
LEARNING_DAYS = 2.0  # and how long that assumption lasts
REPRICED = 0.1  # share of items repriced a day, times `drift`
SOLD_OUT = 0.03  # share of items that run out a day, times `drift`
RESTOCKED = 0.25  # chance a day that an item comes back


@dataclass(frozen=True, slots=True)
class Stock:
    """What changes overnight, `[N]` each: true appeal, error of the shop's belief, price, availability."""

    appeal: Floats
    error: Floats
    price: Floats
    sold_out: NDArray[np.bool_]
    vector: Floats  # [N, TASTES + 2], the catalogue's with today's prices


@dataclass(frozen=True, slots=True)
class Shelf:
    """One day's items. `items` are those on offer, leaf after leaf, in each the best known first."""

    day: int
    known: Floats  # [N] the shop's belief about appeal
    items: Ints
    starts: Ints  # [L + 1] where each leaf begins in `items`
    hidden: int  # best known items of a leaf that never seed a `similar` request

    def inside(self, leaf: int) -> Ints:
        """The items of one leaf."""
        return self.items[self.starts[leaf] : self.starts[leaf + 1]]

    def draw(self, leaf: Ints, rng: np.random.Generator) -> Ints:
        """A uniform item of each wanted leaf (any shape)."""
        size = self.starts[leaf + 1] - self.starts[leaf]
        drawn: Ints = self.items[self.starts[leaf] + (rng.random(leaf.shape) * size).astype(np.int64)]
        return drawn

    def seeds(self, leaf: Ints, rng: np.random.Generator) -> Ints:
        """The item whose page is open when a panel of similar items is asked for.

        Never one of the leaf's best known: the panel would have to leave it out, and a leaf's panel would no
        longer be one order, which the world `deterministic` promises.
        """
        size = self.starts[leaf + 1] - self.starts[leaf]
        skip = np.minimum(self.hidden, size - 1)
        rank = skip + ((size - skip) * rng.random(leaf.shape) ** 1.5).astype(np.int64)
        drawn: Ints = self.items[self.starts[leaf] + rank]
        return drawn


def first_stock(catalogue: Catalogue, rng: np.random.Generator) -> Stock:
    """The stock of the first morning; later arrivals already have their appeal."""
    count = len(catalogue.leaf)
    return Stock(
        rng.standard_normal(count), rng.standard_normal(count), catalogue.price, np.zeros(count, bool), catalogue.vector
    )


def next_stock(
    world: World, catalogue: Catalogue, stock: Stock, day: int, rng: np.random.Generator
) -> tuple[Stock, Ints]:
    """The stock of `day` and the items whose row changed overnight."""
    living = catalogue.living(day)
    repriced = rng.choice(living, round(REPRICED * world.drift * living), replace=False)
    price, vector = stock.price.copy(), stock.vector.copy()
    factor = rng.uniform(0.75, 1.1, len(repriced))
    price[repriced] = sellable(price[repriced] * factor)
    level = vector[repriced, TASTES] / PRICE_TASTE + np.log(factor) / PRICE_SPREAD
    vector[repriced, TASTES:] = price_columns(level)
    leaving = np.zeros(len(price), bool)
    leaving[rng.choice(living, round(SOLD_OUT * world.drift * living), replace=False)] = True
    back = stock.sold_out & (rng.random(len(price)) < RESTOCKED)
    sold_out = (stock.sold_out | leaving) & ~back
    changed = np.union1d(repriced, np.flatnonzero(sold_out != stock.sold_out))
    moved = replace(
        stock, appeal=drifted(stock.appeal, world.drift, rng), price=price, sold_out=sold_out, vector=vector
    )
    return moved, changed


def drifted(mood: Floats, drift: float, rng: np.random.Generator) -> Floats:
    """The next day of a standard normal value that loses the share `drift` of its variance a day."""
    moved: Floats = np.sqrt(1.0 - drift) * mood + np.sqrt(drift) * rng.standard_normal(len(mood))
    return moved


def make_shelf(world: World, catalogue: Catalogue, stock: Stock, day: int) -> Shelf:
    """What is on offer on `day`: created before it began, and not sold out."""
    living = catalogue.living(day)
    age = np.maximum(START + day * DAY - catalogue.created, 0) / DAY
    trust = np.where(catalogue.created == START, 1.0, 1.0 - np.exp(-age / LEARNING_DAYS))
    belief = SHARPNESS * stock.appeal + np.sqrt(1.0 - SHARPNESS**2) * stock.error
    known = trust * belief + (1.0 - trust) * NEWCOMER
    offered = np.flatnonzero(~stock.sold_out[:living])
    items = offered[np.lexsort((-known[offered], catalogue.leaf[offered]))]
    starts = np.searchsorted(catalogue.leaf[items], np.arange(catalogue.leaf.max() + 2))
    return Shelf(day, known, items, starts, hidden=2 * world.page_size)
