"""Events a second of `podium ingest` from JSON lines: impressions of ten items, and feedback.

Run it as `python -m benchmarks.ingest [--impressions N] [--feedback N]`. Beside events a second it prints the time
as a multiple of the reference kernel's, which is comparable between machines.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from time import perf_counter

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=300_000)
    parser.add_argument("--feedback", type=int, default=2_000_000)
    arguments = parser.parse_args()
    from benchmarks.kernel import reference_seconds

    reference = reference_seconds()
    with tempfile.TemporaryDirectory() as name:
        measure("impression", arguments.impressions, Path(name), reference)
        measure("feedback", arguments.feedback, Path(name), reference)


if __name__ == "__main__":
    main()
