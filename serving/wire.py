"""What travels: the bodies of requests, strict about names and types, and the shape of answers for the docs."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import WithJsonSchema

from pipeline.features.text import normalise
from pipeline.filters import parse_filters
from pipeline.logs.events import CONTROL, NO_CONTROL
from pipeline.logs.items import NAMED
from pipeline.logs.wire import MAX_TIME
from pipeline.values import plain_texts
from serving.documented import FilterValues
from serving.ports import Ask
from serving.problems import refused

Placement = Literal["complete", "hint", "discover", "rescue"]
Sort = Literal["relevance", "price_asc", "price_desc", "newest"]


def _moment(value: object) -> object:
    """Milliseconds of an RFC 3339 text, or of digits in a query string; other values stay for the next check."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be milliseconds since 1970, or RFC 3339 with its offset from UTC")
    return round(moment.timestamp() * 1000)


_CONTROL = re.compile(CONTROL)


def _kept(value: str) -> str:
    """As for events: an id with control characters names nobody."""
    if _CONTROL.search(value):
        raise ValueError(NO_CONTROL)
    return value


Id = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_kept)]
Text = Annotated[str, Field(max_length=512)]
_MOMENT_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "exclusiveMaximum": MAX_TIME, "description": "epoch milliseconds"},
        {"type": "string", "format": "date-time", "description": "RFC 3339, with its offset from UTC"},
    ]
}
Moment = Annotated[int, BeforeValidator(_moment), Field(ge=0, lt=MAX_TIME), WithJsonSchema(_MOMENT_SCHEMA)]
Gain = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


_OF_A_PAGE = frozenset(  # may differ from page to page
    {"page", "page_size", "request_id", "at", "explain", "context", "fields"}
)


class Wire(BaseModel):
    """Unknown fields and wrong types are refused: a misspelt field must not be silently ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Gains(Wire):
    """What acts are worth here: `score = P(click) (g_click + P(purchase | click) (g_purchase - g_click))`."""

    click: Gain | None = Field(default=None, description="unset: as the bundle was trained")
    purchase: Gain | None = Field(default=None, description="unset: as the bundle was trained")


def _foreseen(value: object) -> object:
    """The ranker foresees clicks and purchases alone: another action's gain would be kept, and never used."""
    if isinstance(value, dict) and (others := [name for name in value if name not in Gains.model_fields]):
        known = ", ".join(Gains.model_fields)
        raise refused(f"weights.{str(others[0])[:64]}", f"is no action that is foreseen; these are {known}")
    return value


Weights = Annotated[Gains, BeforeValidator(_foreseen)]


FIELDS: Final = tuple(name for name in NAMED if name != "vector")


def _field(name: str) -> str:
    if name not in FIELDS and not (name.startswith("attributes.") and name != "attributes."):
        raise ValueError(f"must be one of {', '.join(FIELDS)}, or attributes.NAME")
    return name


Fields = Annotated[
    list[Annotated[str, Field(max_length=160), AfterValidator(_field)]],
    Field(max_length=50, description="what the answer tells of each item: title, price, attributes.NAME, ..."),
]


class ItemPatch(Wire):
    """A merge patch (RFC 7396) of an item: what is left out stays, null takes away."""

    kind: Id | None = None
    sponsored: bool | None = None
    title: str | None = None
    text: str | None = None
    category: list[str] | None = None
    brand: str | None = None
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    currency: str | None = None
    region: str | None = None
    tags: list[str] | None = None
    attributes: dict[str, Any] | None = None
    available: bool | None = None
    vector: list[float] | None = None


class Asked(Wire):
    """What every request for a ranked answer may say."""

    user_id: Id | None = Field(default=None, description="who asks; an unknown user is a new user")
    session_id: Id | None = Field(default=None, description="who asks, when there is no user")
    context: dict[str, Any] = Field(default={}, description="device, region, ... as they will be logged")
    explain: bool = Field(default=False, description="add the trace of the stages")
    fields: Fields = []
    diversity: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False, description="0 none, 1 most")
    weights: Weights | None = Field(default=None, description="gains in place of the bundle's")
    request_id: Id | None = Field(default=None, description="page > 0: that of page 0; else admin, or --replay")
    at: Moment | None = Field(default=None, description="answer as of then; admin, or under --replay")

    @property
    def subject(self) -> str:
        """The log's subject, "" for nobody."""
        return self.user_id or (f"s:{self.session_id}" if self.session_id else "")

    @property
    def logged_filters(self) -> dict[str, object]:
        """The filters as an impression tells them."""
        return {}

    def ask(self, request_id: str, time: int, segment: str) -> Ask:
        """The engine's request; `segment` is the key of `context` to segment by. Raises InputError for filters."""
        context = plain_texts(self.context)
        return Ask(
            id=request_id,
            time=time,
            subject=self.subject,
            segment=context.get(segment, ""),
            diversity=self.diversity,
            weights=None if self.weights is None else self.weights.model_dump(exclude_none=True),
            context=context,
        )


class Paged(Asked):
    """A request whose answer is read page by page."""

    filters: FilterValues = {}
    kinds: list[Id] | None = Field(default=None, max_length=100, description="short for filters.kind")
    sort: Sort = "relevance"
    page: int = Field(default=0, ge=0, le=100_000, description="0-based; above 0 with page 0's request_id")
    page_size: int | None = Field(default=None, ge=1, le=100, description="default 20")

    @model_validator(mode="after")
    def _next_page_names_the_first(self) -> Self:
        if self.page and self.request_id is None:
            raise refused("request_id", "is required for a page above 0: send the one that page 0 answered with")
        return self

    def differences(self, first: "Paged") -> list[str]:
        """Fields that ask for something else than those of the first page did; what is left out is the same."""
        sent = [name for name in type(self).model_fields if name in self.model_fields_set]
        return [name for name in sent if self._differs(first, name)]

    def _differs(self, first: "Paged", name: str) -> bool:
        own, other = getattr(self, name), getattr(first, name, None)
        if name in _OF_A_PAGE or own is None or own == other:
            return False
        match name:
            case "query":
                return normalise(own) != normalise(other or "")
            case "filters" | "kinds":
                return parse_filters(self._completed(first)) != parse_filters(first.logged_filters)
        return True

    def _completed(self, first: "Paged") -> dict[str, object]:
        """The filters, with those of the first page where they are left out."""
        sent = self.model_fields_set
        filters = self.filters if "filters" in sent else first.filters
        kinds = self.kinds if "kinds" in sent or "kind" in self.filters else first.kinds
        return filters if kinds is None else {**filters, "kind": kinds}

    def ask(self, request_id: str, time: int, segment: str) -> Ask:
        filters = parse_filters(self.logged_filters)
        return replace(super().ask(request_id, time, segment), filters=filters, sort=self.sort)

    @property
    def logged_filters(self) -> dict[str, object]:
        return self.filters if self.kinds is None else {**self.filters, "kind": self.kinds}

    @model_validator(mode="after")
    def _kinds_once(self) -> Self:
        if self.kinds is not None and "kind" in self.filters:
            raise refused("kinds", "cannot be given together with filters.kind")
        return self


def _like(*examples: Any) -> ConfigDict:
    """Examples of the document, which a test asks."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class SearchRequest(Paged):
    model_config = _like(
        {"query": "running shoes", "user_id": "u0000005", "page_size": 5, "filters": {"price": {"max": 200}}},
        {"query": "tent", "session_id": "3f1c", "sort": "price_asc", "filters": {"category": [["Outdoors"]]}},
    )

    query: Text = Field(description="as typed")

    def ask(self, request_id: str, time: int, segment: str) -> Ask:
        return replace(super().ask(request_id, time, segment), surface="search", query=self.query)


class RecommendRequest(Paged):
    model_config = _like(
        {"surface": "home", "user_id": "u0000005", "weights": {"click": 1, "purchase": 5}},
        {"surface": "similar", "item_id": "i0000007"},
    )

    surface: Id = Field(description="where the answer is shown: recommend, similar, home, ...")
    item_id: Id | None = Field(default=None, description="the item to be similar to; required for `similar`")

    def ask(self, request_id: str, time: int, segment: str) -> Ask:
        return replace(super().ask(request_id, time, segment), surface=self.surface, item_id=self.item_id)


class BatchRequest(Wire):
    """The same recommendation for many users: page 0 for each, every one with its own request_id."""

    model_config = _like({"surface": "mail", "user_ids": ["u0000005", "u0000006"], "page_size": 10})

    user_ids: list[Id] = Field(min_length=1, max_length=100, description="each at most once")
    surface: Id
    item_id: Id | None = None
    filters: FilterValues = {}
    kinds: list[Id] | None = Field(default=None, max_length=100)
    sort: Sort = "relevance"
    page_size: int | None = Field(default=None, ge=1, le=100)
    context: dict[str, Any] = {}
    diversity: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    weights: Weights | None = None
    fields: Fields = []
    at: Moment | None = None

    @field_validator("user_ids")
    @classmethod
    def _each_once(cls, ids: list[str]) -> list[str]:
        return _distinct(ids)

    def requests(self) -> list[RecommendRequest]:
        shared = self.model_dump(exclude={"user_ids"}, exclude_unset=True)
        return [RecommendRequest(**shared, user_id=user) for user in self.user_ids]


class RankItem(BaseModel):
    """An item of the caller. Fields besides item_id are the caller's own and not read."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    item_id: Id


class RankRequest(Asked):
    model_config = _like({"query": "tent", "user_id": "u0000005", "items": [{"item_id": "i0000007"}, {"item_id": "x"}]})

    items: list[RankItem] = Field(min_length=1, max_length=1_000, description="each at most once")
    query: Text = ""
    surface: Id = "rank"
    item_id: Id | None = Field(default=None, description="surface `similar`: the item the others should be like")

    @field_validator("items")
    @classmethod
    def _each_once(cls, items: list[RankItem]) -> list[RankItem]:
        _distinct([item.item_id for item in items])
        return items

    def ask(self, request_id: str, time: int, segment: str) -> Ask:
        ids = tuple(item.item_id for item in self.items)
        asked = super().ask(request_id, time, segment)
        return replace(asked, surface=self.surface, query=self.query, items=ids, item_id=self.item_id)


class SuggestQuery(Wire):
    """The query string of /v1/suggest."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    placement: Placement = "complete"
    prefix: Text | None = Field(default=None, description="complete: what is typed so far")
    query: Text | None = Field(default=None, description="rescue: the query that found nothing")
    user_id: Id | None = None
    session_id: Id | None = None
    limit: int = Field(default=10, ge=1, le=50)
    request_id: Id | None = Field(default=None, description="admin, or under --replay")
    at: Moment | None = None

    @property
    def subject(self) -> str:
        return self.user_id or (f"s:{self.session_id}" if self.session_id else "")

    @model_validator(mode="after")
    def _has_what_its_placement_needs(self) -> Self:
        needs = {"complete": "prefix", "rescue": "query"}
        given = {"prefix": self.prefix, "query": self.query}
        need = needs.get(self.placement)
        if need is not None and given[need] is None:
            raise refused(need, f"is required for the placement `{self.placement}`")
        return self


class Activation(Wire):
    bundle: Id = Field(description="the id of a bundle under the bundles root")


def _distinct(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise ValueError(f"must name each only once; {twice!r} comes twice")
    return ids
