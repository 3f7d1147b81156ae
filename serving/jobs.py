"""The batch jobs in order: from a log to a bundle. With `assembly`, the place that knows every package.

A step without data is left out and reported; serving has its fallback.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.bundle import Taken, bind, bundles, current, make_current, open_bundle, promote
from pipeline.errors import InputError
from pipeline.features.fitted import Fitted
from pipeline.features.plain import FeatureSet
from pipeline.logs.events import TYPES
from pipeline.logs.partitions import STORED
from pipeline.logs.read import Log
from pipeline.progress import Report, silent
from serving import steps
from serving.gate import passes
from serving.learned import learn
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


def train(
    logs: Path,
    root: Path,
    *,
    config: Path | None = None,
    stages: Sequence[str] = STAGES,
    seed: int = 0,
    device: str = "auto",
    until: int | None = None,
    on_progress: Report = silent,
) -> TrainReport:
    """Run the jobs over one log and bind a bundle under `root`.

    stages: the ones to train; the others' parts are taken from the current bundle when it fits. until: ms;
    learn as if it were this moment, from what happened and arrived before it. Raises InputError for an unknown stage,
    a folder that is no log or a moment before its first event.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise InputError("--stage", f"one of {', '.join(STAGES)}", received=unknown[0])
    log = Log.open(logs, before=until)
    if until is not None and not any(log.everything().has(kind) for kind in TYPES):
        raise InputError("--until", "a moment after the log's first event", received=until)
    with claimed(root):
        shop = Workshop(root, code_digest(), on_progress)
        state, about, cutoff = learn(shop, log, config)
        features = FeatureSet.of(Fitted.open(shop.parts["features"]))
        job = Job(shop, log, state, features, about, config, seed, cutoff, device)
        for stage, run in _IN_ORDER.items():
            if stage in stages:
                run(job)
            else:
                _borrow(shop, stage, about)
        on_progress("bundle", 0.95)
        bundle = bind(root, shop.parts, cutoff, _taken(log))
        promoted, reason = _promote(root, bundle.id)
    on_progress("done", 1.0)
    return TrainReport(bundle.id, promoted, reason, tuple(shop.steps))


def _taken(log: Log) -> Taken | None:
    """What of an event store is in the log, when all of it was read."""
    stored = log.manifest.get(STORED)
    return Taken(str(stored["id"]), int(stored["seq"])) if isinstance(stored, dict) and log.before is None else None


def _borrow(shop: Workshop, stage: str, about: Mapping[str, str]) -> None:
    """Take a stage's parts from the current bundle, when they were built for this catalogue and features."""
    names = {
        "retrieval": ("lexical", "tower", "fusion", "covisit"),
        "ranking": ("ranker",),
        "rerank": ("listwise", "trade"),
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
        make_current(root, bundle_id)
    return verdict.passed, verdict.reason
