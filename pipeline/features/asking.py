"""Who asks, as keys: what declared features read of the user's attributes, of the context and of the query.

Letters: R requests or pages, U user attributes and C fields of context that are read, E rows of users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.declared import Wanted, context_field, user_field
from pipeline.features.ids import Keys, key, key_column, pair
from pipeline.features.tail import appended
from pipeline.features.ticks import first_tick
from pipeline.values import plain_text

Ints = NDArray[np.int64]
Names = tuple[str, ...]
LAG: Final = 1  # ticks; a page may be delivered before a user row of the same hour, and still must not depend on it
_NEVER: Final = -(2**62)
_TICK_BITS: Final = 20
_REMEMBERED: Final = 1 << 16


def json_keys(column: pl.Series, names: Names) -> Keys:
    """`[R, len(names)]`: key of each named value of JSON objects, 0 = none."""
    if not names:
        return np.empty((len(column), 0), dtype=np.int64)
    found = [_keys_of(text or "{}", names) for text in column]
    return np.array(found, dtype=np.int64).reshape(len(column), len(names))


def context_keys(contexts: Sequence[Mapping[str, str]], names: Names) -> Keys:
    """`[R, C]`: as `json_keys`, of plain texts."""
    found = [[_key(context.get(name, "")) for name in names] for context in contexts]
    return np.array(found, dtype=np.int64).reshape(len(contexts), len(names))


@lru_cache(maxsize=_REMEMBERED)
def _keys_of(text: str, names: Names) -> tuple[int, ...]:
    values = msgspec.json.decode(text)
    return tuple(_key(plain_text(values.get(name))) for name in names)


@lru_cache(maxsize=_REMEMBERED)
def _key(text: str) -> int:
    return key(text) if text else 0


@dataclass(frozen=True, slots=True)
class Side:
    """query: `[R]`; users: `[R, U]`; contexts: `[R, C]`; keys, 0 = none."""

    names: Wanted
    query: Keys
    users: Keys
    contexts: Keys

    def keys(self, by: str) -> Keys:
        """`[R]`: the values of a `Declared.by`."""
        if (name := user_field(by)) is not None:
            return self.users[:, self.names.users.index(name)]
        if (name := context_field(by)) is not None:
            return self.contexts[:, self.names.contexts.index(name)]
        return self.query


@dataclass(frozen=True, slots=True)
class Users:
    """Rows of users, sorted by (subject, tick, time, values): subject: `[U]` distinct keys; code: `[E]`, place of the
    subject and tick in one number; time: `[E]` ms; values: `[E, U]` keys; latest: `[E]`, the row that is the latest by
    time among those of its subject up to here."""

    subject: Keys
    code: Ints
    time: Ints
    values: Keys
    latest: Ints

    @classmethod
    def of(cls, subject: Keys, tick: Ints, time: Ints, values: Keys) -> "Users":
        """All `[E]`, and values `[E, U]`."""
        if not len(subject):
            none = np.empty(0, dtype=np.int64)
            return cls(none, none, none, values, none)
        stamp = _stamp(values)
        order = np.lexsort((stamp, time, tick, subject))
        subject, tick, time, values, stamp = (each[order] for each in (subject, tick, time, values, stamp))
        distinct, place = np.unique(subject, return_inverse=True)
        by_time = np.lexsort((stamp, time, place))  # within a subject; subjects stay in their order
        rank = np.empty(len(place), dtype=np.int64)
        rank[by_time] = np.arange(len(place))
        latest = by_time[np.maximum.accumulate(rank)]
        return cls(distinct, (place.astype(np.int64) << _TICK_BITS) | tick, time, values, latest)

    @property
    def rows(self) -> int:
        return len(self.code)

    def merge(self, other: "Users") -> "Users":
        if not len(other.code) or not len(self.code):
            return self if len(self.code) else other
        both = [np.concatenate(parts) for parts in zip(self._rows(), other._rows(), strict=True)]
        return Users.of(*both)

    def _rows(self) -> tuple[Keys, Ints, Ints, Keys]:
        tick = self.code & ((1 << _TICK_BITS) - 1)
        return self.subject[self.code >> _TICK_BITS], tick, self.time, self.values

    def at(self, subject: Keys, tick: Ints) -> tuple[Ints, Keys]:
        """Time `[R]` and values `[R, U]` of each subject's latest row up to a tick; both `[R]`."""
        time = np.full(len(subject), _NEVER, dtype=np.int64)
        values = np.zeros((len(subject), self.values.shape[1]), dtype=np.int64)
        if not len(self.code) or not len(subject):
            return time, values
        place = np.minimum(self.subject.searchsorted(subject), len(self.subject) - 1)
        wanted = (place.astype(np.int64) << _TICK_BITS) | np.clip(tick, 0, (1 << _TICK_BITS) - 1)
        row = self.code.searchsorted(wanted, side="right") - 1
        known = (self.subject[place] == subject) & (row >= 0) & (self.code[row] >> _TICK_BITS == place)
        row = self.latest[row[known]]
        time[known], values[known] = self.time[row], self.values[row]
        return time, values

    def table(self) -> pl.DataFrame:
        """What `UserLayers.opened` reads."""
        subject, tick, time, values = self._rows()
        columns = {"subject": subject, "tick": tick, "time": time}
        return pl.DataFrame(columns | {f"value_{place}": values[:, place] for place in range(values.shape[1])})


USER_ROWS: Final = {"subject": pl.Int64(), "tick": pl.Int64(), "time": pl.Int64()}


def user_schema(names: Names) -> Mapping[str, pl.DataType]:
    return USER_ROWS | {f"value_{place}": pl.Int64() for place in range(len(names))}


@dataclass(frozen=True, slots=True)
class UserLayers:
    """names: of the U attributes; base and recent, runs of what came since, answer as one."""

    names: Names
    base: Users
    recent: tuple[Users, ...] = ()

    @classmethod
    def empty(cls, names: Names = ()) -> "UserLayers":
        none = np.empty(0, dtype=np.int64)
        return cls(names, Users.of(none, none, none, none.reshape(0, len(names))))

    @classmethod
    def opened(cls, names: Names, rows: pl.DataFrame) -> "UserLayers":
        values = [rows[name].to_numpy() for name in user_schema(names)]
        width = np.stack(values[3:], axis=1) if names else np.empty((len(rows), 0), dtype=np.int64)
        return cls(names, Users.of(values[0], values[1], values[2], width))

    def add(self, rows: pl.DataFrame) -> "UserLayers":
        """rows: `user` events."""
        if not self.names or not len(rows):
            return self
        time = rows["time"].to_numpy()
        tick = first_tick(time, rows["received"].to_numpy())
        values = json_keys(rows["attributes"], self.names)
        more = Users.of(key_column(rows["user_id"]), tick, time, values)
        return UserLayers(self.names, self.base, appended(self.recent, more))

    def whole(self) -> Users:
        return reduce(Users.merge, self.recent, self.base)

    def at(self, subject: Keys, tick: Ints) -> Keys:
        """`[R, U]`: the attributes of each subject as known `LAG` before the tick, 0 = none; both `[R]`."""
        time, values = self.base.at(subject, tick - LAG)
        for run in self.recent:
            later, others = run.at(subject, tick - LAG)
            newer = (later > time) | ((later == time) & (_stamp(others) > _stamp(values)))
            time, values = np.where(newer, later, time), np.where(newer[:, None], others, values)
        return values


def _stamp(values: Keys) -> Keys:
    """`[E]`: decides between rows of one moment, whatever order they come in."""
    mixed = np.zeros(len(values), dtype=np.int64)
    for column in values.T:
        mixed = pair(mixed, column)
    return mixed
