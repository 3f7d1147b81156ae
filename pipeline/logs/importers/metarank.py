"""Metarank's event log: item, user, ranking and interaction as JSON lines, with `fields` [{name, value}].

A ranking becomes an impression in the order of its items, an interaction feedback with the action of its `type`.
Field names that the log knows (title, text, category, brand, price, tags, query, ...) go to their columns, the others
to `attributes` or `context`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact
from pipeline.logs.importers.records import (
    Id,
    Mended,
    Stamp,
    batches,
    dumps,
    first_record,
    ident,
    moment,
    perhaps,
    price,
    refuse,
    translated,
)
from pipeline.logs.moments import Moments

_ITEM_TEXTS = ("title", "text", "brand", "currency", "region")


class _Field(Struct):
    name: str
    value: Any = None


class _Ranked(Struct):
    id: Id
    relevancy: float | None = None


class _Base(Struct, kw_only=True, tag_field="event"):
    id: Id
    timestamp: Stamp
    fields: list[_Field] = []

    def named(self) -> dict[str, Any]:
        return {field.name: field.value for field in self.fields}


class _Item(_Base, kw_only=True, tag="item"):
    item: Id


class _User(_Base, kw_only=True, tag="user"):
    user: Id


class _Ranking(_Base, kw_only=True, tag="ranking"):
    user: Id | None = None
    session: Id | None = None
    items: list[_Ranked]


class _Interaction(_Base, kw_only=True, tag="interaction"):
    user: Id | None = None
    session: Id | None = None
    item: Id
    type: str
    ranking: Id | None = None


class _Named(Struct):
    event: str
    id: Id


_NAMED = msgspec.json.Decoder(_Named)
_DECODER = msgspec.json.Decoder(_Item | _User | _Ranking | _Interaction)


def recognises(sources: Sources) -> bool:
    found = dumps(sources)
    return bool(found) and all("event" in (names := first_record(path)) and "event_id" not in names for path in found)


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    for path in dumps(sources):
        for records, lines in batches(path):
            yield translated(records, lines, str(path), partial(_translate, moments), _page)


def _page(line: bytes) -> str | None:
    named = _NAMED.decode(line)
    return ident(named.id, "id") if named.event == "ranking" else None


def _translate(moments: Moments, line: bytes, mended: Mended) -> dict[str, Any]:
    line.decode()
    event = _DECODER.decode(line)
    base = {"event_id": ident(event.id, "id"), "time": moment(moments, event.timestamp, "timestamp")}
    fields = event.named()
    if isinstance(event, _Item):
        return base | {"type": "item", "item_id": ident(event.item, "item")} | _item(fields, mended)
    if isinstance(event, _User):
        return base | {"type": "user", "user_id": ident(event.user, "user"), "attributes": fields}
    who = {"user_id": perhaps(event.user, "user"), "session_id": perhaps(event.session, "session")}
    if isinstance(event, _Ranking):
        shown = [
            {"item_id": ident(ranked.id, f"items[{place}].id"), "position": place, "score": ranked.relevancy}
            for place, ranked in enumerate(event.items)
        ]
        query = _query(fields.pop("query", None))
        where = {"request_id": base["event_id"], "surface": "recommend" if query is None else "search"}
        return base | {"type": "impression", "query": query, "context": fields, "items": shown} | who | where
    told = {"item_id": ident(event.item, "item"), "action": event.type}
    return base | {"type": "feedback", "request_id": perhaps(event.ranking, "ranking")} | who | told


def _query(value: object) -> str | None:
    """What was searched for: a number is the text it was typed as."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise refuse("fields.query", "must be a text")


def _item(fields: dict[str, Any], mended: Mended) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in _ITEM_TEXTS:
        if isinstance(fields.get(name), str):
            known[name] = fields.pop(name)
    if "price" in fields:
        known["price"] = price(fields.pop("price"), mended)
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
