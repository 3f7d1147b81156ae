"""Simulated worlds through the main job: recovered share, funnel recall, and what knowing the user is worth.

    python -m benchmarks.worlds --out runs/worlds base:1 base:2 base:3 no_taste:1 [--sample 3000]

Recovered = (podium - popularity) / (oracle - popularity) in true NDCG@10. The control `no_taste` has no tastes, so
there the same requests without their user must rank as well. A simulated figure shows that code is right; it says
nothing of quality.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from pipeline.threads import configure_threads

configure_threads(2)

from pipeline.batch import Batch  # noqa: E402
from pipeline.bundle import Bundle  # noqa: E402
from pipeline.cascade import Cascade  # noqa: E402
from pipeline.logs.ingest import ingest  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.logs.split import split  # noqa: E402
from pipeline.market.simulate import simulate  # noqa: E402
from pipeline.market.world import load_world  # noqa: E402
from pipeline.state import Frames, State  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.jobs import train  # noqa: E402
from serving.ports import Ask  # noqa: E402
from serving.replay.run import EvaluateOptions, evaluate  # noqa: E402


class Anonymous:
    """An engine that is never told who asks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def bundle(self) -> Bundle:
        return self.engine.bundle

    def learn(self, events: Frames) -> None:
        self.engine.learn(events)

    def beside(self) -> "Anonymous":
        return Anonymous(self.engine.beside())

    def batch(self, asks: Sequence[Ask]) -> Batch:
        return self.engine.batch([replace(ask, subject="") for ask in asks])

    def cascade(self, name: str) -> Cascade:
        return self.engine.cascade(name)

    def cascade_name(self, ask: Ask) -> str:
        return self.engine.cascade_name(ask)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("worlds", nargs="+", metavar="WORLD:SEED", help="base:1, FILE#NAME:2, ...")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--sample", type=int, default=3_000)
    given = arguments.parse_args()
    for spec in given.worlds:
        world, _, seed = spec.rpartition(":")
        folder = given.out / spec.replace("/", "_").replace("#", "_")
        measure(world, int(seed), folder, given.sample)


def measure(world: str, seed: int, folder: Path, sample: int) -> None:
    started = perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    simulate(load_world(world, {}, seed), folder)
    ingest("podium", [folder / "events"], folder / "log")
    split(folder / "log", folder / "split")
    done = train(folder / "split/train", folder / "bundles")
    seconds = perf_counter() - started
    bundle = folder / "bundles" / done.bundle
    options = EvaluateOptions(truth=folder / "truth", sample=sample, baseline=Anonymous(Engine(bundle)))
    report = evaluate(Engine(bundle), Log.open(folder / "split/test"), options, folder / "report").as_json()
    print(f"\n{world} seed {seed}: to the bundle {seconds:.0f} s, in all {perf_counter() - started:.0f} s")
    for mode, about in report["modes"].items():
        podium = about["systems"]["podium"]
        print(f"  {mode}: recovered {said(podium['recovered'])}, {about['requests']} requests")
        for metric in ("ndcg@10", "true_ndcg@10", "recall@100"):
            row = {name: said(values[metric]) for name, values in about["systems"].items() if metric in values}
            if row:
                print(f"    {metric:<13}" + "  ".join(f"{name} {value}" for name, value in row.items()))
    for row in report["compare"]:
        if row["b"] == "baseline":
            print("    without the user:", json.dumps(row))


def said(value: dict[str, float]) -> str:
    ends = "no interval" if value["low"] is None else f"{value['low']:.4f}, {value['high']:.4f}"
    return f"{value['mean']:.4f} [{ends}]"


if __name__ == "__main__":
    main()
