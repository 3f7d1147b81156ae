"""What events add to a state: counts by tick, and what each subject did.

One function counts a day of a log, a batch a service has learned of, and a single click. Letters: I impressions,
S shown items, F feedback, E whatever is counted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.counters import Counters
from pipeline.features.declared import Declarations, wanted
from pipeline.features.declaring import DECLARED_COUNTS, Acts, Declaring, Happened, declared_counts
from pipeline.features.ids import Keys, key
from pipeline.features.pairs import PairCounters
from pipeline.features.sequences import Sequences
from pipeline.features.text import normalise
from pipeline.features.ticks import TICK_MS, first_tick
from pipeline.logs.events import subject

ACTIONS: Final = ("view", "click", "cart", "purchase", "like", "hide")
COUNTED: Final = ("shown", "positive", "clicked", *ACTIONS)
# What each set of counters counts: single keys, and pairs of keys.
SETS: Final[Mapping[str, tuple[str, ...]]] = {"items": COUNTED, "queries": ("shown",)}
PAIR_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "segments": ("positive",),
    "query_items": ("shown", "positive", "clicked"),
    "affinity": ("positive",),
    "declared": DECLARED_COUNTS,
}
# The columns of the log that are counted; `read_columns` tells those that declared features need besides.
READ: Final[Mapping[str, tuple[str, ...]]] = {
    "impression": ("request_id", "page", "time", "received", "query", "context", "items"),
    "feedback": ("user_id", "session_id", "item_id", "action", "time", "received", "request_id"),
}
REFERRED: Final = {
    "request_id": pl.String(),
    "page_tick": pl.Int64(),
    "query_key": pl.Int64(),
    "segment_key": pl.Int64(),
}
WAITING: Final = {
    "request_id": pl.String(),
    "tick": pl.Int64(),
    "item": pl.Int32(),
    "action": pl.String(),
    "positive": pl.Boolean(),
}
_DAY = 24  # ticks
REFERABLE: Final = 7 * _DAY  # ticks after a page's that an action still counts for it
PATIENCE: Final = 2 * _DAY  # ticks that an action waits for its page

_REMEMBERED: Final = 1 << 18  # texts whose keys are not computed again
_FEW: Final = 200  # rows for which a table of distinct texts is more work than it saves

Ints = NDArray[np.int64]
_Read = Callable[[pl.Series], Iterable[int]]


@dataclass(frozen=True, slots=True)
class Pages:
    """What feedback may refer to by request_id, and feedback whose page has not come. latest: ms, see `_pruned`."""

    referred: pl.DataFrame
    waiting: pl.DataFrame
    latest: int

    @classmethod
    def none(cls, declared: Declarations = ()) -> "Pages":
        return cls(pl.DataFrame(schema=referred_schema(declared)), pl.DataFrame(schema=WAITING), 0)

    def ordered(self) -> "Pages":
        """The same pages in an order that says nothing of how they were delivered."""
        referred = self.referred.sort(pl.all()).unique(["request_id", "page_tick"], keep="first", maintain_order=True)
        return Pages(referred, self.waiting.sort(pl.all()), self.latest)


@dataclass(frozen=True, slots=True)
class Facts:
    """What events add to the parts of a state, over the catalogue's dense ids; and the pages after them."""

    counters: Mapping[str, Counters]
    pairs: Mapping[str, PairCounters]
    history: Sequences
    marks: Sequences
    pages: Pages


@dataclass(frozen=True, slots=True)
class _Shown:
    """tick, query, segment: `[I]`, the keys 0 where there is none; item, page: `[S]`, dense and its place in `[I]`."""

    tick: Ints
    query: Keys
    segment: Keys
    item: NDArray[np.int32]
    page: Ints


@dataclass(frozen=True, slots=True)
class _Placed:
    """Actions whose page is known, `[P]` each; the keys, `by` as declared features ask for, are 0 where the page has
    none."""

    by: Mapping[str, Keys]
    query_key: Keys
    segment_key: Keys
    item: NDArray[np.int32]
    tick: Ints
    action: NDArray[np.object_]
    positive: Mask

    @property
    def clicked(self) -> Mask:
        return np.asarray(self.action == "click")


_PLACED = ("query_key", "segment_key", "item", "tick", "action", "positive")
NOTHING_DECLARED: Final = Declaring()


def referred_schema(declared: Declarations) -> dict[str, pl.DataType]:
    """The columns of `Pages.referred`."""
    return REFERRED | {f"by.{field}": pl.Int64() for field in wanted(declared).pages}


def read_columns(declared: Declarations) -> Mapping[str, tuple[str, ...]]:
    """The columns of the log that are counted."""
    who = ("user_id", "session_id") if wanted(declared).users else ()
    return {**READ, "impression": (*READ["impression"], *who)}


def count(
    frames: Mapping[str, pl.DataFrame],
    catalogue: Catalogue,
    gains: Mapping[str, float],
    segment: str,
    pages: Pages,
    declaring: Declaring = NOTHING_DECLARED,
) -> Facts:
    """Count impressions and feedback that have the columns `read_columns`.

    declaring: with the users as far as these events may know them.
    """
    impressions, feedback = frames["impression"], frames["feedback"]
    shown = _shown(impressions, catalogue, segment)
    acts = _acts(feedback, catalogue, gains)
    latest = max(pages.latest, *(_latest(frame) for frame in (impressions, feedback)))
    by = declaring.page_keys(impressions, shown.query)
    placed, pages = _placed(impressions, (shown, by), acts, pages, latest)
    subjects = _keyed(feedback.select(subject())["subject"], lambda texts: map(_key, texts.to_list()))
    positive, tick, item = (acts[name].to_numpy() for name in ("positive", "tick", "item"))
    marked = feedback["action"].is_in(["hide", "purchase"]).to_numpy()
    history, marks = (_sequence(feedback, item, subjects, chosen) for chosen in (positive, marked))
    counters = {"items": _items(shown, acts, feedback["action"], placed), "queries": _queries(impressions, shown)}
    pairs = {
        "segments": _segments(placed),
        "query_items": _query_items(shown, placed),
        "affinity": affinity(catalogue, subjects[positive], item[positive], tick[positive]),
        "declared": PairCounters.empty(DECLARED_COUNTS),
    }
    if declaring.declared:
        everything = Acts(item, tick, feedback["action"].to_numpy(), subjects, positive)
        pairs["declared"] = _declared(declaring.declared, catalogue, (shown, by), placed, everything)
    return Facts(counters, pairs, history, marks, pages)


_PagesNow = tuple[_Shown, Mapping[str, Keys]]  # and the keys `[I]` that declared features ask for


def _shown(impressions: pl.DataFrame, catalogue: Catalogue, segment: str) -> _Shown:
    items = impressions["items"].list.eval(pl.element().struct["item_id"])
    item_ids = items.rename("item_id").explode(empty_as_null=False, keep_nulls=False)
    return _Shown(
        first_tick(impressions["time"].to_numpy(), impressions["received"].to_numpy()),
        _keyed(impressions["query"], lambda texts: map(_query_key, texts.to_list())),
        _keyed(impressions["context"], lambda texts: map(_key, texts.str.json_path_match(f"$.{segment}").to_list())),
        catalogue.dense(item_ids),
        np.repeat(np.arange(len(items)), items.list.len().fill_null(0).to_numpy()),
    )


def _keyed(column: pl.Series, read: _Read) -> Keys:
    """`[I]` key of a text, 0 where there is nothing; each distinct text is read once."""
    if len(column) < _FEW:
        return np.fromiter(read(column), dtype=np.int64, count=len(column))
    distinct = column.unique()
    table = pl.DataFrame({"text": distinct, "key": np.fromiter(read(distinct), dtype=np.int64, count=len(distinct))})
    rows = pl.DataFrame({"text": column}).join(table, on="text", how="left", nulls_equal=True, maintain_order="left")
    return rows["key"].to_numpy()


@lru_cache(maxsize=_REMEMBERED)
def _query_key(query: str | None) -> int:
    return 0 if query is None else key(normalise(query))


@lru_cache(maxsize=_REMEMBERED)
def _key(text: str | None) -> int:
    return 0 if text is None else key(text)


def _acts(feedback: pl.DataFrame, catalogue: Catalogue, gains: Mapping[str, float]) -> pl.DataFrame:
    """One row an action."""
    earning = [action for action, gain in gains.items() if gain > 0]
    return feedback.select(
        "request_id",
        tick=pl.Series(first_tick(feedback["time"].to_numpy(), feedback["received"].to_numpy()), dtype=pl.Int64),
        item=pl.Series(catalogue.dense(feedback["item_id"]), dtype=pl.Int32),
        action="action",
        positive=pl.col("action").is_in(earning),
    )


def _placed(
    impressions: pl.DataFrame, pages_now: _PagesNow, acts: pl.DataFrame, pages: Pages, latest: int
) -> tuple["_Placed", Pages]:
    """Actions that follow a page counted no later than themselves, with its keys; and the pages now.

    Which pages are known depends on delivery; which ones are counted no later does not, for these have come before
    the tick is used. All pages of a request are of one query and one segment.
    """
    shown, by = pages_now
    told = {f"by.{field}": pl.Series(keys, dtype=pl.Int64) for field, keys in by.items()}
    new = impressions.select(
        "request_id",
        page_tick=pl.Series(shown.tick, dtype=pl.Int64),
        query_key=pl.Series(shown.query, dtype=pl.Int64),
        segment_key=pl.Series(shown.segment, dtype=pl.Int64),
        **told,
    )
    referred = pl.concat([pages.referred, new]) if len(new) else pages.referred
    named = acts.filter(pl.col("request_id").is_not_null())
    asking = (pl.concat([pages.waiting, named]) if len(named) else pages.waiting).with_row_index("row")
    known = referred.filter(pl.col("request_id").is_in(asking["request_id"].unique().implode()))
    age = pl.col("tick") - pl.col("page_tick")
    both = asking.join(known, on="request_id").filter(age >= 0, age <= REFERABLE)
    order = ("row", "page_tick", "query_key", "segment_key", *told)
    placed = both.sort(order).unique("row", keep="first", maintain_order=True)
    waits = np.ones(len(asking), dtype=np.bool_)
    waits[placed["row"].to_numpy()] = False
    waiting = asking.filter(pl.Series(waits)).drop("row")
    keys = {field: placed[f"by.{field}"].to_numpy() for field in by}
    return _Placed(keys, *(placed[name].to_numpy() for name in _PLACED)), _pruned(referred, waiting, latest)


def _pruned(referred: pl.DataFrame, waiting: pl.DataFrame, latest: int) -> Pages:
    """Without what no later event can change, so that what is kept does not grow with the log.

    latest: ms, the time of the latest event. Whether events come in order of time (the days of a log) or as they
    arrive, a later one counts no earlier than at the tick of `latest`: it can neither refer to a page that is more
    than `REFERABLE` older, nor bring the page that an action before that tick waits for. `PATIENCE` makes up for
    events that arrive out of any order.
    """
    kept = latest // TICK_MS - PATIENCE
    referred = referred.filter(pl.col("page_tick") >= kept - REFERABLE)
    return Pages(referred, waiting.filter(pl.col("tick") >= kept), latest)


def _latest(frame: pl.DataFrame) -> int:
    """ms; the smaller of the two times, so that a wrong clock does not hurry anything."""
    return int(frame.select(pl.min_horizontal("time", "received").max()).item() or 0)


def _items(shown: _Shown, acts: pl.DataFrame, action: pl.Series, placed: _Placed) -> Counters:
    """Showings, every action by name, positive ones; and clicks on known pages: a rate needs clicks and showings of
    the same pages, or it may exceed one."""
    what = action.replace_strict({name: COUNTED.index(name) for name in ACTIONS}, default=-1, return_dtype=pl.Int64)
    named, positive = what.to_numpy(), acts["positive"].to_numpy()
    known = named >= 0
    item, tick = acts["item"].to_numpy(), acts["tick"].to_numpy()
    parts = (
        (shown.item, shown.tick[shown.page], _all(shown.item, "shown")),
        (item[known], tick[known], named[known]),
        (item[positive], tick[positive], _all(item[positive], "positive")),
        (placed.item[placed.clicked], placed.tick[placed.clicked], _all(placed.item[placed.clicked], "clicked")),
    )
    key, moment, counted = (np.concatenate([part[place] for part in parts]).astype(np.int64) for place in range(3))
    return Counters.count(SETS["items"], key, moment, counted)


def _all(rows: NDArray[np.integer], what: str, names: tuple[str, ...] = COUNTED) -> Ints:
    return np.full(len(rows), names.index(what))


def _queries(impressions: pl.DataFrame, shown: _Shown) -> Counters:
    """Searches, counted at their first page."""
    first = (impressions["page"].to_numpy() == 0) & (shown.query != 0)
    key = shown.query[first]
    return Counters.count(SETS["queries"], key, shown.tick[first], np.zeros_like(key))


def _segments(placed: _Placed) -> PairCounters:
    chosen = placed.positive & (placed.segment_key != 0)
    tick = placed.tick[chosen]
    return PairCounters.count(
        PAIR_SETS["segments"], placed.segment_key[chosen], placed.item[chosen], tick, np.zeros_like(tick)
    )


def _query_items(shown: _Shown, placed: _Placed) -> PairCounters:
    names = PAIR_SETS["query_items"]
    searched = np.flatnonzero(shown.query[shown.page] != 0)
    page, asked = shown.page[searched], placed.query_key != 0
    parts = [(shown.query[page], shown.item[searched], shown.tick[page], _all(page, "shown", names))]
    for what, happened in (("positive", placed.positive), ("clicked", placed.clicked)):
        chosen = asked & happened
        item = placed.item[chosen]
        parts.append((placed.query_key[chosen], item, placed.tick[chosen], _all(item, what, names)))
    return PairCounters.count(names, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def affinity(catalogue: Catalogue, subjects: Keys, item: NDArray[np.int32], tick: Ints) -> PairCounters:
    """Positive actions of each subject by category prefix and by brand, and in all (under the key 0). All `[E]`."""
    groups = np.column_stack([catalogue.category[item], catalogue.brand[item], np.zeros(len(item), dtype=np.int64)])
    wanted = np.column_stack([groups[:, :-1] != 0, np.ones(len(item), dtype=np.bool_)])
    majors, ticks = (np.broadcast_to(column[:, None], groups.shape)[wanted] for column in (subjects, tick))
    return PairCounters.count(PAIR_SETS["affinity"], majors, groups[wanted], ticks, np.zeros_like(ticks))


def _declared(
    declared: Declarations, catalogue: Catalogue, pages: _PagesNow, placed: _Placed, acts: Acts
) -> PairCounters:
    shown, by = pages
    spread = {field: keys[shown.page] for field, keys in by.items()}
    seen = Happened(shown.item, shown.tick[shown.page], spread, np.empty(0, dtype=np.object_))
    acted = Happened(placed.item, placed.tick, placed.by, placed.action)
    return declared_counts(declared, catalogue, seen, acted, acts)


def _sequence(feedback: pl.DataFrame, item: NDArray[np.int32], subjects: Keys, chosen: Mask) -> Sequences:
    action = feedback["action"].replace_strict(
        {name: place for place, name in enumerate(ACTIONS)}, default=-1, return_dtype=pl.Int8
    )
    time, received = (feedback[name].to_numpy()[chosen] for name in ("time", "received"))
    return Sequences.of(subjects[chosen], time, received, item[chosen], action.to_numpy()[chosen])
