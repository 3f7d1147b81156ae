"""The parser of events, given anything: it never fails but by InputError, and accounts for every event it was given."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.logs.decode import decode_events
from pipeline.logs.events import NO_CONTROL, TYPES
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore, Forgotten, Row
from serving.events import read_posted, to_frames
from tests.examples import examples
from tests.faults.posted import MOST, RECEIVED, check, events_of, good, mutated, spoiled, written

CHANCE = st.integers(0, 2**64).map(Random)
TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates and NUL are among them
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
FIELDS = sorted({name for number, kind in enumerate(TYPES) for name in good(kind, number)})
NAMES = st.sampled_from(FIELDS) | TEXT
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6))
TYPED = st.dictionaries(NAMES, JSON, max_size=8).flatmap(
    lambda fields: st.sampled_from(TYPES).map(lambda kind: fields | {"type": kind})
)


@given(st.binary(max_size=400))
def test_any_bytes_are_events_or_refused(body: bytes) -> None:
    check(body)


@given(st.lists(JSON | TYPED, max_size=4) | JSON, st.booleans())
def test_any_structure_is_accounted_for(value: object, plain: bool) -> None:
    check(json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass"))


@settings(max_examples=examples(200))
@given(CHANCE)
def test_sound_events_that_were_spoiled_are_accounted_for(chance: Random) -> None:
    check(spoiled(chance))


@given(CHANCE, st.data())
def test_one_spoiled_event_costs_no_other(chance: Random, data: st.DataObject) -> None:
    """Unless it is no JSON at all, which nobody can tell apart from what follows."""
    kinds = data.draw(st.lists(st.sampled_from(TYPES), min_size=2, max_size=5))
    events = [good(kind, number) for number, kind in enumerate(kinds)]
    place = data.draw(st.integers(0, len(events) - 1))
    texts = [written(event) for event in events]
    texts[place] = written(mutated(events[place], chance))
    body = f"[{','.join(texts)}]".encode()
    held = check(body)
    if held is not None and [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])] == [
        text.encode() for text in texts
    ]:
        assert held.refused <= 1
        assert {f"e{number}" for number in range(len(events)) if number != place} <= {r.event_id for r in held.rows}


@pytest.mark.parametrize("depth", [100, 900, 5_000, 200_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_breaks_the_parser(depth: int, opens: str, closes: str) -> None:
    nested = opens * depth + ("1" if closes == "}" else "") + closes * depth
    for body in (nested, opens * depth, f"[{nested}]", written(good("user", 1)).replace('{"region": "eu"}', nested)):
        check(body.encode())
    event = json.dumps(good("user", 1)).replace('{"region": "eu"}', nested)
    check(event.encode())
    check(f"[{event}]".encode())


@pytest.mark.parametrize("size", [127, 128, 129, 10_000_000])
def test_texts_of_any_length_are_kept_or_refused_by_name(size: int) -> None:
    event = good("feedback", 1) | {"user_id": "é" * size, "query": "x" * size}
    held = check(json.dumps(event, ensure_ascii=False).encode())
    assert held is not None
    assert (len(held.rows), held.refused) == ((1, 0) if size <= 128 else (0, 1))


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (good("feedback", 1) | {"event_id": "a\0b"}, "event_id"),
        (good("feedback", 1) | {"user_id": "\0"}, "user_id"),
        (good("item", 1) | {"item_id": "i\0"}, "item_id"),
    ],
)
def test_ids_with_a_nul_are_refused_alone_since_postgresql_cannot_keep_them(
    event: dict[str, object], field: str
) -> None:
    posted = read_posted(json.dumps([good("user", 2), event]).encode(), MOST, RECEIVED)
    assert [row.event_id for row in posted.rows] == ["e2"]
    assert posted.rejected == [{"index": 1, "field": field, "reason": NO_CONTROL}]


def test_a_post_of_more_events_than_may_be_is_refused_as_a_whole() -> None:
    with pytest.raises(InputError, match="at most 2 events"):
        read_posted(b"[1, 2, 3]", 2, RECEIVED)


def test_of_a_key_that_stands_twice_the_last_counts_everywhere() -> None:
    body = written(good("user", 1)).replace('"user_id"', '"user_id":"bob","user_id"').encode()
    (row,) = read_posted(body, MOST, RECEIVED).rows
    assert row.user_id == "ann" == decode_events(body).frames["user"]["user_id"].item()


@settings(max_examples=examples(15))
@given(st.lists(CHANCE, min_size=4, max_size=24))
def test_what_was_accepted_is_the_same_from_the_store_and_from_a_log(chances: list[Random]) -> None:
    held = [found for chance in chances if (found := check(spoiled(chance), whole=False)) is not None]
    with tempfile.TemporaryDirectory() as folder:
        _check_kept(Path(folder), [found.rows for found in held])


def _check_kept(folder: Path, posts: Sequence[Sequence[Row]]) -> None:
    rows = events_of([row for post in posts for row in post])
    store = EventStore(f"sqlite:///{folder / 'events.db'}")
    accepted = sum(store.append(post).accepted for post in posts)
    frames, unreadable = to_frames(store.since(0), Forgotten())
    store.close()
    assert (accepted, unreadable) == (len(rows), 0)
    assert sum(map(len, frames.values())) == accepted
    lines = [row.body.replace("\r", " ").replace("\n", " ") for row in rows.values()]
    (folder / "events.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    done = ingest("podium", [folder / "events.jsonl"], folder / "log")
    assert (sum(done.accepted.values()), done.quarantined) == (accepted, 0)
    for kind, frame in frames.items():
        logged = Log.open(folder / "log").frame(kind).sort("event_id")
        kept = [name for name in logged.columns if name in frame.columns and name != "received"]
        assert logged.select(kept).equals(frame.sort("event_id").select(kept))
