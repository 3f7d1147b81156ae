"""The engine: a bundle, what happened since, and the cascades over both. Replay and HTTP ask the same one."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Batch
from pipeline.bundle import Bundle, describe, open_bundle
from pipeline.cascade import Cascade, Costs, Watch
from pipeline.catalogue import UNKNOWN, Catalogue
from pipeline.features.asking import context_keys
from pipeline.features.declared import wanted
from pipeline.features.ids import key, keys
from pipeline.rules import Rule
from pipeline.stage import Stage
from pipeline.state import Frames, State
from serving.assembly import Parts, allow, cascades, open_parts, suggestion_cascades, with_own_memory
from serving.ports import Ahead, Ask, Slate, Still, SuggestAsk, Suggestion, Used
from serving.present import described, facets, fields_of, slate_of, suggestions_of


@dataclass(frozen=True, slots=True)
class _Live:
    """What one request sees: swapped whole, so that a request never sees half a change."""

    parts: Parts
    state: State
    rules: tuple[Rule, ...]
    cascades: Mapping[str, Cascade]

    @classmethod
    def of(cls, parts: Parts, state: State, rules: tuple[Rule, ...]) -> "_Live":
        return cls(parts, state, rules, {**cascades(parts, state, rules), **suggestion_cascades(parts, state, rules)})


class Engine:
    """Answers requests from one bundle and all events absorbed since its cutoff.

    Reads are safe from any thread; `absorb`, `use_rules` and `swap` are for one writer at a time.
    """

    def __init__(self, bundle: Path, *, config: Path | None = None) -> None:
        """Raises InputError or ArtifactError when the bundle is missing or not what was published."""
        self._config = config
        parts = open_parts(open_bundle(bundle), config)
        self._live = _Live.of(parts, parts.state, ())
        self._costs = Costs()

    def changed(self, change: Callable[[Parts], Parts]) -> "Engine":
        """An engine of the same bundle and events with other parts: what an ablation compares with."""
        other = copy(self)
        other._live = _Live.of(change(self.parts), self.state, self._live.rules)
        return other

    def beside(self) -> "Engine":
        """One of the same bundle and events that remembers for itself: for a thread that asks about other moments."""
        return self.changed(with_own_memory)

    @property
    def bundle(self) -> Bundle:
        return self._live.parts.bundle

    @property
    def bundle_id(self) -> str:
        return self.bundle.id

    @property
    def state(self) -> State:
        return self._live.state

    @property
    def parts(self) -> Parts:
        return self._live.parts

    def cascade(self, name: str) -> Cascade:
        return self._live.cascades[name]

    def cascade_name(self, ask: Ask) -> str:
        if ask.items is not None:
            return "rank"
        return "search" if ask.query.strip() else "recommend"

    def batch(self, asks: Sequence[Ask]) -> Batch:
        """Requests as columns, and the items they bring as candidates."""
        return Batch.of(_request_columns(asks, self._live.state))

    def answer(self, ask: Ask, deadline: float | None = None, used: Callable[[Used], None] | None = None) -> Slate:
        """Rank one request. deadline: a `time.perf_counter()` moment; used: is told the feature values, if there are
        any. Raises StageError when it cannot be answered."""
        live = self._live
        name = self.cascade_name(ask)
        batch = Batch.of(_request_columns([ask], live.state))
        found: list[Batch] = []

        def observe(stage: Stage, _: Batch, after: Batch) -> None:
            if stage.name == "fuse":
                found.append(after)
            if used is not None and "features" in stage.writes and after.has("features"):
                used(_used(ask, after, live))

        outcome = live.cascades[name].run(batch, deadline=deadline, costs=self._costs, observe=observe)
        return slate_of(ask, name, outcome, found[0] if found else None, live.state, self.bundle_id)

    def still(self, slate: Slate, ask: Ask) -> Still:
        """What of a kept slate may be shown at `ask.time`, when `ask` is asked again."""
        live = self._live
        state = live.state
        (allowed,) = allow(live.parts, state).run(Batch.of(_request_columns([ask], state))).request("allowed")
        dense = state.catalogue.dense(pl.Series([*slate.item_ids, *slate.beyond], dtype=pl.String))
        shown = allowed[np.where(dense >= 0, dense, UNKNOWN)]
        gone = [name for name, stays in zip(slate.item_ids, shown.tolist(), strict=False) if not stays]
        return Still(frozenset(gone), int(np.count_nonzero(shown)), facets(state.catalogue, dense[shown]))

    def suggest(self, ask: SuggestAsk) -> list[Suggestion]:
        """Suggestions, best first; none where the bundle has no suggestions."""
        live = self._live
        cascade = live.cascades.get(f"suggest.{ask.placement}")
        if cascade is None or live.parts.suggest is None:
            return []
        columns = {
            "id": _objects([ask.id]),
            "placement": _objects([ask.placement]),
            "prefix": _objects([ask.prefix]),
            "query": _objects([ask.query]),
            "limit": np.array([ask.limit], dtype=np.int32),
            "time": np.array([ask.time], dtype=np.int64),
        }
        return suggestions_of(cascade.run(Batch.of(columns)), live.parts.suggest)

    def explain(self, ask: Ask, item_id: str) -> dict[str, object]:
        """Why an item is, or is not, on the page: the stages that found it, the one that lost it, by what margin."""
        live = self._live
        place = live.state.catalogue.index.get(item_id)
        if place is None:
            return {"item_id": item_id, "shown": False, "found_by": [], "lost_by": "catalogue", "margin": None}
        watch = Watch(np.array([place], dtype=np.int32))
        name = self.cascade_name(ask)
        batch = Batch.of(_request_columns([ask], live.state))
        hydrated: list[Batch] = []

        def observe(stage: Stage, before: Batch, after: Batch) -> None:
            watch(stage, before, after)
            if "features" in stage.writes:
                hydrated.append(after)

        outcome = live.cascades[name].run(batch, observe=observe)
        (fate,) = watch.fates()
        position = np.flatnonzero(outcome.batch.item[0] == place)
        return {
            "item_id": item_id,
            "shown": bool(len(position)),
            "position": int(position[0]) if len(position) else None,
            "found_by": list(fate.found_by),
            "lost_by": fate.lost_by,
            "allowed": bool(outcome.batch.request("allowed")[0][place]),
            "margin": None if np.isnan(fate.margin) else fate.margin,
            "features": _features_of(hydrated[0], place, live.parts) if hydrated else None,
        }

    def item(self, item_id: str) -> dict[str, Any] | None:
        catalogue = self._live.state.catalogue
        return described(catalogue, item_id)

    def told(self, ids: Sequence[str], names: Sequence[str], time: int) -> list[dict[str, object]]:
        return fields_of(self._live.state.catalogue, ids, names, time)

    def census(self) -> dict[str, int]:
        return self._live.state.catalogue.census()

    def items(self, ids: Sequence[str]) -> list[dict[str, object]]:
        """What the catalogue says of items, for showing them; unknown ones are left out."""
        catalogue = self._live.state.catalogue
        known = [catalogue.index[item] for item in ids if item in catalogue.index and item]
        places = [place for place in known if not catalogue.rows["removed"][place]]
        shown = ("item_id", "title", "brand", "price", "currency", "category", "kind", "region")
        return catalogue.rows[places].select(shown).to_dicts()

    def absorb(self, frames: Frames) -> None:
        """Make events known: the next request sees them as of their time. Those the bundle was trained on are left
        out by its cutoff; without clock time nothing tells them apart, so the caller must."""
        exact = self._live.state.clock == "exact"
        self.learn(_since(frames, self.bundle.cutoff) if exact else frames)

    def learned_to(self, store: str) -> int:
        """Up to which number of an event store the bundle has learned, 0 where it does not say."""
        stored = self.bundle.stored
        return stored.seq if stored is not None and stored.id == store else 0

    def learn(self, frames: Frames) -> None:
        """As `absorb`, for events known to be new whatever their time."""
        live = self._live
        self._live = _Live.of(live.parts, live.state.advance(frames), live.rules)

    def ahead(self, tick: int, *, final: bool) -> Ahead | None:
        """What computes, in any thread, what all requests of a tick share; what that returns puts it to use, as a
        writer. final: whether all that counts at the tick is known. None where a log's time has no ticks."""
        live = self._live
        if live.state.clock != "exact":
            return None
        table = live.parts.features.ahead(live.state, tick)

        def compute() -> Callable[[], None]:
            made = table()
            orders = live.parts.popular.ahead(live.state, tick) if final else None

            def use() -> None:
                live.parts.features.memory.table.take(made, tick)
                if orders is not None:
                    live.parts.popular.take(orders)

            return use

        return compute

    def use_rules(self, rules: Sequence[Rule]) -> None:
        live = self._live
        self._live = _Live.of(live.parts, live.state, tuple(rules))

    def opened(self, bundle: Path) -> Callable[[], None]:
        """Open another bundle, in any thread, while this one answers; what is returned serves it, as a writer. What was
        absorbed is forgotten then: absorb the events after its cutoff again."""
        parts = open_parts(open_bundle(bundle), self._config)
        ready = _Live.of(parts, parts.state, ())

        def serve() -> None:
            rules = self._live.rules
            self._live = _Live.of(parts, parts.state, rules) if rules else ready

        return serve

    def swap(self, bundle: Path) -> None:
        """Open and serve another bundle."""
        self.opened(bundle)()

    def sample_users(self, limit: int) -> list[str]:
        """Some users with a history, for showing what personalisation does."""
        return list(self.parts.users[:limit])

    def describe(self) -> dict[str, object]:
        live = self._live
        about = describe(live.parts.bundle)
        size = len(live.state.catalogue) - 1
        return {
            **about,
            "items": size,
            "catalogue": live.state.catalogue.census(),
            "cascades": {name: str(c) for name, c in live.cascades.items()},
        }

    def close(self) -> None:
        """Nothing to release: what the engine opened is read-only and goes with the process."""


def explain(bundle: Path, user: str, query: str, item: str, at: int | None) -> dict[str, object]:
    """Why an item is, or is not, on the page. at: ms, the bundle's cutoff unless given."""
    engine = Engine(bundle)
    moment = engine.bundle.cutoff if at is None else at
    return engine.explain(Ask("explain", moment, user, query, "search" if query else "recommend"), item)


def _since(frames: Frames, cutoff: int) -> Frames:
    """Events a bundle cut off at that moment cannot have seen."""
    new = (pl.col("time") >= cutoff) | (pl.col("received") >= cutoff)
    return {kind: frame.filter(new) for kind, frame in frames.items()}


def _request_columns(asks: Sequence[Ask], state: State) -> dict[str, Array]:
    index = state.catalogue.index
    texts = {
        name: _objects([getattr(ask, name) for ask in asks])
        for name in ("id", "subject", "query", "surface", "filters", "sort", "weights")
    }
    return texts | {
        "given": _given(asks, state.catalogue),
        "time": np.array([ask.time for ask in asks], dtype=np.int64),
        "subject_key": keys([ask.subject for ask in asks]),
        "seed": np.array([index.get(ask.item_id, -1) if ask.item_id else -1 for ask in asks], dtype=np.int32),
        "segment_key": np.array([key(ask.segment) if ask.segment else 0 for ask in asks], dtype=np.int64),
        "context_keys": context_keys([ask.context for ask in asks], wanted(state.declared).contexts),
        "diversity": np.array([np.nan if a.diversity is None else a.diversity for a in asks], dtype=np.float32),
    }


def _objects(values: Sequence[object]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _given(asks: Sequence[Ask], catalogue: Catalogue) -> NDArray[np.int32]:
    """`[R, K]`: the callers' own items; one nobody knows is the unknown item, and stays in its place."""
    lengths = np.array([len(ask.items or ()) for ask in asks])
    given = np.full((len(asks), int(lengths.max(initial=0))), -1, dtype=np.int32)
    dense = catalogue.dense(pl.Series([name for ask in asks for name in ask.items or ()], dtype=pl.String))
    given[np.arange(given.shape[1])[None, :] < lengths[:, None]] = np.where(dense >= 0, dense, UNKNOWN)
    return given


def _used(ask: Ask, batch: Batch, live: _Live) -> Used:
    """The features of one hydrated request. A caller's own item that nobody knows keeps the caller's name."""
    ids, places = live.state.catalogue.ids, np.flatnonzero(batch.mask[0])
    named = [ids[item] for item in batch.item[0][places]]
    if ask.items is not None:
        named = [name or ask.items[place] for name, place in zip(named, places, strict=True)]
    return Used(
        ask=ask,
        bundle=live.parts.bundle.id,
        tick=int(batch.request("tick")[0]),
        corrected=str(batch.request("corrected")[0]),
        terms=batch.request("terms")[0],
        names=live.parts.feature_names,
        items=named,
        values=batch["features"][0][places],
    )


def _features_of(batch: Batch, place: int, parts: Parts) -> dict[str, float] | None:
    """The feature values of a ranked item, by name; unknown ones are left out."""
    here = np.flatnonzero(batch.item[0] == place)
    if not len(here):
        return None
    values = batch["features"][0, here[0]]
    return {name: float(v) for name, v in zip(parts.feature_names, values, strict=True) if not np.isnan(v)}
