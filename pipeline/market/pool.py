"""The candidates of each request: what the shop would consider, and others whose truth shows what it missed.

Requests of one class (a query intent, a leaf for similar items, a mixture of leaves for recommendations) share a
head: the items that the shop ranks first for the class. The shop's own logger shows only the head; the rest of the pool
is only judged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.market.catalogue import NONE, Ints
from pipeline.market.sessions import RECOMMEND, SEARCH, SIMILAR, Market, Visits
from pipeline.market.shelf import Shelf
from pipeline.market.vocabulary import Vocabulary
from pipeline.market.world import Floats

# logger -> how it weighs popularity, match with the query, and the rotation that differs between shoppers.
LOGGERS: dict[str, tuple[float, float, float]] = {
    "random": (0.0, 0.0, 0.0),
    "popular": (1.0, 0.0, 0.0),
    "match": (0.2, 3.0, 1.0),
    "popular+match": (1.0, 2.5, 0.7),
}
BUCKETS = 64  # groups of shoppers between whom the shop rotates what it shows
OFFERS = 16  # mixtures of leaves that are recommended to a segment
MIXED = 5  # leaves of one mixture
WRONG_BRAND, WRONG_LOOK, NEAR_LEAF = 0.5, 0.65, 0.3


@dataclass(frozen=True, slots=True)
class Heads:
    """For each class its head `[C, H]` (`NONE` where it is shorter), the shop's scores, and the class's size `[C]`."""

    items: Ints
    score: Floats
    size: Ints


@dataclass(frozen=True, slots=True)
class Pool:
    """`[R, K]`: items, which of them exist (no item twice), and the shop's score, -inf for what it does not consider.

    size `[R]`: how many items a logger that draws at random draws from.
    """

    items: Ints
    valid: NDArray[np.bool_]
    score: Floats
    size: Ints


def matching(brand: Ints, color: Ints, material: Ints, wanted: tuple[Ints, Ints, Ints]) -> Floats:
    """How far items of the right leaf are what was asked for, in (0, 1]; nothing asked for matches all."""
    match = np.where((wanted[0] == NONE) | (wanted[0] == brand), 1.0, WRONG_BRAND)
    match = np.where((wanted[1] == NONE) | (wanted[1] == color), match, match * WRONG_LOOK)
    return np.where((wanted[2] == NONE) | (wanted[2] == material), match, match * WRONG_LOOK)


def make_heads(market: Market, words: Vocabulary, shelf: Shelf) -> Heads:
    """The heads of all classes: the intents, then the recommendations."""
    world, intents, catalogue = market.world, market.intents, market.catalogue
    popular, match, _ = LOGGERS[world.logger]
    width = world.pool // 2
    offers = _offers(market, words)
    count = len(intents.leaf) + len(offers)
    items, score = np.full((count, width), NONE), np.full((count, width), -np.inf)
    size = np.zeros(count, dtype=np.int64)
    for intent, leaf in enumerate(intents.leaf.tolist()):
        inside = shelf.inside(leaf)
        wanted = (intents.brand[intent], intents.color[intent], intents.material[intent])
        fit = matching(catalogue.brand[inside], catalogue.color[inside], catalogue.material[inside], wanted)
        size[intent] = len(inside)
        _put(items[intent], score[intent], inside, popular * shelf.known[inside] + match * fit)
    for at, leaves in enumerate(offers, start=len(intents.leaf)):
        inside = np.concatenate([shelf.inside(leaf) for leaf in leaves])
        size[at] = len(inside)
        _put(items[at], score[at], inside, popular * shelf.known[inside])
    return Heads(items, score, size)


def gather(
    market: Market, words: Vocabulary, shelf: Shelf, heads: Heads, visits: Visits, *, rng: np.random.Generator
) -> Pool:
    """The pools of a block of requests."""
    world, catalogue, intents = market.world, market.catalogue, market.intents
    bucket = visits.who % BUCKETS + BUCKETS * shelf.day
    seed_leaf = catalogue.leaf[visits.seed]
    group = np.where(visits.surface == SEARCH, visits.intent, intents.plain[seed_leaf])
    group = np.where(visits.surface == RECOMMEND, len(intents.leaf) + _offer(market, visits, bucket), group)
    liked = market.shoppers.favourites[visits.who, 0]
    leaf = np.where(visits.surface == SEARCH, intents.leaf[visits.intent], seed_leaf)
    leaf = np.where(visits.surface == RECOMMEND, liked, leaf)
    size = heads.size[group]
    if world.logger == "random":
        head = _uniform(shelf, leaf, visits.surface == RECOMMEND, heads.items.shape[1], rng)
        score = np.broadcast_to(-np.arange(head.shape[1], dtype=np.float64), head.shape)
        inside = np.diff(shelf.starts)[leaf] - (visits.surface == SIMILAR)
        size = np.where(visits.surface == RECOMMEND, len(shelf.items), inside)
    else:
        head = heads.items[group]
        score = heads.score[group] + LOGGERS[world.logger][2] * rotation(head, bucket[:, None])
    extra = _extras(words, shelf, leaf, world.pool - head.shape[1], rng)
    items = np.hstack([head, extra])
    valid = (items != NONE) & (items != visits.seed[:, None]) & ~_repeated(items)
    padded = np.hstack([score, np.full(extra.shape, -np.inf)])
    return Pool(items, valid, np.where(valid, padded, -np.inf), size)


def admit(pool: Pool, shown: Ints) -> tuple[Pool, Ints]:
    """The pool with all that is shown, and the column of each shown item. shown: `[R, S]`, `NONE` = nothing.

    A policy with a retrieval of its own shows what the shop would not have considered; it is judged all the same.
    """
    here = (pool.items[:, None, :] == shown[:, :, None]) & pool.valid[:, None, :]
    column = np.where(here.any(axis=2), here.argmax(axis=2), NONE)
    new = (shown != NONE) & (column == NONE)
    if not new.any():
        return pool, column
    column = np.where(new, pool.items.shape[1] + np.arange(shown.shape[1]), column)
    items = np.hstack([pool.items, np.where(new, shown, NONE)])
    unscored = np.full(shown.shape, -np.inf)
    return Pool(items, np.hstack([pool.valid, new]), np.hstack([pool.score, unscored]), pool.size), column


def _offers(market: Market, words: Vocabulary) -> list[list[int]]:
    """The leaves that each class of recommendations draws from.

    A logger of popularity alone has one class; the others offer each segment (first those without an account)
    several mixtures of the leaves of its departments.
    """
    leaves = list(range(len(words.leaves)))
    if not LOGGERS[market.world.logger][1]:
        return [leaves]
    rng = np.random.default_rng([market.world.seed, 2])
    offers: list[list[int]] = []
    for parts in (range(len(words.departments)), *words.segments.values()):
        own = [leaf for leaf in leaves if words.leaves[leaf].department in parts] or leaves
        offers += [rng.choice(own, min(MIXED, len(own)), replace=False).tolist() for _ in range(OFFERS)]
    return offers


def _offer(market: Market, visits: Visits, bucket: Ints) -> Ints:
    """Which class of recommendations each request belongs to."""
    if not LOGGERS[market.world.logger][1]:
        return np.zeros(len(visits), dtype=np.int64)
    segment = np.where(visits.anonymous, 0, 1 + market.shoppers.segment[visits.who])
    offer: Ints = segment * OFFERS + (bucket + bucket // BUCKETS) % OFFERS
    return offer


def rotation(items: Ints, bucket: Ints) -> Floats:
    """A fixed value of mean 0 and standard deviation 1 for each (item, bucket): splitmix64 of the two."""
    mixed = items.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + bucket.astype(np.uint64) * np.uint64(
        0xD1B54A32D192ED03
    )
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    spread: Floats = (uniform - 0.5) * np.sqrt(12.0)
    return spread


def _put(items: Ints, score: Floats, inside: Ints, values: Floats) -> None:
    width = len(items)
    if len(inside) > width:
        few = np.argpartition(-values, width - 1)[:width]
        inside, values = inside[few], values[few]
    order = np.lexsort((inside, -values))
    items[: len(order)] = inside[order]
    score[: len(order)] = values[order]


def _uniform(shelf: Shelf, leaf: Ints, anywhere: NDArray[np.bool_], width: int, rng: np.random.Generator) -> Ints:
    """Independent uniform draws; the first of each item are a uniform sample without replacement."""
    inside = shelf.draw(np.broadcast_to(leaf[:, None], (len(leaf), width)), rng)
    return np.where(anywhere[:, None], rng.choice(shelf.items, (len(leaf), width)), inside)


def _extras(words: Vocabulary, shelf: Shelf, leaf: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Items to be judged beside the head: a third of the leaf, a sixth of its department, the rest of anywhere."""
    rows = len(leaf)
    department = [entry.department for entry in words.leaves]
    table = np.array([np.resize([i for i, other in enumerate(department) if other == own], 5) for own in department])
    own = np.broadcast_to(leaf[:, None], (rows, count // 3))
    near = table[leaf[:, None], rng.integers(0, 5, (rows, count // 6))]
    rest = count - own.shape[1] - near.shape[1]
    return np.hstack([shelf.draw(own, rng), shelf.draw(near, rng), rng.choice(shelf.items, (rows, rest))])


def _repeated(items: Ints) -> NDArray[np.bool_]:
    """Which entries of a row stand further left already."""
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, axis=1)
    again = np.zeros(items.shape, dtype=bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.empty_like(again)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated
