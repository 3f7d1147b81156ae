"""Which fusion of popular and co-visited items finds what was acted on later: tried on held-out requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.metrics.ranking import ndcg, rank_order, recall
from pipeline.prepare import Allow, History, Normalise
from retrieval.config import CHANNELS, Learned, RetrievalConfig
from retrieval.covisit import Neighbours, learn_neighbours
from retrieval.fusion import collapse, rrf
from retrieval.heldout import HeldOut
from retrieval.popular import PopularIndex
from retrieval.stages import Covisit, Popular

Values = NDArray[np.float64]

_DEEP, _TOP = 100, 10
_ROWS_AT_ONCE = 256
_LEAST = 0.001  # a channel always fills up: at 0 its items would stand in the order of their ids
# (popular, covisit): fill up only, and from personal to what everybody gets.
GRID: Final = (*((weight, 1.0) for weight in (_LEAST, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)), (1.0, _LEAST))

DAYS: Final = (7, 1, 30, 365)  # of popularity; the first is the usual one
HALF_LIVES: Final = (7.0, 2.0)  # days, of co-visits, beside none


@dataclass(frozen=True, slots=True)
class Trial:
    """One fusion and what it found: recall at 100 and NDCG at 10, `[R]`."""

    fusion: Learned
    recall: Values
    ndcg: Values

    def about(self) -> dict[str, float]:
        return {**self.fusion._asdict(), "recall@100": float(self.recall.mean()), "ndcg@10": float(self.ndcg.mean())}


def trials(held: HeldOut, config: RetrievalConfig, neighbours: Neighbours) -> list[Trial]:
    """Every fusion of GRID over channels as configured; they run as they do in service, once for all of GRID."""
    days, half_life_days = config.popular.window_days, config.covisit.half_life_days or 0.0
    stages = (
        Popular(held.state, PopularIndex(config.popular), config.popular),
        Covisit(held.state, neighbours, config.covisit),
    )
    in_time = np.argsort(held.requests.request("time"), kind="stable")
    measured = np.zeros((2, len(GRID), held.requests.size))
    for first in range(0, len(in_time), _ROWS_AT_ONCE):
        rows = in_time[first : first + _ROWS_AT_ONCE]
        batch = _prepared(held, rows)
        for stage in stages:
            batch = stage.run(batch)
        measured[:, :, rows] = _measured(batch, held.relevant(rows), config.k0)
    return [Trial(Learned(*weights, days, half_life_days), *measured[:, place]) for place, weights in enumerate(GRID)]


def search(held: HeldOut, config: RetrievalConfig) -> list[Trial]:
    """Trials over the days of popularity, then with the best of them over the half-lives of co-visits.

    What the configuration sets stays as it is; without clock time there are neither days nor half-lives.
    """
    exact = held.state.clock == "exact"
    usual = config.filled(Learned())
    neighbours = _neighbours(held, usual)
    days = DAYS if exact and config.popular.days is None else (usual.popular.window_days,)
    tried = [trial for each in days for trial in trials(held, _with(usual, each), neighbours)]
    best = choose(tried).fusion.days
    for life in HALF_LIVES if exact and config.covisit.half_life_days is None else ():
        changed = _with(usual, best, life)
        tried += trials(held, changed, _neighbours(held, changed))
    return tried


def _with(config: RetrievalConfig, days: int, half_life_days: float | None = None) -> RetrievalConfig:
    popular = config.popular.model_copy(update={"days": days})
    life = config.covisit.half_life_days if half_life_days is None else half_life_days
    covisit = config.covisit.model_copy(update={"half_life_days": life})
    return config.model_copy(update={"popular": popular, "covisit": covisit})


def _neighbours(held: HeldOut, config: RetrievalConfig) -> Neighbours:
    return learn_neighbours(held.known, len(held.state.catalogue), config.covisit)


def choose(tried: Sequence[Trial]) -> Trial:
    """The best recall; of those within one standard error of it, the best NDCG, the earlier one when both are equal."""
    best = max(tried, key=lambda trial: float(trial.recall.mean()))
    as_good = [trial for trial in tried if _within_one_error(best.recall - trial.recall)]
    return max(as_good, key=lambda trial: float(trial.ndcg.mean()))


def _within_one_error(lost: Values) -> bool:
    """Of the paired differences `[R]`: requests differ far more among each other than two fusions of one do."""
    return bool(lost.mean() <= lost.std() / np.sqrt(len(lost)))


def _prepared(held: HeldOut, rows: NDArray[np.intp]) -> Batch:
    batch = held.requests.rows(rows)
    for stage in (Normalise(held.state), History(held.state), Allow(held.state)):
        batch = stage.run(batch)
    return _without_seen(held, batch) if held.unseen else batch


def _without_seen(held: HeldOut, batch: Batch) -> Batch:
    """Nothing the subject acted on before may be shown."""
    layers = held.state.history
    longest = int(np.diff(layers.base.start).max(initial=1))
    past = layers.last(batch.request("subject_key"), batch.request("time"), longest)
    allowed = batch.request("allowed").copy()
    for row, seen in enumerate(past.item):
        allowed[row] = allowed[row].copy()
        allowed[row][seen[seen >= 0]] = False
    return batch.with_requests(allowed=allowed)


def _measured(batch: Batch, wanted: list[NDArray[np.int32]], k0: float) -> NDArray[np.float64]:
    """Recall at 100 and NDCG at 10 of every fusion of GRID: `[2, G, R]`."""
    out = np.zeros((2, len(GRID), batch.size))
    if not batch.item.shape[1]:
        return out
    place, ranks = collapse(batch.item, batch["channel"], batch["rank"], len(CHANNELS))
    item = np.where(place >= 0, np.take_along_axis(batch.item, np.maximum(place, 0), axis=1), -1)
    gains = np.array([np.isin(own, items) for own, items in zip(item, wanted, strict=True)], dtype=np.float64)
    relevant = np.array([len(items) for items in wanted])
    ideal = (np.arange(relevant.max()) < relevant[:, None]).astype(np.float64)
    ranks = ranks[..., [CHANNELS.index("popular"), CHANNELS.index("covisit")]]
    for number, weights in enumerate(GRID):
        # Collapsed candidates stand in the order of their ids, which is how the fusion breaks ties.
        order = rank_order(rrf(ranks, weights, k0), place >= 0)[:, :_DEEP]
        top = np.take_along_axis(gains, order, axis=1)
        below, mask = -np.broadcast_to(np.arange(order.shape[1]), order.shape), np.ones(order.shape, dtype=np.bool_)
        out[0, number] = recall(top, below, mask, _DEEP, relevant)
        out[1, number] = ndcg(top, below, mask, _TOP, ideal=ideal)
    return out
