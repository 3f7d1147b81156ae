"""How much diversity the ranking can afford: the one number reranking learns from a validation log."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import write_json
from pipeline.batch import Ints, best_first
from pipeline.errors import ArtifactError
from pipeline.metrics.ranking import ndcg
from rerank.config import RerankConfig
from rerank.stages import diversified

FILE = "trade.json"
CUT = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """Validation requests as the ranker left them: `[R, K]` each. scores: the order before reranking; gains: what
    the shoppers did; item: dense index, -1 = none."""

    scores: NDArray[np.float64]
    gains: NDArray[np.float64]
    item: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Choice:
    """trade: of MMR, 1.0 = identity; metrics: NDCG@10 and ILD@10 of identity and of the choice."""

    trade: float
    metrics: dict[str, float]


def choose_trade(batches: Sequence[Judged], vectors: NDArray[np.float32], config: RerankConfig) -> Choice:
    """The smallest trade, which is the most diversity, that costs at most `config.budget` of NDCG@10.

    Identity (1.0) when none does, or when no request has a positive gain to measure by. vectors: `[N, D]`.
    """
    identity = _measure(batches, vectors, 1.0, config)
    trade, best = 1.0, identity
    for tried in sorted(config.trades):
        measured = _measure(batches, vectors, tried, config)
        if measured["ndcg@10"] >= identity["ndcg@10"] * (1.0 - config.budget):
            trade, best = tried, measured
            break
    metrics = {f"identity_{name}": value for name, value in identity.items()}
    metrics |= {f"chosen_{name}": value for name, value in best.items()}
    return Choice(trade, metrics)


def train(
    batches: Sequence[Judged], vectors: NDArray[np.float32], config: RerankConfig, folder: Path
) -> dict[str, float]:
    """Choose the trade and write `trade.json`. Returns its metrics, the trade among them; what could not be
    measured is left out."""
    choice = choose_trade(batches, vectors, config)
    metrics = {name: value for name, value in choice.metrics.items() if np.isfinite(value)}
    write_json(folder / FILE, {"trade": choice.trade, "metrics": metrics})
    return {"trade": choice.trade, **metrics}


def open_trade(folder: Path) -> float:
    """The trade of a published artifact. Raises ArtifactError when the file does not hold one."""
    try:
        trade = json.loads((folder / FILE).read_text(encoding="utf-8"))["trade"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(FILE, "JSON with `trade`; train again", place=str(folder)) from error
    if isinstance(trade, bool) or not isinstance(trade, int | float) or not 0 <= trade <= 1:
        raise ArtifactError(f"{FILE}: trade", "a number from 0 to 1; train again", place=str(folder), received=trade)
    return float(trade)


def intra_list_distance(order: Ints, item: NDArray[np.int32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """ILD (Ziegler et al., WWW 2005): mean of 1 - cosine over the pairs of a list. `[R, T]` places -> `[R]`;
    nan for lists of fewer than two."""
    there = order >= 0
    vector = vectors[np.take_along_axis(item, np.maximum(order, 0), axis=1)] * there[:, :, None]
    count = there.sum(axis=1).astype(np.float64)
    total = vector.astype(np.float64).sum(axis=1)
    # |sum of v|^2 counts each pair twice and each vector with itself once.
    alike = (total**2).sum(axis=1) - (vector.astype(np.float64) ** 2).sum(axis=(1, 2))
    pairs = count * (count - 1)
    alike = np.divide(alike, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)
    return np.asarray(1.0 - alike, dtype=np.float64)


def _measure(
    batches: Sequence[Judged], vectors: NDArray[np.float32], trade: float, config: RerankConfig
) -> dict[str, float]:
    """Means over the requests with a positive gain (NDCG) and with at least two items (ILD)."""
    gained, spread = [np.empty(0)], [np.empty(0)]
    for batch in batches:
        mask = batch.item >= 0
        order = best_first(batch.scores, mask, np.broadcast_to(np.arange(mask.shape[1]), mask.shape))
        if trade < 1.0:
            trades = np.full(len(order), trade)
            head = order[:, : config.depth]
            order[:, : config.depth] = diversified(
                head, batch.scores, batch.item, vectors, trades, window=config.mmr_window
            )
        ranked = np.take_along_axis(batch.gains, np.maximum(order, 0), axis=1)
        gained.append(ndcg(ranked, -np.broadcast_to(np.arange(order.shape[1]), order.shape), order >= 0, CUT))
        spread.append(intra_list_distance(order[:, :CUT], batch.item, vectors))
    return {"ndcg@10": _mean(gained), "ild@10": _mean(spread)}


def _mean(parts: list[NDArray[np.float64]]) -> float:
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
