"""Shown items a second from a log to saved features, how that grows with the log, what a new day costs, and what a
live event does.

Run it as `python -m benchmarks.features [--shown N ...]`. Each size is built in a process of its own, so that its peak
memory is its own. Beside seconds it prints them as multiples of sorting as many 64-bit numbers, which is comparable
between machines.
"""

import argparse
import resource
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.state import State

ITEMS, QUERIES, USERS, DAYS, PAGE = 100_000, 50_000, 200_000, 30, 10
CLICKED = 0.1  # of the shown items
FIRST_DAY = 20_000
DAY_MS = 86_400_000
WEEK = 7
LIVE = 20_000  # pages with one action each that are learned, one by one
SIZES = (1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000)


def write_log(root: Path, shown: int, seed: int = 0) -> None:
    """A log of `shown` shown items in pages of ten, over thirty days."""
    from pipeline.logs.partitions import write_days, write_manifest

    rng = np.random.default_rng(seed)
    write_days(root, "item", _items())
    pages = shown // PAGE // DAYS
    for day in range(DAYS):
        impressions, feedback = _day(FIRST_DAY + day, pages, rng)
        write_days(root, "impression", impressions)
        write_days(root, "feedback", feedback)
    write_manifest(root, "exact")


def _items() -> pl.DataFrame:
    from pipeline.logs.events import conform

    item = np.arange(ITEMS)
    rows = {
        "event_id": [f"item:{i}" for i in item],
        "time": np.full(ITEMS, FIRST_DAY * DAY_MS),
        "item_id": [f"i{i:06d}" for i in item],
        "category": [[f"c{i % 20}", f"c{i % 200}"] for i in item],
        "brand": [f"brand {i % 500}" for i in item],
        "price": item % 97 + 1.0,
    }
    return conform("item", pl.DataFrame(rows))


def _zipf(rng: np.random.Generator, size: int, most: int) -> NDArray[np.int64]:
    """Ranks with a probability near 1 / (rank + 1)."""
    drawn: NDArray[np.int64] = np.exp(rng.random(size) * np.log(most)).astype(np.int64) - 1
    return drawn


def _day(day: int, pages: int, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    from pipeline.logs.events import conform

    time = np.sort(rng.integers(0, DAY_MS, pages)) + day * DAY_MS
    user = rng.integers(0, USERS, pages)
    item = _zipf(rng, pages * PAGE, ITEMS)
    names = pl.Series(item).cast(pl.String).str.zfill(6)
    shown = pl.DataFrame({"item_id": "i" + names}).with_columns(
        position=pl.Series(np.tile(np.arange(PAGE), pages), dtype=pl.Int32), propensity=pl.lit(1.0)
    )
    request = pl.Series(np.arange(pages) + day * 10_000_000).cast(pl.String)
    impressions = pl.DataFrame(
        {
            "event_id": "r" + request + ":0",
            "request_id": "r" + request,
            "time": time,
            "received": time + 2_000,
            "surface": ["search"] * pages,
            "user_id": "u" + pl.Series(user).cast(pl.String),
            "query": "query number " + pl.Series(_zipf(rng, pages, QUERIES)).cast(pl.String),
            "context": pl.Series([f'{{"region": "r{n}"}}' for n in range(8)])[rng.integers(0, 8, pages)],
            "items": shown.to_struct("items").reshape((pages, PAGE)).arr.to_list(),
        }
    )
    clicked = np.flatnonzero(rng.random(pages * PAGE) < CLICKED)
    page = clicked // PAGE
    at = time[page] + rng.integers(1_000, 600_000, len(clicked))
    at = np.minimum(at, (day + 1) * DAY_MS - 1)
    feedback = pl.DataFrame(
        {
            "event_id": pl.Series(clicked + day * 100_000_000).cast(pl.String),
            "time": at,
            "received": at + 1_000,
            "user_id": impressions["user_id"].gather(page),
            "item_id": shown["item_id"].gather(clicked),
            "action": ["click"] * len(clicked),
            "request_id": impressions["request_id"].gather(page),
        }
    )
    return conform("impression", impressions), conform("feedback", feedback)


def _measure(root: Path, shown: int) -> dict[str, float]:
    """Build a log's features whole, then a week's days one by one, up to the day on which all of the state is written
    again; and learn live events. In seconds and MB."""
    from pipeline.build import Earlier, build_state
    from pipeline.catalogue import build_catalogue
    from pipeline.logs.read import Log
    from pipeline.state import State

    log = Log.open(root / "log")
    catalogue = build_catalogue(log.frame("item"), pl.Series([], dtype=pl.String))

    states: dict[str, State] = {}

    def build(name: str, until: int | None = None, earlier: Earlier | None = None) -> None:
        (root / name).mkdir()
        view = Log.open(root / "log", None if until is None else until * DAY_MS)
        states[name] = build_state(view, catalogue, {"click": 1.0}, root / name, earlier=earlier)

    resting = _peak_mb()
    times = {"": _timed(lambda: build("whole"))}
    peak = _peak_mb() - resting
    turn = (FIRST_DAY + DAYS - 1) // WEEK * WEEK
    first = turn - WEEK + 1
    build(f"{first}", first)
    for day in range(first, turn + 1):
        earlier = Earlier(states.pop(f"{day}"), root / f"{day}", day * DAY_MS)
        times[f"day {day - first}"] = _timed(partial(build, f"{day + 1}", day + 1, earlier))
    numbers = np.random.default_rng(0).integers(0, 2**62, shown)
    times["reference"] = _timed(lambda: np.sort(numbers, kind="stable"))
    state = sum(path.stat().st_size for path in (root / "whole").iterdir()) / 1e6
    measured = {"shown": float(shown), "peak": peak, "state": state} | _live(states["whole"])
    for name, (seconds, cpu) in times.items():
        measured |= {f"{name}_seconds".lstrip("_"): seconds, f"{name}_cpu".lstrip("_"): cpu}
    return measured


def _live(state: "State") -> dict[str, float]:
    """What learning a page and then an action on it takes, each alone: the median ms of the first thousand events and
    of the last, of the processor, and the longest."""
    pages, acts = _day(FIRST_DAY + DAYS, LIVE, np.random.default_rng(1))
    acts = acts.unique("request_id", keep="first", maintain_order=True)
    pages = pages.join(acts.select("request_id"), on="request_id", how="semi", maintain_order="left")
    taken = []
    for place in range(len(pages)):
        for kind, rows in (("impression", pages), ("feedback", acts)):
            started = thread_time()
            state = state.advance({kind: rows[place : place + 1]})
            taken.append(1e3 * (thread_time() - started))
    first, last = (float(np.median(part)) for part in (taken[:1000], taken[-1000:]))
    return {"events": float(len(taken)), "live": first, "later": last, "longest": max(taken)}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    started = perf_counter(), process_time()
    work()
    return perf_counter() - started[0], process_time() - started[1]


def _run(shown: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "log").mkdir()
        # In a process of its own too: what writing a log takes is not what building takes.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(write_log, root / "log", shown).result()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_measure, root, shown).result()


def _line(row: Mapping[str, float]) -> str:
    shown, seconds, cpu = row["shown"], row["seconds"], row["cpu"]
    days = ", ".join(f"{row[f'day {day}_seconds']:.2f} s ({row[f'day {day}_cpu']:.2f})" for day in range(WEEK))
    wall_share, cpu_share = (_share(row, clock) for clock in ("seconds", "cpu"))
    return (
        f"{shown:>12,.0f} shown: {seconds:7.2f} s ({cpu:.2f} s CPU), {shown / seconds:,.0f} shown/s "
        f"({shown / cpu:,.0f} a CPU second), {seconds / row['reference_seconds']:.1f} x reference, "
        f"peak memory +{row['peak']:,.0f} MB, saved {row['state']:,.0f} MB; "
        f"days of a week {days}: on average {wall_share:.2f} x their share ({cpu_share:.2f} in CPU); "
        f"a live event {row['live']:.2f} ms, after {row['events']:,.0f} more {row['later']:.2f} ms, "
        f"the longest {row['longest']:.0f} ms"
    )


def _share(row: Mapping[str, float], clock: str) -> float:
    """What a mean day of the week takes, as a multiple of its share of the whole."""
    mean = sum(row[f"day {day}_{clock}"] for day in range(WEEK)) / WEEK
    return mean * DAYS / row[clock]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shown", type=int, nargs="+", default=SIZES)
    rows = []
    for shown in parser.parse_args().shown:
        row = _run(shown)
        rows.append(row)
        print(_line(row), flush=True)
    if len(rows) > 1:
        size, wall, cpu = (np.log([row[name] for row in rows]) for name in ("shown", "seconds", "cpu"))
        print(f"growth exponent {np.polyfit(size, wall, 1)[0]:.2f} (CPU {np.polyfit(size, cpu, 1)[0]:.2f})")


if __name__ == "__main__":
    main()
