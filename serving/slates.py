"""Answers kept for their next pages and for explanations: ten minutes, shared by the workers of one root.

A slate lost in a crash costs its caller one new search, so this database does not wait for the disk.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from pipeline.logs.storage.database import open_database, scrub
from serving.ports import Slate
from serving.problems import Problem

_TABLES = sa.MetaData()
_SLATES = sa.Table(
    "slates",
    _TABLES,
    sa.Column("request_id", sa.String(128), primary_key=True),
    sa.Column("user_id", sa.String(128), index=True),
    sa.Column("kept", sa.Float, nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_PRUNE_EVERY = 256  # slates between two prunings


@dataclass(frozen=True, slots=True)
class Kept:
    """A slate and what it answers. door: the route's name; time: ms; request: the body as it came; filters: with
    `kinds` folded in, as they are logged.
    """

    door: str
    time: int
    surface: str
    request: dict[str, object]
    filters: dict[str, object]
    slate: Slate


class Slates:
    """clock: seconds; an argument so that a test can let ten minutes pass."""

    def __init__(self, url: str, seconds: float, most: int, clock: Callable[[], float] = time.time) -> None:
        self._db = open_database(url, "OFF", _TABLES)
        self._seconds, self._most, self._clock = seconds, most, clock
        self._since_pruned = 0

    def keep(self, kept: Kept) -> None:
        """Keep an answer under its request id; a repeated id replaces the one before."""
        body = orjson.dumps(kept)
        user = kept.request.get("user_id")
        row = {"request_id": kept.slate.request_id, "user_id": user, "kept": self._clock(), "body": body}
        with self._db.begin() as connection:
            connection.execute(_SLATES.insert().prefix_with("OR REPLACE"), row)
            self._since_pruned += 1
            if self._since_pruned >= _PRUNE_EVERY:
                self._prune(connection)

    def find(self, request_id: str) -> Kept:
        """The answer to a request. Raises Problem 410 when it is unknown or expired."""
        wanted = sa.select(_SLATES.c.body).where(
            _SLATES.c.request_id == request_id, _SLATES.c.kept > self._clock() - self._seconds
        )
        with self._db.connect() as connection:
            body = connection.scalar(wanted)
        if body is None:
            fix = f"It is unknown, or older than {self._seconds / 60:g} minutes: ask page 0 again."
            raise Problem(410, f"The answer to this request_id is not kept. {fix}", [("request_id", "is not kept")])
        value = orjson.loads(body)
        return Kept(**{**value, "slate": Slate(**value["slate"])})

    def forget(self, user_id: str) -> bool:
        """Remove a user's answers, and every byte of them from the files; whether these are clean already, which they
        are not while somebody reads."""
        with self._db.begin() as connection:
            connection.execute(_SLATES.delete().where(_SLATES.c.user_id == user_id))
        return scrub(self._db)

    def count(self) -> int:
        with self._db.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(_SLATES)) or 0)

    def prune(self) -> None:
        """Remove what has expired, and the oldest of what is more than the bound."""
        with self._db.begin() as connection:
            self._prune(connection)

    def close(self) -> None:
        self._db.dispose()

    def _prune(self, connection: sa.Connection) -> None:
        self._since_pruned = 0
        connection.execute(_SLATES.delete().where(_SLATES.c.kept <= self._clock() - self._seconds))
        newest = sa.select(_SLATES.c.kept).order_by(_SLATES.c.kept.desc()).offset(self._most).limit(1)
        border = connection.scalar(newest)
        if border is not None:
            connection.execute(_SLATES.delete().where(_SLATES.c.kept <= border))
