"""Two runs of `podium evaluate` over one log, request by request: what a change of the code or the settings did.

    python -m benchmarks.paired --bundle BUNDLES --logs TEST --before OLD/run.parquet --after NEW/run.parquet

Both runs are measured against the labels of the log, so that the older one may be of an earlier version. The interval
is that of a paired bootstrap over subjects; p is two-sided.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(2)

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.logs.attribution import AttributionConfig  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.metrics.statistics.compare import paired_bootstrap  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.ports import DEPTH  # noqa: E402
from serving.replay.absorb import absorb  # noqa: E402
from serving.replay.measures import HEADLINE, Values, measure  # noqa: E402
from serving.replay.modes import groups_of  # noqa: E402
from serving.replay.requests import Asking, Task  # noqa: E402
from serving.replay.run import tasks_of  # noqa: E402


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bundle", "logs", "before", "after"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--exclude-seen", action="store_true")
    arguments.add_argument("--sample", type=int)
    given = arguments.parse_args()
    engine, log = Engine(given.bundle), Log.open(given.logs)
    absorb(engine, log, (), frozen=False)
    catalogue, segment = engine.state.catalogue, engine.state.segment
    known = log.everything().frame("feedback") if given.exclude_seen else None
    gains, windows = engine.state.gains, AttributionConfig().windows_ms
    refuse_others(given.before, exclude_seen=given.exclude_seen)
    refuse_others(given.after, exclude_seen=given.exclude_seen)
    runs = [pl.read_parquet(path) for path in (given.before, given.after)]
    for task in tasks_of(log, gains, windows, given.sample, Asking(catalogue, segment, None), known):
        sides = [measured(task, run, catalogue.dense) for run in runs]
        for metric in (*HEADLINE[task.mode], "mrr"):
            before, after = (side[metric] for side in sides)
            found = paired_bootstrap(after, before, 0, groups_of(task))
            means = f"before {np.nanmean(before):.4f}  after {np.nanmean(after):.4f}"
            interval = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
            print(f"{task.mode:<7}{metric:<11} {means}  difference {interval}  p {found.p_value:.3f}  n {found.n}")


def refuse_others(run: Path, *, exclude_seen: bool) -> None:
    """A run is compared with one of another protocol sooner than one thinks: its report says what it was."""
    report = run.with_name("report.json")
    if not report.is_file():
        raise SystemExit(f"{report}: the report of the run, which says how it was made, is not beside it")
    seen = json.loads(report.read_text(encoding="utf-8"))["protocol"]["exclude_seen"]
    if seen != exclude_seen:
        raise SystemExit(f"{report}: exclude_seen is {seen}; give or leave out --exclude-seen, or evaluate again")


def measured(task: Task, run: pl.DataFrame, dense: Callable[[pl.Series], NDArray[np.int32]]) -> Values:
    """The metrics of each request `[R]` of one run. dense: item ids to the labels' numbering."""
    # In `rank` every page is a request of its own.
    named = ["request_id", "page"] if task.mode == "rank" else ["request_id"]
    rows = task.requests.select(pl.col("request_id").cast(pl.String), pl.col("page").cast(pl.Int32)).with_row_index(
        "row"
    )
    own = run.filter(pl.col("mode") == task.mode).join(rows, on=named, how="inner")
    width = DEPTH if task.shown is None else task.shown.item.shape[1]
    item = np.full((task.size, width), -1, dtype=np.int32)
    place = own["row"].to_numpy(), own["position"].to_numpy()
    item[place] = dense(own["item_id"])
    return measure(task.mode, item, np.ones(task.size, dtype=np.bool_), task.labels)


if __name__ == "__main__":
    main()
