"""Features a user declares in podium.toml: what one may say, and what must be known to compute it."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from pipeline.config import Config
from pipeline.errors import ArtifactError
from pipeline.features.ids import key

MOST: Final = 64
WHOLE_FIELDS: Final = ("item_id", "kind", "brand", "region", "category.1", "category.2", "category.3", "category.4")
TEXT_FIELDS: Final = ("title", "text", "tags")
_HOURS: Final = {"h": 1, "d": 24}
_NAMED: Final = re.compile(r"[^\"'\\\[\]]+")  # names that a JSON path can quote
_USER, _CONTEXT, _ATTRIBUTE = "user.attributes.", "context.", "attributes."
_OPTIONS: Final = {
    "rate": {"by", "action", "window", "missing"},
    "count": {"by", "action", "window", "missing"},
    "recency": {"missing"},
    "affinity": {"missing"},
    "match": {"by", "missing"},
    "numeric": {"missing"},
    "categorical": {"cardinality"},
}


class Declared(Config):
    """One feature over a field of the item. It joins the others under its name, after them."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64, description="unlike that of any other feature")
    kind: Literal["rate", "count", "recency", "affinity", "match", "numeric", "categorical"] = Field(
        description="what is said of the field"
    )
    item: str = Field(description="a field of the item: brand, category.1, attributes.color, ...")
    by: str = Field(default="", description="of who asks: user.attributes.NAME, context.NAME or query")
    action: Literal["view", "click", "cart", "purchase", "like", "hide"] = Field(
        default="click", description="what a rate or a count counts"
    )
    window: str = Field(default="", pattern=r"^([1-9]\d{0,3}[hd])?$", description="24h, 7d, ...; none is all time")
    missing: float | Literal["nan"] = Field(default="nan", description="the value where it cannot be known")
    cardinality: int = Field(default=100, ge=1, le=10_000, description="categorical: values with a code of their own")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if surplus := self.model_fields_set - {"name", "kind", "item"} - _OPTIONS[self.kind]:
            raise ValueError(f"`{self.name}`: a {self.kind} feature takes no `{min(surplus)}`")
        if self.item not in (allowed := _items(self.kind)) and not _named(self.item, _ATTRIBUTE):
            known = ", ".join((*allowed, "attributes.NAME"))
            raise ValueError(f"`{self.name}`: `item` of a {self.kind} feature is one of {known}, not {self.item!r}")
        if not self.by and self.kind == "match":
            raise ValueError(f"`{self.name}`: a match feature needs `by`, what the item's value is compared with")
        if self.by not in ("", "query") and not _named(self.by, _USER) and not _named(self.by, _CONTEXT):
            raise ValueError(f"`{self.name}`: `by` is user.attributes.NAME, context.NAME or query, not {self.by!r}")
        return self

    @property
    def ticks(self) -> int | None:
        """The window; None for all time."""
        return int(self.window[:-1]) * _HOURS[self.window[-1]] if self.window else None

    @property
    def clocked(self) -> bool:
        """Whether a log without clock time cannot have it."""
        return bool(self.window) or self.kind == "recency"

    @property
    def counted(self) -> bool:
        """Whether the state counts for it."""
        return self.kind in ("rate", "count", "affinity")

    @property
    def major(self) -> int:
        """The key its counts lie under."""
        return key(f"declared:{self.name}")

    @property
    def otherwise(self) -> float:
        return float("nan") if self.missing == "nan" else float(self.missing)


Declarations = tuple[Declared, ...]


def declarations(told: Iterable[Mapping[str, object]], place: str) -> Declarations:
    """From what `as_told` wrote. Raises ArtifactError when a declaration is none of this version."""
    try:
        return tuple(Declared.model_validate(each) for each in told)
    except ValidationError as error:
        raise ArtifactError("declared", "features of this version; train again", place=place) from error


def as_told(declared: Declarations) -> tuple[dict[str, Any], ...]:
    """Plain values, of what was set."""
    return tuple(each.model_dump(exclude_unset=True) for each in declared)


class Wanted(NamedTuple):
    """What declared features read of who asks: names of user attributes and of context, and the fields that pages
    are counted by."""

    users: tuple[str, ...]
    contexts: tuple[str, ...]
    pages: tuple[str, ...]


@cache
def wanted(declared: Declarations) -> Wanted:
    every = sorted({each.by for each in declared})
    users, contexts = (
        tuple(by.removeprefix(root) for by in every if by.startswith(root)) for root in (_USER, _CONTEXT)
    )
    return Wanted(users, contexts, tuple(sorted({each.by for each in declared if each.counted and each.by})))


@cache
def declared_names(declared: Declarations, clock: str) -> tuple[str, ...]:
    """Those a log of this clock can have, in order."""
    return tuple(each.name for each in declared if clock == "exact" or not each.clocked)


def user_field(by: str) -> str | None:
    """The user attribute a `by` names; None when it names something else."""
    return by.removeprefix(_USER) if by.startswith(_USER) else None


def context_field(by: str) -> str | None:
    return by.removeprefix(_CONTEXT) if by.startswith(_CONTEXT) else None


def attribute_field(item: str) -> str | None:
    """The attribute an item field names; None when it is a column of its own."""
    return item.removeprefix(_ATTRIBUTE) if item.startswith(_ATTRIBUTE) else None


def _items(kind: str) -> tuple[str, ...]:
    if kind == "numeric":
        return ("price",)
    return (*WHOLE_FIELDS, *TEXT_FIELDS) if kind == "match" else WHOLE_FIELDS


def _named(field: str, root: str) -> bool:
    return field.startswith(root) and _NAMED.fullmatch(field.removeprefix(root)) is not None
