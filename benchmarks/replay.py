"""Requests a second of a replay, beside the service with two workers that answers the same requests.

    python -m benchmarks.replay --bundle demo/bundles --logs demo/split/test [--requests 10000] [--rounds 2]

Both answer the log's pages through the whole cascade, 200 places deep, as of each page's time, from the bundle alone:
no event is posted. The service gets them from `--callers` connections, which ask for the first hundred items and read
the answer whole. The two take turns. At the end the replay runs once more under a profiler, which says what share of
its time is spent in compiled code (NumPy, ONNX Runtime, LightGBM, tantivy, Polars); a profiler slows down Python and
not these, so that the share outside is at most what is said.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.threads import configure_threads

configure_threads(1)

from benchmarks.search import service  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.ports import DEPTH  # noqa: E402
from serving.replay import answers  # noqa: E402
from serving.replay.absorb import absorb  # noqa: E402
from serving.replay.posting import Posted, bodies  # noqa: E402
from serving.replay.requests import Asking, Task  # noqa: E402
from serving.replay.run import EvaluateOptions, quiet, tasks_of  # noqa: E402

WORKERS = 2
WARM = 512  # requests
PAGE_SIZE = 100
PROFILED = 2_000  # requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--logs", type=Path, required=True, help="a log with impressions, such as split/test")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--callers", type=int, default=8, help="connections to the service")
    told = parser.parse_args()
    engine, log = Engine(told.bundle), Log.open(told.logs)
    absorb(engine, log, (), frozen=True)
    asking, options = Asking(engine.state.catalogue, engine.state.segment), EvaluateOptions(sample=told.requests)
    tasks = tasks_of(log, engine.state.gains, options.windows_ms, options.sample, asking)
    task = next(task for task in tasks if task.mode == "funnel")
    posted = list(bodies(task, log))
    print(f"{task.size} requests, {WORKERS} workers, {told.callers} callers, {len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory() as root, service(told.bundle, Path(root), workers=WORKERS) as url:
        over_http(url, posted[:WARM], told.callers)
        replayed(engine, task, WARM)
        for _ in range(told.rounds):
            http, replay = over_http(url, posted, told.callers), replayed(engine, task, task.size)
            print(f"service {http:7.1f} requests/s   replay {replay:7.1f} requests/s   {replay / http:5.2f} times")
    print(f"outside compiled code: at most {outside(engine, task):.0%} of the replay's time")


def over_http(url: str, posted: Sequence[Posted], callers: int) -> float:
    """Requests a second."""
    place = urlsplit(url)

    def call(mine: Sequence[Posted]) -> None:
        line = HTTPConnection(place.hostname or "", place.port)
        for each in mine:
            body = json.dumps({**each.body, "page": 0, "page_size": PAGE_SIZE})
            line.request("POST", f"/v1/{each.door}", body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise SystemExit(f"the service answered {answer.status}: {said[:200]!r}")
        line.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, [posted[number::callers] for number in range(callers)]))
    return len(posted) / (time.perf_counter() - started)


def replayed(engine: Engine, task: Task, requests: int) -> float:
    """Requests a second."""
    asks = task.asks[:requests]
    started = time.perf_counter()
    answers.answer(engine, asks, task.labels.only(task.labels.row < requests), DEPTH, quiet)
    return len(asks) / (time.perf_counter() - started)


def outside(engine: Engine, task: Task) -> float:
    """The share of a replay's time that the profiler sees in functions written in Python; in one thread."""
    profiler = cProfile.Profile()
    asks = task.asks[:PROFILED]
    profiler.enable()
    for name, rows in answers.chunks(engine, asks):
        engine.cascade(name).run(engine.batch([asks[row] for row in rows]))
    profiler.disable()
    seen = pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    own = {place: figures[2] for place, figures in seen}
    return sum(seconds for (file, _, _), seconds in own.items() if file != "~") / sum(own.values())


if __name__ == "__main__":
    main()
