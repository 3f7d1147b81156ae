"""What clients of an event store were told, and whether what is found after a crash agrees with it.

Every event is made of its id alone, so that one that was changed, cut or invented cannot pass.
"""

import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from polars.exceptions import PolarsError

from pipeline.logs.partitions import read_manifest
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore, Row

_FIRST_TIME: Final = 1_750_000_000_000
_DAYS_MS: Final = 3 * 86_400_000
_MOST_TEXT: Final = 1_500  # characters; now and then a row spills into overflow pages


class LostError(AssertionError):
    """What is on the disk is not what clients were told."""


def event(event_id: str) -> dict[str, Any]:
    """The event of an id: time, user and size follow from it."""
    chance = int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:8], "big")
    size = (chance >> 8) % (_MOST_TEXT if chance % 50 else 20 * _MOST_TEXT)
    return {
        "type": "feedback",
        "event_id": event_id,
        "time": _FIRST_TIME + chance % _DAYS_MS,
        "user_id": f"user-{chance % 7}",
        "item_id": f"item-{chance % 101}",
        "action": "click",
        "query": (event_id + " ") * (1 + size // (len(event_id) + 1)),
    }


def row(event_id: str) -> Row:
    """The event as the service hands it to the store when it comes now."""
    made = event(event_id)
    return Row(event_id, made["type"], made["user_id"], made["time"], time.time_ns() // 1_000_000, json.dumps(made))


@dataclass
class History:
    """offered: ids that were sent; acknowledged: those whose sender was told that they are kept; leaving: those sent
    before their user asked to be forgotten; gone: those of users who were told that they are; head: the largest `seq`
    anyone was told."""

    offered: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    leaving: dict[str, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    head: int = 0

    def offer(self, ids: Iterable[str]) -> None:
        self.offered.update(ids)

    def acknowledge(self, ids: Iterable[str], last: int = 0) -> None:
        self.acknowledged.update(ids)
        self.head = max(self.head, last)

    def note(self, line: str) -> None:
        """A line of a writer process: `offer ID ...`, `ack LAST ID ...`, `forget USER` or `forgotten USER`."""
        what, *rest = line.split()
        if what == "offer":
            self.offer(rest)
        elif what == "ack":
            self.acknowledge(rest[1:], int(rest[0]))
        elif what == "forget":
            self.leaving[rest[0]] = {event_id for event_id in self.offered if event(event_id)["user_id"] == rest[0]}
        elif what == "forgotten":
            self.gone |= self.leaving[rest[0]]

    @property
    def open(self) -> list[str]:
        """What was sent and not answered: a client sends it again."""
        return sorted(self.offered - self.acknowledged)


@dataclass(frozen=True)
class Found:
    """in_store, in_log: ids, as often as they are there; a row that the log says it holds counts only there."""

    in_store: Counter[str]
    in_log: Counter[str]
    head: int

    @property
    def all(self) -> Counter[str]:
        return self.in_store + self.in_log


def check(history: History, url: str, log: Path | None = None) -> Found:
    """Open store and log as a restarted process would. Raises LostError naming ids when they and `history` differ."""
    if url.startswith("sqlite:///"):
        _check_file(Path(url.removeprefix("sqlite:///")))
    found = find(url, log)
    together = found.all
    _none("acknowledged but lost", history.acknowledged.difference(together, *history.leaving.values()))
    _none("kept after they were forgotten", history.gone & together.keys())
    _none("kept more than once", {event_id for event_id, times in together.items() if times > 1})
    _none("invented", together.keys() - history.offered)
    if found.head < history.head:
        raise LostError(f"the store counts from {found.head}, but {history.head} was told")
    return found


def find(url: str, log: Path | None = None) -> Found:
    """What store and log hold together; each event is compared with the one its id makes."""
    in_log, stored = _logged(log)
    store = EventStore(url)
    try:
        if stored and stored["id"] != store.id:
            raise LostError(f"the log was made of the store {stored['id']}, this is {store.id}")
        kept: Counter[str] = Counter()
        seq, mark = 0, int(stored["seq"]) if stored else 0
        while rows := store.since(seq, 10_000):
            for each in rows:
                body = json.loads(each.body)
                _same(body, event(body["event_id"]))
                if each.seq > mark:
                    kept[body["event_id"]] += 1
            seq = rows[-1].seq
        if max(seq, mark) > store.head():
            raise LostError(f"seq {max(seq, mark)} is beyond the head {store.head()}")
        return Found(kept, in_log, store.head())
    finally:
        store.close()


def _logged(log: Path | None) -> tuple[Counter[str], dict[str, Any]]:
    """Ids in the log, and what its manifest says of the store it was made of."""
    if log is None or not log.exists():
        return Counter(), {}
    manifest: dict[str, Any] = read_manifest(log)
    ids: Counter[str] = Counter()
    columns = ["event_id", "time", "user_id", "item_id", "action", "query"]
    try:
        rows = Log.open(log).frame("feedback", columns=columns)
    except PolarsError as error:
        raise LostError(f"the log cannot be read: {error}") from error
    for found in rows.iter_rows(named=True):
        made = event(found["event_id"])
        _same(found, {name: made[name] for name in columns})
        ids[found["event_id"]] += 1
    if ids.total() != manifest["events"].get("feedback", 0):
        raise LostError(f"the log holds {ids.total()} rows, its manifest says {manifest['events']}")
    return ids, manifest.get("stored", {})


def _check_file(database: Path) -> None:
    connection = sqlite3.connect(database)
    try:
        said = [str(line[0]) for line in connection.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        raise LostError(f"{database} cannot be read: {error}") from error
    finally:
        connection.close()
    if said != ["ok"]:
        raise LostError(f"integrity_check: {said[:3]}")


def _same(found: dict[str, Any], made: dict[str, Any]) -> None:
    if found != made:
        names = sorted(name for name in found.keys() | made.keys() if found.get(name) != made.get(name))
        raise LostError(f"{made['event_id']}: other values than were sent in {', '.join(names)}")


def _none(what: str, ids: Iterable[str]) -> None:
    if lost := sorted(ids):
        raise LostError(f"{len(lost)} events {what}: {', '.join(lost[:5])}")
