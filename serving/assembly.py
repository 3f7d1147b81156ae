"""The wiring: what a bundle opens to, and the cascades over it. With `jobs`, the place that knows every package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pipeline.batch import Mask
from pipeline.bundle import Bundle
from pipeline.cascade import Cascade, Step
from pipeline.catalogue import Catalogue, CatalogueConfig
from pipeline.config import load_section
from pipeline.errors import ArtifactError, ConfigError
from pipeline.features.config import FeaturesConfig
from pipeline.features.fitted import Fitted
from pipeline.features.memory import Memory
from pipeline.features.plain import FeatureSet, names
from pipeline.filters import NO_FILTERS
from pipeline.prepare import Allow, Analyse, History, NoCorrection, Normalise
from pipeline.rules import Rule, synonyms
from pipeline.stage import Stage
from pipeline.state import State
from query_suggest import stages as suggest
from query_suggest.config import SuggestConfig
from query_suggest.index import SuggestIndex
from query_suggest.reachable import NOBODY, Reachable, Witnesses
from ranking.model import Ranker
from ranking.stages import ByRetrieval, BySmoothedRate, Hydrate, Rank
from rerank.config import RerankConfig
from rerank.listwise import Listwise
from rerank.rules import Merchandise, Pinned, Pins, RuleBook, rule_book
from rerank.stages import Diversify, Rearrange, Sort, TopK, Windows
from rerank.train import IDENTITY, Reordering, open_reorderings
from retrieval.config import Learned, RetrievalConfig
from retrieval.covisit import Neighbours
from retrieval.embedded import Towers
from retrieval.lexical import LexicalIndex
from retrieval.popular import PopularIndex
from retrieval.stages import Covisit, Fresh, Fuse, Given, Lexical, Popular, Rescue, Tower
from retrieval.train import open_fusion

# What the engine brings with each request.
GIVEN = frozenset(
    f"request.{name}"
    for name in (
        *("id", "time", "subject", "subject_key", "query", "surface", "seed", "segment_key", "filters", "sort"),
        *("diversity", "weights", "given", "context_keys"),
    )
)
KINDS = ("search", "recommend")  # of requests, each with a reranking of its own
SUGGEST_GIVEN = frozenset(f"request.{name}" for name in ("id", "placement", "prefix", "query", "limit", "time"))
_SPARE = 50  # popular queries more than asked for, since some may lead to nothing


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections of podium.toml that shape a cascade."""

    retrieval: RetrievalConfig
    rerank: RerankConfig
    suggest: SuggestConfig

    @classmethod
    def load(cls, config: Path | None) -> "Settings":
        return cls(
            load_section(config, "retrieval", RetrievalConfig),
            load_section(config, "rerank", RerankConfig),
            load_section(config, "query_suggest", SuggestConfig),
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a bundle opens to, read once and shared. None: the bundle was made without that part.

    settings: as configured, and learned where nothing is set; usual: the popularity that is compared with, of the days
    no training has a say in.
    """

    bundle: Bundle
    settings: Settings
    state: State
    features: FeatureSet
    popular: PopularIndex
    usual: PopularIndex
    lexical: LexicalIndex | None
    covisit: Neighbours | None
    towers: Towers | None
    ranker: Ranker | None
    listwise: Listwise | None
    reorderings: Mapping[str, Reordering]
    suggest: SuggestIndex | None
    witnesses: Witnesses
    users: tuple[str, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return names(self.state.clock, self.state.declared)


def with_own_memory(parts: Parts) -> Parts:
    """What was read is shared, what is remembered of single moments is not."""
    return replace(
        parts,
        features=replace(parts.features, memory=Memory(parts.features.fitted)),
        popular=PopularIndex(parts.popular.config),
        usual=PopularIndex(parts.usual.config),
    )


def open_parts(bundle: Bundle, config: Path | None = None, features: FeatureSet | None = None) -> Parts:
    """Open every part of a checked bundle. features: those of the bundle, where they are open already. Raises
    ArtifactError for one that cannot be read."""
    have, settings = bundle.parts, Settings.load(config)
    unknown = load_section(config, "catalogue", CatalogueConfig).unknown
    catalogue = Catalogue.open(bundle.part("catalogue")).ignoring(unknown)
    state = State.open(bundle.part("features"), catalogue)
    if config is not None and load_section(config, "features", FeaturesConfig).declared != state.declared:
        expected = f"those the bundle {bundle.id} was trained with; train again"
        raise ConfigError("declared", expected, place=f"{config} [features]")
    asked = settings.retrieval
    suggestions = SuggestIndex.open(bundle.part("index")) if "index" in have else None
    learned = asked.filled(open_fusion(bundle.part("fusion") if "fusion" in have else None))
    return Parts(
        bundle=bundle,
        settings=replace(settings, retrieval=learned),
        state=state,
        features=FeatureSet.of(Fitted.open(bundle.part("features"))) if features is None else features,
        popular=PopularIndex(learned.popular),
        usual=PopularIndex(asked.filled(Learned()).popular),
        lexical=LexicalIndex.open(bundle.part("lexical")) if "lexical" in have else None,
        covisit=Neighbours.open(bundle.part("covisit")) if "covisit" in have else None,
        towers=Towers.open(bundle.part("tower")) if "tower" in have else None,
        ranker=Ranker.open(bundle.part("ranker"), names(state.clock, state.declared)) if "ranker" in have else None,
        listwise=Listwise.open(bundle.part("listwise")) if "listwise" in have else None,
        reorderings=open_reorderings(bundle.part("trade")) if "trade" in have else {},
        suggest=suggestions,
        witnesses=Witnesses.none(0 if suggestions is None else len(suggestions.query)),
        users=_users(bundle.part("features") / "users.json"),
    )


def _users(path: Path) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise ArtifactError(path.name, f"a list of users; train again ({error})", place=str(path.parent)) from error


def understand(state: State, index: SuggestIndex | None, rules: Sequence[Rule] = ()) -> tuple[Step, ...]:
    """From a query as typed to the terms that are searched; the same stages make the rows the ranker learns from."""
    correct = Step(NoCorrection()) if index is None else Step(suggest.Correct(index.speller), fallback=NoCorrection())
    return Step(Normalise(state)), correct, Step(Analyse(synonyms(rules)))


def allow(parts: Parts, state: State) -> Allow:
    """What may be shown, on a first page and on the later ones."""
    return Allow(state, parts.settings.retrieval.exclude)


def cascades(parts: Parts, state: State, rules: Sequence[Rule] = ()) -> Mapping[str, Cascade]:
    """`search`, `recommend`, `rank`, and the dull baselines `bm25` and `popularity` under the same filters."""
    settings = parts.settings.retrieval
    book = rule_book(rules, state.catalogue)
    prepare = (*understand(state, parts.suggest, rules), Step(History(state)), Step(allow(parts, state)))
    popular = Popular(state, parts.popular, settings.popular)
    usual = Popular(state, parts.usual, settings.popular)
    covisit = () if parts.covisit is None else (Step(Covisit(state, parts.covisit, settings.covisit), may_skip=True),)
    like = Fresh(state, parts.features.vectors(state.catalogue), settings.fresh)
    fresh = (Step(like, may_skip=True),) if settings.fresh.depth else ()
    lexical = () if parts.lexical is None else (Step(Lexical(state, parts.lexical, settings.lexical)),)
    pinned = (Step(Pinned(book), may_skip=True),) if rules else ()
    rescue = (Step(Rescue(popular)),) if settings.rescue or not lexical else ()
    fuse, fuse_search = Step(Fuse(state, settings)), Step(Fuse(state, settings.for_search))
    search_tower, tower = (_tower(parts, state, each) for each in (settings.for_search, settings))
    # Beside words the towers only add to what was found; without words they are all that can find anything.
    search = (*lexical, *rescue, *search_tower) if lexical else (*search_tower, *rescue)
    top = Step(TopK(parts.settings.rerank.slate))
    tail = {kind: _rank_and_rerank(parts, state, book, kind, (top,)) for kind in KINDS}
    found = {
        "search": (*prepare, *pinned, *search, fuse_search, *tail["search"]),
        "recommend": (*prepare, *pinned, Step(popular), *covisit, *fresh, *tower, fuse, *tail["recommend"]),
        "rank": (*prepare, Step(Given()), *_rank_and_rerank(parts, state, book, "rank", ())),
        "popularity": (*prepare, Step(usual), fuse, top),
    }
    if lexical:
        found["bm25"] = (*prepare, *lexical, fuse, top)
    return {name: Cascade(name, steps, GIVEN) for name, steps in found.items()}


def _tower(parts: Parts, state: State, settings: RetrievalConfig) -> tuple[Step, ...]:
    """The towers as a channel, where they were found to be worth something."""
    if parts.towers is None or not settings.tower.weight:
        return ()
    return (Step(Tower(state, parts.towers, settings.tower), may_skip=True),)


def _reordering(parts: Parts, kind: str) -> Reordering:
    """What training found affordable, unless the configuration says. A caller's own items, of which it does not know
    whether they answer a search, get what both can afford; what was not measured is not reordered."""
    found = [parts.reorderings.get(name, IDENTITY) for name in (KINDS if kind == "rank" else (kind,))]
    asked = parts.settings.rerank
    return Reordering(
        max(each.trade for each in found) if asked.trade is None else asked.trade,
        all(each.windows for each in found) if asked.windows is None else asked.windows,
    )


def _rank_and_rerank(parts: Parts, state: State, book: RuleBook, kind: str, cut: tuple[Step, ...]) -> tuple[Step, ...]:
    """What retrieval and a caller's own items pass through alike. cut: to the slate, early, since diversity and
    windows look at its top only; but behind the pins where there are any, which may lift an item from below."""
    catalogue, rerank = state.catalogue, parts.settings.rerank
    by_rate = BySmoothedRate(state.clock, dict(state.gains))
    rank = Step(ByRetrieval()) if parts.ranker is None else Step(Rank(parts.ranker, state=state), fallback=by_rate)
    hydrate = (Step(Hydrate(parts.features, state)),) if parts.ranker is not None else ()
    rules = (Step(Merchandise(book)),) if book.rules else ()
    pins = (Step(Pins()),) if book.rules else ()
    vectors, chosen = parts.features.vectors(catalogue), _reordering(parts, kind)
    windows = (Step(Windows(catalogue, rerank), may_skip=True),) if chosen.windows else ()
    return (
        *hydrate,
        rank,
        *rules,
        *_listwise(parts, catalogue),
        Step(Sort(catalogue)),
        *(() if pins else cut),
        Step(Diversify(catalogue, vectors, chosen.trade, rerank.depth, rerank.mmr_window), may_skip=True),
        *windows,
        *(pins and (*pins, *cut)),
    )


def _listwise(parts: Parts, catalogue: Catalogue) -> tuple[Step, ...]:
    """Where training found it better than the ranker's own order, unless the configuration says. Left out, the order
    is the ranker's."""
    model, asked = parts.listwise, parts.settings.rerank.listwise.enabled
    if model is None or parts.ranker is None or not (model.about.shipped if asked is None else asked):
        return ()
    return (Step(Rearrange(model, catalogue, parts.features.vectors(catalogue)), may_skip=True),)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a search would find: `query_suggest.reachable.Shelf`."""

    state: State
    lexical: LexicalIndex
    analyse: Analyse

    @property
    def words(self) -> object:
        return self.lexical.live(self.state.catalogue)

    def available(self, time: int) -> Mask:
        return self.state.catalogue.at(time).available

    def holder(self, query: str, available: Mask) -> int:
        terms = self.analyse.terms(query)
        item, _ = self.lexical.find(terms, NO_FILTERS, 1, available, self.state.catalogue)
        return int(item[0]) if len(item) else NOBODY


def suggestion_cascades(parts: Parts, state: State, rules: Sequence[Rule] = ()) -> Mapping[str, Cascade]:
    """`suggest.PLACEMENT` for each placement; empty where the bundle has no queries."""
    index, settings = parts.suggest, parts.settings.suggest
    if index is None:
        return {}
    reachable: tuple[Stage, ...] = ()
    if parts.lexical is not None:
        shelf = Shelf(state, parts.lexical, Analyse(synonyms(rules)))
        reachable = (Reachable(index, shelf, parts.witnesses),)
    typed = (suggest.Completions(index, settings.pool), suggest.FuzzyCompletions(index))
    now = (suggest.Popular(index, _SPARE if reachable else 0),)
    near = (suggest.Rescue(index, settings.pool),)
    order = (*reachable, suggest.MostPopular(settings.phrase_weight), suggest.TopK())
    found: dict[str, tuple[Stage, ...]] = {"complete": typed, "hint": now, "discover": now, "rescue": near}
    return {
        f"suggest.{name}": Cascade(f"suggest.{name}", tuple(map(Step, (*recall, *order))), SUGGEST_GIVEN)
        for name, recall in found.items()
    }
