"""What the OpenAPI document says that the framework cannot know: problems by their media type, events, and the types of
what parsers of their own check, so that an error stays one sentence by field.

A request never passes through these models; a test holds that they and the parsers accept the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipeline.catalogue import LEVELS
from pipeline.rules import Rule
from serving.event_schemas import event_schemas
from serving.problems import MEDIA

_Path = Annotated[list[str], Field(min_length=1, max_length=LEVELS)]


@dataclass(frozen=True, slots=True)
class DocumentedAs:
    """Annotates a value that the document describes by another type."""

    type: Any

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(TypeAdapter(self.type).core_schema)


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PriceRange(_Described):
    """Both ends belong to it; one left out is open. An item without a price fails."""

    min: float | None = None
    max: float | None = None


class FilterKeys(_Described):
    """OR within a key, AND across keys. An item without the value fails, but for one without a region, which is sold
    everywhere. What is not available is never shown."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"category": [["Shoes", "Boots"], ["Bags"]], "price": {"max": 200}}}
    )

    category: list[_Path] = Field(default=[], description="paths: the category and all below it")
    brand: list[str] = []
    region: list[str] = []
    tags: list[str] = []
    kind: list[str] = []
    price: PriceRange | None = None
    attributes: dict[str, list[str | float | bool]] | None = Field(
        default=None, description="by name; 32 and 32.0 are one value, and so are true and the text `true`"
    )
    exclude_items: list[str] = Field(default=[], description="ids; one that nobody knows excludes nothing")


class RuleBook(_Described):
    """The rules in order of precedence."""

    rules: list[Rule]


FilterValues = Annotated[dict[str, Any], DocumentedAs(FilterKeys)]
Rules = Annotated[Any, DocumentedAs(RuleBook | list[Rule])]


def document(app: FastAPI, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, once what the framework made of it is completed."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    found = made()
    found["components"]["schemas"].update(event_schemas())
    for operations in found["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                _as_problem(answer.get("content", {}))
    return found


def _as_problem(content: dict[str, Any]) -> None:
    """The schema of a problem belongs to its media type; the framework files it under that of the answer."""
    if MEDIA in content:
        (schema,) = (about for media, about in content.items() if media != MEDIA)
        content.clear()
        content[MEDIA] = schema
