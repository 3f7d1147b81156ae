"""What impressions and feedback say, as arrays over the catalogue's dense ids.

Most live batches are a few rows, for which a data frame's expressions cost far more than the rows do: there the same
is read from lists. Letters: I impressions, S shown items, F feedback.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.ids import Keys, key
from pipeline.features.text import normalise
from pipeline.features.ticks import first_tick
from pipeline.logs.attribution import outcomes_known
from pipeline.logs.events import empty, subject
from pipeline.values import plain_members, plain_text

ACTIONS: Final = ("view", "click", "cart", "purchase", "like", "hide")
_REMEMBERED: Final = 1 << 18  # texts whose keys are not computed again
_FEW: Final = 200  # rows for which lists are quicker than expressions

Ints = NDArray[np.int64]
_Read = Callable[[pl.Series], Iterable[int]]


@cache
def nothing(kind: str) -> pl.DataFrame:
    """A frame of the type's columns without rows, for all to share."""
    return empty(kind)


@dataclass(frozen=True, slots=True)
class Shown:
    """request, tick, query, segment, first (whether it is a first page), known (whether its outcomes are): `[I]`, the
    keys 0 where there is none; item, page: `[S]`, dense and its place in `[I]`, of the pages whose outcomes are known;
    latest: ms, see `_latest`."""

    request: pl.Series
    tick: Ints
    query: Keys
    segment: Keys
    first: Mask
    known: Mask
    item: NDArray[np.int32]
    page: Ints
    latest: int

    @classmethod
    @cache
    def none(cls) -> "Shown":
        none, nobody = np.empty(0, dtype=np.int64), pl.Series([], dtype=pl.String)
        return cls(nobody, none, none, none, none != 0, none != 0, none.astype(np.int32), none, 0)

    @classmethod
    def of(cls, impressions: pl.DataFrame, catalogue: Catalogue, segment: str) -> "Shown":
        if not len(impressions):
            return cls.none()
        known = _known(impressions["outcomes"])
        labelled = impressions["items"] if known.all() else impressions["items"].filter(pl.Series(known))
        item_ids, lengths = _items(labelled)
        time, received = (impressions[name].to_numpy() for name in ("time", "received"))
        return cls(
            impressions["request_id"],
            first_tick(time, received),
            _queries(impressions["query"]),
            _keyed(impressions["context"], lambda texts: _value_keys(texts, segment)),
            impressions["page"].to_numpy() == 0,
            known,
            catalogue.dense(item_ids),
            np.repeat(np.flatnonzero(known), lengths),
            _latest(time, received),
        )


@dataclass(frozen=True, slots=True)
class Acts:
    """All actions, `[F]` each. action: names; code: places in ACTIONS, -1 for others; query: key of the one it says it
    followed, 0 for none; latest: ms, see `_latest`."""

    request: pl.Series
    time: Ints
    received: Ints
    tick: Ints
    item: NDArray[np.int32]
    action: NDArray[np.object_]
    code: Ints
    positive: Mask
    subject: Keys
    query: Keys
    latest: int

    @classmethod
    def of(cls, feedback: pl.DataFrame, catalogue: Catalogue, gains: Mapping[str, float]) -> "Acts":
        time, received = (feedback[name].to_numpy() for name in ("time", "received"))
        action = feedback["action"]
        earning = [action for action, gain in gains.items() if gain > 0]
        return cls(
            feedback["request_id"],
            time,
            received,
            first_tick(time, received),
            catalogue.dense(feedback["item_id"]),
            action.to_numpy(),
            _places(action, ACTIONS),
            _places(action, earning) >= 0,
            _keyed(_subjects(feedback), lambda texts: map(_key, texts.to_list())),
            _queries(feedback["query"]),
            _latest(time, received),
        )


def _latest(time: Ints, received: Ints) -> int:
    """ms; the smaller of the two times, so that a wrong clock does not hurry anything."""
    return int(np.minimum(time, received).max(initial=0))


def _items(column: pl.Series) -> tuple[pl.Series, Ints]:
    """`[S]` ids of the items of all lists, and `[I]` how many each has."""
    if len(column) < _FEW:
        lists = [shown or () for shown in column.to_list()]
        ids = [None if each is None else each["item_id"] for shown in lists for each in shown]
        lengths = np.array([len(shown) for shown in lists], dtype=np.int64)
        return pl.Series("item_id", ids, dtype=pl.String), lengths
    ids_of = column.list.eval(pl.element().struct["item_id"]).rename("item_id")
    return ids_of.explode(empty_as_null=False, keep_nulls=False), column.list.len().fill_null(0).to_numpy()


def mentioned(impressions: pl.DataFrame, feedback: pl.DataFrame) -> pl.Series:
    """The ids of all items that events name, acted on or shown."""
    acted = feedback["item_id"]
    ids = pl.concat([acted, _items(impressions["items"])[0]]) if len(impressions) else acted
    return ids.drop_nulls() if ids.null_count() else ids


def _places(column: pl.Series, names: Sequence[str]) -> Ints:
    """The place of each value in `names`, -1 for others."""
    places = {name: place for place, name in enumerate(names)}
    if len(column) < _FEW:
        return np.array([places.get(name, -1) for name in column.to_list()], dtype=np.int64)
    found = column.replace_strict(places, default=-1, return_dtype=pl.Int64)
    return found.to_numpy()


def _subjects(feedback: pl.DataFrame) -> pl.Series:
    user = feedback["user_id"]
    return feedback.select(subject())["subject"] if user.null_count() else user


def _queries(column: pl.Series) -> Keys:
    return _keyed(column, lambda texts: map(_query_key, texts.to_list()))


def _known(outcomes: pl.Series) -> Mask:
    """`[I]`: see `pipeline.logs.attribution.outcomes_known`."""
    if len(outcomes) < _FEW:
        return np.array([each == "known" for each in outcomes.to_list()], dtype=np.bool_)
    return outcomes.to_frame().select(outcomes_known())["known"].to_numpy()


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


def _value_keys(texts: pl.Series, name: str) -> Iterable[int]:
    """Of one value of each JSON object."""
    if len(texts) < _FEW:
        return [_value_key(text, name) for text in texts.to_list()]
    return map(_key, plain_members(texts, name).to_list())


@lru_cache(maxsize=_REMEMBERED)
def _value_key(text: str | None, name: str) -> int:
    return 0 if text is None else _key(plain_text(msgspec.json.decode(text).get(name)) or None)
