"""One day of visits: who comes when, on which surface, looking for what. Whole days at once, session steps in turn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.market.catalogue import NONE, Catalogue, Ints
from pipeline.market.queries import FOLLOWER_WEIGHTS, MISSPELT, Intents, popularity
from pipeline.market.shelf import Shelf
from pipeline.market.shoppers import DEVICES, Shoppers
from pipeline.market.world import DAY, START, Floats, World

SEARCH, RECOMMEND, SIMILAR = 0, 1, 2
SURFACES = ("search", "recommend", "similar")
SESSION_STEPS = 12
STAY = 0.7  # chance of one more request
RECOMMENDED = 0.6  # of the pages that are no searches
PERSONAL_QUERIES = 0.5  # share of fresh queries that come from the shopper's favourite leaves
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 7, 8, 7, 6, 6, 7, 8, 10, 12, 13, 11, 7, 4], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Visits:
    """The requests of one day, `[R]` each, session after session.

    who: the shopper, also behind a session without an account; number: of the session; intent: `NONE` except
    in a search; seed: the item of a `similar` request, else `NONE`; focus: the leaf that the session last
    looked at, or `NONE`; typo: column of `Intents.texts`; pages: 1 or 2.
    """

    who: Ints
    number: Ints
    anonymous: NDArray[np.bool_]
    device: Ints
    time: Ints
    surface: Ints
    intent: Ints
    typo: Ints
    seed: Ints
    focus: Ints
    pages: Ints
    explored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.who)

    def take(self, rows: Ints | slice) -> "Visits":
        """Some of the requests."""
        return Visits(
            self.who[rows],
            self.number[rows],
            self.anonymous[rows],
            self.device[rows],
            self.time[rows],
            self.surface[rows],
            self.intent[rows],
            self.typo[rows],
            self.seed[rows],
            self.focus[rows],
            self.pages[rows],
            self.explored[rows],
        )


@dataclass(frozen=True, slots=True)
class Market:
    """What the whole log has in common."""

    world: World
    catalogue: Catalogue
    shoppers: Shoppers
    intents: Intents


def visit(market: Market, shelf: Shelf, mood: Floats, first: int, rng: np.random.Generator) -> Visits:
    """All requests of the shelf's day; sessions are numbered from `first` on."""
    world = market.world
    quota = pages_of(world, shelf.day)
    sessions = quota
    steps = np.minimum(rng.geometric(1.0 - STAY, sessions), SESSION_STEPS)
    who, anonymous = _visitors(world, market.shoppers, shelf.day, sessions, rng)
    steps = np.where(market.shoppers.bot[who], SESSION_STEPS, steps)
    wanted = _wants(market, shelf, mood, who, rng)
    time = _times(shelf.day, steps, rng)
    pages = 1 + (rng.random(time.shape) < world.second_pages)
    asked = np.arange(SESSION_STEPS) < steps[:, None]
    session, step = np.nonzero(asked)
    shown = np.cumsum(pages[session, step])
    keep = int(np.searchsorted(shown, quota)) + 1
    session, step = session[:keep], step[:keep]
    pages = pages[session, step]
    pages[-1] -= shown[keep - 1] - quota
    surface, intent, seed, focus = (part[session, step] for part in wanted)
    typo = (rng.random(keep) < world.typo_rate) * rng.integers(1, MISSPELT + 1, keep)
    device = np.where(rng.random(sessions) < 0.8, market.shoppers.device[who], rng.integers(0, len(DEVICES), sessions))
    return Visits(
        who=who[session],
        number=first + session,
        anonymous=anonymous[session],
        device=device[session],
        time=time[session, step],
        surface=surface,
        intent=intent,
        typo=typo,
        seed=seed,
        focus=focus,
        pages=pages,
        explored=(rng.random(keep) < world.explored) | (world.logger == "random"),
    )


def pages_of(world: World, day: int) -> int:
    """Pages of a day; the days together show exactly `world.impressions`."""
    return world.impressions * (day + 1) // world.days - world.impressions * day // world.days


def _visitors(
    world: World, shoppers: Shoppers, day: int, sessions: int, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    reach = np.cumsum(shoppers.activity[: shoppers.living(day)])
    who = np.searchsorted(reach, rng.random(sessions) * reach[-1], side="right")
    return np.minimum(who, len(reach) - 1), rng.random(sessions) < world.anonymous


def _wants(
    market: Market, shelf: Shelf, mood: Floats, who: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, Ints]:
    """Surface, intent, seed item and focus `[S, SESSION_STEPS]`; each step of a session may follow the last."""
    world, intents = market.world, market.intents
    demand = np.cumsum(popularity(intents, mood))
    personal = PERSONAL_QUERIES * world.session_intent * min(1.0, world.taste_strength)
    last, focus = np.full(len(who), NONE), np.full(len(who), NONE)
    wanted: list[tuple[Ints, Ints, Ints, Ints]] = []
    for _ in range(SESSION_STEPS):
        surface = np.where(
            rng.random(len(who)) < world.search_share,
            SEARCH,
            np.where(rng.random(len(who)) < RECOMMENDED, RECOMMEND, SIMILAR),
        )
        fresh = np.minimum(np.searchsorted(demand, rng.random(len(who)) * demand[-1], side="right"), len(demand) - 1)
        liked = market.shoppers.favourites[who, rng.integers(0, market.shoppers.favourites.shape[1], len(who))]
        own = _nth(intents.leaf, liked, rng)
        fresh = np.where(rng.random(len(who)) < personal, own, fresh)
        refined = intents.followers[last, rng.choice(len(FOLLOWER_WEIGHTS), len(who), p=FOLLOWER_WEIGHTS)]
        intent = np.where((last != NONE) & (rng.random(len(who)) < world.session_intent), refined, fresh)
        seeds = shelf.seeds(
            np.where((focus != NONE) & (rng.random(len(who)) < world.session_intent), focus, intents.leaf[fresh]), rng
        )
        wanted.append(
            (surface, np.where(surface == SEARCH, intent, NONE), np.where(surface == SIMILAR, seeds, NONE), focus)
        )
        last = np.where(surface == SEARCH, intent, last)
        looked = np.where(surface == SEARCH, intents.leaf[intent], market.catalogue.leaf[seeds])
        focus = np.where(surface == RECOMMEND, focus, looked)
    surfaces, searched, seeded, focused = (np.stack(part, axis=1) for part in zip(*wanted, strict=True))
    return surfaces, searched, seeded, focused


def _nth(groups: Ints, wanted: Ints, rng: np.random.Generator) -> Ints:
    """A member of each wanted group, the earlier (plainer) ones more often; `groups` is sorted."""
    start, stop = np.searchsorted(groups, wanted), np.searchsorted(groups, wanted, side="right")
    member: Ints = start + ((stop - start) * rng.random(len(wanted)) ** 2).astype(np.int64)
    return member


def _times(day: int, steps: Ints, rng: np.random.Generator) -> Ints:
    """Times `[S, SESSION_STEPS]` in ms, ascending; a session ends on the day on which it began."""
    hour = rng.choice(24, size=len(steps), p=HOURS / HOURS.sum())
    begin = (hour + rng.random(len(steps))) * 3_600_000
    gaps = np.minimum(np.exp(rng.normal(3.8, 0.7, (len(steps), SESSION_STEPS))) * 1000, 600_000)
    gaps[:, 0] = 0
    inside = np.cumsum(gaps + 5000, axis=1)
    latest = DAY - 900_000 - inside[np.arange(len(steps)), steps - 1]
    moments: Ints = (START + day * DAY + np.minimum(begin, latest)[:, None] + inside).astype(np.int64)
    return moments
