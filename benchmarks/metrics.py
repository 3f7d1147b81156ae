"""NDCG@10 of 100,000 requests x 50 items from one long Polars frame: Podium beside its peers.

    python -m benchmarks.metrics [--requests 100000] [--peers podium,pytrec_eval] [--repeats 2] [--json]

The frame is what a run file and its qrels hold: query_id and item_id are strings, score float64, grade 0 to 4;
requests stand together, scores are distinct, every item is judged, so all conventions (linear gain) give one
value, asserted to 1e-6. `build` is from the frame to what the library takes, `run` the metric itself; importing
and compiling beforehand (numba, on a small run) are not timed. Two rows are Podium's: `arrays` knows the grade
beside the score, as scikit-learn does; `evaluate_run` gets run and qrels apart, as the others do, and joins them,
refuses doubles, orders ties by id and draws a bootstrap interval as well.
"""

import argparse
import gc
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from benchmarks.kernel import reference_seconds

ITEMS = 50
SMALL = 100


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds to build the inputs and to run; the value found; the reference kernel's seconds in that minute."""

    build: float
    run: float
    value: float
    reference: float = math.nan

    @property
    def total(self) -> float:
        return self.build + self.run


def long_frame(requests: int) -> pl.DataFrame:
    """query_id, item_id, score, grade: `requests` x 50 rows, requests together, item ids in no order."""
    generator = np.random.default_rng(0)
    rows = requests * ITEMS
    grades = generator.choice(5, size=rows, p=[0.6, 0.2, 0.1, 0.06, 0.04])
    # Distinct within a float32 as well, which trec_eval compares: no library breaks a tie its own way.
    score = np.argsort(generator.random((requests, ITEMS)), axis=1).ravel() / ITEMS
    frame = pl.DataFrame(
        {
            "query": np.arange(rows) // ITEMS,
            "item": generator.permutation(rows),
            "score": score,
            "grade": grades.astype(np.int64),
        }
    )
    return frame.select(
        query_id="q" + pl.col("query").cast(pl.String),
        item_id="item" + pl.col("item").cast(pl.String),
        score="score",
        grade="grade",
    )


def podium_arrays(frame: pl.DataFrame) -> Timing:
    from pipeline.metrics.padded import pad
    from pipeline.metrics.ranking import ndcg

    start = time.perf_counter()
    padded = pad(frame, "query_id", ["score", "grade"])
    built = time.perf_counter()
    value = float(np.nan_to_num(ndcg(padded["grade"], padded["score"], padded.mask, 10)).mean())
    return Timing(built - start, time.perf_counter() - built, value)


def podium_run(frame: pl.DataFrame) -> Timing:
    from pipeline.metrics.runs import evaluate_run

    start = time.perf_counter()
    run, qrels = frame.select("query_id", "item_id", "score"), frame.select("query_id", "item_id", "grade")
    built = time.perf_counter()
    value = evaluate_run(run, qrels, ["ndcg@10"]).metrics["ndcg@10"].mean
    return Timing(built - start, time.perf_counter() - built, value)


def scikit_learn(frame: pl.DataFrame, ignore_ties: bool) -> Timing:
    from sklearn.metrics import ndcg_score

    start = time.perf_counter()
    # It takes matrices only; that all lists are of one length and stand together is known here, not checked.
    scores, grades = (frame[name].to_numpy().reshape(-1, ITEMS) for name in ("score", "grade"))
    built = time.perf_counter()
    value = float(ndcg_score(grades, scores, k=10, ignore_ties=ignore_ties))
    return Timing(built - start, time.perf_counter() - built, value)


def pytrec_eval(frame: pl.DataFrame) -> Timing:
    import pytrec_eval as library

    start = time.perf_counter()
    run, qrels = nested(frame, "score"), nested(frame, "grade")
    judge = library.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    built = time.perf_counter()
    values = judge.evaluate(run)
    value = sum(each["ndcg_cut_10"] for each in values.values()) / len(values)
    return Timing(built - start, time.perf_counter() - built, value)


def ir_measures(frame: pl.DataFrame) -> Timing:
    import ir_measures as library

    start = time.perf_counter()
    run, qrels = nested(frame, "score"), nested(frame, "grade")
    built = time.perf_counter()
    value = library.calc_aggregate([library.nDCG @ 10], qrels, run)[library.nDCG @ 10]
    return Timing(built - start, time.perf_counter() - built, float(value))


def ranx(frame: pl.DataFrame) -> Timing:
    from ranx import Qrels, Run, evaluate

    start = time.perf_counter()
    run, qrels = Run(nested(frame, "score")), Qrels(nested(frame, "grade"))
    built = time.perf_counter()
    value = float(evaluate(qrels, run, "ndcg@10"))
    return Timing(built - start, time.perf_counter() - built, value)


def nested(frame: pl.DataFrame, value: str) -> dict[str, dict[str, float]]:
    """query_id → item_id → value, the fastest way found: slices of lists, since requests stand together."""
    queries = frame["query_id"].gather_every(ITEMS).to_list()
    items, values = frame["item_id"].to_list(), frame[value].to_list()
    return {
        query: dict(zip(items[at : at + ITEMS], values[at : at + ITEMS], strict=True))
        for at, query in zip(range(0, len(items), ITEMS), queries, strict=True)
    }


SYSTEMS: dict[str, Callable[[pl.DataFrame], Timing]] = {
    "podium arrays": podium_arrays,
    "podium evaluate_run": podium_run,
    "scikit-learn, ties ignored": lambda frame: scikit_learn(frame, ignore_ties=True),
    "scikit-learn": lambda frame: scikit_learn(frame, ignore_ties=False),
    "pytrec_eval": pytrec_eval,
    "ir_measures": ir_measures,
    "ranx": ranx,
}


def measure(requests: int, peers: list[str], repeats: int) -> dict[str, Timing]:
    """Each system's best of `repeats` on the same frame, warmed on its last requests; all must find one value."""
    frame = long_frame(requests)
    # Of the same frame, since numba compiles anew for each width of string.
    small = frame.tail(SMALL * ITEMS)
    timings: dict[str, Timing] = {}
    for name, system in SYSTEMS.items():
        if peers and not any(name.startswith(peer) for peer in peers):
            continue
        try:
            system(small)
        except ImportError:
            print(f"{name}: not installed, left out")
            continue
        timings[name] = min((timed(system, frame) for _ in range(repeats)), key=lambda timing: timing.total)
    values = [timing.value for timing in timings.values()]
    if max(values) - min(values) > 1e-6:
        raise SystemExit(f"the systems disagree: { {name: t.value for name, t in timings.items()} }")
    return timings


def timed(system: Callable[[pl.DataFrame], Timing], frame: pl.DataFrame) -> Timing:
    """One measurement, the kernel's beside it; what the one before left behind is cleared first."""
    gc.collect()
    reference = reference_seconds()
    return replace(system(frame), reference=reference)


def main() -> None:
    parser = argparse.ArgumentParser(description="NDCG@10 from a long data frame, beside other libraries")
    parser.add_argument("--requests", type=int, default=100_000, help="lists of 50 items")
    parser.add_argument("--peers", default="", help="beginnings of names, comma separated; default all")
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many counts")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    # The warnings are the peers' own, about their use of NumPy and numba.
    warnings.simplefilter("ignore")
    peers = [peer for peer in arguments.peers.split(",") if peer]
    timings = measure(arguments.requests, peers, arguments.repeats)
    if arguments.json:
        print(json.dumps({name: asdict(timing) for name, timing in timings.items()}))
        return
    first = next(iter(timings.values())).total
    print(f"NDCG@10 of {arguments.requests:,} requests x {ITEMS}, best of {arguments.repeats}")
    print(f"{'system':28}{'build s':>9}{'run s':>9}{'total s':>9}{'x podium':>10}{'x kernel':>10}{'value':>10}")
    for name, timing in timings.items():
        print(
            f"{name:28}{timing.build:9.2f}{timing.run:9.2f}{timing.total:9.2f}"
            f"{timing.total / first:10.1f}{timing.total / timing.reference:10.1f}{timing.value:10.6f}"
        )


if __name__ == "__main__":
    main()
