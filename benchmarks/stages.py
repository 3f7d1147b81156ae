"""What each learned stage is worth on simulated worlds: the cascade against itself with a plain part in its place.

    python -m benchmarks.stages --out runs/stages base:1 base:2 base:3 base:4 base:5 [--sample 1500] [--side test]

Every variant answers the same requests with the same bundle, so that differences are paired; they are pooled over the
worlds, with a bootstrap over subjects. Recovered = (variant - popularity) / (oracle - popularity) in true NDCG@10. A
simulated figure shows that code is right; it says nothing of quality.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from pipeline.threads import configure_threads

configure_threads(2)

import numpy as np  # noqa: E402
from msgspec.structs import replace as changed  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.logs.attribution import AttributionConfig  # noqa: E402
from pipeline.logs.ingest import ingest  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.logs.split import split  # noqa: E402
from pipeline.market.simulate import simulate  # noqa: E402
from pipeline.market.world import load_world  # noqa: E402
from pipeline.metrics.statistics.compare import bootstrap_interval, paired_bootstrap  # noqa: E402
from ranking.model import Ranker  # noqa: E402
from serving.assembly import Parts  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.jobs import train  # noqa: E402
from serving.ports import DEPTH  # noqa: E402
from serving.replay import systems  # noqa: E402
from serving.replay.absorb import absorb  # noqa: E402
from serving.replay.answers import answer, answer_baseline  # noqa: E402
from serving.replay.measures import true_ndcg  # noqa: E402
from serving.replay.modes import groups_of  # noqa: E402
from serving.replay.requests import Asking, Task  # noqa: E402
from serving.replay.run import quiet, tasks_of  # noqa: E402

Values = NDArray[np.float64]


def by_rate(parts: Parts) -> Parts:
    """Clicks and conversions by the items' smoothed rates."""
    if parts.ranker is None:
        return parts
    about = changed(parts.ranker.about, trust=0.0, used=(), converts="rate")
    return replace(parts, ranker=Ranker(about, None))


def conversions_by_rate(parts: Parts) -> Parts:
    """Clicks as learned, conversions by the items' smoothed rates."""
    if parts.ranker is None:
        return parts
    return replace(parts, ranker=Ranker(changed(parts.ranker.about, converts="rate"), parts.ranker.scorer))


VARIANTS: Final[Mapping[str, Callable[[Parts], Parts]]] = {
    "whole": lambda parts: parts,
    "retrieval without towers": lambda parts: replace(parts, towers=None),
    "ranked by smoothed rates": by_rate,
    "conversions by smoothed rates": conversions_by_rate,
    "without listwise": lambda parts: replace(parts, listwise=None),
    "without listwise and diversity": lambda parts: replace(parts, listwise=None, reorderings={}),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One mode on one world. true: variant -> true NDCG@10 `[R]`; popular, oracle: the same of those; groups: `[R]`."""

    true: Mapping[str, Values]
    popular: Values
    oracle: Values
    groups: NDArray[np.int64]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("worlds", nargs="+", metavar="WORLD:SEED", help="base:1, FILE#NAME:2, ...")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--sample", type=int, default=1_500)
    arguments.add_argument("--side", default="test")
    arguments.add_argument("--config", type=Path)
    given = arguments.parse_args()
    found: dict[str, list[Measured]] = {}
    for spec in given.worlds:
        world, _, seed = spec.rpartition(":")
        started = perf_counter()
        folder = given.out / spec.replace("/", "_").replace("#", "_")
        engine = prepared(world, int(seed), folder, given.config)
        made = perf_counter() - started
        for mode, measured in measure(engine, folder, given.side, given.sample).items():
            found.setdefault(mode, []).append(measured)
            print(f"{spec} {mode}: recovered {said(recovered([measured], 'whole'))}", flush=True)
        print(f"{spec}: to the bundle {made:.0f} s, in all {perf_counter() - started:.0f} s", flush=True)
    for mode, worlds in found.items():
        report(mode, worlds)


def prepared(world: str, seed: int, folder: Path, config: Path | None) -> Engine:
    """A bundle of the world; a world that is there already is not made again."""
    if not (folder / "split/train").is_dir():
        simulate(load_world(world, {}, seed), folder)
        ingest("podium", [folder / "events"], folder / "log")
        split(folder / "log", folder / "split")
    done = train(folder / "split/train", folder / "bundles", config=config)
    return Engine(folder / "bundles" / done.bundle, config=config)


def measure(
    engine: Engine,
    folder: Path,
    side: str,
    sample: int,
    variants: Mapping[str, Callable[[Parts], Parts]] = VARIANTS,
) -> dict[str, Measured]:
    log = Log.open(folder / "split" / side)
    absorb(engine, log, (), frozen=False)
    state = engine.state
    asking = Asking(state.catalogue, state.segment, None)
    tasks = tasks_of(log, state.gains, AttributionConfig().windows_ms, sample, asking)
    engines = {name: engine.changed(change) for name, change in variants.items()}
    return {task.mode: _measured(engine, engines, task, folder / "truth") for task in tasks}


def _measured(engine: Engine, engines: Mapping[str, Engine], task: Task, truth: Path) -> Measured:
    state, everyone = engine.state, np.ones(task.size, dtype=np.bool_)
    tie = state.catalogue.tie
    labels = systems.read_truth(truth, task, state.catalogue.rows["item_id"])
    width = DEPTH
    if task.shown is None:
        popular = answer_baseline(engine, task.asks, np.arange(task.size), "popularity", DEPTH, quiet)
        best = systems.oracle_slates(labels, tie, DEPTH)
    else:
        labels, width = systems.truth_of_shown(labels, task.shown), task.shown.item.shape[1]
        popular = systems.ordered(task.shown, systems.popularity(state, task, task.shown), everyone, tie)
        best = systems.ordered(task.shown, labels.gains(task.shown.item), everyone, tie)
    true = {}
    for name, each in engines.items():
        slates = answer(each, task.asks, task.labels.positive, width, quiet).final
        true[name] = true_ndcg(slates.item, slates.asked, labels)
    dull, oracle = (true_ndcg(slates.item, slates.asked, labels) for slates in (popular, best))
    return Measured(true, dull, oracle, groups_of(task))


def pooled(worlds: list[Measured], values: Callable[[Measured], Values]) -> tuple[Values, NDArray[np.int64]]:
    """Values of all worlds, and their subjects, who are others in every world."""
    groups = [np.unique(world.groups, return_inverse=True)[1] for world in worlds]
    sizes = np.cumsum([0, *(group.max(initial=-1) + 1 for group in groups)])
    return np.concatenate([values(world) for world in worlds]), np.concatenate(
        [group + first for group, first in zip(groups, sizes[:-1], strict=True)]
    )


def recovered(worlds: list[Measured], name: str) -> dict[str, float]:
    own, groups = pooled(worlds, lambda world: world.true[name])
    popular, oracle = (pooled(worlds, part)[0] for part in (lambda w: w.popular, lambda w: w.oracle))
    return systems.recovered(own, popular, oracle, groups, 0)


def report(mode: str, worlds: list[Measured]) -> None:
    names = list(worlds[0].true)
    whole, groups = pooled(worlds, lambda world: world.true[names[0]])
    print(f"\n{mode}, {len(worlds)} worlds, {len(whole)} requests; true NDCG@10, and {names[0]} minus the variant")
    for name in names:
        own, _ = pooled(worlds, lambda world, name=name: world.true[name])
        mean, lost = bootstrap_interval(own, 0, groups), paired_bootstrap(whole, own, 0, groups)
        gap = "" if name == names[0] else f"  {lost.mean:+.4f} [{lost.low:+.4f}, {lost.high:+.4f}] p {lost.p_value:.3f}"
        ahead = sum(np.nanmean(world.true[names[0]] - world.true[name]) > 0 for world in worlds)
        wins = "" if name == names[0] else f"  ahead in {ahead} of {len(worlds)}"
        print(f"  {name:<32}{mean.mean:.4f}  recovered {said(recovered(worlds, name))}{gap}{wins}")


def said(value: Mapping[str, float]) -> str:
    ends = "no interval" if value["low"] is None else f"{value['low']:.3f}, {value['high']:.3f}"
    return f"{value['mean']:.3f} [{ends}]"


if __name__ == "__main__":
    main()
