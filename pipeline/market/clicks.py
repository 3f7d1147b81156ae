"""What shoppers do with a page: look, click, put into the cart, buy, like, hide.

Position-based examination (Craswell et al., WSDM 2008) times relevance, less what similar neighbours take away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.market.catalogue import Catalogue, Ints
from pipeline.market.truth import CARTED
from pipeline.market.world import DAY, Floats, World

SAME_LEAF, SAME_BRAND, SAME_COLOR = 0.3, 0.4, 0.3
LIKE, HIDE = 0.04, 0.004
BOT_CLICK = 0.25  # whatever it looks at, so mostly what stands at the top
ACTIONS = ("view", "click", "cart", "purchase", "like", "hide")
VIEW, CLICK, CART, PURCHASE, LIKED, HIDDEN = range(len(ACTIONS))


@dataclass(frozen=True, slots=True)
class Pages:
    """`[P, S]` over the shown items of P pages: item, present, position; and the truth at each place.

    request: row of the visits `[P]`; time `[P]` ms; propensity and marginal as logged.
    """

    request: Ints
    number: Ints
    time: Ints
    item: Ints
    present: NDArray[np.bool_]
    position: Ints
    propensity: Floats
    marginal: Floats
    relevance: Floats
    click: Floats
    purchase: Floats


@dataclass(frozen=True, slots=True)
class Deeds:
    """One row an action `[F]`: the page and place it belongs to, the action, its time, and what a click lasted."""

    page: Ints
    place: Ints
    action: Ints
    time: Ints
    dwell: Ints


def crowding(catalogue: Catalogue, item: Ints, present: NDArray[np.bool_]) -> Floats:
    """`[P, S]`: mean similarity (0 to 1) of each item with those above it on the page.

    The first item has nothing above and takes its mean similarity with the whole page: in a uniformly shuffled
    page every place then has the same expectation, so that the effect is no position bias in disguise.
    """
    similar = np.zeros((*item.shape, item.shape[1]))
    for column, weight in ((catalogue.leaf, SAME_LEAF), (catalogue.brand, SAME_BRAND), (catalogue.color, SAME_COLOR)):
        value = column[item]
        known = np.where(value >= 0, value, np.nan)
        similar += weight * (known[:, :, None] == known[:, None, :])
    similar *= present[:, None, :] & ~np.eye(item.shape[1], dtype=bool)
    above = similar * np.tri(item.shape[1], k=-1)
    seen = np.maximum(np.cumsum(present, axis=1) - present, 1)
    crowd: Floats = above.sum(axis=2) / seen
    crowd[:, 0] = similar[:, 0].sum(axis=1) / np.maximum(present.sum(axis=1) - 1, 1)
    return crowd


def act(world: World, catalogue: Catalogue, pages: Pages, bot: NDArray[np.bool_], rng: np.random.Generator) -> Deeds:
    """Everything that follows from the pages, later purchases included. bot `[P]`."""
    shape = pages.item.shape
    looked = (rng.random(shape) < world.examine(pages.position)) & pages.present
    chance = pages.click * (1.0 - world.context_effect * crowding(catalogue, pages.item, pages.present))
    clicked = looked & (rng.random(shape) < chance)
    clicked = np.where(bot[:, None], looked & (rng.random(shape) < BOT_CLICK), clicked)
    human = ~bot[:, None]
    carted = clicked & human & (rng.random(shape) < pages.purchase / CARTED)
    bought = carted & (rng.random(shape) < CARTED)
    liked = clicked & human & (rng.random(shape) < LIKE * (0.5 + pages.relevance))
    hidden = looked & ~clicked & human & (rng.random(shape) < HIDE * (1.0 - pages.relevance))
    watched = (rng.random((shape[0], 1)) < world.view_share) & (looked | clicked)

    start = pages.time[:, None] + (500 + 2500 * rng.random(shape) * (1 + np.arange(shape[1]))).astype(np.int64)
    click_time = start + _soon(rng, shape, 3_000, 9_000)
    cart_time = click_time + _soon(rng, shape, 15_000, 120_000)
    wait = (rng.exponential(1.0, shape) * world.delay_days * DAY).astype(np.int64)
    done = {
        VIEW: (watched, start),
        CLICK: (clicked, click_time),
        CART: (carted, cart_time),
        PURCHASE: (bought, cart_time + _soon(rng, shape, 10_000, 60_000) + wait),
        LIKED: (liked, click_time + _soon(rng, shape, 5_000, 60_000)),
        HIDDEN: (hidden, start + _soon(rng, shape, 1_000, 5_000)),
    }
    dwell = np.exp(rng.normal(8.6, 0.8, shape) + 1.2 * pages.relevance).astype(np.int64)
    rows = [(*np.nonzero(mask), action, time[mask]) for action, (mask, time) in done.items()]
    page, place = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
    return Deeds(
        page=page,
        place=place,
        action=np.concatenate([np.full(len(row[0]), row[2]) for row in rows]),
        time=np.concatenate([row[3] for row in rows]),
        dwell=dwell[page, place],
    )


def _soon(rng: np.random.Generator, shape: tuple[int, ...], least: int, most: int) -> Ints:
    return rng.integers(least, most, shape)
