"""The stages of precision ranking: hydrate the candidates with features, score them, and what stands in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Mask
from pipeline.errors import ConfigError
from pipeline.features.plain import NEEDS, FeatureSet, names
from pipeline.stage import Effect
from pipeline.state import State
from ranking.dataset import past_items
from ranking.inputs import Inputs
from ranking.model import Ranker
from ranking.value import expected_gain, request_gains

WRITES = frozenset({"p_click", "p_convert", "score"})
RATES = ("ctr_7d", "ctr")  # the smoothed rate that stands in, the first the clock allows


@dataclass(frozen=True, slots=True)
class Hydrate:
    """Writes `features` `[R, K, F]`, in the order of `pipeline.features.plain.names`."""

    features: FeatureSet
    state: State
    name: str = "hydrate"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = NEEDS
    writes: frozenset[str] = frozenset({"features"})

    def run(self, batch: Batch) -> Batch:
        return batch.with_columns(features=self.features.values(batch, self.state))


@dataclass(frozen=True, slots=True)
class Rank:
    """P(click) and P(convert | click) by the trained ranker, and the expected gain they amount to.

    The features end here: the stages behind would only carry them along.

    A ranker trained on judged grades gives no probabilities (nan); its score is the expected grade. state: needed by
    a model that reads what the subject did.
    """

    ranker: Ranker
    threads: int = 1
    state: State | None = None
    name: str = "rank"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"features", "request.weights"})
    writes: frozenset[str] = WRITES

    def __post_init__(self) -> None:
        if self.ranker.about.model == "deep" and self.state is None:
            raise ConfigError("[ranking] model", "the state that knows what subjects did", received="deep")

    def run(self, batch: Batch) -> Batch:
        mask = batch.mask
        found = np.full((2, *mask.shape), np.nan)
        found[:, mask] = self.ranker.predict(self._inputs(batch, mask), self.threads)
        value, p_convert = found
        if self.ranker.about.target == "grade":
            return batch.without("features").with_columns(p_click=p_convert, p_convert=p_convert, score=value)
        return _valued(batch, value, p_convert, self.ranker.about.gains)

    def _inputs(self, batch: Batch, mask: Mask) -> Inputs:
        features = batch["features"]
        rows = features.reshape(-1, features.shape[-1]) if mask.all() else features[mask]
        deep = self.state is not None and self.ranker.about.model == "deep"
        history = past_items(batch, self.state) if deep and self.state else np.empty((len(mask), 0), dtype=np.int32)
        return Inputs(rows, batch.item[mask], np.nonzero(mask)[0], history)


@dataclass(frozen=True, slots=True)
class BySmoothedRate:
    """Stands in for a ranker that fails: the item's smoothed click rate. clock: of the features' log."""

    clock: str
    gains: dict[str, float]
    name: str = "by_smoothed_rate"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"features", "request.weights"})
    writes: frozenset[str] = WRITES

    def run(self, batch: Batch) -> Batch:
        have = names(self.clock)
        rate = next(name for name in RATES if name in have)
        features = batch["features"].astype(np.float64)
        return _valued(batch, features[..., have.index(rate)], features[..., have.index("convert_rate")], self.gains)


@dataclass(frozen=True, slots=True)
class ByRetrieval:
    """Stands in where there is no ranker: the order of retrieval stays; nothing is known of probabilities."""

    name: str = "by_retrieval"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"score"})
    writes: frozenset[str] = WRITES

    def run(self, batch: Batch) -> Batch:
        unknown = np.full(batch.item.shape, np.nan)
        return batch.with_columns(p_click=unknown, p_convert=unknown)


def _valued(
    batch: Batch, p_click: NDArray[np.float64], p_convert: NDArray[np.float64], gains: dict[str, float]
) -> Batch:
    click, purchase = request_gains(gains, batch.request("weights").tolist())
    score = expected_gain(p_click, p_convert, click, purchase)
    return batch.without("features").with_columns(p_click=p_click, p_convert=p_convert, score=score)
