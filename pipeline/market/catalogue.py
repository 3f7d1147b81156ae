"""The items: what is written about them, and what only the market knows (taste vector, appeal, worth).

Items are indices in the order of their creation, so the items of a day are a prefix.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.market.vocabulary import Vocabulary
from pipeline.market.world import DAY, START, Floats, World

Ints = NDArray[np.int64]

TASTES = 16  # latent dimensions of taste; two more columns hold the price level
REGIONS = ("north", "south", "east", "west")
NONE = -1
CONTENT_SHARE = 0.03
REGIONAL_SHARE = 0.05
PRICE_SPREAD = 0.45  # standard deviation of log price within a leaf
PRICE_TASTE = 0.4  # weight of the distance to the shopper's price level


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All items that ever exist, `[N]` each; `NONE` where an item has no brand, colour, material or region."""

    leaf: Ints
    department: Ints
    brand: Ints
    color: Ints
    material: Ints
    region: Ints
    adjective: Ints
    size: Ints
    noun: Ints
    content: NDArray[np.bool_]
    created: Ints
    price: Floats
    worth: Floats
    vector: Floats  # [N, TASTES + 2]
    leaf_vectors: Floats
    brand_vectors: Floats
    style_vectors: Floats

    def living(self, day: int) -> int:
        """How many items exist when the day begins."""
        return int(np.searchsorted(self.created, START + day * DAY, side="right"))


def make_catalogue(world: World, words: Vocabulary, rng: np.random.Generator) -> Catalogue:
    """The whole catalogue, later arrivals included."""
    arrivals = round(world.new_items_per_day * world.items)
    count = world.items + arrivals * (world.days - 1)
    leaf = _leaves(rng, count, world.items, len(words.leaves))
    department = np.array([entry.department for entry in words.leaves])[leaf]
    content = rng.random(count) < CONTENT_SHARE
    brand = _pick(rng, [words.departments[leaf.department].brands for leaf in words.leaves], leaf, skew=0.7)
    material = _pick(rng, [words.departments[leaf.department].materials for leaf in words.leaves], leaf, skew=0.5)
    color = np.minimum(rng.geometric(0.15, count) - 1, len(words.colors) - 1)
    level = rng.standard_normal(count)
    median = np.array([entry.price for entry in words.leaves])[leaf]
    geometry = [_unit(rng.standard_normal((n, TASTES))) for n in _sizes(words)]
    leaf_vectors, brand_vectors, style_vectors = geometry
    own = rng.standard_normal((count, TASTES)) / np.sqrt(TASTES)
    style = style_vectors[color]
    mixed = 0.6 * leaf_vectors[leaf] + 0.6 * brand_vectors[brand] * ~content[:, None] + 0.45 * style + 0.35 * own
    created = np.full(count, START)
    day = np.repeat(np.arange(world.days - 1), arrivals)
    created[world.items :] = (
        START + day * DAY + np.sort(rng.integers(0, DAY, len(day)).reshape(-1, max(arrivals, 1))).ravel()
    )
    region = np.where(rng.random(count) < REGIONAL_SHARE, rng.integers(0, len(REGIONS), count), NONE)
    return Catalogue(
        leaf=leaf,
        department=department,
        brand=np.where(content, NONE, brand),
        color=np.where(content, NONE, color),
        material=np.where(content, NONE, material),
        region=region,
        adjective=rng.integers(0, 7, count),
        size=rng.integers(0, 100, count),
        noun=(rng.random(count) < 0.25).astype(np.int64),
        content=content,
        created=created,
        price=sellable(median * np.exp(PRICE_SPREAD * level)),
        worth=rng.standard_normal(count),
        vector=np.hstack([_unit(mixed), price_columns(level)]),
        leaf_vectors=leaf_vectors,
        brand_vectors=brand_vectors,
        style_vectors=style_vectors,
    )


def price_columns(level: Floats) -> Floats:
    """`[N, 2]`: with a shopper's `(level, 1)` their product is the taste for an item's price level.

    -(level - own)^2 / 2, less what does not depend on the item.
    """
    return PRICE_TASTE * np.stack([level, 0.5 - level**2 / 2], axis=1)


def sellable(price: Floats) -> Floats:
    """Prices as shops write them, ending in .49 or .99."""
    rounded: Floats = np.maximum(np.ceil(price * 2.0) / 2.0 - 0.01, 0.99)
    return np.round(rounded, 2)


def _sizes(words: Vocabulary) -> tuple[int, int, int]:
    return len(words.leaves), len(words.brands), len(words.colors)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _leaves(rng: np.random.Generator, count: int, first: int, leaves: int) -> Ints:
    """Leaves of unequal sizes; on the first day each has at least half its even share."""
    even = np.arange(first // 2) % leaves
    weight = rng.dirichlet(np.full(leaves, 3.0))
    rest = rng.choice(leaves, size=count - len(even), p=weight)
    leaf = np.concatenate([even, rest])
    leaf[:first] = rng.permutation(leaf[:first])
    return leaf


def _pick(rng: np.random.Generator, choices: list[tuple[int, ...]], leaf: Ints, skew: float) -> Ints:
    """One of the leaf's choices for each item: the c-th, in the leaf's own order, with a weight of (c + 1) ** -skew."""
    width = max(len(row) for row in choices)
    table = np.array([rng.permutation(np.resize(row, width)) for row in choices])
    weight = (np.arange(width) + 1.0) ** -skew
    chosen = np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(len(leaf)))
    picked: Ints = table[leaf, np.minimum(chosen, width - 1)]
    return picked
