"""What events add to the counts of declared features.

Each feature's counts lie under a major key of its own, joined with the value of who asks (`by`) or, for affinity,
with the subject; the minor key is that of the item's value. Letters: I pages, S shown items, A actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.asking import Side, UserLayers, json_keys
from pipeline.features.declared import Declarations, Declared, wanted
from pipeline.features.ids import Keys, key_column, pair
from pipeline.features.pairs import PairCounters
from pipeline.features.ticks import FOREVER, usable_tick
from pipeline.logs.events import subject

Ints = NDArray[np.int64]
DECLARED_COUNTS: Final = ("shown", "acted")  # acted: as the feature means it; of affinity a positive action
TOTAL: Final = 0  # the minor key of all of a subject's positives
_SHOWN, _ACTED = range(2)
_Part = tuple[Keys, Keys, Ints, Ints]


@dataclass(frozen=True, slots=True)
class Declaring:
    """What is declared, and what is known of the users it may ask about. clock: of the log."""

    declared: Declarations = ()
    users: UserLayers = field(default_factory=UserLayers.empty)
    clock: str = "exact"

    def page_keys(self, impressions: pl.DataFrame, query: Keys) -> Mapping[str, Keys]:
        """`[I]` for each field pages are counted by: what its request was told, since both read it by one tick."""
        names = wanted(self.declared)
        if not names.pages:
            return {}
        users = np.empty((len(query), 0), dtype=np.int64)
        if names.users:
            time = impressions["time"].to_numpy()
            tick = usable_tick(time) if self.clock == "exact" else np.full(len(time), FOREVER, dtype=np.int64)
            users = self.users.at(key_column(impressions.select(subject())["subject"]), tick)
        side = Side(names, query, users, json_keys(impressions["context"], names.contexts))
        return {by: side.keys(by) for by in names.pages}


@dataclass(frozen=True, slots=True)
class Happened:
    """Things that happened to items, all of one length. by: the fields of the page, see `Declaring.page_keys`;
    action: names; empty where only showings are meant."""

    item: NDArray[np.int32]
    tick: Ints
    by: Mapping[str, Keys]
    action: NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Acts:
    """All actions, placed on a page or not, `[A]` each."""

    item: NDArray[np.int32]
    tick: Ints
    action: NDArray[np.object_]
    subject: Keys
    positive: Mask


def declared_counts(
    declared: Declarations, catalogue: Catalogue, shown: Happened, placed: Happened, acts: Acts
) -> PairCounters:
    """shown: `[S]`; placed: the actions whose page is known."""
    parts = [part for each in declared if each.counted for part in _parts(each, catalogue, shown, placed, acts)]
    if not parts:
        return PairCounters.empty(DECLARED_COUNTS)
    return PairCounters.count(DECLARED_COUNTS, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _parts(each: Declared, catalogue: Catalogue, shown: Happened, placed: Happened, acts: Acts) -> list[_Part]:
    value = catalogue.item_field(each.item).keys
    major = np.array(each.major, dtype=np.int64)
    if each.kind == "affinity":
        chosen = acts.positive
        item, tick, who = acts.item[chosen], acts.tick[chosen], pair(major, acts.subject[chosen])
        return [_part(who, value[item], tick), (who, np.full(len(who), TOTAL), tick, np.full(len(who), _ACTED))]
    if each.kind == "count" and not each.by:
        chosen = acts.action == each.action
        item = acts.item[chosen]
        return [_part(np.full(len(item), major), value[item], acts.tick[chosen])]
    acted = placed.action == each.action
    found: list[_Part] = []
    for happened, chosen, what in ((shown, np.ones(len(shown.item), dtype=np.bool_), _SHOWN), (placed, acted, _ACTED)):
        if each.kind == "count" and what == _SHOWN:
            continue
        item, tick = happened.item[chosen], happened.tick[chosen]
        if each.kind == "rate":  # of everybody too, which a rate of few is drawn towards
            found.append(_part(np.full(len(item), major), value[item], tick, what))
        if each.by:
            by = happened.by[each.by][chosen]
            found.append(_part(np.where(by != 0, pair(major, by), 0), value[item], tick, what))
    return found


def _part(major: Keys, minor: Keys, tick: Ints, what: int = _ACTED) -> _Part:
    """Without what has no value on either side."""
    known = (major != 0) & (minor != 0)
    return major[known], minor[known], tick[known], np.full(int(known.sum()), what)
