"""The shoppers: what their account says, and the taste behind it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.market.catalogue import REGIONS, TASTES, Catalogue, Ints
from pipeline.market.vocabulary import Vocabulary
from pipeline.market.world import DAY, START, Floats, World

AGES = ("18-24", "25-34", "35-49", "50-64", "65+")
DEVICES = ("mobile", "desktop", "tablet")
FAVOURITES = 3
TASTE_SCALE = 3.0  # gives taste a standard deviation of about 1 over (shopper, item)
FOUNDERS = 0.7  # share of the accounts that exist on the first day
BOT_ACTIVITY = 1.5  # times that of a person, in sessions of full length


@dataclass(frozen=True, slots=True)
class Shoppers:
    """`[U]` each, in the order in which their accounts were opened."""

    segment: Ints
    age: Ints
    region: Ints
    device: Ints
    joined: Ints
    activity: Floats
    bot: NDArray[np.bool_]
    favourites: Ints  # [U, FAVOURITES] leaves
    taste: Floats  # [U, TASTES + 2], already times `taste_strength`

    def living(self, day: int) -> int:
        """How many accounts exist when the day begins."""
        return int(np.searchsorted(self.joined, START + day * DAY, side="right"))


def make_shoppers(world: World, words: Vocabulary, catalogue: Catalogue, rng: np.random.Generator) -> Shoppers:
    """All shoppers, those who join later included. Taste follows the segment and the age, but not strictly."""
    count = world.users
    founders = max(1, round(FOUNDERS * count))
    joined = np.full(count, START)
    joined[founders:] = START + np.sort(rng.integers(0, max(1, world.days - 1) * DAY, count - founders))
    segment = rng.integers(0, len(words.segments), count)
    favourites = _favourites(rng, words, segment)
    age = rng.integers(0, len(AGES), count)
    mixed = (
        catalogue.leaf_vectors[favourites].sum(axis=1) * 0.5
        + catalogue.brand_vectors[_brands(rng, words, favourites, segment)].sum(axis=1) * 0.7
        + catalogue.style_vectors[_shared(rng, segment, 2, (count, 1), len(words.colors))[:, 0]] * 0.7
        + rng.standard_normal((count, TASTES)) / np.sqrt(TASTES) * 0.3
    )
    level = 0.45 * (age - 2) + 0.4 * rng.standard_normal(count)
    taste = np.hstack([TASTE_SCALE * mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.ones((count, 2))])
    taste[:, TASTES] = level
    bot = rng.random(count) < world.bots
    activity = np.exp(1.3 * rng.standard_normal(count)) * np.where(bot, BOT_ACTIVITY, 1.0)
    return Shoppers(
        segment=segment,
        age=age,
        region=rng.choice(len(REGIONS), size=count, p=[0.4, 0.3, 0.2, 0.1]),
        device=rng.choice(len(DEVICES), size=count, p=[0.6, 0.33, 0.07]),
        joined=joined,
        activity=activity,
        bot=bot,
        favourites=favourites,
        taste=world.taste_strength * taste,
    )


def _favourites(rng: np.random.Generator, words: Vocabulary, segment: Ints) -> Ints:
    """Three leaves a shopper, two of them mostly from the segment's departments."""
    anywhere = np.arange(len(words.leaves))
    own = []
    for parts in words.segments.values():
        inside = [i for i, leaf in enumerate(words.leaves) if leaf.department in parts]
        own.append(np.array(inside or anywhere))
    width = max(len(leaves) for leaves in own)
    table = np.array([np.resize(leaves, width) for leaves in own])
    chosen: Ints = table[segment[:, None], rng.integers(0, width, (len(segment), FAVOURITES))]
    strays = rng.integers(0, len(anywhere), chosen.shape)
    return np.where(rng.random(chosen.shape) < [0.1, 0.25, 0.6], strays, chosen)


def _brands(rng: np.random.Generator, words: Vocabulary, favourites: Ints, segment: Ints) -> Ints:
    """One liked brand of each favourite leaf's department."""
    width = max(len(department.brands) for department in words.departments)
    table = np.array([np.resize(words.departments[leaf.department].brands, width) for leaf in words.leaves])
    brands: Ints = table[favourites, _shared(rng, segment, 1, favourites.shape, width)]
    return brands


def _shared(rng: np.random.Generator, segment: Ints, apart: int, shape: tuple[int, ...], count: int) -> Ints:
    """One of `count` choices for each shopper; those of a segment mostly agree, so that taste can be guessed."""
    return (apart * segment[:, None] + rng.geometric(0.6, shape) - 1) % count
