"""How long two engines take for the same requests, asked one at a time and in turn, so that noise falls on both."""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.compare import bootstrap_interval
from serving.ports import Ask
from serving.replay.ports import ReplayEngine
from serving.replay.slices import plain, why
from serving.replay.stretches import stretches

REQUESTS: Final = 100  # of each mode; fewer where the mode has fewer
TOTAL: Final = "total"
Floats = NDArray[np.float64]
Measured = dict[str, Floats]  # stage -> seconds of each request, nan where the stage did not run


def latency(engine: ReplayEngine, baseline: ReplayEngine, asks: Sequence[Ask], seed: int) -> dict[str, object]:
    """`stages`: in order, `total` last, with the p50 and p99 of each system in ms; `ratio`: of the times of one
    request, podium's over the baseline's, the geometric mean with its 95 % interval; `requests`: how many were asked.

    Each request is asked alone, of one engine and at once of the other, which of them first by turns. The first of a
    tick is asked once before, uncounted: a service has computed by then what all requests of a tick share.
    """
    chosen = [asks[row] for row in stretches(asks, np.arange(len(asks)), REQUESTS)]
    ticks = engine.state.tick(np.array([ask.time for ask in chosen], dtype=np.int64))
    engines = {"podium": engine, "baseline": baseline}
    names = tuple(engines)
    times: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn, ask in enumerate(chosen):
        if not turn or ticks[turn] != ticks[turn - 1]:
            for each in engines.values():
                _timed(each, ask)
        for name in names if turn % 2 else reversed(names):
            times[name].append(_timed(engines[name], ask))
    measured = {name: _columns(rows) for name, rows in times.items()}
    ratio = np.log(measured["podium"][TOTAL] / measured["baseline"][TOTAL])
    found = bootstrap_interval(ratio, seed, units="requests")
    stages = dict.fromkeys(stage for name in names for stage in measured[name])
    return {
        "requests": len(chosen),
        "stages": [
            {"stage": stage, **{n: _quantiles(measured[n][stage]) for n in names if stage in measured[n]}}
            for stage in stages
        ],
        "ratio": plain({name: float(np.exp(getattr(found, name))) for name in ("mean", "low", "high")})
        | {"n": found.n}
        | why(found),
    }


def _timed(engine: ReplayEngine, ask: Ask) -> dict[str, float]:
    """Seconds of each stage and of the whole answer, the building of the batch included."""
    started = time.perf_counter()
    outcome = engine.cascade(engine.cascade_name(ask)).run(engine.batch([ask]))
    whole = time.perf_counter() - started
    return {passed.stage: passed.seconds for passed in outcome.trace} | {TOTAL: whole}


def _columns(rows: Sequence[dict[str, float]]) -> Measured:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _quantiles(seconds: Floats) -> dict[str, float]:
    return {f"p{q}": round(float(np.nanpercentile(seconds, q)) * 1000, 4) for q in (50, 99)}
