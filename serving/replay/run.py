"""`podium evaluate`: replay a log's requests through the served engine and say how good the answers are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import GateError, InputError
from pipeline.logs.attribution import AttributionConfig, attribute, has_labelled
from pipeline.logs.read import Log
from serving.ports import DEPTH
from serving.replay.absorb import absorb
from serving.replay.answers import Progress
from serving.replay.gate import check_keys, judge, load_gate
from serving.replay.heldout import judged_task, next_task
from serving.replay.measures import K
from serving.replay.modes import STAGES, Asked, Mode, evaluate_mode
from serving.replay.offpolicy import off_policy
from serving.replay.ports import ReplayEngine
from serving.replay.report import PAGE_SIZE, Report, hashed, write_all
from serving.replay.requests import Asking, Task, first_logged, funnel_task, one_item, rank_task, sampled
from serving.replay.sections import Sections
from serving.replay.trained_on import trained_on

__all__ = ("EvaluateOptions", "Report", "evaluate", "quiet", "tasks_of")

STATES: Final = ("rolling", "frozen")
SLICED_BY: Final = ("arm",)


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """state: what a request may know, all before it (`rolling`) or up to the bundle's cutoff (`frozen`).

    stage: one of STAGES alone, "" = all; sample: requests, by hash of request_id; by: a column of the pages to slice
    by; truth: a simulated market's truth; history: further logs of earlier events; baseline: another bundle's engine.
    """

    state: str = "rolling"
    stage: str = ""
    exclude_seen: bool = False
    by: str = ""
    sample: int | None = None
    truth: Path | None = None
    gate: Path | None = None
    history: tuple[Log, ...] = ()
    baseline: ReplayEngine | None = None
    windows_ms: Mapping[str, int] = field(default_factory=lambda: AttributionConfig().windows_ms)
    seed: int = 0


def quiet(_what: str, _done: int, _total: int) -> None:
    """Progress for nobody."""


def evaluate(
    engine: ReplayEngine, log: Log, options: EvaluateOptions, out: Path, on_progress: Progress = quiet
) -> Report:
    """Write `out/{report.json,report.html,run.parquet,requests.parquet}` and return the report.

    Raises InputError for options or a log that cannot be evaluated, and GateError, after everything is written, when
    the numbers do not pass the gate.
    """
    _check(options)
    gate = None if options.gate is None else load_gate(options.gate)
    frozen = options.state == "frozen"
    for each in (engine, options.baseline):
        if each is not None:
            absorb(each, log, options.history, frozen=frozen)
    tasks = _tasks(engine, log, options)
    if gate is not None:
        named, told = [task.mode for task in tasks], options.truth is not None
        check_keys(gate, named, str(options.gate), truth=told, compared=options.baseline is not None)
    asked = Asked(engine, options.baseline, options.stage, options.truth, options.by, options.seed, on_progress)
    modes = [evaluate_mode(asked, task) for task in tasks]
    report = _report(asked, log, modes, protocol(engine, log, options), options.sample)
    verdict = None if gate is None else judge(gate, report.as_json())
    if verdict is not None:
        report = replace(report, gate={"file": Path(str(options.gate)).name, **verdict.as_json()})
    ids = engine.state.catalogue.rows["item_id"]
    requests = pl.concat([mode.requests() for mode in modes], how="diagonal")
    report = write_all(out, report, pl.concat([mode.run(ids) for mode in modes]), requests)
    if verdict is not None and not verdict.passed:
        raise GateError(verdict.reason)
    return report


def _check(options: EvaluateOptions) -> None:
    if options.state not in STATES:
        raise InputError("--state", f"one of {', '.join(STATES)}", received=options.state)
    if options.stage and options.stage not in STAGES:
        raise InputError("--stage", f"one of {', '.join(STAGES)}", received=options.stage)
    if options.by and options.by not in SLICED_BY:
        raise InputError("--by", f"one of {', '.join(SLICED_BY)}", received=options.by)
    if options.sample is not None and options.sample < 1:
        raise InputError("--sample", "at least 1 request", received=options.sample)


def tasks_of(
    log: Log,
    gains: Mapping[str, float],
    windows_ms: Mapping[str, int],
    sample: int | None,
    asking: Asking,
    known: pl.DataFrame | None = None,
) -> list[Task]:
    """The requests of every mode that the log supports. known: all feedback, where seen items are excluded.

    Raises InputError when the log supports no mode.
    """
    found: list[Task] = []
    if log.has("impression"):
        outcomes = attribute(log.frame("impression"), log.frame("feedback"), windows_ms)
        pages = _pages(log, sample)
        found += [rank_task(pages, outcomes, gains, asking), funnel_task(pages, outcomes, gains, asking)]
    if not has_labelled(log) and log.has("feedback"):
        found.append(next_task(log.frame("feedback"), known, gains, sample, asking))
    if log.has("judgment"):
        found.append(judged_task(log.frame("judgment"), sample, asking))
    if not any(task.size for task in found):
        fix = "a log with impressions, positive feedback or judgments of its own"
        raise InputError("--logs", fix, place=str(log.root))
    return [task for task in found if task.size]


def _pages(log: Log, sample: int | None) -> pl.DataFrame:
    impressions = log.frame("impression")
    chosen = sampled(impressions["request_id"], sample)
    return first_logged(impressions).filter(pl.col("request_id").is_in(chosen.implode()))


def left_out(log: Log, sample: int | None) -> dict[str, int]:
    """What no mode asks of a log's pages, counted: `one_item_pages` have no order for `rank`."""
    alone = int(_pages(log, sample).select(one_item().sum()).item()) if log.has("impression") else 0
    return {"one_item_pages": alone} if alone else {}


def _tasks(engine: ReplayEngine, log: Log, options: EvaluateOptions) -> list[Task]:
    state = engine.state
    frozen = options.state == "frozen" and log.clock == "exact"
    asking = Asking(state.catalogue, state.segment, engine.bundle.cutoff if frozen else None)
    known = _known(log, options) if options.exclude_seen else None
    tasks = tasks_of(log, state.gains, options.windows_ms, options.sample, asking, known)
    if options.stage == "retrieval":
        tasks = [task for task in tasks if task.shown is None]
        if not tasks:
            raise InputError(
                "--stage", "a log with impressions or feedback, to evaluate retrieval on", received="retrieval"
            )
    return tasks


def _known(log: Log, options: EvaluateOptions) -> pl.DataFrame:
    return pl.concat([each.frame("feedback") for each in (log.everything(), *options.history)])


def protocol(engine: ReplayEngine, log: Log, options: EvaluateOptions) -> dict[str, Any]:
    """How the numbers were made. `hash` is the same for two bundles measured in the same way."""
    how = {
        "state": options.state,
        "gains": dict(engine.state.gains),
        "windows_ms": dict(options.windows_ms),
        "k": K,
        "depth": DEPTH,
        "page_size": PAGE_SIZE,
        "ties": "score descending, then item_id ascending",
        "empty": "requests with no positive leave the mean and are counted",
        "random": "mean over all orders, in closed form",
        "interval": "95 %, bootstrap over subjects",
        "sample": None if options.sample is None else {"requests": options.sample, "by": "hash of request_id"},
        "stage": options.stage or "all",
        "exclude_seen": options.exclude_seen,
        "seed": options.seed,
        "clock": log.clock,
        "log_digest": log.digest(),
        "history": [each.digest() for each in options.history],
        "simulated": options.truth is not None,
    }
    other = None if options.baseline is None else options.baseline.bundle.id
    return {**hashed(how), "bundle": engine.bundle.id, "baseline": other}


def _report(asked: Asked, log: Log, modes: list[Mode], how: Mapping[str, Any], sample: int | None) -> Report:
    parts = Sections()

    def each(name: str, make: Callable[[Mode], dict[str, object]]) -> dict[str, dict[str, object]]:
        """By mode; empty where it fails."""
        return {m.task.mode: parts.attempt(f"{name} ({m.task.mode})", partial(make, m), {}) for m in modes}

    calibrated = each("calibration", Mode.calibration)
    report = Report(
        how,
        {mode.task.mode: mode.report(asked.seed) | calibrated[mode.task.mode] for mode in modes},
        parts.attempt("funnel", lambda: _funnel(modes), {}),
        each("slices", lambda mode: mode.slices(asked)),
        [row for mode in modes for row in mode.compare(asked.seed)],
        regression=_by_mode(each("regression", lambda mode: mode.regression(asked))),
        off_policy=parts.attempt("off-policy", lambda: off_policy(modes, log, asked.engine.state.catalogue.dense), {}),
        diversity=_by_mode(each("diversity", lambda mode: mode.diversity(asked))),
        examples=_by_mode(each("requests", lambda mode: mode.examples(asked))),
    )
    return replace(
        report,
        trained_on=parts.attempt("trained on", lambda: trained_on(asked.engine, log), {}),
        failed=parts.failed,
        left_out=left_out(log, sample),
    )


def _funnel(modes: list[Mode]) -> dict[str, object]:
    """Where the mode that asks the whole catalogue loses what is relevant; empty where there is none."""
    full = next((mode for mode in modes if mode.task.shown is None), None)
    if full is None:
        return {}
    fall = full.answers.waterfall
    channels = [{"channel": name, "found": found} for name, found in fall.found.items()]
    return {"mode": full.task.mode, "stages": fall.rows(), "channels": channels}


def _by_mode(parts: Mapping[str, dict[str, object]]) -> dict[str, object]:
    """The modes that have any."""
    return {mode: part for mode, part in parts.items() if part}
