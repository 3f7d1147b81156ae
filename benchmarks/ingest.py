"""Events a second of `podium ingest`: of JSON lines, impressions of ten items, and feedback; and of each table format.

Run it as `python -m benchmarks.ingest [--impressions N] [--feedback N]`. With `--tables DATA` it reads the public data
sets in the folder DATA instead, as they come and as CSV, and a mapped CSV of `--feedback` rows, the best of `--runs`.
Beside events a second it prints the time as a multiple of the reference kernel's, which is comparable between machines.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter, process_time

import polars as pl

# format -> folder of a data set
TABLES = {
    "movielens": ("ml-latest-small", "ml-1m"),
    "sequences": ("amazon-beauty",),
    "judged": ("home-depot-search", "crowdflower-search"),
    "taobao": ("taobao-behavior",),
    "query-counts": ("aol-query-counts",),
    "mind": ("mind-5k",),
    "openbandit": ("open-bandit",),
}
MAPPED = {"user_id": "uid", "item_id": "sku", "time": "ts", "action": "what"}

START_MS = 1_700_000_000_000


def impression(number: int, rng: random.Random) -> dict[str, object]:
    """One page of ten items, as the service would log it."""
    items = [
        {
            "item_id": f"item-{rng.randrange(10**6) + place * 10**6}",
            "position": place,
            "score": round(rng.random(), 6),
            "propensity": 1.0,
            "channel": "vectors",
        }
        for place in range(10)
    ]
    return {
        "type": "impression",
        "event_id": f"request-{number}:0",
        "request_id": f"request-{number}",
        "time": START_MS + number * 100,
        "surface": "search",
        "user_id": f"user-{number % 5_000}",
        "query": f"red shoes {number % 997}",
        "context": {"device": "phone", "region": "de"},
        "items": items,
        "bundle": "b1",
        "arm": "control",
    }


def feedback(number: int, rng: random.Random) -> dict[str, object]:
    """One click on an item of a page."""
    return {
        "type": "feedback",
        "event_id": f"click-{number}",
        "time": START_MS + number * 20,
        "user_id": f"user-{number % 5_000}",
        "item_id": f"item-{rng.randrange(10**7)}",
        "action": "click",
        "request_id": f"request-{number}",
    }


def measure(kind: str, count: int, folder: Path, reference: float) -> None:
    """Write `count` events of a kind, ingest them and print what it took."""
    from pipeline.logs.ingest import ingest

    rng = random.Random(0)
    make = impression if kind == "impression" else feedback
    source = folder / f"{kind}.jsonl"
    with source.open("w") as file:
        file.writelines(json.dumps(make(number, rng)) + "\n" for number in range(count))
    started = perf_counter()
    report = ingest("podium", [source], folder / f"log-{kind}")
    seconds = perf_counter() - started
    assert report.accepted[kind] == count
    size = source.stat().st_size / 1e6
    print(
        f"{kind}: {count:,} events, {size:,.0f} MB, {seconds:.2f} s: {count / seconds:,.0f} events/s, "
        f"{size / seconds:,.0f} MB/s, {seconds / reference:.2f} x reference"
    )


def tables(data: Path, rows: int, folder: Path) -> Iterator[tuple[str, str, Path, Mapping[str, str]]]:
    """What to read: its name, the format, where it lies and the options."""
    for fmt, names in TABLES.items():
        for name in names:
            yield f"{name} as it comes", fmt, data / name, {}
            if written := _as_csv(data / name, folder / name):
                yield f"{name} as CSV", fmt, written, {}
    rng = random.Random(0)
    whole = pl.DataFrame(
        {
            "uid": [f"user-{rng.randrange(rows // 40)}" for _ in range(rows)],
            "sku": [rng.randrange(10**6) for _ in range(rows)],
            "ts": [START_MS + 20 * number for number in range(rows)],
            "what": [rng.choice(("view", "click", "cart")) for _ in range(rows)],
        }
    )
    for name, stamp in (("epoch times", pl.col("ts")), ("RFC 3339", _rfc3339("ts"))):
        path = folder / f"{name}.csv"
        whole.with_columns(stamp.alias("ts")).write_csv(path)
        yield f"{rows:,} clicks, {name}", "csv", path, MAPPED


def _rfc3339(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")


def _as_csv(source: Path, target: Path) -> Path | None:
    """The data set's tables as CSV; None where one holds lists, which CSV has no place for."""
    frames = {path.stem: pl.read_parquet(path) for path in sorted(source.glob("*.parquet"))}
    if any(dtype.is_nested() for frame in frames.values() for dtype in frame.schema.values()):
        return None
    target.mkdir()
    for name, frame in frames.items():
        frame.write_csv(target / f"{name}.csv")
    return target


def measure_tables(data: Path, rows: int, runs: int, folder: Path, reference: float) -> None:
    """Print for each table how fast it is read: the best of `runs`."""
    from pipeline.logs.ingest import ingest

    for name, fmt, source, options in tables(data, rows, folder):
        wall, cpu = [], []
        for _ in range(runs):
            started, worked = perf_counter(), process_time()
            report = ingest(fmt, [source], folder / "log", options=options)
            wall.append(perf_counter() - started)
            cpu.append(process_time() - worked)
            shutil.rmtree(folder / "log")
        print(
            f"{fmt}, {name}: {report.read:,} events, {min(wall):.3f} s ({min(cpu):.3f} s of CPU), "
            f"{report.read / min(wall):,.0f} events/s, {min(wall) / reference:.2f} x reference",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=300_000)
    parser.add_argument("--feedback", type=int, default=2_000_000)
    parser.add_argument("--tables", type=Path, metavar="DATA", help="a folder of public data sets")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    from benchmarks.kernel import reference_seconds

    reference = reference_seconds()
    with tempfile.TemporaryDirectory() as name:
        if arguments.tables:
            measure_tables(arguments.tables, arguments.feedback, arguments.runs, Path(name), reference)
            return
        measure("impression", arguments.impressions, Path(name), reference)
        measure("feedback", arguments.feedback, Path(name), reference)


if __name__ == "__main__":
    main()
