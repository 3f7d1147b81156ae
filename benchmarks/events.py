"""Events a second that the store takes, each on the disk before its caller is told, and how long callers wait.

Run it as `python -m benchmarks.events [--seconds S] [--folder WHERE] [--url postgresql+psycopg://...]
[--service http://...]`. Callers are threads that post one event, or a hundred, and post again when they are told.
`one a commit` is the same store without group commit. The time of a bare fsync in the same folder says what the disk
allows.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from time import perf_counter

import httpx
import numpy as np

from pipeline.logs.store import EventStore, Limits, Row

CALLERS = (1, 8, 64)
ROUNDS = 3
HEAD = f"{'callers':>7} {'a post':>6} {'commit':>14} {'events/s':>9} {'p50 ms':>7} {'p99 ms':>7}"
ALONE = Limits(group_rows=1)
BODY = '{"type":"feedback","event_id":"%s","time":%d,"user_id":"%s","item_id":"item-%d","action":"click"}'


def rows_of(name: str, count: int) -> list[Row]:
    now = time.time_ns() // 1_000_000
    users = [f"user-{number % 5_000}" for number in range(count)]
    return [
        Row(f"{name}-{n}", "feedback", user, now, now, BODY % (f"{name}-{n}", now, user, n))
        for n, user in enumerate(users)
    ]


def post(append: Callable[[list[Row]], object], callers: int, batch: int, seconds: float) -> tuple[float, np.ndarray]:
    """Events a second, and the waits [posts] of all callers in ms."""
    stop = threading.Event()

    def call(caller: int) -> list[float]:
        waits = []
        while not stop.is_set():
            rows = rows_of(f"{time.time_ns():x}-{caller}", batch)
            start = perf_counter()
            append(rows)
            waits.append(perf_counter() - start)
        return waits

    with ThreadPoolExecutor(callers) as pool:
        start = perf_counter()
        calls = [pool.submit(call, number) for number in range(callers)]
        time.sleep(seconds)
        stop.set()
        waits = [wait for done in calls for wait in done.result()]
        took = perf_counter() - start
    return len(waits) * batch / took, np.array(waits) * 1_000


def fsync_ms(folder: Path, times: int = 200) -> float:
    """The median time of writing 4 KB and waiting for the disk."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            start = perf_counter()
            file.write(bytes(4_096))
            os.fdatasync(file.fileno())
            took.append(perf_counter() - start)
    return float(np.median(took)) * 1_000


def tell(cells: Mapping[tuple[int, int, str], list[tuple[float, np.ndarray]]]) -> None:
    """The median of the rounds of each cell."""
    for (callers, batch, commit), rounds in cells.items():
        rate = np.median([rate for rate, _ in rounds])
        middle, late = np.median([np.percentile(waits, [50, 99]) for _, waits in rounds], axis=0)
        print(f"{callers:>7} {batch:>6} {commit:>14} {rate:>9,.0f} {middle:>7.2f} {late:>7.2f}", flush=True)


def over_http(url: str, key: str | None, seconds: float) -> None:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    cells = defaultdict(list)
    with httpx.Client(base_url=url, headers=headers, limits=httpx.Limits(max_connections=64)) as client:

        def append(rows: list[Row]) -> None:
            client.post("/v1/events", content=f"[{','.join(row.body for row in rows)}]").raise_for_status()

        for _, batch, callers in product(range(ROUNDS), (1, 100), CALLERS):
            cells[callers, batch, "service"].append(post(append, callers, batch, seconds))
    tell(cells)


def table(url: str, seconds: float) -> None:
    """The ways to commit take turns, so that whatever else the machine does falls on all of them."""
    stores = {"one a commit": EventStore(url, ALONE), "group": EventStore(url)}
    ways = ((1, "one a commit"), (1, "group"), (100, "group"))
    cells = defaultdict(list)
    for _, (batch, commit), callers in product(range(ROUNDS), ways, CALLERS):
        cells[callers, batch, commit].append(post(stores[commit].append, callers, batch, seconds))
    for store in stores.values():
        store.close()
    tell(cells)


def others(url: str, count: int) -> None:
    """What the store does beside taking events, when it holds `count` of them."""
    store = EventStore(url)
    store.release(store.head(), 10**15)
    for start in range(0, count, 10_000):
        store.append(rows_of(f"{time.time_ns():x}-{start}", 10_000))
    last = store.head()
    works = {
        "a look for news (1,000)": lambda: [store.version() for _ in range(1_000)],
        "a user forgotten": lambda: store.forget("user-17").result(),
        f"half of {count:,} released": lambda: store.release(last - count // 2, 10**15),
    }
    for name, work in works.items():
        start_s = perf_counter()
        work()
        print(f"{name:<28} {perf_counter() - start_s:8.3f} s")
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of the rounds of a line")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that is measured")
    parser.add_argument("--url", help="of a PostgreSQL database to be measured too; its events stay")
    parser.add_argument("--held", type=int, default=200_000, help="events held for the other figures")
    parser.add_argument("--service", help="of a running service to be measured too, as http://127.0.0.1:8000")
    parser.add_argument("--key", help="of the service")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(f"write and fsync of 4 KB: {fsync_ms(Path(folder)):.2f} ms")
        for url in filter(None, (f"sqlite:///{folder}/events.db", arguments.url)):
            print(f"\n{url.partition(':')[0]}\n{HEAD}")
            table(url, arguments.seconds)
            others(url, arguments.held)
    if arguments.service:
        print(f"\nservice\n{HEAD}")
        over_http(arguments.service, arguments.key, arguments.seconds)


if __name__ == "__main__":
    main()
