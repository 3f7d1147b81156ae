"""Answers kept for their next pages and for explanations: ten minutes, shared by the workers of one root.

A slate lost in a crash costs its caller one new search, so this database does not wait for the disk.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
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
# Whose answers were here: inside of pages there may be copies of them. The hash of nobody: since when that is noted.
_DEPARTED = sa.Table("departed", _TABLES, sa.Column("hash", sa.LargeBinary(16), primary_key=True))
_PRUNE_EVERY = 256  # slates between two prunings


def _plain(user: str) -> bytes:
    return hashlib.blake2b(user.encode(), digest_size=16).digest()


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
    """clock: seconds; an argument so that a test can let ten minutes pass.

    digest: stands for a user without naming one.
    """

    def __init__(
        self,
        url: str,
        seconds: float,
        most: int,
        clock: Callable[[], float] = time.time,
        digest: Callable[[str], bytes] = _plain,
    ) -> None:
        self._db = open_database(url, "OFF", _TABLES)
        self._seconds, self._most, self._clock, self._digest = seconds, most, clock, digest
        self._since_pruned = 0
        if not self._departed(b"") and scrub(self._db):  # of an earlier version
            with self._db.begin() as connection:
                _note(connection, [b""])

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
        are not while somebody reads. Of somebody who never had any nothing is to be cleaned away."""
        who = self._digest(user_id)
        with self._db.begin() as connection:
            if connection.execute(_SLATES.delete().where(_SLATES.c.user_id == user_id)).rowcount:
                _note(connection, [who])
        if not self._departed(who):
            return True
        if clean := scrub(self._db):
            with self._db.begin() as connection:
                connection.execute(_DEPARTED.delete().where(_DEPARTED.c.hash == who))
        return clean

    def count(self) -> int:
        with self._db.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(_SLATES)) or 0)

    def prune(self) -> None:
        """Remove what has expired, and the oldest of what is more than the bound."""
        with self._db.begin() as connection:
            self._prune(connection)

    def close(self) -> None:
        self._db.dispose()

    def _departed(self, who: bytes) -> bool:
        with self._db.connect() as connection:
            return connection.scalar(sa.select(_DEPARTED.c.hash).where(_DEPARTED.c.hash == who)) is not None

    def _prune(self, connection: sa.Connection) -> None:
        self._since_pruned = 0
        self._drop(connection, self._clock() - self._seconds)
        newest = sa.select(_SLATES.c.kept).order_by(_SLATES.c.kept.desc()).offset(self._most).limit(1)
        border = connection.scalar(newest)
        if border is not None:
            self._drop(connection, border)

    def _drop(self, connection: sa.Connection, border: float) -> None:
        """Remove what was kept until `border`, and note whose that was."""
        old = _SLATES.c.kept <= border
        users = connection.scalars(sa.select(_SLATES.c.user_id).where(old, _SLATES.c.user_id.is_not(None)).distinct())
        _note(connection, [self._digest(user) for user in users])
        connection.execute(_SLATES.delete().where(old))


def _note(connection: sa.Connection, users: Sequence[bytes]) -> None:
    if users:
        rows = [{"hash": user} for user in users]
        connection.execute(_DEPARTED.insert().prefix_with("OR IGNORE"), rows)
