"""NDCG@10 from one long data frame: Podium beside its peers, and beside a sort of the same scores.

    python -m benchmarks.metrics [--requests 100000] [--items 50] [--ids text] [--layout dense] [--repeats 2]
    python -m benchmarks.metrics --requests 1000000 --items 100 --ids numbers --peer-requests 20000

The frame has query_id, item_id, score (float64) and grade (0 to 4, int64); scores are distinct and every item is
judged, so all conventions (linear gain) give one value, asserted to 1e-6. `build` is from the frame to what the
library takes, `run` the metric itself; importing and compiling beforehand (numba, on a small run) are not timed.

`evaluate_frame` takes the frame as it stands: it checks ids, numbers and doubles, orders ties by id; `unchecked`
is the metric alone, for requests that stand together, which is what scikit-learn does with matrices; `with interval`
draws 1,000 bootstrap samples too; `evaluate_run` gets run and qrels apart, as most peers do, finds that their rows
agree, and draws; `evaluate_run shuffled` has to join them. Peers are timed on the first --peer-requests requests and
their time is scaled to all (each works query by query). `cpu` is the processor time of all threads: on a busy machine
it says more than the clock. Layouts: `dense` (requests together, all of one length),
`ragged` (together, lengths from 1 to twice the mean), `scattered` (ragged, rows shuffled); the peers get `dense` only.
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

SMALL = 100
LAYOUTS = ("dense", "ragged", "scattered")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds to build the inputs and to run; the value found; how many times more rows the whole frame has;
    the reference kernel's seconds in that minute; processor seconds of all threads together."""

    build: float
    run: float
    value: float
    scale: float = 1.0
    reference: float = math.nan
    cpu: float = math.nan

    @property
    def total(self) -> float:
        """For the whole frame."""
        return (self.build + self.run) * self.scale


def long_frame(requests: int, items: int = 50, layout: str = "dense", text: bool = True) -> pl.DataFrame:
    """query_id, item_id, score, grade: `requests` x `items` rows, item ids in no order."""
    generator = np.random.default_rng(0)
    sizes = np.full(requests, items) if layout == "dense" else generator.integers(1, 2 * items, requests)
    rows = int(sizes.sum())
    query, item = np.repeat(np.arange(requests), sizes), generator.permutation(rows)
    score = np.empty(rows)
    for at in range(0, rows, 1 << 24):
        score[at : at + (1 << 24)] = generator.random(min(1 << 24, rows - at))
    if layout == "dense":
        # Distinct within a float32 as well, which trec_eval compares: no library breaks a tie its own way.
        for at in range(0, requests, 1 << 16):
            part = score.reshape(requests, items)[at : at + (1 << 16)]
            part[:] = np.argsort(part, axis=1) / items
    levels = np.array([0] * 30 + [1] * 10 + [2] * 5 + [3] * 3 + [4] * 2)
    grade = levels[generator.integers(0, len(levels), rows, dtype=np.int8)]
    frame = pl.DataFrame({"query_id": query, "item_id": item, "score": score, "grade": grade})
    if text:
        frame = frame.with_columns(
            query_id="q" + pl.col("query_id").cast(pl.String), item_id="item" + pl.col("item_id").cast(pl.String)
        )
    return frame.sample(fraction=1, shuffle=True, seed=0) if layout == "scattered" else frame


def frame_width(frame: pl.DataFrame) -> int:
    """Items of a request in a dense frame."""
    return int((frame["query_id"].head(10_000) == frame["query_id"][0]).sum())


def array_sort(frame: pl.DataFrame) -> Timing:
    """The yardstick: NumPy's sort of the scores by request, on one core (dense; else of the whole column)."""
    scores = frame["score"].to_numpy()
    width = frame_width(frame)
    scores = scores.reshape(-1, width) if len(scores) % width == 0 and frame["query_id"].is_sorted() else scores
    start = time.perf_counter()
    np.sort(scores, axis=-1)
    return Timing(0.0, time.perf_counter() - start, math.nan)


def podium_frame(frame: pl.DataFrame, draws: int = 0) -> Timing:
    from pipeline.metrics.runs import evaluate_frame

    start = time.perf_counter()
    value = evaluate_frame(frame, ["ndcg@10"], draws=draws).metrics["ndcg@10"].mean
    return Timing(0.0, time.perf_counter() - start, value)


def podium_lists(frame: pl.DataFrame) -> Timing:
    from pipeline.metrics.names import Metric, parse_metric
    from pipeline.metrics.padded import run_starts
    from pipeline.metrics.tables.lists import LongLists, list_values

    metric = parse_metric("ndcg@10")
    assert isinstance(metric, Metric)
    start = time.perf_counter()
    starts = run_starts(frame["query_id"])
    sizes = np.diff(starts, append=frame.height)
    lists = LongLists(starts, sizes, frame["score"].to_numpy(), frame["grade"].to_numpy(), frame["item_id"])
    built = time.perf_counter()
    value = float(np.nan_to_num(list_values(lists, [metric], "id")["ndcg@10"]).mean())
    return Timing(built - start, time.perf_counter() - built, value)


def podium_run(frame: pl.DataFrame, shuffle: bool = False) -> Timing:
    from pipeline.metrics.runs import evaluate_run

    run, qrels = frame.select("query_id", "item_id", "score"), frame.select("query_id", "item_id", "grade")
    if shuffle:
        qrels = qrels.sample(fraction=1, shuffle=True, seed=1)
    start = time.perf_counter()
    value = evaluate_run(run, qrels, ["ndcg@10"]).metrics["ndcg@10"].mean
    return Timing(0.0, time.perf_counter() - start, value)


def scikit_learn(frame: pl.DataFrame, ignore_ties: bool) -> Timing:
    from sklearn.metrics import ndcg_score

    start = time.perf_counter()
    # It takes matrices only; that all lists are of one length and stand together is known here, not checked.
    scores, grades = (frame[name].to_numpy().reshape(-1, frame_width(frame)) for name in ("score", "grade"))
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
    width = frame_width(frame)
    queries = frame["query_id"].gather_every(width).to_list()
    items, values = frame["item_id"].to_list(), frame[value].to_list()
    return {
        query: dict(zip(items[at : at + width], values[at : at + width], strict=True))
        for at, query in zip(range(0, len(items), width), queries, strict=True)
    }


OWN: dict[str, Callable[[pl.DataFrame], Timing]] = {
    "podium evaluate_frame": podium_frame,
    "podium unchecked": podium_lists,
    "podium with interval": lambda frame: podium_frame(frame, draws=1000),
    "podium evaluate_run": podium_run,
    "podium evaluate_run shuffled": lambda frame: podium_run(frame, shuffle=True),
}

PEERS: dict[str, Callable[[pl.DataFrame], Timing]] = {
    "scikit-learn ignoring ties": lambda frame: scikit_learn(frame, ignore_ties=True),
    "scikit-learn": lambda frame: scikit_learn(frame, ignore_ties=False),
    "pytrec_eval": pytrec_eval,
    "ir_measures": ir_measures,
    "ranx": ranx,
}


def measure(frame: pl.DataFrame, share: pl.DataFrame, names: list[str], repeats: int) -> dict[str, Timing]:
    """Each system's best of `repeats`, peers on the share and scaled; of one frame all must find one value."""
    small = share.head(SMALL * frame_width(share))
    timings = {"sort of the scores": best_of(array_sort, frame, repeats)}
    for name, system in {**OWN, **PEERS}.items():
        if names and not any(name.startswith(start) for start in names):
            continue
        given = share if name in PEERS else frame
        try:
            system(small)  # numba compiles anew for each width of string
        except ImportError:
            print(f"{name}: not installed, left out")
            continue
        timings[name] = replace(best_of(system, given, repeats), scale=frame.height / given.height)
    for group, whole in ((OWN, frame), (PEERS, share)):
        expected = podium_frame(whole).value
        for name in set(group) & set(timings):
            if abs(timings[name].value - expected) > 1e-6:
                raise SystemExit(f"{name} finds {timings[name].value}, evaluate_frame {expected}")
    return timings


def best_of(system: Callable[[pl.DataFrame], Timing], frame: pl.DataFrame, repeats: int) -> Timing:
    return min((timed(system, frame) for _ in range(repeats)), key=lambda timing: timing.total)


def timed(system: Callable[[pl.DataFrame], Timing], frame: pl.DataFrame) -> Timing:
    """One measurement, the kernel's beside it; what the one before left behind is cleared first."""
    gc.collect()
    reference = reference_seconds()
    start = time.process_time()
    timing = system(frame)
    return replace(timing, reference=reference, cpu=time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="NDCG@10 from a long data frame, beside other libraries")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=50, help="of a request, or on average")
    parser.add_argument("--layout", choices=LAYOUTS, default="dense")
    parser.add_argument("--ids", choices=("text", "numbers"), default="text")
    parser.add_argument("--peer-requests", type=int, default=20_000, help="peers get these, their time is scaled")
    parser.add_argument("--systems", default="", help="beginnings of names, comma separated; default all")
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many counts")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    # The warnings are the peers' own, about their use of NumPy and numba.
    warnings.simplefilter("ignore")
    frame = long_frame(arguments.requests, arguments.items, arguments.layout, arguments.ids == "text")
    share = frame.head(min(arguments.peer_requests, arguments.requests) * arguments.items)
    names = [name for name in arguments.systems.split(",") if name]
    timings = measure(
        frame, text_ids(share), names or ([] if arguments.layout == "dense" else ["podium"]), arguments.repeats
    )
    if arguments.json:
        print(json.dumps({name: asdict(timing) for name, timing in timings.items()}))
        return
    title = (
        f"NDCG@10 of {arguments.requests:,} requests, {frame.height:,} rows, {arguments.layout}, ids {arguments.ids}"
    )
    print(f"{title}; best of {arguments.repeats}; peers on {share.height:,} rows, scaled")
    show(timings)


def text_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """The peers take ids as text only."""
    return frame.with_columns(pl.col("query_id", "item_id").cast(pl.String))


def show(timings: dict[str, Timing]) -> None:
    sort = timings["sort of the scores"].total
    podium = timings.get("podium evaluate_frame", timings["sort of the scores"]).total
    heads = "".join(
        f"{head:>10}" for head in ("build s", "run s", "total s", "cpu s", "x sort", "x podium", "x kernel", "value")
    )
    print(f"{'system':30}{heads}")
    for name, timing in timings.items():
        print(
            f"{name:30}{timing.build * timing.scale:10.2f}{timing.run * timing.scale:10.2f}{timing.total:10.2f}"
            f"{timing.cpu * timing.scale:10.2f}"
            f"{timing.total / sort:10.1f}{timing.total / podium:10.1f}{timing.total / timing.reference:10.1f}"
            f"{timing.value:10.6f}"
        )


if __name__ == "__main__":
    main()
