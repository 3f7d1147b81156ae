"""The batch jobs in order: from a log to a bundle. With `assembly`, the place that knows every package.

A step without data is left out and reported; serving has its fallback.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts import read_manifest, write_json
from pipeline.batch import Batch, Mask
from pipeline.bundle import bind, bundles, current, open_bundle, promote
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.config import load_section
from pipeline.errors import InputError
from pipeline.features.fitted import Fitted, fit_features
from pipeline.features.plain import FeatureSet
from pipeline.features.text import tokens
from pipeline.filters import NO_FILTERS
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.read import Log
from pipeline.progress import Report, silent
from pipeline.stage import Stage
from pipeline.state import State, initial_state
from query_suggest import train as suggest_jobs
from query_suggest.config import SuggestConfig
from query_suggest.index import SuggestIndex
from ranking import train as ranking_jobs
from ranking.config import RankingConfig
from ranking.dataset import learned_batches
from rerank import train as rerank_jobs
from rerank.config import RerankConfig
from retrieval import train as retrieval_jobs
from retrieval.config import RetrievalConfig
from retrieval.lexical import LexicalIndex
from serving.assembly import open_parts, understand
from serving.gate import passes
from serving.lists import ranked_lists, retrieved
from serving.workshop import NoDataError, StepReport, TrainReport, Workshop, code_digest

STAGES = ("retrieval", "ranking", "rerank", "suggest")
_LATEST = 0.1  # share of the pages on which the diversity trade is chosen: the part the ranker reports on
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
    shop = Workshop(root, code_digest(), on_progress)
    state, about, cutoff = _base(shop, log, config)
    job = _Job(shop, log, state, about, config, seed, cutoff)
    # Suggestion comes before ranking: the ranker learns from queries as the speller corrects them.
    for stage, run in (("retrieval", _retrieval), ("suggest", _suggest), ("ranking", _ranking), ("rerank", _rerank)):
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


@dataclass(frozen=True, slots=True)
class _Job:
    """What every job is given. about: digests of the catalogue and the features the parts are bound to."""

    shop: Workshop
    log: Log
    state: State
    about: Mapping[str, str]
    config: Path | None
    seed: int
    cutoff: int

    def inputs(self, *parts: str) -> dict[str, str]:
        """Digests of what a job reads: the log's base and these parts, where they exist."""
        have = self.shop.parts
        return {**self.about, **{name: read_manifest(have[name]).digest for name in parts if name in have}}


def _retrieval(job: _Job) -> None:
    settings = load_section(job.config, "retrieval", RetrievalConfig)
    catalogue, state = job.state.catalogue, job.state

    def lexical(folder: Path) -> Mapping[str, float]:
        if not catalogue.rows["title"].is_not_null().any():
            raise NoDataError("no item has a title")
        return retrieval_jobs.train_lexical(catalogue, settings.lexical, folder)

    def fusion(folder: Path) -> Mapping[str, float]:
        metrics = retrieval_jobs.train_fusion(job.log.everything(), state, settings, seed=job.seed, folder=folder)
        if metrics is None:
            raise NoDataError("no positive feedback to hold out; the default weights stay")
        return metrics

    words = {"catalogue": job.about["catalogue"]}
    job.shop.make("retrieval.lexical", settings.lexical.model_dump(), words, lexical, 0.2)
    job.shop.make("retrieval.fusion", {**settings.model_dump(), "seed": job.seed}, job.inputs(), fusion, 0.25)
    learned = settings.filled(retrieval_jobs.open_fusion(job.shop.parts.get("fusion"))).covisit

    def covisit(folder: Path) -> Mapping[str, float]:
        if not len(state.history.base.item):
            raise NoDataError("no positive feedback")
        return retrieval_jobs.train_covisit(state, learned, folder)

    job.shop.make("retrieval.covisit", learned.model_dump(), job.inputs(), covisit, 0.35)


def _suggest(job: _Job) -> None:
    settings = load_section(job.config, "query_suggest", SuggestConfig)

    def write(folder: Path) -> Mapping[str, float]:
        lexical = job.shop.parts.get("lexical")
        index = suggest_jobs.train(
            job.log,
            settings,
            cutoff=job.cutoff,
            catalogue=job.state.catalogue,
            has_results=_finds(lexical, job.state),
        )
        if index is None:
            raise NoDataError("no searches")
        return index.save(folder)

    job.shop.make("suggest.index", settings.model_dump(), job.inputs("lexical"), write, 0.4)


def _ranking(job: _Job) -> None:
    settings = load_section(job.config, "ranking", RankingConfig)

    def write(folder: Path) -> Mapping[str, float]:
        metrics = ranking_jobs.train_ranker(
            job.log,
            (job.state, _features(job)),
            settings,
            seed=job.seed,
            folder=folder,
            prepare=_prepare(job),
            retrieved=_retrieved(job, settings),
        )
        if metrics is None:
            raise NoDataError("too few impressions or judgments with positives")
        return metrics

    read = ("index", "lexical", "fusion", "covisit")
    job.shop.make("ranking.ranker", {**settings.model_dump(), "seed": job.seed}, job.inputs(*read), write, 0.45)


def _retrieved(job: _Job, settings: RankingConfig) -> Iterator[tuple[Batch, NDArray[np.int32]]]:
    """Pages the ranker learns from, with the candidates it would have been given had it served them."""
    if not settings.unexposed_weight:
        return
    with tempfile.TemporaryDirectory(prefix="podium-ranking-") as scratch:
        parts = open_parts(bind(Path(scratch), job.shop.parts, job.cutoff), job.config)
        pages = learned_batches(
            job.log,
            job.state,
            latest_share=settings.latest_share,
            most=settings.unexposed_pages,
            prepare=_prepare(job),
        )
        yield from retrieved(parts, job.state, pages)


def _rerank(job: _Job) -> None:
    settings = load_section(job.config, "rerank", RerankConfig)

    def write(folder: Path) -> Mapping[str, float]:
        if "ranker" not in job.shop.parts:
            raise NoDataError("no ranker to diversify")
        if not job.log.has("impression"):
            raise NoDataError("no pages to validate on")
        # Judged on whole slates: on the few items a page showed, diversity looks cheaper than it is.
        with tempfile.TemporaryDirectory(prefix="podium-rerank-") as scratch:
            parts = open_parts(bind(Path(scratch), job.shop.parts, job.cutoff), job.config)
            lists = ranked_lists(parts, job.log, job.state, _prepare(job), _LATEST)
            judged: dict[str, list[rerank_jobs.Judged]] = defaultdict(list)
            for kind, *arrays in lists:
                judged[kind].append(rerank_jobs.Judged(*arrays))
        return rerank_jobs.train(
            judged, parts.features.vectors(job.state.catalogue), job.state.catalogue, settings, folder
        )

    read = ("index", "lexical", "fusion", "covisit", "ranker")
    job.shop.make("rerank.trade", settings.model_dump(), job.inputs(*read), write, 0.85)


def _features(job: _Job) -> FeatureSet:
    return FeatureSet.of(Fitted.open(job.shop.parts["features"]))


def _prepare(job: _Job) -> tuple[Stage, ...]:
    index = job.shop.parts.get("index")
    return tuple(step.stage for step in understand(job.state, None if index is None else SuggestIndex.open(index)))


def _finds(lexical: Path | None, state: State) -> Callable[[list[str]], Mask] | None:
    """Whether a query has any result now: a suggestion whose page is empty is a bug."""
    if lexical is None:
        return None
    index = LexicalIndex.open(lexical)
    every = np.ones(len(state.catalogue), dtype=np.bool_)

    def finds(queries: list[str]) -> Mask:
        return np.array([len(index.search(tokens(query), NO_FILTERS, 1, every)[0]) > 0 for query in queries])

    return finds


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
