"""What a feedback loop does, with exploration and without, for Podium and for dull controls, on small simulated worlds.

    python -m benchmarks.loop --out runs/loop [--seeds 1 2] [--rounds 21] [--pages 1000] [--only NAME ...]

Every variant answers the same requests of the same world; round 0 is the shop's own logger's in each. Regret = the best
page there is, less the page shown, in utility DCG, on the requests whose best page is known; differences are paired by
request, with a bootstrap over requests, pooled over the seeds. The loop test (domain: popularity feedback loops):
in the last five rounds coverage at least 0.9 of round 0's, and regret below that of the policy without exploration.
A run that was stopped goes on. A simulated figure shows what a loop does and that code is right; it is never quality.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from pipeline.threads import configure_threads

configure_threads(int(os.environ.get("LOOP_THREADS", "2")))

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from pipeline.market.world import World, load_world  # noqa: E402
from pipeline.metrics.statistics.compare import paired_bootstrap  # noqa: E402
from serving.loop import LoopOptions, run_loop  # noqa: E402

LAST: Final = 5  # rounds that the end of a loop is read from
FLOOR: Final = 0.9  # of round 0's coverage
DAYS: Final = 21  # of the world, which goes on past them


@dataclass(frozen=True, slots=True)
class Variant:
    """explore: share of requests; without: the same policy without exploration, "" where this is it."""

    served: str
    explore: float
    without: str = ""
    retrain: bool = True


# What is read off these loops is what a loop does, so the towers are small and quick to train.
QUICK: Final = "[retrieval.tower]\nepochs = 1\ndimensions = 16\n"
VARIANTS: Final = {
    "podium": Variant("podium", 0.0),
    "podium, 10 % explored": Variant("podium", 0.1, "podium"),
    "podium, never trained again": Variant("podium", 0.0, retrain=False),
    "popularity": Variant("popularity", 0.0),
    "popularity, 10 % explored": Variant("popularity", 0.1, "popularity"),
    "random": Variant("random", 1.0),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--rounds", type=int, default=21, help="round 0, the logger's, included")
    arguments.add_argument("--pages", type=int, default=1_000, help="a round, which is one day")
    arguments.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    arguments.add_argument("--config", type=Path, help="a podium.toml; without it the defaults with small towers")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    config = given.config or given.out / "podium.toml"
    if given.config is None:
        config.write_text(QUICK, encoding="utf-8")
    for name in given.only:
        for seed in given.seeds:
            started = perf_counter()
            about = VARIANTS[name]
            options = LoopOptions(
                given.rounds, explore=about.explore, retrain=about.retrain, served=about.served, config=config
            )
            done = run_loop(small(seed, given.pages), folder(given.out, name, seed), options)
            print(f"\n{name}, seed {seed}: {perf_counter() - started:.0f} s", flush=True)
            print("\n".join(done.lines()), flush=True)
    report(given.out, given.only, given.seeds, given.rounds)


def small(seed: int, pages: int) -> World:
    keys = {"users": "1000", "items": "1000", "days": str(DAYS), "impressions": str(DAYS * pages)}
    return load_world("base", keys, seed)


def folder(out: Path, name: str, seed: int) -> Path:
    return out / f"{name.replace(' ', '-').replace(',', '').replace('%', 'percent')}-{seed}"


def report(out: Path, names: list[str], seeds: list[int], rounds: int) -> None:
    print(f"\nlast {LAST} of {rounds} rounds, mean over seeds {seeds}; coverage is against round 0's")
    head = ("coverage", "gini", "top 1 %", "new shown", "true share", "regret", "naive NDCG", "CTR")
    print(f"{'':<30}" + "".join(f"{name:>12}" for name in head))
    for name in names:
        print(f"{name:<30}" + "".join(f"{value:>12.3f}" for value in summary(out, name, seeds).values()))
    for name in names:
        without = VARIANTS[name].without
        if without in names:
            verdict(out, name, without, seeds, rounds)


def summary(out: Path, name: str, seeds: list[int]) -> dict[str, float]:
    """The end of the loops of one variant, and how much of round 0's coverage is left."""
    tables = [pl.read_parquet(folder(out, name, seed) / "rounds.parquet") for seed in seeds]
    columns = ("gini", "top1_share", "new_shown", "true_share", "regret", "ndcg@10", "ctr")
    kept = [mean(table["coverage"].tail(LAST)) / table["coverage"][0] for table in tables]
    ends = {column: [mean(table[column].tail(LAST)) for table in tables] for column in columns}
    return {"coverage": float(np.mean(kept))} | {column: float(np.mean(values)) for column, values in ends.items()}


def verdict(out: Path, name: str, without: str, seeds: list[int], rounds: int) -> None:
    """The loop test of a variant that explores, and of the same without exploration."""
    own, dull = (summary(out, each, seeds)["coverage"] for each in (name, without))
    print(f"\n{name} against {without}: coverage {own:.3f} and {dull:.3f} of round 0's, at least {FLOOR} wanted")
    for what, first in (("all rounds", 1), (f"last {LAST}", rounds - LAST)):
        both = [paired(folder(out, name, seed), folder(out, without, seed), first) for seed in seeds]
        a, b = (pl.concat(both)[column].to_numpy() for column in ("own", "other"))
        gap = paired_bootstrap(a, b, 0)
        print(
            f"  regret a request, {what}: {a.mean():.4f} and {b.mean():.4f}, difference "
            f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}], n {len(a)}"
        )
        print(f"  loop test, {what}: {'passed' if own >= FLOOR and gap.high < 0 else 'failed'}")


def paired(own: Path, other: Path, first: int) -> pl.DataFrame:
    """Regret of two loops on the requests whose best page is known, from one round on."""
    found = []
    for loop, name in ((own, "own"), (other, "other")):
        rounds = sorted(loop.glob("round-*"), key=lambda path: int(path.name.removeprefix("round-")))[first:]
        worth = pl.concat([pl.read_parquet(one / "truth" / "worth.parquet") for one in rounds]).drop_nulls("best")
        found.append(worth.select("request_id", (pl.col("best") - pl.col("dcg")).alias(name)))
    return found[0].join(found[1], on="request_id", maintain_order="left")


def mean(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).fill_null(np.nan).to_numpy().mean()) if len(values) else float("nan")


if __name__ == "__main__":
    main()
