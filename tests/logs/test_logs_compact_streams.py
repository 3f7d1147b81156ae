"""However a stream comes, late, twice, out of order, by clocks that go wrong, the log at the end is the same.

What must be equal: the Parquet, byte for byte, when each event was received at the same moment in both deliveries.
That moment is a column of the log, and decides what a request may have known, so a delivery in which it differs is
another log in that column and in that alone; while it lies before the seal, counters are the same to the byte.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from compact_tools import (
    DAY,
    TODAY,
    Event,
    about,
    bundle,
    click,
    holds,
    ingested,
    item,
    page,
    parquet,
    returned_names,
    row,
    suggestion,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build import build_state
from pipeline.catalogue import build_catalogue
from pipeline.features.ticks import SEAL_MS
from pipeline.logs import compact as compacting
from pipeline.logs import merge as merging
from pipeline.logs.compact import Compacted, compact
from pipeline.logs.forget import stranger
from pipeline.logs.read import Log
from pipeline.logs.storage.forgotten import Forgotten
from pipeline.logs.store import EventStore, Row
from tests.examples import examples

USERS = ("ann-7d1e", "bob-93fa", "eve-c04b")
MAKERS = (click, page, suggestion, about, item)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Distinct events of a few days, each with the moment at which it is received: at once, days late, or, by a clock
    that is ahead, before it happened."""
    events = []
    for number in range(draw(st.integers(1, 10))):
        make, who = draw(st.sampled_from(MAKERS)), draw(st.sampled_from((*USERS, None)))
        time = TODAY - draw(st.integers(0, 3)) * DAY + draw(st.integers(-2, 2)) * 3_600_000
        late = draw(st.sampled_from((0, 1_000, SEAL_MS, 2 * DAY, -DAY)))
        events.append(make(f"e{number}", who, time) | {"received": time + late})
    return events


@contextmanager
def opened(*, rows_at_once: int = 20_000) -> Iterator[tuple[EventStore, Path]]:
    """A store and a folder, and compaction in steps of so many rows."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting, "_STEP", rows_at_once)
        patch.setattr(merging, "BATCH_ROWS", max(1, rows_at_once))
        store = EventStore(f"sqlite:///{name}/events.db")
        try:
            yield store, Path(name)
        finally:
            store.close()


def rows(events: Sequence[Mapping[str, object]]) -> list[Row]:
    return [row(event, int(str(event["received"]))) for event in events]


@settings(max_examples=examples(8))
@given(data=st.data(), events=streams())
def test_any_order_any_repeats_any_batches_and_any_number_of_runs_give_equal_bytes(
    data: st.DataObject, events: list[Event]
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=5))
    stream = data.draw(st.permutations(events + again))
    runs: list[Compacted] = []
    doubled = 0
    with opened(rows_at_once=data.draw(st.sampled_from([1, 3, 20_000]))) as (store, folder):
        # Rows that came before the cutoff leave the store on the way.
        bundle(folder / "bundles", TODAY - data.draw(st.integers(-4, 4)) * DAY)
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            batch, stream = stream[:size], stream[size:]
            doubled += store.append(rows(batch)).duplicates
            if not stream or data.draw(st.booleans()):
                runs.append(compact(store, folder / "log", bundles=folder / "bundles"))
        assert parquet(folder / "log") == parquet(ingested(folder / "expected", events))
    taken = doubled + sum(run.read for run in runs)
    assert taken == len(events) + len(again)
    for run in runs:
        assert run.read == sum(run.accepted.values()) + run.quarantined + sum(run.duplicates.values())
    assert sum(sum(run.accepted.values()) for run in runs) == len(events)


BAD = ("nonsense", '{"type": "feedback"}', "[]", '{"type": "click", "user_id": "\\ud800"}')


@settings(max_examples=examples(6))
@given(events=streams(), bad=st.lists(st.sampled_from(BAD), max_size=4))
def test_every_event_is_accepted_quarantined_or_a_duplicate(events: list[Event], bad: list[str]) -> None:
    with opened() as (store, folder):
        log = ingested(folder / "before", events[: len(events) // 2])  # what an ingest brought already
        stored = rows(events) + [Row(f"b{n}", "feedback", None, TODAY, TODAY, text) for n, text in enumerate(bad)]
        store.append(stored)
        done = compact(store, log, bundles=None)
        assert (done.read, done.quarantined) == (len(events) + len(bad), len(bad))
        assert sum(done.duplicates.values()) == len(events) // 2
        assert done.read == sum(done.accepted.values()) + done.quarantined + sum(done.duplicates.values())
        lines = [line for path in log.glob("quarantine/*") for line in path.read_text().splitlines()]
        assert len(lines) == len(bad)


@settings(max_examples=examples(6))
@given(data=st.data(), events=streams())
def test_a_log_is_that_of_those_who_were_not_forgotten_whenever_they_were(
    data: st.DataObject, events: list[Event]
) -> None:
    """The model: who is forgotten loses what the store took of them so far; what comes again is a duplicate."""
    stream = data.draw(st.permutations(events + events[: data.draw(st.integers(0, 4))]))
    alive: dict[str, Event] = {}
    known: set[str] = set()
    with opened() as (store, folder):
        bundle(folder / "bundles", TODAY - data.draw(st.integers(-4, 4)) * DAY)
        for event in stream:
            gone = data.draw(st.sampled_from((None, None, None, *USERS)))
            if gone is not None:
                store.forget(gone).result()
                alive = {name: each for name, each in alive.items() if _user(each) != gone}
            if event["event_id"] not in known:
                alive[event["event_id"]] = event | _named(event, store.forgotten())
                known.add(event["event_id"])
            store.append(rows([event]))
            if data.draw(st.booleans()):
                compact(store, folder / "log", bundles=folder / "bundles")
        compact(store, folder / "log", bundles=folder / "bundles")
        with returned_names():
            expected = ingested(folder / "expected", alive.values()) if alive else None
        assert parquet(folder / "log") == ({} if expected is None else parquet(expected))
        assert not store.pending()
        left = {_user(event) for event in alive.values()}
        assert [holds(folder / "log", user) for user in USERS if user not in left] == [[]] * (3 - len(left & {*USERS}))


def _user(event: Event) -> str | None:
    name = event.get("user_id")
    return None if name is None else str(name).partition("\x1f")[0]


def _named(event: Event, forgotten: Forgotten) -> dict[str, object]:
    user = event.get("user_id")
    return {} if user is None else {"user_id": stranger(user, forgotten)}


def state(log: Path, folder: Path) -> dict[str, bytes]:
    """The files of what training keeps of a log."""
    read = Log.open(log)
    folder.mkdir()
    build_state(read, build_catalogue(read.frame("item"), pl.Series(["i1", "i2"])), {"click": 1.0}, folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def delivered(store: EventStore, folder: Path, batches: Sequence[Sequence[Event]]) -> tuple[Path, dict[str, bytes]]:
    for batch in batches:
        store.append(rows(batch))
        compact(store, folder / "log", bundles=None)
    return folder / "log", state(folder / "log", folder / "state")


def test_late_events_before_the_seal_give_the_training_state_of_punctual_ones() -> None:
    hour, minute = 3_600_000, 60_000
    events = [
        make(f"e{number}{make.__name__}", USERS[number % 3], TODAY + number * hour // 4)
        for number in range(24)
        for make in (click, page, item)
    ]
    punctual = [event | {"received": event["time"]} for event in events]
    late = [event | {"received": event["time"] + 14 * minute} for event in events]  # each within its tick's seal
    with opened() as (store, folder):
        one, first = delivered(store, folder, [punctual])
        with opened(rows_at_once=7) as (other, elsewhere):
            two, second = delivered(other, elsewhere, [late[40:], late[:10], late[5:60], late])
            frames = [Log.open(log).frame(kind).drop("received") for log in (one, two) for kind in ("feedback", "item")]
            assert frames[0].equals(frames[2])
            assert frames[1].equals(frames[3])
        with opened(rows_at_once=5) as (third, nowhere):
            three, same = delivered(third, nowhere, [punctual[30:], punctual[:50], punctual])
            assert parquet(three) == parquet(one)
            assert same == first
    assert {name for name in first if first[name] != second[name]} <= {name for name in first if "received" in name}
