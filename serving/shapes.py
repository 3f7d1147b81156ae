"""The shapes of answers, for the documentation at /docs. Hot routes write their JSON without these models."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemError(Shape):
    field: str
    reason: str


class ProblemAnswer(Shape):
    """RFC 9457 `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError]


class ShownItem(Shape):
    item_id: str
    position: int = Field(description="page * page_size + place on the page, 0-based")
    score: float | None = Field(description="the ranker's value; reranking may order otherwise")
    p_click: float | None = Field(description="P(click) where the log mostly shows such items; null without a ranker")
    p_convert: float | None = Field(description="P(convert | click); null without a ranker")
    kind: str
    sponsored: bool
    channels: list[str] = Field(description="the recall channels that found it")
    reason: str | None = Field(default=None, description="`rank`: `unknown_item`, scored as new, or `unavailable`")
    fields: dict[str, Any] | None = Field(default=None, description="what the request's `fields` name")


class Answer(Shape):
    request_id: str = Field(description="name it in feedback, and to ask for the next page")
    items: list[ShownItem]
    total: int = Field(
        description="candidates that were found and meet the filters, at most `[retrieval] fused`; not all matches of "
        "the catalogue. At most 200 can be paged through"
    )
    facets: dict[str, dict[str, int]] = Field(description="how many of those carry each first category and brand")
    refinements: list[object] = Field(description="empty: nothing is proposed yet")
    corrected_query: str | None = Field(default=None, description="what was searched in place of the query as typed")
    degraded: list[str] = Field(
        description="stages that did not run as declared, and `unknown_item` (of the item to be similar to nothing is "
        "known), `no_match` (nothing was found: these are popular items), `weights` (there are no chances to weigh); "
        "empty when all is well"
    )
    bundle: str = Field(description="what answered; kept pages stay with theirs")
    arm: str = Field(description="`main`: there are no experiments")
    took_ms: float
    trace: list[dict[str, object]] | None = Field(default=None, description="only with `explain`")


class Explained(Shape):
    """With `item_id` also what became of the item; `shown` and `position` are those of the answer that was given."""

    request_id: str
    bundle: str
    tick: int = Field(description="the hour whose counts were used")
    cascade: str
    degraded: list[str]
    trace: list[dict[str, object]] = Field(description="each stage: rows in and out, ms, the fallback taken and why")
    item_id: str | None = None
    shown: bool | None = None
    position: int | None = None
    found_by: list[str] | None = Field(default=None, description="the recall channels that find it")
    lost_by: str | None = Field(default=None, description='the stage that loses it, "" for none; `catalogue`: unknown')
    margin: float | None = Field(
        default=None, description="by how much of the stage's score it is lost, where it has one"
    )
    allowed: bool | None = Field(
        default=None, description="whether it may be shown: available, filters, hides, purchases"
    )
    features: dict[str, float] | None = None


class UserAnswer(Answer):
    user_id: str


class BatchAnswer(Shape):
    results: list[UserAnswer] = Field(description="one a user, in the order asked")
    took_ms: float


class ShownSuggestion(Shape):
    query: str
    display: str
    score: float
    source: str
    highlight: list[list[int]] = Field(description="[start, end) pairs of the characters of display that were typed")


class Suggestions(Shape):
    request_id: str
    suggestions: list[ShownSuggestion]


class Rejected(Shape):
    index: int = Field(description="place in the posted array")
    field: str
    reason: str


class Assigned(Shape):
    index: int = Field(description="the event's place in the post, 0-based")
    event_id: str
    time: int = Field(description="epoch milliseconds")


class Taken(Shape):
    accepted: int
    duplicates: int
    rejected: list[Rejected]
    assigned: list[Assigned] = Field(
        default=[], description="events that left out their event_id or time, with those they were given; else absent"
    )


class ItemAnswer(Shape):
    item_id: str
    time: int = Field(description="of the latest event about it, ms")
    kind: str
    sponsored: bool
    title: str | None
    text: str | None
    category: list[str] | None
    brand: str | None
    price: float | None
    currency: str | None
    region: str | None
    tags: list[str] | None
    attributes: dict[str, Any]
    available: bool
    vector: list[float] | None
    removed: bool = Field(description="false: a removed item is answered with 404")


class Removed(Shape):
    item_id: str
    removed: bool


class Forgotten(Shape):
    user_id: str
    events_removed: int
    note: str


class Health(Shape):
    status: str
    bundle: str | None = None
