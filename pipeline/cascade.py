"""A cascade is a value: checked when built, able to print itself, honest about each step it takes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch
from pipeline.errors import ConfigError, StageError
from pipeline.stage import Effect, Stage


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and what takes its place when it fails or there is no time for it.

    fallback: a cheap stage with the same writes; may_skip: leaving the stage out altogether is allowed
    (a recall channel, a diversity step). Neither: its failure fails the request.
    """

    stage: Stage
    fallback: Stage | None = None
    may_skip: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """What one stage did to one batch. `fallback`: what took its place ("" = nothing had to), `reason`: why."""

    stage: str
    rows_in: int
    rows_out: int
    seconds: float
    fallback: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one watched item of one request: the stage that lost it ("" = it stayed) and by what
    margin (its score minus the last kept score; nan where no score decided)."""

    found_by: tuple[str, ...]
    lost_by: str
    margin: float


Observer = Callable[[Stage, Batch, Batch], None]  # the stage, the batch before it, the batch after it


@dataclass(frozen=True, slots=True)
class Outcome:
    batch: Batch
    trace: tuple[Passed, ...]

    @property
    def degraded(self) -> list[str]:
        """Stages that did not run as declared."""
        return [passed.stage for passed in self.trace if passed.fallback]


@dataclass(slots=True)
class Costs:
    """The usual seconds of each stage for one request: an exponential average, shared by a process."""

    usual: dict[str, float] = field(default_factory=dict)

    def learn(self, stage: str, seconds: float) -> None:
        before = self.usual.get(stage, seconds)
        self.usual[stage] = 0.9 * before + 0.1 * seconds


@dataclass(frozen=True, slots=True)
class Cascade:
    """Stages in order. `given`: the columns the caller brings.

    Raises ConfigError when a stage, or its fallback, reads a column nobody before it writes.
    """

    name: str
    steps: tuple[Step, ...]
    given: frozenset[str]

    def __post_init__(self) -> None:
        known = set(self.given)
        for step in self.steps:
            for stage in (step.stage, *([step.fallback] if step.fallback else [])):
                if missing := stage.reads - known:
                    raise ConfigError(
                        f"{self.name}.{stage.name}",
                        f"columns some earlier stage writes; nobody writes {sorted(missing)}",
                    )
            if step.fallback and not step.fallback.writes >= step.stage.writes:
                raise ConfigError(f"{self.name}.{step.fallback.name}", f"a fallback that writes {step.stage.writes}")
            known |= step.stage.writes

    def __str__(self) -> str:
        lines = [f"{self.name}"]
        for step in self.steps:
            spare = f"  (else {step.fallback.name})" if step.fallback else "  (may be left out)" * step.may_skip
            lines.append(
                f"  {step.stage.effect.name:<8}{step.stage.name:<16}-> {', '.join(sorted(step.stage.writes))}{spare}"
            )
        return "\n".join(lines)

    def run(
        self,
        batch: Batch,
        *,
        deadline: float | None = None,
        costs: Costs | None = None,
        observe: Observer | None = None,
    ) -> Outcome:
        """Run every stage over the batch.

        deadline: `time.perf_counter()` value by which the answer is due; observe: called after each stage,
        for evaluation and explanations (`Watch`). Raises StageError when a stage without a declared way out fails.
        """
        trace: list[Passed] = []
        for step in self.steps:
            before, started = batch, time.perf_counter()
            batch, fallback, reason = _take(step, before, deadline, costs)
            seconds = time.perf_counter() - started
            if costs is not None and not fallback:
                costs.learn(step.stage.name, seconds)
            trace.append(Passed(step.stage.name, _count(before), _count(batch), seconds, fallback, reason))
            if observe is not None:
                observe(step.stage, before, batch)
        return Outcome(batch, tuple(trace))


def _count(batch: Batch) -> int:
    return int(np.count_nonzero(batch.mask))


def _take(step: Step, batch: Batch, deadline: float | None, costs: Costs | None) -> tuple[Batch, str, str]:
    """One step: the stage, else its declared way out. Returns the batch, what took its place, and why."""
    reason = ""
    if deadline is not None and (step.fallback is not None or step.may_skip):
        usual = costs.usual.get(step.stage.name, 0.0) if costs is not None else 0.0
        if time.perf_counter() + usual > deadline:
            reason = "deadline"
    if not reason:
        try:
            return step.stage.run(batch), "", ""
        except Exception as error:
            if step.fallback is None and not step.may_skip:
                raise StageError(step.stage.name, f"{type(error).__name__}: {error}") from error
            reason = f"{type(error).__name__}: {error}"
    if step.fallback is None:
        return batch, "left out", reason
    try:
        return step.fallback.run(batch), step.fallback.name, reason
    except Exception as error:
        raise StageError(step.fallback.name, f"as the fallback of {step.stage.name}: {error}") from error


class Watch:
    """An observer that follows one item a request, `[R]` dense, through the stages."""

    def __init__(self, watch: NDArray[np.int32]) -> None:
        self.watch = watch[:, None]
        self.found: list[list[str]] = [[] for _ in watch]
        self.lost: list[str] = ["" for _ in watch]
        self.margin: list[float] = [float("nan") for _ in watch]

    def __call__(self, stage: Stage, before: Batch, after: Batch) -> None:
        was, stays = _copies(before.item, self.watch), _copies(after.item, self.watch)
        for row in np.flatnonzero(stays > was):
            self.found[row].append(stage.name)
        if stage.effect in (Effect.FILTER, Effect.ORDER):
            for row in np.flatnonzero((was > 0) & (stays == 0)):
                self.lost[row] = stage.name
                self.margin[row] = _margin(before, after, int(row), int(self.watch[row, 0]))

    def fates(self) -> tuple[Fate, ...]:
        rows: Iterable[tuple[list[str], str, float]] = zip(self.found, self.lost, self.margin, strict=True)
        return tuple(Fate(tuple(found), lost or ("" if found else "retrieval"), margin) for found, lost, margin in rows)


def _copies(item: Array, watch: Array) -> Array:
    copies: Array = (item == watch).sum(axis=1)
    return copies


def _margin(before: Batch, after: Batch, row: int, item: int) -> float:
    if "score" not in before.columns or "score" not in after.columns or not after.mask[row].any():
        return float("nan")
    own = float(before["score"][row][before.item[row] == item].max())
    return own - float(after["score"][row][after.mask[row]].min())
