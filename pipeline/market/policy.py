"""Who orders the pages. The market asks a policy; the shop's own logger is one, a trained bundle may be another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.market.catalogue import NONE, Ints
from pipeline.market.pool import Pool
from pipeline.market.sessions import Visits
from pipeline.market.world import Floats, World


@dataclass(frozen=True, slots=True)
class Requests:
    """A block of R requests. pool: what the shop's own logger would consider; asked: makes what the log will say of
    each request (`rows.request_rows`), which is all that a policy from outside may look at, with `visits.explored`."""

    visits: Visits
    pool: Pool
    asked: Callable[[], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Slate:
    """`[R, depth]`: the item at each position (`NONE` past the end) and how likely it was to stand there.

    item: any of the catalogue, in the pool or not; propensity: P(item here | request, items above); marginal:
    P(item here | request), NaN where unknown.
    """

    item: Ints
    propensity: Floats
    marginal: Floats


class Policy(Protocol):
    """Answers a block of requests, `depth` items deep."""

    def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        """The slates, one a request."""


class Listener(Policy, Protocol):
    """A policy from outside, which knows what it has been told."""

    def hear(self, lines: pl.Series) -> None:
        """Events as they were delivered since the last call, as JSON lines; called before what comes later is asked."""


@dataclass(frozen=True, slots=True)
class LoggingPolicy:
    """The shop's score, best first; explored requests shuffle what would have been the first `depth` items."""

    name: str
    exploration: str

    def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        """As declared. A logger that draws at random states the propensities of its draws on every page."""
        visits, pool = requests.visits, requests.pool
        column = best(pool.score, depth)
        present = column != NONE
        place = np.broadcast_to(np.arange(depth), column.shape)
        if self.name == "random":
            left = np.maximum(pool.size[:, None] - place, 1)
            marginal = np.broadcast_to(1.0 / pool.size[:, None], column.shape)
            return Slate(_items(pool, column), 1.0 / left, marginal)
        shuffled, propensity, marginal = _explore(self.exploration, column, pool.score, rng)
        chosen = visits.explored[:, None]
        return Slate(
            _items(pool, np.where(chosen, shuffled, column)),
            np.where(chosen & present, propensity, 1.0),
            np.where(chosen & present, marginal, 1.0),
        )


def logging_policy(world: World) -> LoggingPolicy:
    """The policy that a world declares."""
    return LoggingPolicy(world.logger, world.exploration)


def _items(pool: Pool, column: Ints) -> Ints:
    found: Ints = np.where(column == NONE, NONE, np.take_along_axis(pool.items, np.maximum(column, 0), axis=1))
    return found


def best(score: Floats, depth: int) -> Ints:
    """Columns `[R, depth]` of the highest scores, best first, ties by column; `NONE` past the finite ones."""
    column = np.argsort(-score, axis=1, kind="stable")[:, :depth]
    finite = np.isfinite(np.take_along_axis(score, column, axis=1))
    return np.where(finite, column, NONE)


def shuffle(present: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    """A uniform order of the present entries of each row: order `[R, M]`, propensity, marginal.

    Of m entries the one at position p is drawn from the m - p left: 1 / (m - p); each entry stands there with 1 / m.
    """
    keys = np.where(present, rng.random(present.shape), np.inf)
    order = np.argsort(keys, axis=1, kind="stable")
    many = present.sum(axis=1, keepdims=True)
    left = np.maximum(many - np.arange(present.shape[1]), 1)
    return order, 1.0 / left, np.broadcast_to(1.0 / np.maximum(many, 1), present.shape)


def plackett_luce(score: Floats, present: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    """An order drawn by Plackett-Luce (Plackett 1975), by the Gumbel-max trick (Yellott 1977).

    The next item is drawn with exp(score) over the sum of what is left, which is its propensity. The marginal
    has no closed form and is NaN.
    """
    utility = np.where(present, score, -np.inf)
    gumbel = utility + rng.gumbel(size=score.shape)
    order = np.argsort(-gumbel, axis=1, kind="stable")
    weight = np.exp(np.take_along_axis(utility - utility.max(axis=1, keepdims=True, initial=-1e9), order, axis=1))
    left = np.cumsum(weight[:, ::-1], axis=1)[:, ::-1]
    return order, weight / np.maximum(left, np.finfo(np.float64).tiny), np.full(score.shape, np.nan)


def _explore(exploration: str, column: Ints, score: Floats, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    present = column != NONE
    if exploration == "uniform":
        order, propensity, marginal = shuffle(present, rng)
    else:
        order, propensity, marginal = plackett_luce(np.take_along_axis(score, column, axis=1), present, rng)
    return np.take_along_axis(column, order, axis=1), propensity, marginal
