"""The steps of a training run, stage by stage: what each reads and writes, and where it has nothing to learn from."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import read_manifest
from pipeline.batch import Batch, Mask
from pipeline.bundle import bind
from pipeline.config import load_section
from pipeline.features.config import FeaturesConfig
from pipeline.features.plain import FeatureSet
from pipeline.features.text import tokens
from pipeline.filters import NO_FILTERS
from pipeline.logs.attribution import has_labelled
from pipeline.logs.read import Log
from pipeline.stage import Stage
from pipeline.state import State
from query_suggest import train as suggest_jobs
from query_suggest.config import SuggestConfig
from query_suggest.index import SuggestIndex
from ranking import train as ranking_jobs
from ranking.config import RankingConfig
from ranking.dataset import learned_batches
from rerank import train as rerank_jobs
from rerank.config import ListwiseConfig, RerankConfig
from retrieval import train as retrieval_jobs
from retrieval.config import RetrievalConfig
from retrieval.lexical import LexicalIndex
from serving.assembly import Parts, open_parts, understand
from serving.lists import ranked_lists, retrieved, shown_lists
from serving.workshop import NoDataError, Workshop

_LATEST = 0.1  # share of the pages on which the diversity trade is chosen: the part the ranker reports on


@dataclass(frozen=True, slots=True)
class Job:
    """What every job is given. features: opened once for all jobs, since reading the words of a catalogue takes
    seconds; about: digests of the catalogue and the features the parts are bound to; device: of nets, `auto` takes a
    GPU where there is one."""

    shop: Workshop
    log: Log
    state: State
    features: FeatureSet
    about: Mapping[str, str]
    config: Path | None
    seed: int
    cutoff: int
    device: str = "auto"

    def inputs(self, *parts: str) -> dict[str, str]:
        """Digests of what a job reads: the log's base and these parts, where they exist."""
        have = self.shop.parts
        return {**self.about, **{name: read_manifest(have[name]).digest for name in parts if name in have}}

    @contextmanager
    def opened(self) -> Iterator[Parts]:
        """What there is so far, as a service would open it."""
        with tempfile.TemporaryDirectory(prefix="podium-train-") as scratch:
            bundle = bind(Path(scratch), self.shop.parts, self.cutoff)
            yield open_parts(bundle, self.config, self.features)


def retrieval(job: Job) -> None:
    settings = load_section(job.config, "retrieval", RetrievalConfig)
    catalogue, state = job.state.catalogue, job.state

    def lexical(folder: Path) -> Mapping[str, float]:
        if not catalogue.rows["title"].is_not_null().any():
            raise NoDataError("no item has a title")
        return retrieval_jobs.train_lexical(catalogue, settings.lexical, folder)

    def tower(folder: Path) -> Mapping[str, float]:
        metrics = retrieval_jobs.train_tower(
            job.log.everything(), state, settings, seed=job.seed, folder=folder, device=job.device
        )
        if metrics is None:
            raise NoDataError("too little positive feedback")
        return metrics

    def fusion(folder: Path) -> Mapping[str, float]:
        log, parts = job.log.everything(), job.shop.parts
        towers, words = parts.get("tower"), parts.get("lexical")
        metrics = retrieval_jobs.train_fusion(
            log, state, settings, seed=job.seed, folder=folder, towers=towers, lexical=words
        )
        if metrics is None:
            raise NoDataError("no positive feedback to hold out; the default weights stay")
        return metrics

    words = {"catalogue": job.about["catalogue"]}
    job.shop.make("retrieval.lexical", settings.lexical.model_dump(), words, lexical, 0.2)
    seeded = {"seed": job.seed}
    job.shop.make("retrieval.tower", {**settings.model_dump(), **seeded}, job.inputs(), tower, 0.21)
    job.shop.make("retrieval.fusion", {**settings.model_dump(), **seeded}, job.inputs("lexical", "tower"), fusion, 0.28)
    learned = settings.filled(retrieval_jobs.open_fusion(job.shop.parts.get("fusion"))).covisit

    def covisit(folder: Path) -> Mapping[str, float]:
        if not len(state.history):
            raise NoDataError("no positive feedback")
        return retrieval_jobs.train_covisit(state, learned, folder)

    job.shop.make("retrieval.covisit", learned.model_dump(), job.inputs(), covisit, 0.35)


def suggest(job: Job) -> None:
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


def ranking(job: Job) -> None:
    settings = load_section(job.config, "ranking", RankingConfig)
    rules = load_section(job.config, "features", FeaturesConfig)

    def write(folder: Path) -> Mapping[str, float]:
        metrics = ranking_jobs.train_ranker(
            job.log,
            (job.state, job.features),
            settings,
            seed=job.seed,
            folder=folder,
            prepare=_prepare(job),
            retrieved=_retrieved(job, settings),
            rules=rules,
            device=job.device,
        )
        if metrics is None:
            raise NoDataError("too few impressions or judgments with positives")
        return metrics

    read = ("index", "lexical", "tower", "fusion", "covisit")
    config = {**settings.model_dump(), "features": rules.model_dump(), "seed": job.seed}
    job.shop.make("ranking.ranker", config, job.inputs(*read), write, 0.45)


def _retrieved(job: Job, settings: RankingConfig) -> Iterator[tuple[Batch, NDArray[np.int32]]]:
    """Pages the ranker learns from, with the candidates it would have been given had it served them."""
    if not settings.unexposed_weight:
        return
    with job.opened() as parts:
        pages = learned_batches(
            job.log,
            job.state,
            latest_share=settings.latest_share,
            most=settings.unexposed_pages,
            prepare=_prepare(job),
        )
        yield from retrieved(parts, job.state, pages)


def rerank(job: Job) -> None:
    settings = load_section(job.config, "rerank", RerankConfig)

    def write(folder: Path) -> Mapping[str, float]:
        if "ranker" not in job.shop.parts:
            raise NoDataError("no ranker to diversify")
        if not has_labelled(job.log):
            raise NoDataError("no pages of known outcomes to validate on")
        # Judged on whole slates: on the few items a page showed, diversity looks cheaper than it is.
        with job.opened() as parts:
            lists = ranked_lists(parts, job.log, job.state, _prepare(job), _LATEST)
            judged: dict[str, list[rerank_jobs.Judged]] = defaultdict(list)
            for kind, *arrays in lists:
                judged[kind].append(rerank_jobs.Judged(*arrays))
        return rerank_jobs.train(
            judged, parts.features.vectors(job.state.catalogue), job.state.catalogue, settings, folder
        )

    _listwise(job, settings.listwise)
    read = ("index", "lexical", "tower", "fusion", "covisit", "ranker", "listwise")
    job.shop.make("rerank.trade", settings.model_dump(), job.inputs(*read), write, 0.85)


def _listwise(job: Job, settings: ListwiseConfig) -> None:
    def write(folder: Path) -> Mapping[str, float]:
        if settings.enabled is False:
            raise NoDataError("switched off")
        if "ranker" not in job.shop.parts or not has_labelled(job.log):
            raise NoDataError("no ranker whose order to correct, or no pages of known outcomes to learn it from")
        known = read_manifest(job.shop.parts["ranker"]).metrics
        ratios = [known[name] for place in range(1, 10) if (name := f"position_ratio_{place}") in known]
        with job.opened() as parts:
            if parts.ranker is None or parts.ranker.about.target != "click":
                raise NoDataError("the ranker gives no chances of a click")
            share, most = settings.latest_share, settings.most_pages
            pages = list(shown_lists(parts, job.log, job.state, _prepare(job), share, most))
        metrics = rerank_jobs.train_listwise(
            pages, np.array([1.0, *ratios] if ratios else []), settings, seed=job.seed, folder=folder
        )
        if metrics is None:
            raise NoDataError("too few pages with something earned")
        return metrics

    config = {**settings.model_dump(), "seed": job.seed}
    job.shop.make("rerank.listwise", config, job.inputs("index", "ranker"), write, 0.8)


def _prepare(job: Job) -> tuple[Stage, ...]:
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
