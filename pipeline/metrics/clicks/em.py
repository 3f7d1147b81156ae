"""Expectation-maximisation shared by the models in which a click is examination of a cell times attractiveness.

    P(click) = theta[cell] * gamma[pair],    gamma drawn from a distribution over GRID that belongs to the pair's class

A cell is a position (position-based model), or a position and what was clicked above (user-browsing model). A gamma of
its own for every pair cannot be fitted where most pairs are seen once or twice: the likelihood then drives theta to 1
(Neyman and Scott 1948). So gamma is integrated over a distribution that is fitted as well, any distribution on a grid
(Laird, JASA 1978). Pairs of one class share it; classes hold apart what a logger put in different places, as its order
depends on gamma (Chamberlain 1980).

The latent variable is gamma alone, not whether an item was examined: theta then solves an equation in one unknown, and
EM needs tens of iterations where examination as a latent variable needs hundreds, as clicks are rare.
Letters: Q patterns, C cells, G values of GRID.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

Numbers = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID: Final = 1.0 / (1.0 + np.exp(-np.linspace(-5.5, 2.5, 17)))  # 0.004 to 0.92
LEAST: Final = 1e-9
ITERATIONS: Final = 300
CLOSE: Final = 1e-4
BISECTIONS: Final = 45
MOST: Final = 150_000_000  # numbers of a table of patterns


@dataclass(frozen=True, slots=True)
class Patterns:
    """What was seen of pairs; pairs of which the same was seen are one pattern.

    clicked, skipped: `[Q, C]`, how often with and without a click; klass: `[Q]`; pairs: `[Q]`, how many; own:
    `[pairs]`, the pattern of each pair, -1 for a pair that was not seen.
    """

    clicked: Floats
    skipped: Floats
    klass: Ints
    pairs: Floats
    own: Ints


def patterns_of(pair: Numbers, cell: Numbers, clicked: Numbers, klass: Numbers, cells: int) -> Patterns:
    """Rows `[n]` counted by pair and cell; klass: `[pairs]`, whose numbers `pair` holds.

    Raises InputError when the table of counts would not fit into memory.
    """
    key, row = np.unique(pair.astype(np.int64) * cells + cell, return_inverse=True)
    shown = np.bincount(row)
    clicks = np.bincount(row, weights=clicked).astype(np.int64)
    seen, start, owner = np.unique(key // cells, return_index=True, return_inverse=True)
    entry = _mixed(_mixed(_mixed(key % cells) + shown.astype(np.uint64)) + clicks.astype(np.uint64))
    sums = np.add.reduceat(entry, start) if len(start) else entry
    _, kept, pattern, many = np.unique(
        sums + _mixed(klass[seen] + 1), return_index=True, return_inverse=True, return_counts=True
    )
    if len(kept) * cells > MOST:
        raise InputError("depth", f"so few positions that {len(kept)} histories of pairs times {cells} cells fit")
    mine = np.full(len(seen), -1)
    mine[kept] = np.arange(len(kept))
    entries = np.flatnonzero(mine[owner] >= 0)
    place = mine[owner[entries]], key[entries] % cells
    table = np.zeros((2, len(kept), cells))
    table[0][place], table[1][place] = clicks[entries], (shown - clicks)[entries]
    own = np.full(len(klass), -1)
    own[seen] = pattern
    return Patterns(table[0], table[1], klass[seen][kept].astype(np.int64), many.astype(np.float64), own)


def _mixed(numbers: Numbers) -> NDArray[np.uint64]:
    """Each number spread over 64 bits (splitmix64), so that sums of different sets of them differ."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


@dataclass(frozen=True, slots=True)
class Fitted:
    """theta `[C]`, known up to a common factor; share `[classes, G]`: P(gamma | class); trace: log-likelihood of the
    parameters before each iteration; settled: whether the last iterations no longer moved them."""

    theta: Floats
    share: Floats
    trace: tuple[float, ...]
    settled: bool


def fit(patterns: Patterns, theta: Floats, share: Floats, iterations: int = ITERATIONS, close: float = CLOSE) -> Fitted:
    """EM from theta `[C]` and share `[classes, G]`; the likelihood never falls. close: ends when no theta moves by
    more, relative to the others."""
    clicks = patterns.pairs @ patterns.clicked
    trace: list[float] = []
    settled = False
    while len(trace) < iterations and not settled:
        weight, likelihood = posterior(patterns, theta, share)
        trace.append(likelihood)
        weight *= patterns.pairs[:, None]
        before, theta = theta, best_theta(clicks, patterns.skipped.T @ weight)
        share = np.stack([np.bincount(patterns.klass, weights=w, minlength=len(share)) for w in weight.T], axis=1)
        share = share / np.maximum(share.sum(axis=1, keepdims=True), LEAST)
        settled = _moved(before, theta, clicks) < close
    return Fitted(theta, share, tuple(trace), settled)


def posterior(patterns: Patterns, theta: Floats, share: Floats) -> tuple[Floats, float]:
    """P(gamma | what was seen) of each pattern `[Q, G]`, and the log-likelihood of all pairs."""
    chance = np.clip(theta[:, None] * GRID, LEAST, 1.0 - LEAST)
    joint = patterns.clicked @ np.log(chance) + patterns.skipped @ np.log1p(-chance)
    joint += np.log(np.maximum(share, 1e-300))[patterns.klass]
    top = joint.max(axis=1, keepdims=True)
    joint = np.exp(joint - top)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, float(patterns.pairs @ (top + np.log(total))[:, 0])


def best_theta(clicks: Floats, skipped: Floats) -> Floats:
    """theta `[C]` that solves clicks = sum over gamma of skipped * theta gamma / (1 - theta gamma), by bisection.

    skipped: `[C, G]`, expected rows without a click. The right side rises with theta from 0.
    """
    low, high = np.zeros(len(clicks)), np.full(len(clicks), (1.0 - 1e-6) / GRID[-1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        chance = middle[:, None] * GRID
        less = (skipped * chance / (1.0 - chance)).sum(axis=1) < clicks
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.asarray(np.maximum((low + high) / 2, LEAST))


def _moved(before: Floats, after: Floats, clicks: Floats) -> float:
    """The largest relative step of a cell, apart from the step of all, over the cells that were clicked."""
    known = clicks > 0
    if not known.any():
        return 0.0
    step = np.log(after[known] / before[known])
    return float(np.abs(step - np.average(step, weights=clicks[known])).max())


def random_start(cells: int, classes: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """theta between 0.1 and 1, and the shares of every class, at random."""
    return rng.uniform(0.1, 1.0, cells), rng.dirichlet(np.ones(len(GRID)), size=classes)


def attractiveness(patterns: Patterns, fitted: Fitted, klass: Numbers) -> Floats:
    """Expected gamma of each pair, `[pairs]`; of a pair that was not seen, that of its class."""
    seen = posterior(patterns, fitted.theta, fitted.share)[0] @ GRID
    unseen = fitted.share @ GRID
    return np.where(patterns.own >= 0, seen[np.maximum(patterns.own, 0)], unseen[klass])
