"""Asking a cascade about many requests in batches, and what the stages did to what was relevant."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, best_first
from pipeline.stage import Effect, Stage
from serving.ports import Ask
from serving.replay.labels import Labels
from serving.replay.ports import ReplayEngine

CHUNK = 256
Part = TypeVar("Part")
_THREADS = 4  # more would wait for the interpreter
Progress = Callable[[str, int, int], None]  # what, requests done, requests in all


@dataclass(frozen=True, slots=True)
class Slates:
    """Items in order for R requests. item: `[R, K]` dense, -1 = none; score, p_click: `[R, K]`, nan = none.

    asked: `[R]`, False where the system had nothing to answer (no query for `bm25`, no logged order).
    """

    item: NDArray[np.int32]
    score: NDArray[np.float64]
    p_click: NDArray[np.float64]
    asked: NDArray[np.bool_]

    @classmethod
    def blank(cls, rows: int, width: int) -> "Slates":
        unknown = np.full((rows, width), np.nan)
        item = np.full((rows, width), -1, dtype=np.int32)
        return cls(item, unknown, unknown.copy(), np.zeros(rows, dtype=np.bool_))

    def write(self, rows: NDArray[np.intp], batch: Batch) -> None:
        """Fill in the answers of some requests."""
        width = min(self.item.shape[1], batch.item.shape[1])
        place = (rows[:, None], np.arange(width)[None, :])
        self.item[place] = batch.item[:, :width]
        self.asked[rows] = True
        for name, column in (("score", self.score), ("p_click", self.p_click)):
            if name in batch.columns:
                column[place] = batch[name][:, :width]


@dataclass(slots=True)
class Waterfall:
    """How many relevant pairs are left after each stage, added up over batches. `passed`: stage -> (in, out)."""

    asked: int = 0
    allowed: int = 0
    found: dict[str, int] = field(default_factory=dict)
    passed: dict[str, list[int]] = field(default_factory=dict)
    retrieved: int = 0

    def add(self, other: "Waterfall") -> None:
        """Count another batch."""
        self.asked += other.asked
        self.allowed += other.allowed
        self.retrieved += other.retrieved
        for name, many in other.found.items():
            self.found[name] = self.found.get(name, 0) + many
        for name, (before, after) in other.passed.items():
            step = self.passed.setdefault(name, [0, 0])
            step[0] += before
            step[1] += after

    def rows(self) -> list[dict[str, object]]:
        """The losses in order: what filters and availability refuse, what no channel finds, what a stage drops."""
        steps = [("allowed", self.asked, self.allowed), ("retrieval", self.allowed, self.retrieved)]
        steps += [(name, before, after) for name, (before, after) in self.passed.items()]
        return [
            {"stage": name, "relevant_in": before, "relevant_out": after, "lost": before - after}
            for name, before, after in steps
        ]


class Watcher:
    """An observer of one batch: keeps the orders between the stages, and counts relevant pairs stage by stage.

    labels: the relevant pairs of the requests of this batch, in its numbering.
    """

    def __init__(self, labels: Labels, waterfall: Waterfall) -> None:
        self.labels, self.waterfall = labels, waterfall
        self.fused: Batch | None = None
        self.scored: Batch | None = None
        self._retrieved = np.zeros(len(labels.row), dtype=np.bool_)

    def __call__(self, stage: Stage, before: Batch, after: Batch) -> None:
        if stage.effect is Effect.SCORE and "score" in stage.writes:
            self.scored = after
        if stage.effect is Effect.RECALL:
            self.fused = after
            here = self.labels.among(after.item[:, before.item.shape[1] :])
            self._count(self.waterfall.found, stage.name, here)
            self._retrieved |= here
        elif stage.effect is Effect.ORDER and self.scored is None:
            self.fused = after
        if stage.effect in (Effect.FILTER, Effect.ORDER):
            step = self.waterfall.passed.setdefault(stage.name, [0, 0])
            step[0] += int(self.labels.among(before.item).sum())
            step[1] += int(self.labels.among(after.item).sum())

    @staticmethod
    def _count(into: dict[str, int], name: str, here: NDArray[np.bool_]) -> None:
        into[name] = into.get(name, 0) + int(here.sum())

    def close(self, final: Batch) -> None:
        """Count what was asked for and what filters allowed."""
        fall, labels = self.waterfall, self.labels
        fall.asked += len(labels.row)
        fall.retrieved += int(self._retrieved.sum())
        if "allowed" not in final.requests:
            fall.allowed += len(labels.row)
            return
        allowed = final.request("allowed")
        pairs = zip(labels.row.tolist(), labels.item.tolist(), strict=True)
        fall.allowed += sum(item >= 0 and bool(allowed[row][item]) for row, item in pairs)


@dataclass(frozen=True, slots=True)
class Answers:
    """The slates of a task after each part of the cascade, and the way there.

    final: what is served; scored: ordered by the ranker's score, before rerank; fused: what retrieval hands on;
    choices: `[R]` items the filters of each request allow; degraded: stage -> requests it did not run for as declared.
    """

    final: Slates
    scored: Slates
    fused: Slates
    choices: NDArray[np.int64]
    waterfall: Waterfall
    degraded: dict[str, int]

    def add(self, other: "Answers") -> None:
        """Count what happened to some more requests."""
        self.waterfall.add(other.waterfall)
        for stage, many in other.degraded.items():
            self.degraded[stage] = self.degraded.get(stage, 0) + many


def chunks(
    engine: ReplayEngine, asks: Sequence[Ask], name: str | None = None
) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Requests for one cascade at a time, in batches of similar size, else in order of time."""
    names = [engine.cascade_name(ask) if name is None else name for ask in asks]
    for cascade in dict.fromkeys(names):
        rows = np.array([row for row, own in enumerate(names) if own == cascade], dtype=np.intp)
        size = np.array([len(asks[row].items or ()) for row in rows])
        time = np.array([asks[row].time for row in rows])
        rows = rows[np.lexsort((time, size))]
        yield from ((cascade, rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))


def answer(engine: ReplayEngine, asks: Sequence[Ask], labels: Labels, width: int, progress: Progress) -> Answers:
    """Run the served cascades over all requests. width: places kept of each slate."""
    final, scored, fused = (Slates.blank(len(asks), width) for _ in range(3))
    answers = Answers(final, scored, fused, np.zeros(len(asks), dtype=np.int64), Waterfall(), {})
    done = 0

    def work(own: ReplayEngine, name: str, rows: NDArray[np.intp]) -> tuple[int, Answers]:
        part = replace(answers, waterfall=Waterfall(), degraded={})
        _answer(own, name, [asks[row] for row in rows], rows, _renumbered(labels, rows), part)
        return len(rows), part

    for size, part in _each(engine, list(chunks(engine, asks)), work):
        answers.add(part)
        done += size
        progress("podium", done, len(asks))
    return answers


def answer_baseline(
    engine: ReplayEngine, asks: Sequence[Ask], rows: NDArray[np.intp], name: str, width: int, progress: Progress
) -> Slates:
    """Run one baseline cascade over some requests."""
    slates, done = Slates.blank(len(asks), width), 0

    def work(own: ReplayEngine, cascade: str, some: NDArray[np.intp]) -> int:
        chosen = rows[some]
        slates.write(chosen, own.cascade(cascade).run(own.batch([asks[row] for row in chosen])).batch)
        return len(some)

    for size in _each(engine, list(chunks(engine, [asks[row] for row in rows], name)), work):
        done += size
        progress(name, done, len(rows))
    return slates


def _each(
    engine: ReplayEngine,
    batches: Sequence[tuple[str, NDArray[np.intp]]],
    work: Callable[[ReplayEngine, str, NDArray[np.intp]], Part],
) -> Iterator[Part]:
    """What `work` gives for each batch, in their order, computed on a few threads. Each has an engine to itself: what
    an engine remembers of one moment would be thrown away for another's."""
    threads = min(len(os.sched_getaffinity(0)), _THREADS, len(batches))
    free: SimpleQueue[ReplayEngine] = SimpleQueue()
    for number in range(threads):
        free.put(engine.beside() if number else engine)

    def run(batch: tuple[str, NDArray[np.intp]]) -> Part:
        own = free.get()
        try:
            return work(own, *batch)
        finally:
            free.put(own)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        yield from pool.map(run, batches)


def _answer(
    engine: ReplayEngine, name: str, asks: Sequence[Ask], rows: NDArray[np.intp], labels: Labels, into: Answers
) -> None:
    """One batch, which are the requests `rows` of all. labels: in the batch's numbering."""
    tie = engine.state.catalogue.tie
    watcher = Watcher(labels, into.waterfall)
    outcome = engine.cascade(name).run(engine.batch(asks), observe=watcher)
    watcher.close(outcome.batch)
    width = into.final.item.shape[1]
    into.final.write(rows, outcome.batch)
    into.scored.write(rows, _ordered(watcher.scored or outcome.batch, tie, width))
    into.fused.write(rows, _ordered(watcher.fused or outcome.batch, tie, width))
    into.choices[rows] = _choices(outcome.batch)
    for stage in outcome.degraded:
        into.degraded[stage] = into.degraded.get(stage, 0) + len(rows)


def _renumbered(labels: Labels, rows: NDArray[np.intp]) -> Labels:
    """The pairs of some requests, which become 0, 1, ..."""
    place = np.full(labels.requests, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    mine = place[labels.row] >= 0
    return Labels(len(rows), place[labels.row[mine]], labels.item[mine], labels.gain[mine])


def _ordered(batch: Batch, tie: NDArray[np.int32], width: int) -> Batch:
    if "score" not in batch.columns:
        return batch
    return batch.take(best_first(batch["score"], batch.mask, tie[np.maximum(batch.item, 0)], width))


def _choices(batch: Batch) -> NDArray[np.int64]:
    """How many items each request could have been given; equal filters share one array, counted once."""
    if "allowed" not in batch.requests:
        return np.asarray(batch.mask.sum(axis=1))
    counted: dict[int, int] = {}
    allowed = batch.request("allowed")
    for mask in allowed:
        if id(mask) not in counted:
            counted[id(mask)] = int(np.count_nonzero(mask))
    return np.array([counted[id(mask)] for mask in allowed], dtype=np.int64)
