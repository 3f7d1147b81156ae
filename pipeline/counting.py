"""What events add to a state: counts by tick, and what each subject did.

One function counts a day of a log, a batch a service has learned of, and a single click. Letters: I impressions,
S shown items, A actions, E whatever is counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.counters import Counters
from pipeline.features.declared import Declarations, wanted
from pipeline.features.declaring import DECLARED_COUNTS, Declaring, Happened, declared_counts
from pipeline.features.declaring import Acts as DeclaredActs
from pipeline.features.ids import Keys
from pipeline.features.pairs import PairCounters
from pipeline.features.sequences import Sequences
from pipeline.observed import ACTIONS, Acts, Shown, nothing
from pipeline.pages import Noted, Pages
from pipeline.pages import Placed as Followed

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
    "impression": ("request_id", "page", "time", "received", "query", "context", "outcomes", "items"),
    "feedback": ("user_id", "session_id", "item_id", "action", "time", "received", "request_id", "query"),
}

Ints = NDArray[np.int64]
_MARKED: Final = (ACTIONS.index("hide"), ACTIONS.index("purchase"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What events add to the parts of a state, over the catalogue's dense ids; and the pages after them."""

    counters: Mapping[str, Counters]
    pairs: Mapping[str, PairCounters]
    history: Sequences
    marks: Sequences
    pages: Pages


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
    clicked: Mask

    @classmethod
    def of(cls, followed: Followed, names: Mapping[str, Keys]) -> "_Placed":
        """names: the fields that declared features ask for."""
        query, segment, *told = followed.page
        tick, item, action, positive = followed.act
        by = dict(zip(names, told, strict=True))
        return cls(by, query, segment, item, tick, action, positive, np.asarray(action == "click"))


NOTHING_DECLARED: Final = Declaring()
_COUNTED_AS: Final = np.array([COUNTED.index(action) for action in ACTIONS])


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
    impressions, feedback = (frames.get(kind, nothing(kind)) for kind in ("impression", "feedback"))
    shown, acts = Shown.of(impressions, catalogue, segment), Acts.of(feedback, catalogue, gains)
    by = declaring.page_keys(impressions, shown.query)
    noted = Noted((shown.request,), (shown.tick, shown.query, shown.segment, *by.values()))
    followed, pages = pages.follow(
        noted.only(shown.known),  # what was not shown to be left alone gives no rate to what was clicked
        _referring(acts),
        max(shown.latest, acts.latest),
    )
    placed = _Placed.of(followed, by)
    chosen = acts.positive
    pairs = {
        "segments": _segments(placed),
        "query_items": _query_items(shown, placed, acts),
        "affinity": affinity(catalogue, acts.subject[chosen], acts.item[chosen], acts.tick[chosen]),
        "declared": PairCounters.empty(DECLARED_COUNTS),
    }
    if declaring.declared:
        everything = DeclaredActs(acts.item, acts.tick, acts.action, acts.subject, acts.positive)
        pairs["declared"] = _declared(declaring.declared, catalogue, (shown, by), placed, everything)
    history, marks = (_sequence(acts, rows) for rows in (chosen, np.isin(acts.code, _MARKED)))
    return Facts({"items": _items(shown, acts, placed), "queries": _queries(shown)}, pairs, history, marks, pages)


_PagesNow = tuple[Shown, Mapping[str, Keys]]  # and the keys `[I]` that declared features ask for


def _referring(acts: Acts) -> Noted:
    """The actions that name a page."""
    noted = Noted((acts.request,), (acts.tick, acts.item, acts.action, acts.positive))
    return noted.only(acts.request.is_not_null().to_numpy()) if acts.request.null_count() else noted


def _items(shown: Shown, acts: Acts, placed: _Placed) -> Counters:
    """Showings, every action by name, positive ones; and clicks on known pages: a rate needs clicks and showings of
    the same pages, or it may exceed one."""
    known, positive = acts.code >= 0, acts.positive
    item, clicked = placed.item[placed.clicked], placed.tick[placed.clicked]
    parts = (
        (shown.item, shown.tick[shown.page], _all(shown.item, "shown")),
        (acts.item[known], acts.tick[known], _COUNTED_AS[acts.code[known]]),
        (acts.item[positive], acts.tick[positive], _all(acts.item[positive], "positive")),
        (item, clicked, _all(item, "clicked")),
    )
    key, moment, counted = (np.concatenate([part[place] for part in parts]).astype(np.int64) for place in range(3))
    return Counters.count(SETS["items"], key, moment, counted)


def _all(rows: NDArray[np.integer], what: str, names: tuple[str, ...] = COUNTED) -> Ints:
    return np.full(len(rows), names.index(what))


def _queries(shown: Shown) -> Counters:
    """Searches, counted at their first page."""
    first = shown.first & (shown.query != 0)
    key = shown.query[first]
    return Counters.count(SETS["queries"], key, shown.tick[first], np.zeros_like(key))


def _segments(placed: _Placed) -> PairCounters:
    chosen = placed.positive & (placed.segment_key != 0)
    tick = placed.tick[chosen]
    return PairCounters.count(
        PAIR_SETS["segments"], placed.segment_key[chosen], placed.item[chosen], tick, np.zeros_like(tick)
    )


def _query_items(shown: Shown, placed: _Placed, acts: Acts) -> PairCounters:
    """Showings and what followed them, by the page's query; positive actions that name no page, by their own."""
    names = PAIR_SETS["query_items"]
    searched = np.flatnonzero(shown.query[shown.page] != 0)
    page, asked = shown.page[searched], placed.query_key != 0
    parts = [(shown.query[page], shown.item[searched], shown.tick[page], _all(page, "shown", names))]
    for what, happened in (("positive", placed.positive), ("clicked", placed.clicked)):
        chosen = asked & happened
        item = placed.item[chosen]
        parts.append((placed.query_key[chosen], item, placed.tick[chosen], _all(item, what, names)))
    alone = acts.positive & (acts.query != 0) & acts.request.is_null().to_numpy()
    parts.append((acts.query[alone], acts.item[alone], acts.tick[alone], _all(acts.item[alone], "positive", names)))
    return PairCounters.count(names, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def affinity(catalogue: Catalogue, subjects: Keys, item: NDArray[np.int32], tick: Ints) -> PairCounters:
    """Positive actions of each subject by category prefix and by brand, and in all (under the key 0). All `[E]`."""
    brand, everything = catalogue.brand[item][:, None], np.zeros((len(item), 1), dtype=np.int64)
    groups = np.concatenate([catalogue.category[item], brand, everything], axis=1)
    wanted = groups != 0
    wanted[:, -1] = True
    majors, ticks = (np.broadcast_to(column[:, None], groups.shape)[wanted] for column in (subjects, tick))
    return PairCounters.count(PAIR_SETS["affinity"], majors, groups[wanted], ticks, np.zeros_like(ticks))


def _declared(
    declared: Declarations, catalogue: Catalogue, pages: _PagesNow, placed: _Placed, acts: DeclaredActs
) -> PairCounters:
    shown, by = pages
    spread = {name: keys[shown.page] for name, keys in by.items()}
    seen = Happened(shown.item, shown.tick[shown.page], spread, np.empty(0, dtype=np.object_))
    acted = Happened(placed.item, placed.tick, placed.by, placed.action)
    return declared_counts(declared, catalogue, seen, acted, acts)


def _sequence(acts: Acts, chosen: Mask) -> Sequences:
    time, received, action = acts.time[chosen], acts.received[chosen], acts.code[chosen].astype(np.int8)
    return Sequences.of(acts.subject[chosen], time, received, acts.item[chosen], action)
