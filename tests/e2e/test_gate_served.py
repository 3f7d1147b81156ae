"""The gate over real bundles: one that is worse at searches alone is refused, and itself passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.batch import Batch
from pipeline.bundle import Bundle
from pipeline.cascade import Cascade, Step
from pipeline.errors import GateError
from pipeline.logs.read import Log
from pipeline.stage import Effect
from pipeline.state import Frames, State
from serving.engine import Engine
from serving.ports import Ask
from serving.replay.run import EvaluateOptions, evaluate
from tests.shop import Shop

GATE = """
[minimum]
"rank.ndcg@10" = 0.3
[slices]
dimensions = ["surface"]
minimum_requests = 50
"""


@dataclass(frozen=True)
class Worst:
    """Searches worst first."""

    name: str = "worst"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"request.query"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        places = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        asked = batch.request("query") != ""
        places[asked] = places[asked][:, ::-1]
        turned = batch.take(places)
        return turned.keep(turned.mask)


@dataclass(frozen=True)
class WorseAtSearch:
    engine: Engine

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def bundle(self) -> Bundle:
        return self.engine.bundle

    def learn(self, events: Frames) -> None:
        self.engine.learn(events)

    def beside(self) -> "WorseAtSearch":
        return WorseAtSearch(self.engine.beside())

    def batch(self, asks: Sequence[Ask]) -> Batch:
        return self.engine.batch(asks)

    def cascade(self, name: str) -> Cascade:
        cascade = self.engine.cascade(name)
        return replace(cascade, steps=(*cascade.steps, Step(Worst())))

    def cascade_name(self, ask: Ask) -> str:
        return self.engine.cascade_name(ask)


@pytest.mark.full
def test_a_bundle_passes_against_itself_and_one_that_is_worse_at_searches_is_refused(
    shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "gate.toml").write_text(GATE)
    log = Log.open(shop.test)
    options = EvaluateOptions(gate=tmp_path / "gate.toml", baseline=Engine(shop.bundles))
    same = evaluate(Engine(shop.bundles), log, options, tmp_path / "same")
    assert same.gate["passed"]
    assert same.regression["rank"]["agreement"]["reordered"]["mean"] == 0.0
    assert same.regression["funnel"]["agreement"]["rbo@0.9"]["mean"] == pytest.approx(1.0)
    options = replace(options, baseline=Engine(shop.bundles))
    with pytest.raises(GateError) as refused:
        evaluate(WorseAtSearch(Engine(shop.bundles)), log, options, tmp_path / "worse")
    assert "rank.surface=search.ndcg@10 fell by" in str(refused.value)
    assert "surface=recommend" not in str(refused.value)
    assert "at least 0.3" not in str(refused.value)
