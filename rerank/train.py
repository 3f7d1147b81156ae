"""What reranking learns: a reranker of lists where it proves better than none, and how much diversity the order can
afford, for searches and for recommendations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import write_json
from pipeline.batch import Batch, Ints, best_first
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.filters import NO_FILTERS
from pipeline.metrics.ranking import ndcg
from rerank.config import ListwiseConfig, RerankConfig
from rerank.context import CONTEXT_NAMES
from rerank.gate import judge, mean_and_error
from rerank.listwise import About, Examples, Listwise, Shown, fit
from rerank.rules import RELEVANCE
from rerank.stages import Windows, diversified

FILE = "trade.json"
CUT = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """Validation requests before diversity: `[R, K]` each. scores: the order until then; gains: what the shoppers did;
    item: dense index, -1 = none."""

    scores: NDArray[np.float64]
    gains: NDArray[np.float64]
    item: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Reordering:
    """trade: of MMR, 1.0 = none; windows: whether the window rules are kept."""

    trade: float
    windows: bool


IDENTITY: Final = Reordering(1.0, False)


@dataclass(frozen=True, slots=True)
class Choice:
    """metrics: NDCG@10 and ILD@10 of identity, of the trade alone, and of what was chosen."""

    reordering: Reordering
    metrics: dict[str, float]


def choose(
    batches: Sequence[Judged], vectors: NDArray[np.float32], catalogue: Catalogue, config: RerankConfig
) -> Choice:
    """The most diversity that surely costs at most `config.budget` of NDCG@10: trades from the largest down to the
    first that costs more, then the window rules. Sure: the mean cost and one standard error are within the budget.

    Identity when nothing is within it, or when no request has a positive gain to measure by. vectors: `[N, D]`.
    """
    identity = _measure(batches, vectors, 1.0, config)
    trade, alone = 1.0, identity
    for tried in sorted(config.trades, reverse=True):
        measured = _measure(batches, vectors, tried, config)
        if not _affordable(identity, measured, config.budget):
            break
        trade, alone = tried, measured
    ruled = _measure(batches, vectors, trade, config, Windows(catalogue, config))
    windows = _affordable(identity, ruled, config.budget)
    parts = {"identity": identity, "trade": alone, "chosen": ruled if windows else alone}
    metrics = {f"{part}_{name}": value for part, found in parts.items() for name, value in found.means.items()}
    return Choice(Reordering(trade, windows), metrics)


def _affordable(identity: "_Measured", tried: "_Measured", budget: float) -> bool:
    cost = identity.ndcg - tried.ndcg
    mean, error = mean_and_error(cost[~np.isnan(cost)])
    return bool(np.isfinite(identity.ndcg).any()) and mean + error <= budget * identity.means["ndcg@10"]


def train_listwise(
    pages: Sequence[Shown], ratios: NDArray[np.float64], config: ListwiseConfig, *, seed: int, folder: Path
) -> dict[str, float] | None:
    """Write a reranker into `folder`, marked as shipped where it passes the gate; returns its metrics, or None when
    too few pages say anything.

    pages: in order of time, none of which the ranker learned from; ratios: how often each place is looked at over the
    first, empty where it is not known. The first pages are learned from, later ones judge.
    """
    ends = np.cumsum([len(page.gains) for page in pages])
    learned = int(np.searchsorted(ends, config.learn_share * ends[-1])) if len(pages) else 0
    learn = Examples.of(pages[:learned], ratios, config.company)
    if len(learn.sizes) < config.least_pages:
        return None
    about = About(CONTEXT_NAMES, False, config.slots, config.company, config.depth)
    model = Listwise(about, fit(learn, config, seed))
    verdict = judge(model, pages[learned:], ratios)
    shipped = verdict.passes(config.errors) if config.enabled is None else config.enabled
    Listwise(msgspec.structs.replace(about, shipped=shipped), model.booster).save(folder)
    return {"listwise_shipped": float(shipped), "listwise_pages": float(len(learn.sizes))} | verdict.metrics


def train(
    lists: Mapping[str, Sequence[Judged]],
    vectors: NDArray[np.float32],
    catalogue: Catalogue,
    config: RerankConfig,
    folder: Path,
) -> dict[str, float]:
    """Choose for each kind of request (`search`, `recommend`) and write `trade.json`. Returns the metrics; what could
    not be measured is left out."""
    choices = {kind: choose(batches, vectors, catalogue, config) for kind, batches in lists.items()}
    saved = {kind: asdict(choice.reordering) for kind, choice in choices.items()}
    write_json(folder / FILE, saved)
    return {
        f"{kind}_{name}": float(value)
        for kind, choice in choices.items()
        for name, value in (saved[kind] | choice.metrics).items()
        if np.isfinite(value)
    }


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trade: Annotated[float, msgspec.Meta(ge=0, le=1)]
    windows: bool


def open_reorderings(folder: Path) -> dict[str, Reordering]:
    """What was chosen, by kind of request. Raises ArtifactError when the file does not say."""
    try:
        saved = msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, _Saved])
    except (OSError, msgspec.DecodeError) as error:
        fix = f"trade (0 to 1) and windows of each kind of request; train again ({error})"
        raise ArtifactError(FILE, fix, place=str(folder)) from error
    return {kind: Reordering(choice.trade, choice.windows) for kind, choice in saved.items()}


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


@dataclass(frozen=True, slots=True)
class _Measured:
    """One value a request, in the same order whatever was tried: NDCG@10, nan without a positive gain, and ILD@10."""

    ndcg: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def means(self) -> dict[str, float]:
        return {"ndcg@10": _mean(self.ndcg), "ild@10": _mean(self.spread)}


def _measure(
    batches: Sequence[Judged],
    vectors: NDArray[np.float32],
    trade: float,
    config: RerankConfig,
    windows: Windows | None = None,
) -> _Measured:
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
        if windows is not None:
            order = _ruled(order, batch.item, windows)
        ranked = np.take_along_axis(batch.gains, np.maximum(order, 0), axis=1)
        gained.append(ndcg(ranked, -np.broadcast_to(np.arange(order.shape[1]), order.shape), order >= 0, CUT))
        spread.append(intra_list_distance(order[:, :CUT], batch.item, vectors))
    return _Measured(np.concatenate(gained), np.concatenate(spread))


def _ruled(order: Ints, item: NDArray[np.int32], windows: Windows) -> Ints:
    """The order after the window rules, for requests that filter nothing."""
    rows = len(order)
    asked = {"sort": np.full(rows, RELEVANCE, dtype=object), "filters": np.full(rows, NO_FILTERS, dtype=object)}
    placed = np.where(order >= 0, np.take_along_axis(item, np.maximum(order, 0), axis=1), -1)
    ruled: Ints = windows.run(Batch(asked, placed, {"place": np.asarray(order)}))["place"]
    return ruled


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
