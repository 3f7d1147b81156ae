"""Gorse's items, users and feedback: what its REST API answers and what its dashboard exports, as JSON.

Feedback becomes feedback without a request, its type an action; items and users keep their labels. Gorse stores one
feedback for each (type, user, item) and logs no lists, so there are no impressions.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.logs.decode import Chunk
from pipeline.logs.importers.base import Importer, Options, Sources, always_exact
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
    refuse,
    short,
    translated,
)
from pipeline.logs.moments import Moments

_COUNTED = ("cart", "purchase")


class _Feedback(Struct, rename="pascal"):
    feedback_type: str
    user_id: Id
    item_id: Id
    timestamp: Stamp
    value: float = 0.0


class _Item(Struct, rename="pascal"):
    item_id: Id
    is_hidden: bool = False
    categories: list[str] | None = None
    timestamp: Stamp = None
    labels: Any = None
    comment: str | None = None


class _User(Struct, rename="pascal"):
    user_id: Id
    labels: Any = None
    comment: str | None = None


class _Stamp(Struct, rename="pascal"):
    timestamp: Stamp = None


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FEEDBACK, _ITEM, _USER = msgspec.json.Decoder(_Feedback), msgspec.json.Decoder(_Item), msgspec.json.Decoder(_User)
_STAMP = msgspec.json.Decoder(_Stamp)
_SIGNS = ({"FeedbackType", "UserId", "ItemId"}, {"ItemId", "Labels"}, {"ItemId", "Categories"}, {"UserId", "Labels"})


def recognises(sources: Sources) -> bool:
    found = dumps(sources)
    return bool(found) and all(any(sign <= set(first_record(path)) for sign in _SIGNS) for path in found)


def chunks(sources: Sources, options: Options, moments: Moments) -> Iterator[Chunk]:
    paths = dumps(sources)
    translate = partial(_translate, Actions.of(options), moments, _earliest(paths, moments))
    for path in paths:
        for records, lines in batches(path):
            yield translated(records, lines, str(path), translate)


def _earliest(paths: list[Path], moments: Moments) -> int:
    """The first moment anything tells of, ms: users have no time of their own, and items may have none."""
    known = (_known(raw, moments) for path in paths for records, _ in batches(path) for _, raw in records)
    return min((time for time in known if time is not None and time > 0), default=0)


def _known(raw: bytes, moments: Moments) -> int | None:
    try:
        stamp = _STAMP.decode(raw).timestamp
        return None if stamp is None else moment(moments, stamp, "Timestamp")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _translate(actions: Actions, moments: Moments, earliest: int, raw: bytes, _: Mended) -> dict[str, Any]:
    raw.decode()
    names = _FIELDS.decode(raw)
    if "FeedbackType" in names:
        return _told(_FEEDBACK.decode(raw), actions, moments)
    if "ItemId" in names:
        return _item(_ITEM.decode(raw), raw, moments, earliest)
    if "UserId" in names:
        user = _USER.decode(raw)
        about = _attributes(user.labels) | ({"comment": user.comment} if user.comment else {})
        event = {"event_id": short("user", raw.decode()), "type": "user", "time": earliest}
        return event | {"user_id": ident(user.user_id, "UserId"), "attributes": about}
    raise refuse("ItemId", "must have an ItemId, a UserId, or both and a FeedbackType")


def _told(feedback: _Feedback, actions: Actions, moments: Moments) -> dict[str, Any]:
    time = moment(moments, feedback.timestamp, "Timestamp")
    action = actions.action(feedback.feedback_type, feedback.value)
    user, item = ident(feedback.user_id, "UserId"), ident(feedback.item_id, "ItemId")
    key = short("feedback", feedback.feedback_type, user, item, time)
    event = {"event_id": key, "type": "feedback", "time": time, "user_id": user, "item_id": item, "action": action}
    # Gorse adds up the values of repeated feedback: of what is bought they are how many.
    if action in _COUNTED and feedback.value >= 1 and feedback.value.is_integer():
        event["quantity"] = int(feedback.value)
    return event


def _item(item: _Item, raw: bytes, moments: Moments, earliest: int) -> dict[str, Any]:
    zero = item.timestamp is None or str(item.timestamp).startswith("0001-01-01")  # Go's zero time is the year 1
    time = earliest if zero else moment(moments, item.timestamp, "Timestamp")
    categories = item.categories or []
    labels = item.labels if isinstance(item.labels, list) else []
    tags = [*categories[1:], *(label for label in labels if isinstance(label, str))]
    return {
        "event_id": short("item", raw.decode()),
        "type": "item",
        "time": time,
        "item_id": ident(item.item_id, "ItemId"),
        "title": item.comment or None,
        "category": categories[:1],
        "tags": list(dict.fromkeys(tags)),
        "available": not item.is_hidden,
        "attributes": _attributes(item.labels) if isinstance(item.labels, dict) else {},
    }


def _attributes(labels: object) -> dict[str, Any]:
    if isinstance(labels, dict):
        return labels
    return {"labels": labels} if labels else {}


GORSE = Importer(
    name="gorse",
    looks_for="JSON of feedback (FeedbackType, UserId, ItemId), items (ItemId, Labels or Categories), users (Labels)",
    recognises=recognises,
    clock=always_exact,
    chunks=chunks,
)
