"""What click models make of markets whose examination is known, and how fast.

    python -m benchmarks.clicks recover --world base --world steep_bias --world no_bias --seed 1 --seed 2
    python -m benchmarks.clicks recover --world base --set context_effect=1 --set explored=1
    python -m benchmarks.clicks recover --log LOG --truth TRUTH/examination.parquet
    python -m benchmarks.clicks speed

`recover` simulates each world (by default with explored=1 and context_effect=0), fits each model over all surfaces
together and prints the largest error of a position relative to the first, that position, the mean error over positions
(a bias has one sign), and the largest standard error of a position, below which no difference means anything.
`smoothed` is the same estimate drawn to a power law as far as its errors warrant. `speed` times EM of the
position-based model on 1.2 million rows against the same steps in plain Python on a share of them.
"""

import argparse
import tempfile
import time
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(2)

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.logs.ingest import ingest  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.market.simulate import simulate  # noqa: E402
from pipeline.market.world import load_world  # noqa: E402
from pipeline.metrics.clicks import em  # noqa: E402
from pipeline.metrics.clicks.estimate import MODELS, estimate_examination, fit_model  # noqa: E402
from pipeline.metrics.clicks.examination import Examination  # noqa: E402
from pipeline.metrics.clicks.intervals import STUDENT, around, smooth  # noqa: E402
from pipeline.metrics.clicks.judge import held_out, judge  # noqa: E402
from pipeline.metrics.clicks.pages import ShownPages, read_pages  # noqa: E402

Floats = NDArray[np.float64]
PLAIN = ("explored=1", "context_effect=0")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["recover", "speed"])
    arguments.add_argument("--world", action="append", help="a shipped world; repeatable")
    arguments.add_argument("--set", action="append", dest="overrides", metavar="KEY=VALUE")
    arguments.add_argument("--seed", action="append", type=int)
    arguments.add_argument("--impressions", type=int, help="pages of each world")
    arguments.add_argument("--log", type=Path, action="append", help="a simulated log instead of a world")
    arguments.add_argument("--truth", type=Path, action="append", help="its truth/examination.parquet")
    arguments.add_argument("--models", default="explored,swaps,pbm,ubm,dbn,sdbn,cascade")
    arguments.add_argument("--starts", type=int, default=2)
    given = arguments.parse_args()
    if given.what == "speed":
        speed()
        return
    print(f"{'world':<34}{'model':<19}{'worst':>8} at{'mean':>8}{'s.e.':>7}  log-lik.  perplexity  seconds")
    methods = tuple(given.models.split(","))
    for log, truth in zip(given.log or [], given.truth or [], strict=True):
        recover(log.parent.name, read_pages(Log.open(log)), truth, methods, given.starts)
    for name in given.world or ([] if given.log else ["base", "steep_bias", "no_bias"]):
        for seed in given.seed or [1]:
            simulated(name, seed, given.overrides or PLAIN, given.impressions, methods, given.starts)


def simulated(
    name: str, seed: int, overrides: tuple[str, ...], impressions: int | None, methods: tuple[str, ...], starts: int
) -> None:
    changed = dict(each.split("=", 1) for each in overrides)
    if impressions is not None:
        changed["impressions"] = str(impressions)
    with tempfile.TemporaryDirectory() as folder:
        simulate(load_world(name, changed, seed), Path(folder))
        ingest("podium", [Path(folder) / "events"], Path(folder) / "log")
        pages = read_pages(Log.open(Path(folder) / "log"))
        label = " ".join([name, str(seed), *(f"{key}={value}" for key, value in changed.items())])
        label = label.replace(" explored=1 context_effect=0", "")
        recover(label, pages, Path(folder) / "truth" / "examination.parquet", methods, starts)


def recover(label: str, pages: ShownPages, truth: Path, methods: tuple[str, ...], starts: int) -> None:
    """One line a model, on all surfaces together."""
    p = pl.read_parquet(truth).unique("position").sort("position")["p"].to_numpy()[: pages.places]
    pages, true = pages.together(), p / p[0]
    learn, test = held_out(pages, 0.2, 0)
    for method in methods:
        begun = time.perf_counter()
        found = estimate_examination(pages, method, starts=starts)["all"]
        took = time.perf_counter() - begun
        told = ""
        if method in MODELS:
            verdict = judge(fit_model(learn, method), test)
            told = f"{verdict.log_likelihood:>10.5f}{verdict.perplexity:>12.5f}"
        print(_line(label, method, found, true, told, took), flush=True)
        if not found.refused:
            print(_line(label, f"{method}, smoothed", _smoothed(found), true, "", 0.0), flush=True)


def _smoothed(found: Examination) -> Examination:
    """From the intervals, as if the errors of positions were their own; the command knows what they share."""
    better = smooth(found.ratios, np.diag((np.log(found.high / found.low) / (2 * STUDENT)) ** 2))
    return Examination(better.ratios, *around(better.ratios, better.covariance), found.method)


def _line(label: str, method: str, found: Examination, true: Floats, told: str, took: float) -> str:
    if found.refused:
        return f"{label:<34}{method:<19}refused: {found.refused}"
    error = found.ratios - true
    worst = int(np.argmax(np.abs(error)))
    spread = float((found.ratios * np.log(found.high / found.low)).max()) / (2 * STUDENT)
    return (
        f"{label:<34}{method:<19}{error[worst]:>+8.4f}{worst:>3}{error[1:].mean():>+8.4f}{spread:>7.4f}"
        f"{told or ' ' * 22}{took:>9.1f}"
    )


def speed(rows: int = 1_200_000, share: int = 100, iterations: int = 20) -> None:
    """The same EM steps on arrays and with dictionaries, row by row."""
    rng = np.random.default_rng(0)
    position = np.tile(np.arange(8), rows // 8)
    pair = (rng.pareto(0.7, rows) * 20).astype(np.int64) % 100_000
    clicked = rng.random(rows) < (position + 1.0) ** -0.7 * rng.beta(1, 6, 100_000)[pair]
    begun = time.perf_counter()
    patterns = em.patterns_of(pair, position, clicked, np.zeros(100_000, dtype=np.int64), 8)
    counted = time.perf_counter() - begun
    theta, gammas = em.random_start(8, 1, rng)
    begun = time.perf_counter()
    em.fit(patterns, theta, gammas, iterations, close=0.0)
    fast = time.perf_counter() - begun + counted
    few = rows // share
    begun = time.perf_counter()
    by_hand(pair[:few].tolist(), position[:few].tolist(), clicked[:few].tolist(), theta, gammas[0], iterations)
    slow = (time.perf_counter() - begun) * share
    print(f"{rows} rows ({rows // 8} pages), {iterations} iterations: {fast:.2f} s ({counted:.2f} s of it counting)")
    print(f"{rows / 8 * iterations / fast:,.0f} pages/s an iteration; {len(patterns.pairs)} patterns of pairs")
    print(f"plain Python, from {few} rows: {slow:.0f} s for all of them, {slow / fast:.0f} times as long")


def by_hand(
    pair: list[int], position: list[int], clicked: list[bool], theta: Floats, share: Floats, iterations: int
) -> Floats:
    """EM of the position-based model as one would write it down, row by row."""
    for _ in range(iterations):
        logs = dict.fromkeys(pair, np.log(share))
        chance = theta[:, None] * em.GRID
        hit, miss = np.log(chance), np.log1p(-chance)
        for who, place, click in zip(pair, position, clicked, strict=True):
            logs[who] = logs[who] + (hit if click else miss)[place]
        weight = {who: np.exp(each - each.max()) for who, each in logs.items()}
        weight = {who: each / each.sum() for who, each in weight.items()}
        skipped, clicks = np.zeros((8, len(em.GRID))), np.zeros(8)
        for who, place, click in zip(pair, position, clicked, strict=True):
            clicks[place] += click
            if not click:
                skipped[place] += weight[who]
        theta = em.best_theta(clicks, skipped)
        share = sum(weight.values(), np.zeros(len(em.GRID))) / len(weight)
    return theta


if __name__ == "__main__":
    main()
