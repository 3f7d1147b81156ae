"""The shapes of answers, for the documentation at /docs. Hot routes write their JSON without these models."""

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
    p_convert: float | None = Field(description="P(convert | click)")
    kind: str
    sponsored: bool
    channels: list[str] = Field(description="the recall channels that found it")
    reason: str | None = None


class Answer(Shape):
    request_id: str = Field(description="name it in feedback, and to ask for the next page")
    items: list[ShownItem]
    total: int = Field(description="items that meet query and filters; at most 200 can be paged through")
    facets: dict[str, dict[str, int]]
    refinements: list[object]
    corrected_query: str | None = None
    degraded: list[str] = Field(description="stages that did not run as declared; empty when all is well")
    bundle: str
    arm: str
    took_ms: float
    trace: list[dict[str, object]] | None = Field(default=None, description="only with `explain`")


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


class Forgotten(Shape):
    user_id: str
    events_removed: int
    note: str


class Health(Shape):
    status: str
    bundle: str | None = None
