"""What the tests of compaction and of forgetting share: events as they are posted, and a store that took them."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.bundle import Taken
from pipeline.logs import validate
from pipeline.logs.ingest import ingest
from pipeline.logs.store import EventStore, Row
from tests.bundles import make_bundle

DAY = 86_400_000
NOW = time.time_ns() // 1_000_000  # ids that left the store are known for 30 days of the clock's
TODAY = NOW // DAY * DAY
Event = dict[str, Any]


def click(event_id: str, user: str | None = "ann", time: int = TODAY, **more: object) -> Event:
    who = {"session_id": "browser"} if user is None else {"user_id": user}
    event = {"type": "feedback", "event_id": event_id, "time": time, "item_id": "i1", "action": "click"}
    return event | who | more


def page(event_id: str, user: str | None = "ann", time: int = TODAY) -> Event:
    who = {"session_id": "browser"} if user is None else {"user_id": user, "session_id": "browser"}
    event = {"type": "impression", "event_id": event_id, "time": time, "request_id": event_id, "surface": "search"}
    return event | who | {"items": [{"item_id": "i1", "position": 0}, {"item_id": "i2", "position": 1}]}


def suggestion(event_id: str, user: str | None = "ann", time: int = TODAY) -> Event:
    event = {"type": "suggest", "event_id": event_id, "time": time, "request_id": event_id, "placement": "hint"}
    return event | ({} if user is None else {"user_id": user}) | {"shown": []}


def about(event_id: str, user: str | None = "ann", time: int = TODAY) -> Event:
    return {"type": "user", "event_id": event_id, "time": time, "user_id": user or "nobody", "attributes": {"a": 1}}


def item(event_id: str, _: str | None = None, time: int = TODAY) -> Event:
    return {"type": "item", "event_id": event_id, "time": time, "item_id": "i1", "title": "tea"}


def row(event: Mapping[str, Any], received: int | None = None) -> Row:
    """An event as the door hands it to the store."""
    came = int(event["time"]) if received is None else received
    user = event.get("user_id")
    return Row(event["event_id"], event["type"], user, int(event["time"]), came, json.dumps(event))


def refused(event_id: str, user: str = "ann") -> Row:
    """What an earlier door let in and no log takes."""
    body = json.dumps(click(event_id, user, quantity=0))
    return Row(event_id, "feedback", user, TODAY, TODAY, body)


def take(store: EventStore, *events: Mapping[str, Any]) -> None:
    store.append([row(event) for event in events])


def ingested(folder: Path, events: Iterable[Mapping[str, Any]]) -> Path:
    """The log of these events, all at once from a file."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "all.jsonl"
    source.write_text("".join(json.dumps(event) + "\n" for event in events))
    ingest("podium", [source], folder / "log")
    return folder / "log"


@contextmanager
def returned_names() -> Iterator[None]:
    """The names that the store gives to who comes back, which no door lets in, are read as any others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "CONTROL", "\0")
        validate._judge.cache_clear()
        yield
    validate._judge.cache_clear()


def parquet(log: Path) -> dict[str, bytes]:
    return {str(path.relative_to(log)): path.read_bytes() for path in sorted(log.rglob("*.parquet"))}


def bundle(root: Path, cutoff: int, stored: Taken | None = None) -> Path:
    """A bundles root with one more bundle, of which only the cutoff matters, and what it says of a store."""
    make_bundle(root, cutoff, stored)
    return root


def names(log: Path) -> list[Path]:
    """Files below and folders beside a log that hold the id of anybody are found by their bytes."""
    beside = log.parent.glob(f".{log.name}.*")
    return [path for top in (log, *beside) for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]


def holds(log: Path, text: str) -> list[str]:
    """The files of a log, and of what jobs may have left beside it, in which `text` stands."""
    return [str(path.relative_to(log.parent)) for path in names(log) if text.encode() in path.read_bytes()]
