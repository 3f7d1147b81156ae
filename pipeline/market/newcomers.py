"""Who and what comes after the last day of a world: each like one of those before, with a taste and a worth of its own.

A world is made whole, so that a longer one would be another. What comes later is appended and changes nothing earlier.
"""

from dataclasses import fields, replace

import numpy as np

from pipeline.market.catalogue import PRICE_SPREAD, PRICE_TASTE, TASTES, Catalogue, price_columns, sellable
from pipeline.market.shelf import Stock
from pipeline.market.shoppers import FOUNDERS, Shoppers
from pipeline.market.world import DAY, START, World

OWN = 0.35  # how far an item's taste lies from its model's
DEARER = 0.5  # how far its price does, in standard deviations of a leaf's log price
_GEOMETRY = ("leaf_vectors", "brand_vectors", "style_vectors")


def more_items(world: World, catalogue: Catalogue, day: int, rng: np.random.Generator) -> Catalogue:
    """The catalogue with what arrives on `day` and the following days, as many as a world has."""
    arrival = np.repeat(np.arange(day, day + world.days), round(world.new_items_per_day * world.items))
    count = len(arrival)
    model = rng.integers(0, len(catalogue.leaf), count)
    dearer = DEARER * rng.standard_normal(count)
    taste = catalogue.vector[model, :TASTES] + OWN * rng.standard_normal((count, TASTES)) / np.sqrt(TASTES)
    level = catalogue.vector[model, TASTES] / PRICE_TASTE + dearer
    own = {
        "created": START + np.sort(arrival * DAY + rng.integers(0, DAY, count)),
        "price": sellable(catalogue.price[model] * np.exp(PRICE_SPREAD * dearer)),
        "worth": rng.standard_normal(count),
        "vector": np.hstack([taste / np.linalg.norm(taste, axis=1, keepdims=True), price_columns(level)]),
    }
    names = [field.name for field in fields(Catalogue) if field.name not in _GEOMETRY]
    old = {name: getattr(catalogue, name) for name in names}
    return replace(catalogue, **{name: np.concatenate([old[name], own.get(name, old[name][model])]) for name in names})


def more_shoppers(world: World, shoppers: Shoppers, day: int, rng: np.random.Generator) -> Shoppers:
    """The shoppers with those who open an account on `day` and the following days, as many as in a world."""
    count = world.users - max(1, round(FOUNDERS * world.users))
    model = rng.integers(0, len(shoppers.segment), count)
    old = {field.name: getattr(shoppers, field.name) for field in fields(Shoppers)}
    new = {name: values[model] for name, values in old.items()}
    new["joined"] = START + day * DAY + np.sort(rng.integers(0, world.days * DAY, count))
    return Shoppers(**{name: np.concatenate([old[name], new[name]]) for name in old})


def more_stock(stock: Stock, catalogue: Catalogue, rng: np.random.Generator) -> Stock:
    """The stock with a row for each item that has none yet."""
    known = len(stock.appeal)
    count = len(catalogue.leaf) - known
    return Stock(
        appeal=np.concatenate([stock.appeal, rng.standard_normal(count)]),
        error=np.concatenate([stock.error, rng.standard_normal(count)]),
        price=np.concatenate([stock.price, catalogue.price[known:]]),
        sold_out=np.concatenate([stock.sold_out, np.zeros(count, dtype=bool)]),
        vector=np.concatenate([stock.vector, catalogue.vector[known:]]),
    )
