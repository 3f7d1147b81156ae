"""The main job: from a log, simulated unless given, to an evaluated bundle."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pipeline.errors import InputError
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.logs.split import split
from pipeline.market.simulate import simulate
from pipeline.market.world import load_world
from pipeline.progress import Report, silent
from serving.jobs import train
from serving.replay.command import Evaluated, evaluate_bundle

_MADE = ("events", "log", "truth", "split", "bundles", "report")
_SAMPLE = 2000  # requests evaluated of each mode: the demo is to end while one watches; `podium evaluate` takes all


@dataclass(frozen=True, slots=True)
class Demo:
    """seconds: by step; evaluated: the report on the held-out requests."""

    out: Path
    bundle: str
    seconds: Mapping[str, float]
    evaluated: Evaluated

    @property
    def values(self) -> dict[str, object]:
        return {"out": str(self.out), "bundle": self.bundle, "seconds": dict(self.seconds), **self.evaluated.values}

    def lines(self) -> list[str]:
        steps = "  ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        return [*self.evaluated.lines(), steps, f"report: {self.out / 'report' / 'report.html'}"]


def run_demo(
    out: Path, *, logs: Path | None, world: str, config: Path | None = None, on_progress: Report = silent
) -> Demo:
    """Leave `out/{log,truth,split,bundles,report}`. logs: a log, or files some importer recognises; None simulates.

    What an earlier demo left in `out` is replaced; anything else there stays.
    """
    if logs is not None and not logs.exists():
        raise InputError("--logs", "a log, or files that an importer recognises", place=str(logs))
    seconds: dict[str, float] = {}
    for name in _MADE:
        shutil.rmtree(out / name, ignore_errors=True)
    started = perf_counter()

    def done(step: str) -> None:
        nonlocal started
        seconds[step] = perf_counter() - started
        started = perf_counter()

    truth = None
    if logs is None:
        simulate(load_world(world, {}, None), out, _part(on_progress, "simulate", 0.0, 0.2))
        done("simulate")
        ingest("podium", [out / "events"], out / "log")
        truth = out / "truth"
    elif not (logs / "manifest.json").is_file():
        ingest(None, [logs], out / "log")
    log = logs if logs is not None and (logs / "manifest.json").is_file() else out / "log"
    done("ingest")
    on_progress("split", 0.35)
    split(log, out / "split", how_to_split(Log.open(log)))
    done("split")
    trained = train(
        out / "split/train", out / "bundles", config=config, on_progress=_part(on_progress, "train", 0.35, 0.7)
    )
    done("train")
    evaluated = evaluate_bundle(
        out / "bundles" / trained.bundle,
        out / "split/test",
        out / "report",
        config=config,
        truth=truth,
        sample=_SAMPLE,
        on_progress=_part(on_progress, "evaluate", 0.7, 1.0),
    )
    done("evaluate")
    return Demo(out, trained.bundle, seconds, evaluated)


def how_to_split(log: Log) -> str:
    """By query for judgments, by last interaction without clock time, else by time."""
    if log.has("judgment"):
        return "query"
    return "time" if log.clock == "exact" else "last"


def _part(report: Report, name: str, low: float, high: float) -> Report:
    return lambda what, share: report(f"{name}: {what}", low + share * (high - low))
