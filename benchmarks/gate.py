"""Does the gate refuse a bundle that is worse on one part of the requests only, and let an unchanged one pass?

    python -m benchmarks.gate --bundle BUNDLES --logs TEST --sample 3000

Shown pages are ordered by the bundle (baseline) and by the same bundle with the first places of some requests turned
round (candidate): those of one surface, of one category, of rare queries, of new users, of nobody. For each: the mean
before and after, and which parts the gate names. Then the rate of false refusals: the paired differences of another
bundle (--other), or of the candidate that is worse at searches, with the sign of each subject's differences drawn
anew (no part differs then but by chance), judged again and again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.threads import configure_threads

configure_threads(2)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from pipeline.batch import Batch  # noqa: E402
from pipeline.bundle import Bundle  # noqa: E402
from pipeline.cascade import Cascade, Step  # noqa: E402
from pipeline.logs.attribution import AttributionConfig  # noqa: E402
from pipeline.logs.read import Log  # noqa: E402
from pipeline.stage import Effect  # noqa: E402
from pipeline.state import Frames, State  # noqa: E402
from serving.engine import Engine  # noqa: E402
from serving.ports import Ask  # noqa: E402
from serving.replay.absorb import absorb  # noqa: E402
from serving.replay.dimensions import Masks, request_slices  # noqa: E402
from serving.replay.gate import Gate, SliceRule, Verdict, judge  # noqa: E402
from serving.replay.modes import Asked, Mode, evaluate_mode  # noqa: E402
from serving.replay.ports import ReplayEngine  # noqa: E402
from serving.replay.requests import Asking, Task  # noqa: E402
from serving.replay.run import quiet, tasks_of  # noqa: E402
from serving.replay.slices import paired, slice_report  # noqa: E402

DIMENSIONS = ("surface", "query", "user", "query_frequency", "category")


@dataclass(frozen=True)
class Turn:
    """Turns the first `depth` places of some requests round."""

    ids: frozenset[str]
    depth: int
    name: str = "turn"
    effect: Effect = Effect.ORDER
    reads: frozenset[str] = frozenset({"request.id"})
    writes: frozenset[str] = frozenset()

    def run(self, batch: Batch) -> Batch:
        places = np.tile(np.arange(batch.item.shape[1]), (batch.size, 1))
        chosen = np.array([name in self.ids for name in batch.request("id")])
        head = min(self.depth, places.shape[1])
        places[chosen, :head] = places[chosen, :head][:, ::-1]
        turned = batch.take(places)
        return turned.keep(turned.mask)


@dataclass(frozen=True)
class Turned:
    """An engine whose answers to some requests are turned round."""

    engine: Engine
    turn: Turn

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def bundle(self) -> Bundle:
        return self.engine.bundle

    def learn(self, events: Frames) -> None:
        self.engine.learn(events)

    def beside(self) -> "Turned":
        return Turned(self.engine.beside(), self.turn)

    def batch(self, asks: Sequence[Ask]) -> Batch:
        return self.engine.batch(asks)

    def cascade(self, name: str) -> Cascade:
        cascade = self.engine.cascade(name)
        return replace(cascade, steps=(*cascade.steps, Step(self.turn)))

    def cascade_name(self, ask: Ask) -> str:
        return self.engine.cascade_name(ask)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--logs", type=Path, required=True)
    arguments.add_argument("--other", type=Path, help="Another bundle, whose differences are drawn anew.")
    arguments.add_argument("--sample", type=int)
    arguments.add_argument("--depth", type=int, default=5, help="Places that are turned round.")
    arguments.add_argument("--draws", type=int, default=1000)
    arguments.add_argument("--allowed-drop", type=float, default=0.005)
    given = arguments.parse_args()
    engine, log = Engine(given.bundle), Log.open(given.logs)
    absorb(engine, log)
    state = engine.state
    asking, windows = Asking(state.catalogue, state.segment), AttributionConfig().windows_ms
    task = next(t for t in tasks_of(log, state.gains, windows, given.sample, asking) if t.mode == "rank")
    masks = request_slices(task, state, engine.bundle.cutoff, "")
    rule = SliceRule(allowed_drop=given.allowed_drop, dimensions=DIMENSIONS)
    last: Mode | None = None
    for name, kept in scenarios(task, masks).items():
        ids = frozenset(ask.id for ask, chosen in zip(task.asks, kept, strict=True) if chosen)
        mode = measured(Turned(engine, Turn(ids, given.depth)), engine, task)
        print(json.dumps({"turned": name, "pages": len(ids), **outcome(mode, masks, rule)}))
        last = mode if name == "searches" else last
    if given.other is not None:
        other = Engine(given.other)
        absorb(other, log)
        last = measured(engine, other, task)
        print(json.dumps({"other bundle": other.bundle.id, **outcome(last, masks, rule)}))
    assert last is not None
    print(json.dumps(false_refusals(last, masks, given.draws)))


def scenarios(task: Task, masks: Masks) -> dict[str, NDArray[np.bool_]]:
    """Which requests are turned round: none, and one part at a time."""
    nobody = np.zeros(task.size, dtype=np.bool_)
    largest = max(masks["category"], key=lambda name: int(masks["category"][name].sum()))
    return {
        "nothing": nobody,
        "searches": masks["surface"].get("search", nobody),
        f"category {largest}": masks["category"][largest],
        "rare queries": masks["query_frequency"].get("tail", nobody),
        "new users": masks["user"]["new"],
    }


def measured(candidate: ReplayEngine, baseline: ReplayEngine, task: Task) -> Mode:
    return evaluate_mode(Asked(candidate, baseline, "", None, "", 0, quiet), task)


def outcome(mode: Mode, masks: Masks, rule: SliceRule) -> dict[str, Any]:
    """The means, and what the gate says with a minimum that lies 10 % below the baseline's mean."""
    mean = {name: float(np.nanmean(mode.values[name]["ndcg@10"])) for name in ("podium", "baseline")}
    slates = {name: mode.slates[name] for name in mean}
    parts = slice_report(mode.task, slates, (masks, {}), mode.groups, 0)
    systems = {"podium": {"ndcg@10": {"mean": mean["podium"]}}}
    report = {"modes": {"rank": {"systems": systems}}, "slices": {"rank": parts}, "regression": {}, "off_policy": {}}
    verdict = judge(Gate(minimum={"rank.ndcg@10": mean["baseline"] * 0.9}, slices=rule), report)
    return {"baseline": round(mean["baseline"], 4), "candidate": round(mean["podium"], 4), **said(verdict)}


def said(verdict: Verdict) -> dict[str, Any]:
    minimum = next(check for check in verdict.checks if check.check == "minimum")
    failed = [check.said for check in verdict.checks if check.check == "slices" and not check.passed]
    passed = {"passed": verdict.passed, "minimum passed": minimum.passed}
    return {**passed, "failed": len(failed), "named first": failed[:2]}


def false_refusals(mode: Mode, masks: Masks, draws: int) -> dict[str, Any]:
    """How often the gate, with no drop allowed, refuses differences whose signs are drawn a subject at a time."""
    rng = np.random.default_rng(0)
    difference = mode.values["podium"]["ndcg@10"] - mode.values["baseline"]["ndcg@10"]
    _, group = np.unique(mode.groups, return_inverse=True)
    parts = [kept for name in DIMENSIONS for kept in masks.get(name, {}).values()]
    zero, refused, alone, judged = np.zeros(len(difference)), 0, 0, 0
    for _ in range(draws):
        drawn = difference * rng.choice([-1.0, 1.0], size=int(group.max()) + 1)[group]
        found = [paired(np.where(kept, drawn, np.nan), zero, mode.groups) for kept in parts]
        report = {"slices": {"rank": {"surface": {str(i): part(each) for i, each in enumerate(found)}}}}
        verdict = judge(Gate(slices=SliceRule(dimensions=("surface",))), report)
        refused += not verdict.passed
        alone += any(each["high"] is not None and each["high"] < 0 for each in found)
        judged = len(verdict.checks)
    return {
        "draws": draws,
        "parts judged": judged,
        "refused": round(refused / draws, 4),
        "some 95 % interval below 0, uncorrected": round(alone / draws, 4),
    }


def part(found: dict[str, float | int | None]) -> dict[str, Any]:
    return {"difference": {"baseline": {"ndcg@10": found}}}


if __name__ == "__main__":
    main()
