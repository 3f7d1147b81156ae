"""Which fusion of the channels finds what was acted on later: tried on held-out requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.logs.partitions import DAY_MS
from pipeline.metrics.statistics.compare import standard_error
from pipeline.stage import Stage
from retrieval.config import CHANNELS, Learned, RetrievalConfig
from retrieval.covisit import Neighbours, learn_neighbours
from retrieval.fusion import collapse, rrf
from retrieval.heldout import HeldOut
from retrieval.lexical import LexicalIndex
from retrieval.popular import PopularIndex
from retrieval.stages import Covisit, Lexical, Popular, append

Values = NDArray[np.float64]
Found = NDArray[np.int32]  # `[R, K]`: what the towers found for each held-out request, best first, -1 = none

_DEEP, _TOP = 100, 10
_ROWS_AT_ONCE = 256
_LEAST = 0.001  # a channel always fills up: at 0 its items would stand in the order of their ids
# (popular, covisit): fill up only, and from personal to what everybody gets.
GRID: Final = (*((weight, 1.0) for weight in (_LEAST, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)), (1.0, _LEAST))
TOWER: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)  # beside a larger weight of 1; 0: not at all
SEARCH_TOWER: Final = (0.0, _LEAST, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # beside found words; the second: only below them

DAYS: Final = (7, 1, 30, 365)  # of popularity; the first is the usual one
HALF_LIVES: Final = (7.0, 2.0)  # days, of co-visits, beside none


@dataclass(frozen=True, slots=True)
class Trial:
    """One fusion and what it found: recall at 100 and NDCG at 10, `[R]`; subject: who asked, `[R]`."""

    fusion: Learned
    recall: Values
    ndcg: Values
    subject: NDArray[np.int64] | None = None

    def about(self) -> dict[str, float]:
        return {**self.fusion._asdict(), "recall@100": float(self.recall.mean()), "ndcg@10": float(self.ndcg.mean())}


@dataclass(frozen=True, slots=True)
class Pool:
    """What the channels found for some requests. rows, subject: `[R]`; ranks: `[R, G, C]`; present: `[R, G]`;
    gains: `[R, G]`; relevant: `[R]`, how many items were."""

    rows: NDArray[np.intp]
    subject: NDArray[np.int64]
    ranks: NDArray[np.int64]
    present: Mask
    gains: Values
    relevant: NDArray[np.int64]


def pools(held: HeldOut, stages: Sequence[Stage], found: Found | None = None) -> list[Pool]:
    """The channels' candidates, found as in service, and those of the towers where they are given."""
    in_time = np.argsort(held.requests.request("time"), kind="stable")
    made = []
    for first in range(0, len(in_time), _ROWS_AT_ONCE):
        rows = in_time[first : first + _ROWS_AT_ONCE]
        batch = held.prepared(rows)
        for stage in stages:
            batch = stage.run(batch)
        if found is not None:
            own = [items[items >= 0] for items in found[rows]]
            batch = append(batch, "tower", [(items, np.zeros(len(items), np.float32)) for items in own])
        wanted = held.relevant(rows)
        place, ranks = collapse(batch.item, batch["channel"], batch["rank"], len(CHANNELS))
        item = np.full(place.shape, -1, np.int32)
        if place.shape[1]:
            item = np.where(place >= 0, np.take_along_axis(batch.item, np.maximum(place, 0), axis=1), -1)
        gains = [np.isin(own, items) & (own >= 0) for own, items in zip(item, wanted, strict=True)]
        relevant = np.array([len(items) for items in wanted], dtype=np.int64)
        subject = held.requests.request("subject_key")[rows]
        made.append(Pool(rows, subject, ranks, place >= 0, np.array(gains, dtype=np.float64), relevant))
    return made


def tried(
    made: Sequence[Pool], fusions: Sequence[Learned], config: RetrievalConfig, *, search: bool = False
) -> list[Trial]:
    """Every fusion over the same candidates."""
    size = sum(len(pool.rows) for pool in made)
    measured, subject = np.zeros((2, len(fusions), size)), np.zeros(size, dtype=np.int64)
    for pool in made:
        subject[pool.rows] = pool.subject
    for number, fusion in enumerate(fusions):
        weights = (0.0, fusion.popular, fusion.covisit, 0.0, 0.0, fusion.tower)  # what is held out has no live items
        if search:
            weights = (config.lexical.weight, 0.0, 0.0, 0.0, 0.0, fusion.search_tower)
        for pool in made:
            measured[:, number, pool.rows] = _measured(pool, weights, config.k0)
    return [Trial(fusion, recall, ndcg, subject) for fusion, recall, ndcg in zip(fusions, *measured, strict=True)]


def trials(held: HeldOut, config: RetrievalConfig, neighbours: Neighbours) -> list[Trial]:
    """Every fusion of GRID over channels as configured."""
    days, half_life_days = config.popular.window_days, config.covisit.half_life_days or 0.0
    made = pools(held, plain_channels(held, config, neighbours))
    return tried(made, [Learned(*weights, days, half_life_days) for weights in GRID], config)


def with_tower(
    held: HeldOut, config: RetrievalConfig, best: Learned, found: Found, *, final: bool = False
) -> list[Trial]:
    """Fusions with the towers: their weights beside the best of the others, then the others beside the best of them."""
    chosen = _with(config.filled(best), best.days, best.half_life_days)
    made = pools(held, plain_channels(held, chosen, _neighbours(held, chosen)), found)
    first = tried(made, [best._replace(tower=weight) for weight in TOWER], config)
    tower = choose(first, final=final).fusion.tower
    if not tower:
        return first
    others = [best._replace(popular=popular, covisit=covisit, tower=tower) for popular, covisit in GRID]
    return first + tried(made, [*others, best._replace(popular=_LEAST, covisit=_LEAST, tower=1.0)], config)


def search_trials(
    held: HeldOut, config: RetrievalConfig, index: LexicalIndex | None, best: Learned, found: Found
) -> list[Trial]:
    """What the towers add to found words on searches; where there is no index of words, to what is popular, which all
    searches get then."""
    if index is None:
        usual = config.filled(best)
        popular = pools(held, [Popular(held.state, PopularIndex(usual.popular), usual.popular)])
        without = tried(popular, [best._replace(search_tower=0.0)], config)
        return without + tried(pools(held, (), found), [best._replace(search_tower=1.0)], config, search=True)
    made = pools(held, [Lexical(held.state, index, config.lexical)], found)
    return tried(made, [best._replace(search_tower=weight) for weight in SEARCH_TOWER], config, search=True)


def plain_channels(held: HeldOut, config: RetrievalConfig, neighbours: Neighbours) -> tuple[Stage, ...]:
    return (
        Popular(held.state, PopularIndex(config.popular), config.popular),
        Covisit(held.state, neighbours, config.covisit),
    )


def search(held: HeldOut, config: RetrievalConfig, *, final: bool = False) -> list[Trial]:
    """Trials over the days of popularity, then with the best of them over the half-lives of co-visits.

    What the configuration sets stays as it is; without clock time there are neither days nor half-lives.
    """
    exact = held.state.clock == "exact"
    usual = config.filled(Learned())
    neighbours = _neighbours(held, usual)
    days = _telling(held) if exact and config.popular.days is None else (usual.popular.window_days,)
    found = [trial for each in days for trial in trials(held, _with(usual, each), neighbours)]
    best = choose(found, final=final).fusion.days
    for life in HALF_LIVES if exact and config.covisit.half_life_days is None else ():
        changed = _with(usual, best, life)
        found += trials(held, changed, _neighbours(held, changed))
    return found


def _telling(held: HeldOut) -> tuple[int, ...]:
    """DAYS, without those longer than the shortest that holds the whole log: they count the same."""
    first = int(held.known.time.min()) if len(held.known.time) else 0
    span = (int(held.requests.request("time").max()) - first) / DAY_MS
    whole = min((days for days in DAYS if days > span), default=max(DAYS))
    return tuple(days for days in DAYS if days <= whole)


def _with(config: RetrievalConfig, days: int, half_life_days: float | None = None) -> RetrievalConfig:
    popular = config.popular.model_copy(update={"days": days})
    life = config.covisit.half_life_days if half_life_days is None else half_life_days
    covisit = config.covisit.model_copy(update={"half_life_days": life})
    return config.model_copy(update={"popular": popular, "covisit": covisit})


def _neighbours(held: HeldOut, config: RetrievalConfig) -> Neighbours:
    return learn_neighbours(held.known, len(held.state.catalogue), config.covisit)


def choose(made: Sequence[Trial], *, final: bool = False) -> Trial:
    """The best recall; of those within one standard error of it, the best NDCG, the earlier one when both are equal.

    final: no ranker follows, so that the order of retrieval is the page: the best NDCG, and of those the best recall.
    """

    def first(trial: Trial) -> Values:
        return trial.ndcg if final else trial.recall

    def second(trial: Trial) -> Values:
        return trial.recall if final else trial.ndcg

    best = max(made, key=lambda trial: float(first(trial).mean()))
    as_good = [trial for trial in made if _within_one_error(first(best) - first(trial), best.subject)]
    return max(as_good, key=lambda trial: float(second(trial).mean()))


def gated(without: Trial, best: Trial) -> Trial:
    """The best where it finds more, or orders better, than what stands without it by two standard errors."""
    gains = (best.recall - without.recall, best.ndcg - without.ndcg)
    clear = any(gain.mean() > 2 * standard_error(gain, best.subject) for gain in gains)
    return best if clear else without


def _within_one_error(lost: Values, subject: NDArray[np.int64] | None) -> bool:
    """Of the paired differences `[R]`: requests differ far more among each other than two fusions of one do."""
    return bool(lost.mean() <= standard_error(lost, subject))


def _measured(pool: Pool, weights: tuple[float, ...], k0: float) -> Values:
    """Recall at 100 and NDCG at 10 of one fusion: `[2, R]`, from the places of the relevant candidates alone."""
    if not pool.present.shape[1]:
        return np.zeros((2, len(pool.rows)))
    used = np.flatnonzero(weights)
    ranks = pool.ranks[..., used]
    score = np.where(pool.present, rrf(ranks, np.array(weights)[used], k0), 0.0)  # 0 where no channel found it
    row, column = np.nonzero((pool.gains > 0) & (score > 0))
    own = score[row, column][:, None]
    # Collapsed candidates stand in the order of their ids, which is how the fusion breaks ties.
    before = np.arange(score.shape[1]) < column[:, None]
    place = np.count_nonzero((score[row] > own) | ((score[row] == own) & before), axis=1)
    hits = np.bincount(row[place < _DEEP], minlength=len(score))
    worth = np.where(place < _TOP, 1.0 / np.log2(place + 2.0), 0.0)
    ideal = np.append(0.0, np.cumsum(1.0 / np.log2(np.arange(_TOP) + 2.0)))[np.minimum(pool.relevant, _TOP)]
    return np.stack([hits / pool.relevant, np.bincount(row, worth, minlength=len(score)) / ideal])
