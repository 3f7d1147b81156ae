"""The values of declared features: one function for training, replay and service, as for all others.

Counts and the subject's past are read as of the request's tick; an item's fields are those of its latest row.
Letters: R requests, K candidates, H past actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Batch, Mask
from pipeline.errors import ArtifactError
from pipeline.features.asking import Side
from pipeline.features.declared import Declared, wanted
from pipeline.features.declared_fit import ACTED, SHOWN, FittedDeclared
from pipeline.features.declaring import TOTAL
from pipeline.features.ids import Keys, keys, pair
from pipeline.features.personal import past_of
from pipeline.features.rates import smoothed
from pipeline.features.sequences import Past
from pipeline.features.ticks import TICK_MS
from pipeline.state import State

Floats = NDArray[Any]
Columns = Mapping[str, Floats]
MISSING_CODE, OTHER_CODE = 0, 1
_Fitted = TypeVar("_Fitted")
STRENGTH: Final = 5.0  # positive actions of a subject before its shares are half believed


@dataclass
class Call:
    """One call. described: `[R, K]`, whether the item had a row by then; subject: `[R]` keys, 0 = nobody;
    log_price: `[R, K]`."""

    batch: Batch
    state: State
    fitted: FittedDeclared
    described: Mask
    subject: Keys
    log_price: Floats

    @cached_property
    def item(self) -> NDArray[np.int32]:
        return np.maximum(self.batch.item, 0)

    @cached_property
    def tick(self) -> NDArray[np.int64]:
        return self.batch.request("tick")

    @cached_property
    def side(self) -> Side:
        names = wanted(self.state.declared)
        users = self.state.users.at(self.subject, self.tick)
        users[self.subject == 0] = 0
        contexts = self.batch.request("context_keys") if names.contexts else np.empty((len(users), 0), dtype=np.int64)
        return Side(names, self.batch.request("query_key"), users, contexts)

    @cached_property
    def past(self) -> Past:
        return past_of(self.state, self.subject, self.batch.request("time"))

    def values(self, each: Declared) -> Keys:
        """`[R, K]`: the key of the item's value, 0 where it has none that is known."""
        found = self.state.catalogue.item_field(each.item).keys.take(self.item)
        return found if self.described.all() else np.where(self.described, found, 0)

    def counts(self, each: Declared, major: Keys) -> Floats:
        """`[R, K, 2]`: shown and acted of the items' values; major: `[R]`."""
        keys, place = self.state.catalogue.item_field(each.item).distinct
        own = place.take(self.item)
        asked = np.zeros(len(keys), dtype=np.bool_)
        asked[own] = True
        which = np.flatnonzero(asked)
        if len(which) > own.shape[1]:
            return self.counted(each, major, keys[own])
        # Candidates share few values, so that each is looked up once.
        index = np.zeros(len(keys), dtype=np.int64)
        index[which] = np.arange(len(which))
        found = self.counted(each, major, keys[which][None])
        return np.take_along_axis(found, index[own][..., None], axis=1)

    def counted(self, each: Declared, major: Keys, minor: Keys) -> Floats:
        """`[R, K, 2]`, within the window; major: `[R]`; minor: `[R, K]` or `[1, K]`."""
        layers = self.state.pairs["declared"]
        if each.ticks is None:
            return layers.at(major, minor, self.tick).astype(np.float64)
        return layers.window(major, minor, self.tick, each.ticks).astype(np.float64)


def declared_columns(call: Call) -> Columns:
    """`[R, K]` for every feature the state was counted for. Raises ArtifactError when they were fitted for others."""
    return {
        each.name: _column(each, call)
        for each in call.state.declared
        if call.state.clock == "exact" or not each.clocked
    }


def _column(each: Declared, call: Call) -> Floats:
    compute = {
        "rate": _rate,
        "count": _count,
        "recency": _recency,
        "affinity": _affinity,
        "match": _match,
        "numeric": _numeric,
        "categorical": _categorical,
    }[each.kind]
    found = compute(each, call)
    return found if each.missing == "nan" else np.where(np.isnan(found), each.otherwise, found)


def _rate(each: Declared, call: Call) -> Floats:
    """Actions over showings of items of this value, for who asks; few are drawn towards what the value is for
    everybody, and that towards what is usual."""
    prior = _of(call.fitted.priors, each)
    value, own = call.values(each), np.full(len(call.tick), each.major, dtype=np.int64)
    of_all = call.counts(each, own)
    rate = smoothed(of_all[..., ACTED], of_all[..., SHOWN], prior.mean, prior.strength)
    known = value != 0
    if each.by:
        by = call.side.keys(each.by)
        counts = call.counts(each, _majors(each, by))
        rate = smoothed(counts[..., ACTED], counts[..., SHOWN], rate, prior.by_strength)
        known = known & (by != 0)[:, None]
    return np.where(known, rate, np.nan)


def _count(each: Declared, call: Call) -> Floats:
    value = call.values(each)
    by = call.side.keys(each.by) if each.by else np.ones(len(value), dtype=np.int64)
    major = _majors(each, by) if each.by else np.full(len(value), each.major, dtype=np.int64)
    acted = call.counts(each, major)[..., ACTED]
    return np.where((value != 0) & (by != 0)[:, None], np.log1p(acted), np.nan)


def _affinity(each: Declared, call: Call) -> Floats:
    """Share of the subject's positives, drawn towards 0; nan for nobody."""
    value, major = call.values(each), _majors(each, call.subject)
    acted = call.counts(each, major)[..., ACTED]
    total = call.counted(each, major, np.full((1, 1), TOTAL, dtype=np.int64))[..., ACTED]
    return np.where((value != 0) & (call.subject != 0)[:, None], acted / (total + STRENGTH), np.nan)


def _recency(each: Declared, call: Call) -> Floats:
    """Log of the hours since the subject's last positive on an item of this value; nan for never."""
    value, past = call.values(each), call.past
    time = call.batch.request("time")[:, None]
    catalogue = call.state.catalogue
    item = np.maximum(past.item, 0)
    told = (past.item >= 0) & (catalogue.created.take(item) <= time)
    theirs = np.where(told, catalogue.item_field(each.item).keys.take(item), 0)
    hours = np.log1p(np.maximum(time - past.time, 0) / TICK_MS)
    found = np.full(value.shape, np.nan)
    for place in range(theirs.shape[1]):  # oldest first: the last one stays
        same = (theirs[:, place, None] == value) & (value != 0)
        found = np.where(same, hours[:, place, None], found)
    return found


def _match(each: Declared, call: Call) -> Floats:
    """Whether the item has the asker's value; of a query, the share of its words found in the item's."""
    field = call.state.catalogue.item_field(each.item)
    if each.by == "query":
        terms = call.batch.request("terms")
        found = [field.words.share(line, item) for line, item in zip(terms, call.item, strict=True)]
        return np.where(call.described, np.array(found).reshape(call.item.shape), np.nan)
    by, members = call.side.keys(each.by), field.members.take(call.item, axis=0)
    same = (members == by[:, None, None]).any(axis=2)
    known = (by != 0)[:, None] & (members[..., 0] != 0) & call.described
    return np.where(known, same, np.nan)


def _numeric(each: Declared, call: Call) -> Floats:
    if each.item == "price":
        return np.where(call.described, np.exp(call.log_price), np.nan)
    numbers = call.state.catalogue.item_field(each.item).numbers.take(call.item)
    return np.where(call.described, numbers, np.nan)


def _categorical(each: Declared, call: Call) -> Floats:
    """0 = missing, 1 = none of the frequent values, then these by how frequent they were in training."""
    known = keys(_of(call.fitted.codes, each))
    order = np.argsort(known)
    value = call.values(each)
    if not len(known):
        return np.where(value != 0, OTHER_CODE, MISSING_CODE).astype(np.float64)
    place = np.minimum(known[order].searchsorted(value), len(known) - 1)
    code = np.where(known[order][place] == value, order[place] + OTHER_CODE + 1, OTHER_CODE)
    return np.where(value != 0, code, MISSING_CODE).astype(np.float64)


def _majors(each: Declared, by: Keys) -> Keys:
    """`[R]`: what counts for one asker lie under; 0, which nothing lies under, for nobody."""
    return np.where(by != 0, pair(np.array(each.major, dtype=np.int64), by), 0)


def _of(fitted: Mapping[str, _Fitted], each: Declared) -> _Fitted:
    if each.name not in fitted:
        raise ArtifactError("declared", f"what was fitted for `{each.name}`; train again")
    return fitted[each.name]
