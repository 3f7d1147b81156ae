"""Between two looks for news a worker learns events of a user whom another worker was told to forget."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.logs.storage.forgotten import Forgotten
from pipeline.logs.store import EventStore, Row
from serving.events import to_frames
from serving.follow import Follower
from serving.settings import Settings
from serving.telemetry import Metrics


class Pupil:
    """An engine that remembers what it was taught."""

    bundle_id = "b-one"

    def __init__(self) -> None:
        self.users: list[str] = []

    def learned_to(self, store: str) -> int:
        return 0

    def census(self) -> dict[str, int]:
        return {}

    def absorb(self, frames: dict[str, pl.DataFrame]) -> None:
        self.users += frames["feedback"]["user_id"].to_list() if "feedback" in frames else []


def click(event_id: str) -> Row:
    fields = {"event_id": event_id, "type": "feedback", "time": 5, "user_id": "ann", "item_id": "i", "action": "click"}
    return Row(event_id, "feedback", "ann", 5, 5, json.dumps(fields))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    yield store
    store.close()


def test_who_comes_back_at_a_worker_that_has_not_heard_is_somebody_new_there_too(
    store: EventStore, tmp_path: Path
) -> None:
    pupil, settings = Pupil(), Settings(root=tmp_path)
    follower = Follower(pupil, store, settings, Metrics(settings.watch))  # type: ignore[arg-type]
    store.append([click("before")])
    follower.catch_up()
    store.forget("ann").result()
    store.append([click("after")])
    follower.learn()  # as for a post that this worker took, before its next look for news
    assert pupil.users == ["ann", "ann\x1f1"]
    assert follower.forgotten.times("ann") == 1


def test_what_was_read_before_its_user_was_forgotten_is_not_taught_to_the_newcomer(store: EventStore) -> None:
    store.append([click("before")])
    read = store.since(0)
    store.forget("ann").result()
    store.append([click("after")])
    read += store.since(read[-1].seq)
    frames, unreadable = to_frames(read, store.forgotten())
    assert (frames["feedback"]["event_id"].to_list(), unreadable) == (["after"], 0)
    known, _ = to_frames(read, Forgotten())
    assert known["feedback"]["event_id"].to_list() == ["before", "after"]
