"""Dynamic Bayesian network with its perseverance fitted (Chapelle and Zhang, WWW 2009), by EM over whole pages.

Up to the last click everything was looked at; below it the reader was satisfied, gave up, or looked without clicking.
Attractiveness and satisfaction have Beta priors, fitted to the simplified model, as most pairs are seen a few times:
what EM climbs is the log-posterior. Letters: R requests, P positions; tables `[R, P]`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.metrics.clicks.arrays import shrunk
from pipeline.metrics.clicks.chain import ChainModel, fit_simplified, last_click, rates
from pipeline.metrics.clicks.pages import Floats, Ints, Mask, ShownPages

ITERATIONS: Final = 100
SETTLED: Final = 1e-4  # perseverance moves by less between two iterations
SURE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class _Table:
    """The pages as tables `[R, P]`, and the last click `[R]`, -1 for none. priors: mean and strength of a and of s."""

    pair: Ints
    click: Mask
    last: Ints
    pairs: int
    priors: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Expected:
    """Given the clicks: P(looked at) `[R, P + 1]`, P(satisfied by the last click) `[R]`, and their log-likelihood."""

    looked: Floats
    satisfied: Floats
    likelihood: float


def fit_dynamic(pages: ShownPages, seed: int, before: ChainModel | None = None) -> ChainModel:
    """From a random start, or from where another fit ended. The log-posterior never falls."""
    rng = np.random.default_rng(seed)
    simple = before if before is not None else fit_simplified(pages)
    table = _table(pages)
    model = simple
    if before is None:
        strange = rng.uniform(0.5, 2.0, (2, pages.pairs))
        attract, satisfy = (
            np.clip(part * factor, SURE, 0.95)
            for part, factor in zip((simple.attract, simple.satisfy), strange, strict=True)
        )
        model = ChainModel(attract, satisfy, float(rng.uniform(0.3, 0.95)))
    trace: list[float] = []
    moved = np.inf
    while len(trace) < ITERATIONS and moved > SETTLED:
        found = expect(table.pair, table.click, table.last, model)
        trace.append(found.likelihood + _log_prior(table, model))
        after = _maximise(table, found)
        moved, model = abs(after.persevere - model.persevere), after
    return ChainModel(model.attract, model.satisfy, model.persevere, tuple(trace))


def _table(pages: ShownPages) -> _Table:
    last = last_click(pages)
    seen = (pages.position <= last[pages.request]) | (last[pages.request] < 0)
    hit = pages.clicked
    _, attract = rates(pages.pair[seen], hit[seen], pages.pairs)
    _, satisfy = rates(pages.pair[hit], pages.position[hit] == last[pages.request[hit]], pages.pairs)
    pair, click = pages.table(pages.pair, -1), pages.table(hit, fill=False)
    return _Table(pair, click, last, pages.pairs, (attract, satisfy))


def expect(pair: Ints, click: Mask, last: Ints, model: ChainModel) -> Expected:
    """E-step. `silent` at r is P(no click from r on | looked at r)."""
    rows, places = np.arange(len(pair)), pair.shape[1]
    shown = pair >= 0
    attract, satisfy = np.where(shown, model.attract[pair], 0.0), np.where(shown, model.satisfy[pair], 0.0)
    go = model.persevere
    silent = np.ones((len(pair), places + 1))
    for place in range(places - 1, -1, -1):
        below = (1.0 - attract[:, place]) * (1.0 - go + go * silent[:, place + 1])
        silent[:, place] = np.where(shown[:, place], below, silent[:, place + 1])
    some, at = last >= 0, np.maximum(last, 0)
    content, next_silent = satisfy[rows, at], silent[rows, at + 1]
    tail = np.where(some, content + (1.0 - content) * (1.0 - go + go * next_silent), silent[:, 0])
    looked = np.ones((len(pair), places + 1))
    for place in range(places):
        after_last = (1.0 - content) * go * next_silent / tail
        kept = (1.0 - attract[:, place]) * go * silent[:, place + 1] / silent[:, place]
        down = looked[:, place] * np.where(shown[:, place], kept, 1.0)
        looked[:, place + 1] = np.where(place < last, 1.0, np.where(place == last, after_last, down))
    above = (np.arange(places) < last[:, None]) & shown
    on_way = np.where(click, attract * (1.0 - satisfy), 1.0 - attract) * go
    found = np.log(np.maximum(tail, 1e-300)) + np.where(some, np.log(attract[rows, at].clip(1e-300)), 0.0)
    likelihood = float(found.sum() + np.log(np.maximum(on_way[above], 1e-300)).sum())
    return Expected(looked, np.where(some, content / tail, 0.0), likelihood)


def _maximise(table: _Table, found: Expected) -> ChainModel:
    rows, shown = np.arange(len(table.pair)), table.pair >= 0
    looked = found.looked[:, :-1]
    pair, click = table.pair[shown], table.click[shown]
    seen = np.bincount(pair, weights=looked[shown], minlength=table.pairs)
    clicks = np.bincount(pair, weights=click, minlength=table.pairs)
    some = table.last >= 0
    ended = table.pair[rows[some], table.last[some]]
    content = np.bincount(ended, weights=found.satisfied[some], minlength=table.pairs)
    (mean, strength), (mean_s, strength_s) = table.priors
    end = shown.shape[1] - 1 - np.argmax(shown[:, ::-1], axis=1)
    could = shown & (np.arange(shown.shape[1]) < end[:, None])
    free = looked.copy()
    free[rows[some], table.last[some]] -= found.satisfied[some]
    went = float(found.looked[:, 1:][could].sum())
    return ChainModel(
        np.clip(shrunk(clicks, seen, mean, strength), SURE, 1 - SURE),
        np.clip(shrunk(content, clicks, mean_s, strength_s), SURE, 1 - SURE),
        float(np.clip(went / max(float(free[could].sum()), SURE), SURE, 1 - SURE)),
    )


def _log_prior(table: _Table, model: ChainModel) -> float:
    total = 0.0
    for (mean, strength), value in zip(table.priors, (model.attract, model.satisfy), strict=True):
        sure = np.clip(value, SURE, 1 - SURE)
        total += float((strength * (mean * np.log(sure) + (1 - mean) * np.log1p(-sure))).sum())
    return total
