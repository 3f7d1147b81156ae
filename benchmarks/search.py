"""A search over the demo's catalogue: p50 and p99 at one client, and where the time goes.

    python -m benchmarks.search --bundle demo/bundles --logs demo/split/test [--requests 1000]

Asks the engine directly (no HTTP), then the service over loopback with one client, logged queries both times.
Models and indexes are the `rank` and the `lexical` stage; everything else is ours to make small.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(1)

import httpx  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.kernel import reference_seconds  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.ports import Ask  # noqa: E402

INDEX_AND_MODEL = ("lexical", "rank")
WARM = 100


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--logs", type=Path, required=True, help="a log with searches, such as split/test")
    arguments.add_argument("--requests", type=int, default=1_000)
    given = arguments.parse_args()
    pages = Log.open(given.logs).frame("impression").drop_nulls(["query", "user_id"]).head(given.requests + WARM)
    asked = list(pages.select("request_id", "time", "user_id", "query").iter_rows())
    kernel = reference_seconds()
    print(f"reference kernel {kernel * 1e3:.1f} ms; {len(asked) - WARM} searches after {WARM} to warm up")
    in_process(given.bundle, asked)
    over_http(given.bundle, asked)
    print(f"reference kernel afterwards {reference_seconds() * 1e3:.1f} ms")


def in_process(bundle: Path, asked: list[tuple[str, int, str, str]]) -> None:
    engine = Engine(bundle)
    stages: dict[str, list[float]] = defaultdict(list)
    whole: list[float] = []
    for number, (name, moment, user, query) in enumerate(asked):
        started = time.perf_counter()
        slate = engine.answer(Ask(name, moment, user, query, "search"))
        seconds = time.perf_counter() - started
        if number >= WARM:
            whole.append(seconds * 1e3)
            for row in slate.trace:
                stages[str(row["stage"])].append(float(str(row["ms"])))
    show("engine", whole)
    for stage, found in stages.items():
        print(f"    {stage:<12} p50 {np.percentile(found, 50):7.3f}  p99 {np.percentile(found, 99):7.3f} ms")
    heavy = sum(np.sum(stages[name]) for name in INDEX_AND_MODEL)
    print(f"    share of the engine's time outside models and indexes: {1 - heavy / np.sum(whole):.0%}")


def over_http(bundle: Path, asked: list[tuple[str, int, str, str]]) -> None:
    with (
        tempfile.TemporaryDirectory() as root,
        service(bundle, Path(root)) as url,
        httpx.Client(base_url=url) as client,
    ):
        whole = []
        for number, (name, moment, user, query) in enumerate(asked):
            body = {"query": query, "user_id": user, "at": moment, "request_id": name}
            started = time.perf_counter()
            answer = client.post("/v1/search", json=body)
            seconds = time.perf_counter() - started
            answer.raise_for_status()
            if number >= WARM:
                whole.append(seconds * 1e3)
    show("HTTP, one client", whole)


def show(name: str, ms: list[float]) -> None:
    print(f"{name:<18} p50 {np.percentile(ms, 50):.2f} ms  p99 {np.percentile(ms, 99):.2f} ms  n={len(ms)}")


@contextmanager
def service(bundle: Path, root: Path, workers: int = 1) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "podium", "serve", "--bundle", str(bundle), "--root", str(root)]
    command += ["--port", str(port), "--workers", str(workers), "--replay"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            if running.poll() is not None:
                raise SystemExit("the service ended")
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        running.terminate()
        running.wait()


if __name__ == "__main__":
    main()
