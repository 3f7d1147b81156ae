"""Requests held out of the log the channels learn from, so that their fusion can be tried on what came later.

Where the log shows pages, the latest recommendations are asked again; else what somebody did next is to be found.
Searches are asked again where there are any.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, Mask
from pipeline.exclusions import USUAL, Exclusions
from pipeline.features.counters import Counters
from pipeline.features.ids import Keys, key_column
from pipeline.features.layers import CounterLayers, SequenceLayers
from pipeline.features.sequences import Sequences
from pipeline.features.ticks import first_tick
from pipeline.filters import NO_FILTERS, parse_filters
from pipeline.logs.attribution import attribute, grades, has_labelled, labelled
from pipeline.logs.events import subject
from pipeline.logs.read import Log
from pipeline.logs.searches import searches_of, told_searches
from pipeline.prepare import Allow, Analyse, History, NoCorrection, Normalise
from pipeline.state import COUNTED, State
from pipeline.values import plain_members

MOST: Final = 2000  # requests
_LATEST: Final = 0.1  # share held out
_FEW, _HALF = 500, 0.5  # a log with few pages gives this many, but never more than half of them
_REPEATS: Final = 0.01  # people who repeat less than this never want what they had
_QUERY = pl.col("query").fill_null("").str.strip_chars() != ""
_NO_QUERY = ~_QUERY & ~pl.col("surface").is_in(["search", "similar"])


@dataclass(frozen=True, slots=True)
class HeldOut:
    """requests: R, as the engine gives them; row, item: `[P]`, what was relevant to which; known: what the
    co-visits may learn from; state: what the requests are read from; unseen: whether what the subject acted on before
    is left out; cutoff: ms, from when on everything is held out, None where everybody's last action is; exclude: what
    leaves the subject's pages in service."""

    requests: Batch
    row: NDArray[np.int64]
    item: NDArray[np.int32]
    known: Sequences
    state: State
    unseen: bool
    cutoff: int | None
    exclude: Exclusions = USUAL

    def before(self, subject_key: Keys, time: NDArray[np.int64]) -> Mask:
        """Whether what a subject was after at a moment may be learned from. subject_key, time: `[P]`."""
        if self.cutoff is not None:
            return time < self.cutoff
        known = self.known
        place = np.minimum(np.searchsorted(known.keys, subject_key), len(known.keys) - 1)
        last = known.time[np.maximum(known.start[place + 1] - 1, 0)]
        acted = (known.keys[place] == subject_key) & (known.start[place] < known.start[place + 1])
        return np.asarray(acted & (time <= last))

    def prepared(self, rows: NDArray[np.intp]) -> Batch:
        """Some of the requests, up to what may be shown."""
        batch = self.requests.rows(rows)
        stages = (Normalise(self.state), NoCorrection(), Analyse(), History(self.state))
        for stage in (*stages, Allow(self.state, self.exclude)):
            batch = stage.run(batch)
        return self._without_seen(batch) if self.unseen else batch

    def _without_seen(self, batch: Batch) -> Batch:
        """Nothing the subject acted on before may be shown."""
        layers = self.state.history
        longest = int(np.diff(whole_history(self.state).start).max(initial=1))
        past = layers.last(batch.request("subject_key"), batch.request("time"), longest)
        allowed = batch.request("allowed").copy()
        for row, seen in enumerate(past.item):
            allowed[row] = allowed[row].copy()
            allowed[row][seen[seen >= 0]] = False
        return batch.with_requests(allowed=allowed)

    def relevant(self, rows: NDArray[np.intp]) -> list[NDArray[np.int32]]:
        """The items that were relevant to each of some requests; -1 is one the catalogue does not know."""
        order = np.argsort(self.row, kind="stable")
        edges = np.searchsorted(self.row[order], np.arange(self.requests.size + 1))
        return [self.item[order[edges[row] : edges[row + 1]]] for row in rows]


def held_out(log: Log, state: State, seed: int = 0, exclude: Exclusions = USUAL) -> HeldOut | None:
    """At most `MOST` requests for recommendations with something relevant. None when the log has none."""
    found = _later_pages(log, state, seed, _NO_QUERY)
    return _excluding(found or _next_actions(log, state, whole_history(state), seed), exclude)


def held_out_searches(log: Log, state: State, seed: int = 0, exclude: Exclusions = USUAL) -> HeldOut | None:
    """At most `MOST` searches with something relevant. None when the log has none."""
    found = _later_pages(log, state, seed, _QUERY)
    return _excluding(found or _later_searches(log, state, seed), exclude)


def _excluding(found: HeldOut | None, exclude: Exclusions) -> HeldOut | None:
    return None if found is None else replace(found, exclude=exclude)


def whole_history(state: State) -> Sequences:
    return state.history.whole()


def repeat_rate(history: Sequences) -> float:
    """Share of the positive actions on an item the subject had acted on before; 0 without any."""
    subject_, total = np.repeat(np.arange(len(history.keys)), np.diff(history.start)), len(history.item)
    code = subject_ * (int(history.item.max(initial=0)) + np.int64(1)) + history.item
    return 1.0 - len(np.unique(code)) / total if total else 0.0


def only(history: Sequences, kept: Mask) -> Sequences:
    """The actions where `kept` `[E]`; subjects without any stay, with an empty sequence."""
    start = np.append(0, np.cumsum(kept))[history.start]
    return Sequences(
        history.keys, start, history.time[kept], history.received[kept], history.item[kept], history.action[kept]
    )


def _later_pages(log: Log, state: State, seed: int, kind: pl.Expr) -> HeldOut | None:
    """Pages of one kind, and what they earned."""
    if state.clock != "exact" or not log.has("impression"):
        return None
    history = whole_history(state)
    columns = ["time", "event_id", "request_id", "page", "surface", "query", "filters", "context", "user_id"]
    pages = labelled(log.frame("impression", columns=[*columns, "session_id", "outcomes"])).filter(kind)
    pages = pages.sort("page", "time", "event_id").unique("request_id", keep="first", maintain_order=True).sort("time")
    latest = _held(len(pages))
    if not latest:
        return None
    pages = pages.tail(latest)
    cutoff = int(pages["time"][0])
    outcomes = attribute(log.frame("impression", since=cutoff), log.frame("feedback", since=cutoff))
    earned = grades(outcomes, state.gains).filter(pl.col("grade") > 0)
    pages = _some(pages.join(earned, on="request_id", how="semi", maintain_order="left"), seed)
    if not len(pages):
        return None
    pairs = earned.join(pages.with_row_index("row").select("row", "request_id"), on="request_id")
    return HeldOut(
        _asked(pages, state),
        pairs["row"].cast(pl.Int64).to_numpy(),
        state.catalogue.dense(pairs["item_id"]).astype(np.int32),
        only(history, (history.time < cutoff) & (history.received < cutoff)),
        state,
        unseen=False,
        cutoff=cutoff,
    )


def _later_searches(log: Log, state: State, seed: int) -> HeldOut | None:
    """Searches of no known page, and what they led to."""
    good = [action for action, gain in state.gains.items() if gain > 0]
    told = told_searches(log).filter(pl.col("action").is_in(good))
    searches = searches_of(told)
    latest = _held(len(searches))
    if state.clock != "exact" or not latest:
        return None
    history, searches = whole_history(state), searches.tail(latest)
    cutoff = int(searches["time"][0])
    names = ["time", "subject", "query"]
    searches = searches.sample(MOST, seed=seed).sort(names) if len(searches) > MOST else searches
    pairs = told.select("subject", "query", "item_id", time="asked_at").unique().sort(*names, "item_id")
    pairs = pairs.join(searches.with_row_index("row"), on=names, maintain_order="left")
    requests = _nobodys(len(searches)) | {
        "query": np.array(searches["query"].to_list(), dtype=object),
        "time": searches["time"].to_numpy(),
        "subject_key": key_column(searches["subject"]),
        "surface": np.full(len(searches), "search", dtype=object),
    }
    return HeldOut(
        Batch.of(requests),
        pairs["row"].cast(pl.Int64).to_numpy(),
        state.catalogue.dense(pairs["item_id"]).astype(np.int32),
        only(history, (history.time < cutoff) & (history.received < cutoff)),
        state,
        unseen=False,
        cutoff=cutoff,
    )


def _held(requests: int) -> int:
    """How many of so many requests are held out."""
    return int(max(requests * _LATEST, min(_FEW, requests * _HALF)))


def _next_actions(log: Log, state: State, history: Sequences, seed: int) -> HeldOut | None:
    """The latest positive actions, each to be found as of its own moment; without clock time everybody's last."""
    if not len(history.item):
        return None
    cutoff = None
    if state.clock == "exact":
        cutoff = int(np.quantile(history.time, 1.0 - _LATEST))
        known = (history.time < cutoff) & (history.received < cutoff)
    else:
        known = np.ones(len(history.item), dtype=np.bool_)
        known[history.start[1:][np.diff(history.start) > 1] - 1] = False
        state = _restated(state, only(history, known))
    places = np.flatnonzero(~known)
    if not len(places):
        return None
    if len(places) > MOST:
        places = np.sort(np.random.default_rng(seed).choice(places, MOST, replace=False))
    owner = np.searchsorted(history.start, places, side="right") - 1
    requests = _nobodys(len(places)) | {
        "time": np.asarray(history.time)[places],
        "subject_key": np.asarray(history.keys)[owner],
    }
    unseen = not has_labelled(log) and repeat_rate(history) < _REPEATS
    item = np.asarray(history.item)[places]
    return HeldOut(Batch.of(requests), np.arange(len(places)), item, only(history, known), state, unseen, cutoff)


def _restated(state: State, history: Sequences) -> State:
    """The state without what is held out, for a clock that cannot hide it: its counts are those of all times."""
    positive = np.full(len(history.item), COUNTED.index("positive"))
    tick = first_tick(history.time, history.received)
    items = CounterLayers.of(Counters.count(COUNTED, history.item.astype(np.int64), tick, positive))
    return replace(state, history=SequenceLayers(history), counters={**state.counters, "items": items})


def _some(pages: pl.DataFrame, seed: int) -> pl.DataFrame:
    return pages.sample(MOST, seed=seed).sort("time", "event_id") if len(pages) > MOST else pages


def _asked(pages: pl.DataFrame, state: State) -> Batch:
    place = plain_members(pages["context"], state.segment)
    filters = {text: parse_filters(json.loads(text), "impression.filters") for text in pages["filters"].unique()}
    requests = _nobodys(len(pages)) | {
        "query": np.array(pages["query"].fill_null("").to_list(), dtype=object),
        "time": pages["time"].to_numpy(),
        "subject_key": key_column(pages.select(subject().fill_null(""))["subject"]),
        "surface": np.array(pages["surface"].to_list(), dtype=object),
        "segment_key": np.where(place.is_null().to_numpy(), 0, key_column(place)),
        "filters": np.array([filters[text] for text in pages["filters"]], dtype=object),
    }
    return Batch.of(requests)


def _nobodys(size: int) -> dict[str, Array]:
    """The columns of plain recommendation requests."""

    def same(value: Any, kind: type) -> Array:
        column: Array = np.empty(size, dtype=kind)
        column[:] = value
        return column

    return {
        "query": same("", object),
        "surface": same("recommend", object),
        "seed": same(-1, np.int32),
        "segment_key": same(0, np.int64),
        "filters": same(NO_FILTERS, object),
    }
