"""What must hold of the parser of events whatever it is given, and ways to make bad posts out of good events."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec
import orjson

from pipeline.catalogue import build_catalogue
from pipeline.errors import InputError
from pipeline.logs.decode import Chunk, decode_events, decode_lines
from pipeline.logs.events import MAX_ID, TYPES
from pipeline.logs.storage.forgotten import Forgotten, Mark, digest
from pipeline.logs.store import Row, Stored
from pipeline.observed import nothing
from pipeline.state import State, initial_state
from serving.events import read_posted, to_frames

TIME: Final = 1_767_600_000_000
RECEIVED: Final = TIME + 5_000
MOST: Final = 1_000
_GAINS: Final = {"click": 1.0, "like": 1.0, "cart": 2.0, "purchase": 3.0}
_SALT: Final = bytes(32)
_BACK: Final = Forgotten(_SALT, {digest(_SALT, "ann"): Mark(2, 0)})

# Every field of every type, so that each may be spoiled.
WHOLE: Final[dict[str, dict[str, Any]]] = {
    "item": {"item_id": "i1", "kind": "product", "sponsored": False, "title": "Red shoes", "text": "Of leather."}
    | {"category": ["Shoes", "Boots"], "brand": "Acme", "price": 9.5, "currency": "EUR", "region": "eu"}
    | {"tags": ["new"], "attributes": {"size": 42, "colours": ["red"]}, "available": True, "vector": [0.5, -1]},
    "user": {"user_id": "ann", "attributes": {"region": "eu"}},
    "impression": {"request_id": "r1", "surface": "search", "user_id": "ann", "session_id": "s", "query": "red"}
    | {"filters": {"brand": ["Acme"]}, "context": {"device": "phone"}, "order": "shown", "page": 0, "bundle": "b"}
    | {"arm": "a", "explored": False, "tick": 490_000}
    | {"items": [{"item_id": "i1", "position": 0, "score": 0.5, "propensity": 1, "marginal": 0.5, "channel": "x"}]},
    "feedback": {"user_id": "ann", "session_id": "s", "item_id": "i1", "action": "click", "request_id": "r1"}
    | {"value": 950, "quantity": 1, "dwell_ms": 1200, "query": "red"},
    "suggest": {"request_id": "r2", "placement": "complete", "prefix": "re", "query": "red", "item_id": "i1"}
    | {"user_id": "ann", "session_id": "s", "shown": [{"query": "red shoes", "position": 0}], "chosen": None},
    "judgment": {"query": "red", "item_id": "i1", "grade": 2},
}


class Text(str):
    """Written as it stands: what no JSON library would write."""


_STRANGE: Final[tuple[object, ...]] = (
    *(None, True, False, 0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400, 0.1, -0.0),
    *(1e308, 1e39, 5e-324, TIME, TIME * 1000, "", " ", "\0", "a\0b", "\x1f", "ann\x1f1", "e\u0301", "\u202e"),
    *("\U0001f600" * 128, "x" * 128, "x" * 129, "é" * 129, "y" * 70_000, "\ufeff", "\n", '"', "\\", "null", "`"),
    *("2026-01-05T10:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59", "2026-01-05T10:00:00"),
    *([], {}, [None], [[]], {"": {}}, {"a": {"b": {"c": []}}}, ["a"] * 40, [0.5] * 300, "click", "hide", "item"),
    *map(Text, ("NaN", "Infinity", "-Infinity", "1e999", "-1e-999", "01", "1.", "+1", "--", "", "nul", "}", ",")),
    *map(Text, ('"\\ud800"', '"\\udc00\\ud800"', '"\\u00"', '"\\x"', '"', '"\x01"', '"\\ud83d\\ude00"', "9" * 5_000)),
    *map(Text, ("[" * 3_000, "[" * 3_000 + "]" * 3_000, '{"a":' * 900 + "1" + "}" * 900, '{"a":1,"a":2}', "\ufeff")),
)


def mutated(value: Any, chance: Random) -> Any:
    """One thing of a tree is another: left out, twice, in another place, of another kind, or strange."""
    inside = bool(value) and isinstance(value, dict | list) and chance.random() < 0.85
    if not inside:
        return chance.choice(_STRANGE)
    return _dict(value, chance) if isinstance(value, dict) else _list(value, chance)


def _dict(value: dict[str, Any], chance: Random) -> dict[str, Any]:
    name, made = chance.choice(list(value)), dict(value)
    what = chance.random()
    if what < 0.1:
        del made[name]
    elif what < 0.2:
        made[chance.choice(("x", "", "\0", "a.b", "`", name.upper(), f"{name} ", "line"))] = value[name]
    elif what < 0.3:
        made[Text(json.dumps(name))] = mutated(value[name], chance)  # the same key twice
    else:
        made[name] = mutated(value[name], chance)
    return made


def _list(value: list[Any], chance: Random) -> list[Any]:
    place = chance.randrange(len(value))
    what = chance.random()
    if what < 0.1:
        return [*value[:place], *value[place + 1 :]]
    if what < 0.2:
        return [*value, *value]
    return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]


def written(value: Any) -> str:
    """JSON, but for a Text, which stands as it is, also as a key."""
    if isinstance(value, Text):
        return value[:]
    if isinstance(value, dict):
        cells = (f"{name[:] if isinstance(name, Text) else json.dumps(name)}:{written(v)}" for name, v in value.items())
        return "{" + ",".join(cells) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=isinstance(value, str) and len(value) % 2 == 0)


def good(kind: str, number: int) -> dict[str, Any]:
    return {"event_id": f"e{number}", "type": kind, "time": TIME, "received": TIME, "schema": 1, **WHOLE[kind]}


def spoiled(chance: Random) -> bytes:
    """A post of a few events, of which some are spoiled a few times, and now and then its bytes too."""
    events: Any = [good(chance.choice(TYPES), number) for number in range(chance.choice((1, 1, 2, 5)))]
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        events = mutated(events, chance) if chance.random() < 0.1 else _one(events, chance)
    alone = isinstance(events, list) and len(events) == 1 and chance.random() < 0.5
    body = bytearray(written(events[0] if alone else events).encode())
    for _ in range(chance.choice((0, 0, 0, 1, 3)) if body else 0):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


def _one(events: Any, chance: Random) -> Any:
    if not isinstance(events, list) or not events:
        return events
    place = chance.randrange(len(events))
    return [*events[:place], mutated(events[place], chance), *events[place + 1 :]]


@dataclass(frozen=True)
class Held:
    """What was taken of a post, and how many of it were refused."""

    rows: Sequence[Row]
    refused: int


def check(body: bytes, whole: bool = True) -> Held | None:
    """Raises AssertionError, or whatever the parser raises that it must not. None where the post as a whole is refused.

    whole: also as a line of a file, and with what comes after: what was accepted is read back, and learned by a state.
    """
    if whole:
        _check_lines(body)
    try:
        posted = read_posted(body, MOST, RECEIVED)
    except InputError as error:
        _check_whole(error)
        _check_refused_alike(body)
        return None
    raw = [bytes(each) for each in msgspec.json.decode(body, type=list[msgspec.Raw])] if _many(body) else [body]
    refused = {each["index"]: each for each in posted.rejected}
    assert len(refused) == len(posted.rejected), posted.rejected
    assert len(posted.rows) + len(refused) == len(raw)
    places = [place for place in range(len(raw)) if place not in refused]
    given = {each["index"]: each for each in posted.assigned}
    assert given.keys() <= set(places)
    for place, row in zip(places, posted.rows, strict=True):
        text = raw[place].decode().strip()
        if place not in given:
            assert row.body.strip() == text
            continue
        assert (row.event_id, row.time) == (given[place]["event_id"], given[place]["time"])
        own = msgspec.json.decode(text)
        assert msgspec.json.decode(row.body) == {"event_id": row.event_id, "time": row.time} | own
    for reject in posted.rejected:
        assert all(isinstance(reject[name], str) and reject[name] for name in ("field", "reason")), reject
    orjson.dumps(posted.rejected)  # the answer
    for row in posted.rows:
        _check_row(row)
    if posted.rows and whole:
        _check_frames(posted.rows)
    return Held(posted.rows, len(refused))


def _many(body: bytes) -> bool:
    return body.lstrip()[:1] == b"["


def _check_lines(body: bytes) -> None:
    chunk = decode_lines(body, "file")
    assert chunk.events <= chunk.lines
    _check_named(chunk)


def _check_refused_alike(body: bytes) -> None:
    try:
        _check_named(decode_events(body))
    except InputError as error:
        _check_whole(error)


def _check_whole(error: InputError) -> None:
    assert error.field == "body", error
    assert "one event, or a JSON array of events" in str(error) or "at most" in str(error)


def _check_named(chunk: Chunk) -> None:
    for reject in chunk.rejects:
        assert reject.field, reject
        assert reject.reason, reject
        assert len(reject.raw) <= 2_048, reject


def _check_row(row: Row) -> None:
    assert row.type in TYPES
    for name in (row.event_id, row.user_id):
        assert name is None or 1 <= len(name) <= MAX_ID, row
        assert "\0" not in (name or ""), row  # no text of PostgreSQL holds it
    assert 0 <= row.time < 2**63, row
    assert row.received == RECEIVED
    (row.event_id + (row.user_id or "") + row.body).encode()


def _check_frames(rows: Sequence[Row]) -> None:
    """What was accepted can be read back, also when a user was forgotten since, and a state can learn it."""
    stored = [Stored(seq, row.type, row.received, row.body) for seq, row in enumerate(rows, start=1)]
    for forgotten in (Forgotten(), _BACK):
        frames, unreadable = to_frames(stored, forgotten)
        assert unreadable == 0
        for kind in {row.type for row in rows}:
            kept = [row for row in rows if row.type == kind]
            assert frames[kind]["event_id"].to_list() == [row.event_id for row in kept]
            assert frames[kind]["time"].to_list() == [row.time for row in kept]
            assert frames[kind]["received"].to_list() == [RECEIVED] * len(kept)
        assert sum(map(len, frames.values())) == len(rows)
    blank_state().advance(frames)


_BLANK: Final[dict[str, State]] = {}


def blank_state() -> State:
    """A state that knows nothing; made once."""
    if not _BLANK:
        items = nothing("item")
        _BLANK["state"] = initial_state("exact", build_catalogue(items, items["item_id"]), _GAINS)
    return _BLANK["state"]


def events_of(rows: Sequence[Row]) -> Mapping[str, Row]:
    """The first row of each id: the one that is kept."""
    return {row.event_id: row for row in reversed(rows)}
