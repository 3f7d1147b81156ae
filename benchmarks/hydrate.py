"""Hydrating one request: 500 candidates, every feature; p50 and p99 on one thread, and where the time goes.

    python -m benchmarks.hydrate --bundle demo/bundles --logs demo/split/valid [--requests 600]

Logged requests of known users, asked when the bundle's training ended, go through the stages in front of hydration.
The measure beside it is one plain gather `table[item]` of the same shape on the same machine. Times are of the clock
and, since a busy machine also makes others wait, of the thread alone.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(1)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.kernel import reference_seconds  # noqa: E402
from pipeline.batch import Batch  # noqa: E402
from pipeline.features.plain import names  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.values import plain_members  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.ports import Ask  # noqa: E402

CANDIDATES = 500
WARM = 50
Times = NDArray[np.float64]  # [n, 2]: ms of the clock, and of the thread


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--logs", type=Path, required=True, help="a log with requests, such as split/valid")
    arguments.add_argument("--requests", type=int, default=600, help="of each surface")
    given = arguments.parse_args()
    engine = Engine(given.bundle)
    print(f"reference kernel {reference_seconds() * 1e3:.1f} ms; {len(engine.state.catalogue):,} items")
    for surface in ("search", "recommend"):
        batches = [retrieved(engine, ask) for ask in asked(engine, given.logs, surface, given.requests + WARM)]
        measure(engine, surface, batches)
    next_tick(engine)
    print(f"reference kernel afterwards {reference_seconds() * 1e3:.1f} ms")


def asked(engine: Engine, logs: Path, surface: str, most: int) -> list[Ask]:
    """Requests of users with a history, all at the moment the bundle ends."""
    pages = Log.open(logs).frame("impression").drop_nulls(["user_id"])
    pages = pages.filter(pages["query"].is_not_null() if surface == "search" else pages["query"].is_null())
    place = plain_members(pages["context"], engine.state.segment).fill_null("")
    rows = zip(pages["request_id"], pages["user_id"], pages["query"].fill_null(""), place, strict=True)
    told = (engine.bundle.cutoff, engine.state.segment)
    return [
        Ask(name, told[0], user, query, surface, segment=at, context={told[1]: at}) for name, user, query, at in rows
    ][:most]


def retrieved(engine: Engine, ask: Ask) -> Batch:
    """The request with exactly `CANDIDATES` candidates: what retrieval finds, filled up with others."""
    batch = engine.batch([ask])
    for step in engine.cascade(engine.cascade_name(ask)).steps:
        if step.stage.name == "hydrate":
            break
        batch = step.stage.run(batch)
    found = batch.item[0][batch.item[0] >= 0][:CANDIDATES]
    others = np.random.default_rng(len(found)).permutation(np.arange(1, len(engine.state.catalogue), dtype=np.int32))
    item = np.concatenate([found, np.setdiff1d(others, found, assume_unique=True)[: CANDIDATES - len(found)]])
    return Batch(batch.requests, item[None], {})


def measure(engine: Engine, surface: str, batches: list[Batch]) -> None:
    features, state = engine.parts.features, engine.state
    table = np.random.default_rng(0).random(
        (len(state.catalogue), len(names(state.clock, state.declared))), dtype=np.float32
    )
    gather = np.array([timed(lambda: table[batch.item]) for batch in batches])[WARM:]  # noqa: B023 (called at once)
    whole = np.array([timed(lambda: features.values(batch, state)) for batch in batches])[WARM:]  # noqa: B023
    parts: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for batch in batches[WARM:]:
        asked = features.asked(batch, state)
        for name, part in features.parts.items():
            parts[name].append(timed(lambda: part(asked)))  # noqa: B023
    times = np.median(whole, axis=0) / np.median(gather, axis=0)
    print(f"{surface}: {len(whole)} requests of {CANDIDATES} candidates, {table.shape[1]} features")
    show("hydrate", whole, f"{times[0]:.0f} times the gather, of the thread {times[1]:.0f}")
    show("one gather", gather)
    for name, found in parts.items():
        show(f"    {name}", np.array(found))


def next_tick(engine: Engine) -> None:
    """What an hour costs: the table of the tick after the bundle's last, and of the one after that."""
    features, state = engine.parts.features, engine.state
    for hours in (1, 2):
        ask = Ask("r", engine.bundle.cutoff + hours * 3_600_000, "u", "", "recommend")
        batch = retrieved(engine, ask)
        asked = features.asked(batch, state)
        show(f"items, {hours} h later", np.array([timed(lambda: features.parts["items"](asked))]))  # noqa: B023


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """ms of the clock and of this thread."""
    clock, thread = time.perf_counter(), time.thread_time()
    run()
    return (time.perf_counter() - clock) * 1e3, (time.thread_time() - thread) * 1e3


def show(name: str, ms: Times, more: str = "") -> None:
    clock, thread = np.percentile(ms, [50, 99], axis=0).T
    print(f"{name:<20} p50 {clock[0]:.3f}  p99 {clock[1]:.3f} ms   thread {thread[0]:.3f}  {thread[1]:.3f} ms  {more}")


if __name__ == "__main__":
    main()
