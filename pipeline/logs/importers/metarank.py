"""Metarank's event log: item, user, ranking and interaction as JSON lines, with `fields` [{name, value}].

A ranking becomes an impression in the order of its items, an interaction feedback with the action of its `type`.
Field names that the log knows (title, text, category, brand, price, tags, query, ...) go to their columns, the others
to `attributes` or `context`.
"""

import gzip
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact, files
from pipeline.logs.importers.records import Stamp, moment, translated
from pipeline.logs.moments import Moments

_LINES = 50_000
_ITEM_TEXTS = ("title", "text", "brand", "currency", "region")


class _Field(Struct):
    name: str
    value: Any = None


class _Ranked(Struct):
    id: str
    relevancy: float | None = None


class _Base(Struct, kw_only=True, tag_field="event"):
    id: str
    timestamp: Stamp
    fields: list[_Field] = []

    def named(self) -> dict[str, Any]:
        return {field.name: field.value for field in self.fields}


class _Item(_Base, kw_only=True, tag="item"):
    item: str


class _User(_Base, kw_only=True, tag="user"):
    user: str


class _Ranking(_Base, kw_only=True, tag="ranking"):
    user: str | None = None
    session: str | None = None
    items: list[_Ranked]


class _Interaction(_Base, kw_only=True, tag="interaction"):
    user: str | None = None
    session: str | None = None
    item: str
    type: str
    ranking: str | None = None


_DECODER = msgspec.json.Decoder(_Item | _User | _Ranking | _Interaction)


def recognises(sources: Sources) -> bool:
    found = _logs(sources)
    return bool(found) and all(_is_metarank(path) for path in found)


def _logs(sources: Sources) -> list[Path]:
    return [path for path in files(sources) if path.name.endswith((".jsonl", ".json", ".jsonl.gz", ".json.gz"))]


def _is_metarank(path: Path) -> bool:
    try:
        first = msgspec.json.decode(next(_lines(path), b""))
    except (msgspec.DecodeError, OSError, EOFError):
        return False
    return isinstance(first, dict) and "event" in first and "event_id" not in first


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    for path in _logs(sources):
        lines = _lines(path)
        while batch := [line.rstrip(b"\r\n") for line in islice(lines, _LINES)]:
            yield translated(list(enumerate(batch, start=1)), len(batch), str(path), partial(_translate, moments))


def _translate(moments: Moments, line: bytes) -> dict[str, Any]:
    event = _DECODER.decode(line)
    base = {"event_id": event.id, "time": moment(moments, event.timestamp, "timestamp")}
    fields = event.named()
    if isinstance(event, _Item):
        return base | {"type": "item", "item_id": event.item} | _item(fields)
    if isinstance(event, _User):
        return base | {"type": "user", "user_id": event.user, "attributes": fields}
    who = {"user_id": event.user or None, "session_id": event.session or None}
    if isinstance(event, _Ranking):
        shown = [{"item_id": r.id, "position": i, "score": r.relevancy} for i, r in enumerate(event.items)]
        query = fields.pop("query", None)
        page = {"request_id": event.id, "surface": "recommend" if query is None else "search", "items": shown}
        return base | {"type": "impression", "query": query, "context": fields} | who | page
    told = {"item_id": event.item, "action": event.type, "request_id": event.ranking or None}
    return base | {"type": "feedback"} | who | told


def _item(fields: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in _ITEM_TEXTS:
        if isinstance(fields.get(name), str):
            known[name] = fields.pop(name)
    if isinstance(fields.get("price"), int | float):
        known["price"] = fields.pop("price")
    for name in ("category", "tags"):
        value = fields.get(name)
        if isinstance(value, str):
            known[name] = [fields.pop(name)]
        elif isinstance(value, list) and all(isinstance(part, str) for part in value):
            known[name] = fields.pop(name)
    return known | {"attributes": fields}


METARANK = Importer(
    name="metarank",
    looks_for="JSON lines with `event` (item, user, ranking, interaction), id, timestamp",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
