"""A cascade is checked when built and says what each stage did."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.batch import Batch
from pipeline.cascade import Cascade, Costs, Step, Watch
from pipeline.errors import ConfigError, StageError
from pipeline.stage import Effect

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    items: tuple[int, ...]
    name: str = "found"
    effect: Effect = Effect.RECALL
    reads: frozenset[str] = NOTHING
    writes: frozenset[str] = frozenset({"score"})

    def run(self, batch: Batch) -> Batch:
        item = np.tile(np.array(self.items, np.int32), (batch.size, 1))
        return batch.append(item, {"score": item.astype(float)})


@dataclass(frozen=True)
class Top:
    k: int
    name: str = "top"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"score"})
    writes: frozenset[str] = NOTHING

    def run(self, batch: Batch) -> Batch:
        return batch.take(np.argsort(-batch["score"], axis=1)[:, : self.k])


@dataclass(frozen=True)
class Broken:
    name: str = "broken"
    effect: Effect = Effect.SCORE
    reads: frozenset[str] = frozenset({"score"})
    writes: frozenset[str] = frozenset({"p_click"})

    def run(self, batch: Batch) -> Batch:
        raise RuntimeError("no model")


@dataclass(frozen=True)
class Half(Broken):
    name: str = "half"

    def run(self, batch: Batch) -> Batch:
        return batch.with_columns(p_click=np.full(batch.item.shape, 0.5))


def one_request() -> Batch:
    return Batch.of({"id": np.array(["r"], dtype=object)})


GIVEN = frozenset({"request.id"})


def test_a_column_nobody_writes_is_refused_when_built() -> None:
    with pytest.raises(ConfigError, match=r"top.*score"):
        Cascade("search", (Step(Top(1)),), GIVEN)


def test_a_fallback_must_write_what_its_stage_writes() -> None:
    with pytest.raises(ConfigError, match="top"):
        Cascade("search", (Step(Found((1,))), Step(Broken(), fallback=Top(1))), GIVEN)


def test_the_trace_counts_rows_in_and_out() -> None:
    outcome = Cascade("search", (Step(Found((5, 7, 6))), Step(Top(2))), GIVEN).run(one_request())
    assert outcome.batch.item.tolist() == [[7, 6]]
    assert [(p.stage, p.rows_in, p.rows_out, p.fallback) for p in outcome.trace] == [
        ("found", 0, 3, ""),
        ("top", 3, 2, ""),
    ]
    assert outcome.degraded == []


def test_a_failed_stage_takes_its_declared_fallback_and_says_so() -> None:
    cascade = Cascade("search", (Step(Found((5,))), Step(Broken(), fallback=Half())), GIVEN)
    outcome = cascade.run(one_request())
    assert outcome.batch["p_click"].tolist() == [[0.5]]
    assert outcome.degraded == ["broken"]
    assert outcome.trace[1].fallback == "half"
    assert "no model" in outcome.trace[1].reason


def test_a_failed_stage_that_may_be_skipped_is_left_out_and_named() -> None:
    cascade = Cascade("search", (Step(Found((5,))), Step(Broken(), may_skip=True)), GIVEN)
    assert cascade.run(one_request()).trace[1].fallback == "left out"


def test_a_failed_stage_without_a_way_out_fails_the_request() -> None:
    with pytest.raises(StageError, match=r"broken.*no model"):
        Cascade("search", (Step(Found((5,))), Step(Broken())), GIVEN).run(one_request())


def test_a_stage_that_usually_costs_more_than_is_left_is_skipped_before_it_starts() -> None:
    cascade = Cascade("search", (Step(Found((5, 6))), Step(Top(1), may_skip=True)), GIVEN)
    outcome = cascade.run(one_request(), deadline=time.perf_counter() + 1.0, costs=Costs({"top": 10.0}))
    assert outcome.trace[1].reason == "deadline"
    assert outcome.batch.item.tolist() == [[5, 6]]


def test_a_watched_item_is_followed_to_the_stage_that_lost_it_with_its_margin() -> None:
    cascade = Cascade("search", (Step(Found((5, 7, 6))), Step(Top(2))), GIVEN)
    for item, lost, margin in ((5, "top", 5.0 - 6.0), (7, "", None), (9, "retrieval", None)):
        watch = Watch(np.array([item], np.int32))
        cascade.run(one_request(), observe=watch)
        (fate,) = watch.fates()
        assert fate.lost_by == lost
        assert margin is None or fate.margin == margin
        assert fate.found_by == (() if item == 9 else ("found",))


def test_a_cascade_prints_its_stages() -> None:
    text = str(Cascade("search", (Step(Found((1,))), Step(Broken(), fallback=Half())), GIVEN))
    assert "RECALL  found" in text
    assert "(else half)" in text
