"""The events as they travel: one tagged struct a type, strict about names, types and bounds.

What a single field must be is said here and checked by the decoder in C; what needs several fields at once (a
subject, a page without repeats) is in `validate`. Free-form objects stay JSON text.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from pipeline.logs.events import MAX_ID

MAX_TIME = 4_102_444_800_000  # 2100-01-01, exclusive: beyond it a time is a mistake of unit
_INT32, _INT64 = 2**31 - 1, 2**63 - 1

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Time = (
    Annotated[int, Meta(ge=0, lt=MAX_TIME)]
    | Annotated[float, Meta(ge=0, lt=MAX_TIME)]  # browsers tell parts of a millisecond
    | Annotated[datetime, Meta(tz=True)]
)
Place = Annotated[int, Meta(ge=0, le=_INT32)]
Count = Annotated[int, Meta(ge=0, le=_INT64)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Nothing = Raw(b"{}")


class Event(Struct, kw_only=True, forbid_unknown_fields=True, gc=False, tag_field="type"):
    """What every event has. `schema` may be left out; it then is the file's."""

    event_id: Id
    time: Time
    received: Time | None = None
    schema: Literal[1] = 1


class Item(Event, kw_only=True, tag="item"):
    item_id: Id
    kind: Name | None = None
    sponsored: bool | None = None
    title: str | None = None
    text: str | None = None
    category: list[str] | None = None
    brand: str | None = None
    price: Annotated[float, Meta(ge=0)] | None = None
    currency: str | None = None
    region: str | None = None
    tags: list[str] | None = None
    attributes: Raw = Nothing
    available: bool | None = None
    vector: list[float] | None = None
    partial: bool = False
    removed: bool = False


class User(Event, kw_only=True, tag="user"):
    user_id: Id
    attributes: Raw = Nothing


class Shown(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One item of a page."""

    item_id: Id
    position: Place
    score: float | None = None
    propensity: Probability | None = None
    marginal: Probability | None = None
    channel: str | None = None


class Impression(Event, kw_only=True, tag="impression"):
    request_id: Id
    surface: Name
    user_id: Id | None = None
    session_id: Id | None = None
    query: str | None = None
    filters: Raw = Nothing
    context: Raw = Nothing
    items: Annotated[list[Shown], Meta(min_length=1)]
    order: Literal["shown", "unknown"] = "shown"
    outcomes: Literal["known", "unknown"] = "known"
    page: Place = 0
    bundle: str | None = None
    arm: str | None = None
    explored: bool = False
    tick: Annotated[int, Meta(ge=-_INT64, le=_INT64)] | None = None


class Feedback(Event, kw_only=True, tag="feedback"):
    user_id: Id | None = None
    session_id: Id | None = None
    item_id: Id
    action: Name
    request_id: Id | None = None
    value: Annotated[int, Meta(ge=-_INT64, le=_INT64)] | None = None
    quantity: Annotated[int, Meta(ge=1, le=_INT64)] = 1
    dwell_ms: Count | None = None
    query: str | None = None


class Suggested(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One suggestion of a list."""

    query: str
    position: Place


class Suggest(Event, kw_only=True, tag="suggest"):
    request_id: Id
    placement: Name
    prefix: str | None = None
    query: str | None = None
    item_id: Id | None = None
    user_id: Id | None = None
    session_id: Id | None = None
    shown: list[Suggested]
    chosen: str | None = None


class Judgment(Event, kw_only=True, tag="judgment"):
    query: Annotated[str, Meta(min_length=1)]
    item_id: Id
    grade: float


AnyEvent = Item | User | Impression | Feedback | Suggest | Judgment
KINDS: dict[type[Struct], str] = {
    Item: "item",
    User: "user",
    Impression: "impression",
    Feedback: "feedback",
    Suggest: "suggest",
    Judgment: "judgment",
}
