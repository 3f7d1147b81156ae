"""The batch jobs in order: from a log to a bundle. With `assembly`, the place that knows every package.

A step without data is left out and reported; serving has its fallback.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from pipeline.artifacts import write_json
from pipeline.bundle import bind, bundles, current, open_bundle, promote
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.config import load_section
from pipeline.errors import InputError
from pipeline.features.fitted import fit_features
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.read import Log
from pipeline.progress import Report, silent
from pipeline.state import State, initial_state
from serving import steps
from serving.gate import passes
from serving.steps import Job
from serving.workshop import StepReport, TrainReport, Workshop, claimed, code_digest

STAGES = ("retrieval", "ranking", "rerank", "suggest")
# Suggestion comes before ranking: the ranker learns from queries as the speller corrects them.
_IN_ORDER = {
    "retrieval": steps.retrieval,
    "suggest": steps.suggest,
    "ranking": steps.ranking,
    "rerank": steps.rerank,
}
_LEARNED_FROM = ("item", "impression", "feedback")


def train(
    logs: Path,
    root: Path,
    *,
    config: Path | None = None,
    stages: Sequence[str] = STAGES,
    seed: int = 0,
    on_progress: Report = silent,
) -> TrainReport:
    """Run the jobs over one log and bind a bundle under `root`.

    stages: the ones to train; the others' parts are taken from the current bundle when it fits. Raises InputError
    for an unknown stage or a folder that is no log.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise InputError("--stage", f"one of {', '.join(STAGES)}", received=unknown[0])
    log = Log.open(logs)
    with claimed(root):
        shop = Workshop(root, code_digest(), on_progress)
        state, about, cutoff = _base(shop, log, config)
        job = Job(shop, log, state, about, config, seed, cutoff)
        for stage, run in _IN_ORDER.items():
            if stage in stages:
                run(job)
            else:
                _borrow(shop, stage, about)
        on_progress("bundle", 0.95)
        bundle = bind(root, shop.parts, cutoff)
        promoted, reason = _promote(root, bundle.id)
    on_progress("done", 1.0)
    return TrainReport(bundle.id, promoted, reason, tuple(shop.steps))


def _base(shop: Workshop, log: Log, config: Path | None) -> tuple[State, Mapping[str, str], int]:
    """Catalogue and state: what every other part is built for. Returns the state, their digests, the cutoff in ms."""
    events = log.everything()
    frames = {kind: events.frame(kind) for kind in _LEARNED_FROM}
    judged = events.frame("judgment", columns=["item_id"])["item_id"]
    digest = {"log": log.digest()}

    def write_catalogue(folder: Path) -> Mapping[str, float]:
        shown = frames["impression"].select(pl.col("items").list.eval(pl.element().struct["item_id"])).explode("items")
        mentioned = pl.concat([frames["feedback"]["item_id"], shown["items"].rename("item_id"), judged])
        catalogue = build_catalogue(frames["item"], mentioned.drop_nulls())
        catalogue.save(folder)
        return {"items": float(len(catalogue) - 1)}

    made = shop.make("catalogue", {}, digest, write_catalogue, 0.0)
    assert made is not None
    catalogue = Catalogue.open(shop.parts["catalogue"])
    rules = load_section(config, "logs", AttributionConfig)

    def write_features(folder: Path) -> Mapping[str, float]:
        state = initial_state(log.clock, catalogue, rules.gains).advance(frames)
        state.save(folder)
        fit_features(state).save(folder)
        write_json(folder / "users.json", _active_users(frames["feedback"]))
        return {"events": float(sum(len(frame) for frame in frames.values()))}

    inputs = {**digest, "catalogue": made.digest}
    features = shop.make("features", rules.model_dump(), inputs, write_features, 0.1)
    assert features is not None
    state = State.open(shop.parts["features"], catalogue)
    return state, {"catalogue": made.digest, "features": features.digest}, _cutoff(frames)


def _borrow(shop: Workshop, stage: str, about: Mapping[str, str]) -> None:
    """Take a stage's parts from the current bundle, when they were built for this catalogue and features."""
    names = {
        "retrieval": ("lexical", "fusion", "covisit"),
        "ranking": ("ranker",),
        "rerank": ("trade",),
        "suggest": ("index",),
    }
    if current(shop.root) is None:
        shop.steps.append(StepReport(stage, 0.0, left_out="not asked for, and there is no bundle to take it from"))
        return
    bundle = open_bundle(shop.root)
    for name in names[stage]:
        if name in bundle.parts:
            inputs = bundle.manifest(name).inputs
            if any(inputs.get(key, digest) != digest for key, digest in about.items()):
                shop.steps.append(
                    StepReport(name, 0.0, left_out="not asked for, and the current one is of another log")
                )
                continue
            shop.parts[name] = bundle.part(name)
            shop.steps.append(StepReport(name, 0.0, reused=True))


def _promote(root: Path, bundle_id: str) -> tuple[bool, str]:
    """Make the bundle current if it is the first or passes the gate. Returns whether, and why."""
    serving = current(root)
    if serving is None or serving == bundle_id:
        promote(root, bundle_id)
        return True, "the first bundle" if len(bundles(root)) == 1 else "already current"
    verdict = passes(open_bundle(root / bundle_id), open_bundle(root))
    if verdict.passed:
        promote(root, bundle_id)
    return verdict.passed, verdict.reason


def _cutoff(frames: Mapping[str, pl.DataFrame]) -> int:
    """The first moment nothing was learned from, ms."""
    known = [frame.select(pl.max("time", "received")).row(0) for frame in frames.values() if len(frame)]
    return max((max(ends) for ends in known), default=-1) + 1


def _active_users(feedback: pl.DataFrame) -> list[str]:
    """A few users with a history, to show what personalisation does."""
    counted = feedback.drop_nulls("user_id").group_by("user_id").len().sort("len", "user_id", descending=[True, False])
    return counted["user_id"].head(12).to_list()
