"""User Behavior Insights, the search log of OpenSearch, Solr and Elasticsearch: `ubi_queries` and `ubi_events`.

A query with `query_response_hit_ids` becomes an impression of these items in their order; an event about an object
becomes feedback on it, its `query_id` the request. The log of a client alone knows no hits: there the items of its
`impression` and `view` events, at their ordinals, are the page. Records may stand in `_source` as indexes are dumped.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec import Struct

from pipeline.logs.decode import Chunk
from pipeline.logs.events import COLUMNS
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact
from pipeline.logs.importers.positions import OPTION, counting, from_zero
from pipeline.logs.importers.records import (
    Actions,
    Id,
    Mended,
    Stamp,
    batches,
    dumps,
    first_record,
    ident,
    moment,
    perhaps,
    refuse,
    short,
    translated,
)
from pipeline.logs.importers.tables import chunk
from pipeline.logs.moments import Moments


class _Who(Struct, kw_only=True):
    timestamp: Stamp
    client_id: Id | None = None
    user_id: Id | None = None
    session_id: Id | None = None
    user_query: str | int | None = None

    @property
    def query(self) -> str | None:
        return None if self.user_query in {None, ""} else str(self.user_query)


class _Query(_Who, kw_only=True):
    query_id: Id
    query_response_id: Any = None
    query_response_hit_ids: list[Id] | None = None
    query_response_objects_ids: list[Id] | None = None  # its name before 1.0
    query_attributes: dict[str, Any] | None = None
    application: str | None = None

    @property
    def hits(self) -> list[str]:
        found = self.query_response_hit_ids or self.query_response_objects_ids or ()
        return [ident(hit, "query_response_hit_ids") for hit in found]


class _Object(Struct):
    object_id: Id


class _Attributes(Struct):
    object: _Object | None = None
    position: Any = None
    session_id: Id | None = None

    @property
    def place(self) -> int | None:
        """The ordinal as its client counts, from 0 or from 1; None where it tells none."""
        told = self.position.get("ordinal") if isinstance(self.position, dict) else None
        told = told.get("index") if isinstance(told, dict) else told
        if isinstance(told, str) and told.isascii() and told.isdigit():
            return int(told[:9])
        return told if type(told) is int and 0 <= told < 10**9 else None


class _Event(_Who, kw_only=True):
    action_name: str
    query_id: Id | None = None
    event_attributes: _Attributes | None = None


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_QUERY, _EVENT = msgspec.json.Decoder(_Query), msgspec.json.Decoder(_Event)
_OF_QUERY = {"query_response_hit_ids", "query_response_objects_ids", "query_response_id", "user_query"}
_Row = tuple[int, int, str, str, int, str | None, str | None, str | None]
_FAR = 2**31  # beyond every place
_SEEN = {
    "line": pl.Int64(),
    "time": pl.Int64(),
    "request_id": pl.String(),
    "item_id": pl.String(),
    "position": pl.Int32(),
    "user_id": pl.String(),
    "session_id": pl.String(),
    "query": pl.String(),
}


def recognises(sources: Sources) -> bool:
    found = dumps(sources)
    return bool(found) and all(_is_ubi(first_record(path)) for path in found)


def _is_ubi(fields: dict[str, msgspec.Raw]) -> bool:
    with suppress(msgspec.DecodeError):
        names = set(_FIELDS.decode(fields["_source"]) if "_source" in fields else fields)
        return "timestamp" in names and ("action_name" in names or ("query_id" in names and bool(names & _OF_QUERY)))
    return False


def chunks(sources: Sources, options: Options, moments: Moments) -> Iterator[Chunk]:
    actions = Actions.of({name: value for name, value in options.items() if name != OPTION})
    paths, first = dumps(sources), counting(options)
    answered = {request for path in paths for request in _answered(path)}
    for path in paths:
        before, smallest, seen = 0, _FAR, list[_Row]()
        for records, lines in batches(path):
            yield translated(records, lines, str(path), partial(_translate, actions, moments), _page)
            for number, raw in records:
                row = _seen(before + number, raw, actions, moments)
                if row is not None:
                    smallest = min(smallest, row[4])
                    seen += [row] if row[2] not in answered else []
            before += lines
        if seen:
            views = pl.DataFrame(seen, schema=_SEEN, orient="row")
            views, doubts = from_zero(views, first, smallest, ("request_id",))
            placed = views.filter(pl.col("position") >= 0)
            if len(placed) < len(views):
                doubts |= {f"position: must be {first} or more": len(views) - len(placed)}
            made = chunk(path, "impression", _pages(placed))
            yield replace(made, mended={**made.mended, **doubts})


def _page(raw: bytes) -> str | None:
    fields = _FIELDS.decode(_source(raw)[0])
    if "action_name" in fields or "query_id" not in fields:
        return None
    return ident(msgspec.json.decode(fields["query_id"], type=Id), "query_id")


def _source(raw: bytes) -> tuple[bytes, str]:
    """The record itself, and the id it had in its index."""
    fields = _FIELDS.decode(raw)
    if "_source" not in fields:
        return raw, ""
    return bytes(fields["_source"]), msgspec.json.decode(fields.get("_id", msgspec.Raw(b'""')), type=str)


def _translate(actions: Actions, moments: Moments, raw: bytes, _: Mended) -> dict[str, Any]:
    raw.decode()
    record, key = _source(raw)
    if "action_name" in _FIELDS.decode(record):
        return _feedback(_EVENT.decode(record), actions, moments, key or record.decode())
    return _impression(_QUERY.decode(record), moments)


def _who(record: _Who, session: Id | None = None) -> dict[str, Any]:
    """A client is a browser: without an account it is who we know."""
    user = perhaps(record.user_id, "user_id") or perhaps(record.client_id, "client_id")
    return {"user_id": user, "session_id": perhaps(record.session_id or session, "session_id")}


def _impression(query: _Query, moments: Moments) -> dict[str, Any]:
    if not query.hits:
        raise refuse("query_response_hit_ids", "is required: a search without hits showed no page")
    about, request = query.query_attributes or {}, ident(query.query_id, "query_id")
    return {
        "event_id": short("query", request, query.query_response_id),
        "type": "impression",
        "time": moment(moments, query.timestamp, "timestamp"),
        "request_id": request,
        "surface": "search" if query.query else "recommend",
        "query": query.query,
        "context": about | ({"application": query.application} if query.application else {}),
        "items": [{"item_id": hit, "position": place} for place, hit in enumerate(query.hits)],
    } | _who(query)


def _feedback(event: _Event, actions: Actions, moments: Moments, key: str) -> dict[str, Any]:
    about = event.event_attributes
    if about is None or about.object is None:
        raise refuse("event_attributes.object.object_id", "is required: an event about no item is no feedback")
    return {
        "event_id": short("event", key),
        "type": "feedback",
        "time": moment(moments, event.timestamp, "timestamp"),
        "request_id": perhaps(event.query_id, "query_id"),
        "item_id": ident(about.object.object_id, "event_attributes.object.object_id"),
        "action": actions.action(event.action_name),
        "query": event.query,
    } | _who(event, about.session_id)


def _answered(path: Path) -> Iterator[str]:
    """The requests of which the file tells what was found."""
    for records, _ in batches(path):
        for _, raw in records:
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                record, _ = _source(raw)
                if b"query_response" in record and (query := _QUERY.decode(record)).hits:
                    yield ident(query.query_id, "query_id")


def _seen(line: int, raw: bytes, actions: Actions, moments: Moments) -> "_Row | None":
    """What a `view` tells of the page it was on; None for any other record, and where it does not tell the place."""
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        event = _EVENT.decode(_source(raw)[0])
        about = event.event_attributes
        if event.query_id is None or about is None or about.object is None:
            return None
        place = about.place
        if place is None or actions.action(event.action_name) != "view":
            return None
        time, item = moment(moments, event.timestamp, "timestamp"), ident(about.object.object_id, "object_id")
        who, request = _who(event, about.session_id), ident(event.query_id, "query_id")
        return line, time, request, item, place, who["user_id"], who["session_id"], event.query
    return None


def _pages(seen: pl.DataFrame) -> pl.DataFrame:
    """One page a request: each item at the place it was first seen at, at most one item a place."""
    first = seen.sort("time", "line").unique(["request_id", "item_id"], keep="first", maintain_order=True)
    first = first.unique(["request_id", "position"], keep="first", maintain_order=True).sort("request_id", "position")
    fields = COLUMNS["impression"]["items"]
    assert isinstance(fields, pl.List)
    return first.group_by("request_id", maintain_order=True).agg(
        pl.col("line", "time").min(),
        pl.col("user_id", "session_id", "query").drop_nulls().first(),
        event_id=pl.lit("seen:") + pl.col("request_id").first(),
        surface=pl.when(pl.col("query").is_not_null().any()).then(pl.lit("search")).otherwise(pl.lit("recommend")),
        items=pl.struct("item_id", "position"),
    )


UBI = Importer(
    name="ubi",
    looks_for="JSON of ubi_queries (query_id, timestamp, query_response_hit_ids) or ubi_events (action_name, ...)",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
