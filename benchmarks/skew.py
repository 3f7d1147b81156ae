"""Training-serving skew over a live stream: what the service used against what training would compute, bit for bit.

    python -m benchmarks.skew --bundle demo/bundles --train demo/split/train --logs demo/split/test [--requests 10000]

Starts the service over loopback, posts the events after the bundle's cutoff in the order in which they came in, some
late and some beyond the seal, and asks between them. Then the store is exported into a copy of the training log, and
`podium skew` computes every value again from that. The goal is no mismatch at all.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.threads import configure_threads

if __name__ == "__main__":  # a test that imports this has its threads configured
    configure_threads(1)

import httpx
import numpy as np
import polars as pl

from pipeline.bundle import open_bundle
from pipeline.features.ids import key_column
from pipeline.features.ticks import SEAL_MS
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.read import Log
from serving.replay.absorb import unheard
from serving.replay.http import _ids_of
from serving.replay.posting import Posted, Timeline, bodies
from serving.replay.requests import Asking
from serving.replay.run import tasks_of
from serving.run import export
from serving.skew import Skew, skew

POST = 500  # events
HOUR_MS = 3_600_000
KINDS = ("item", "user", "impression", "feedback")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--train", type=Path, required=True, help="the log the bundle was trained on")
    arguments.add_argument("--logs", type=Path, required=True, help="a later log, such as split/test")
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--late-items", action="store_true", help="descriptions of items come late as well")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="podium-skew-") as scratch:
        began = time.perf_counter()
        told = live(given.bundle, Log.open(given.logs), Path(scratch), given.requests, late_items=given.late_items)
        print(told.line(), f"({time.perf_counter() - began:.0f} s)", flush=True)
        began = time.perf_counter()
        found = offline(given.bundle, given.train, Path(scratch))
        print("\n".join(found.lines()), f"({time.perf_counter() - began:.0f} s)")


@dataclass(frozen=True, slots=True)
class Told:
    """What the service was told and asked. late: events that came in after their time by more than a minute; sealed:
    those that came in after the tick their time belongs to was sealed."""

    requests: int
    events: int
    late: int
    sealed: int

    def line(self) -> str:
        return f"{self.requests} requests, {self.events} events, {self.late} late, {self.sealed} beyond the seal"


def live(bundle: Path, log: Log, scratch: Path, requests: int, *, late_items: bool = False) -> Told:
    """Run the stream through `podium serve --replay`, which leaves its store and snapshots in `scratch/root`."""
    stream = arriving(unheard(log, open_bundle(bundle).cutoff), late_items=late_items)
    asked = questions(log, requests)
    with service(bundle, scratch / "root") as url, httpx.Client(base_url=url, timeout=60.0) as client:
        told = 0
        for each in asked:
            # Whatever came in before the request, and nothing after it.
            due = max(told, int(np.searchsorted(stream.time, each.time)))
            _post(client, stream.lines(told, due))
            told = due
            client.post(f"/v1/{each.door}", json=dict(each.body)).raise_for_status()
        _post(client, stream.lines(told, len(stream.time)))
    gap = {kind: stream.frames[kind]["received"] - stream.frames[kind]["time"] for kind in KINDS}
    late = sum(int((each > 60_000).sum()) for each in gap.values())
    return Told(len(asked), len(stream.time), late, sum(map(_sealed, stream.frames.values())))


def offline(bundle: Path, train: Path, scratch: Path) -> Skew:
    """Grow a copy of the training log by what the service took, and compare."""
    shutil.copytree(train, scratch / "log")
    export(scratch / "root", scratch / "log")
    return skew(bundle, scratch / "log", scratch / "root/snapshots", scratch / "out")


def arriving(frames: dict[str, pl.DataFrame], *, late_items: bool) -> Timeline:
    """The events in the order in which they come in, of which some come late: by hash of the event, a tenth of the
    feedback up to ten minutes, a tenth up to a day, a twentieth of the pages up to two hours."""
    shares = {"feedback": ((0.1, 600_000), (0.1, 24 * HOUR_MS)), "impression": ((0.05, 2 * HOUR_MS),)}
    if late_items:
        shares |= {"item": ((0.3, 6 * HOUR_MS),)}
    frames = {kind: _delayed(frame, shares.get(kind, ())) for kind, frame in frames.items()}
    told = [
        frames[kind].select("received", "event_id", kind=pl.lit(place), place=pl.int_range(pl.len()))
        for place, kind in enumerate(KINDS)
    ]
    index = pl.concat(told).sort("received", "kind", "event_id")
    kinds = [KINDS[place] for place in index["kind"]]
    return Timeline(index["received"].to_numpy(), kinds, index["place"].to_list(), frames)


def _delayed(frame: pl.DataFrame, shares: Sequence[tuple[float, int]]) -> pl.DataFrame:
    drawn = (key_column(frame["event_id"]).view(np.uint64) >> np.uint64(11)).astype(np.float64) / 2**53
    delay, low = np.zeros(len(frame), dtype=np.int64), 0.0
    for share, longest in shares:
        own = (drawn >= low) & (drawn < low + share)
        delay[own] = 1_000 + ((drawn[own] - low) / share * longest).astype(np.int64)
        low += share
    return frame.with_columns(received=pl.col("received") + pl.Series(delay))


def _sealed(frame: pl.DataFrame) -> int:
    sealed = (frame["time"] // HOUR_MS + 1) * HOUR_MS + SEAL_MS
    return int((frame["received"] >= sealed).sum())


def questions(log: Log, requests: int) -> list[Posted]:
    """Half of the requests are logged ones asked again, half rank a logged page; in order of time."""
    rules = AttributionConfig()
    asking = Asking(_ids_of(log), "region")
    tasks = tasks_of(log, rules.gains, rules.windows_ms, -(-requests // 2), asking)
    asked = sorted((each for task in tasks for each in bodies(task, log)), key=lambda each: each.time)
    return asked[:requests]


def _post(client: httpx.Client, lines: list[bytes]) -> None:
    for start in range(0, len(lines), POST):
        body = b"[" + b",".join(lines[start : start + POST]) + b"]"
        answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
        answer.raise_for_status()
        if rejected := answer.json()["rejected"]:
            raise SystemExit(f"the service refused {rejected[0]}")


@contextmanager
def service(bundle: Path, root: Path) -> Iterator[str]:
    """`podium serve --replay` that keeps the values of every request; stopped by its process when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "podium", "serve", "--bundle", str(bundle), "--root", str(root)]
    environment = {**os.environ, "PODIUM_SNAPSHOT_SHARE": "1.0"}
    running = subprocess.Popen([*command, "--port", str(port), "--replay"], stdout=subprocess.DEVNULL, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            if running.poll() is not None:
                raise SystemExit("the service ended")
            with suppress(httpx.TransportError):  # nobody listens yet
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            time.sleep(0.2)
        yield url
    finally:
        running.terminate()
        running.wait()


if __name__ == "__main__":
    main()
