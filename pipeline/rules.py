"""Merchandising rules: what a shop may say about its own page, per query, per category or everywhere.

A rule of a query holds for requests whose normalised query equals it. The category of a pin or of synonyms is where
the rule holds (requests filtered on that category or below it); the category and the brand of a boost or a bury are
what it moves, so that "boost this brand in these categories" needs no filter.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.catalogue import LEVELS
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.features.text import normalise, tokens
from pipeline.filters import Filters

MAX_WEIGHT = 3.0
SLATE = 200

Action = Literal["pin", "boost", "bury", "synonym"]
_NEEDS = {
    "pin": "`item_ids` and `position`",
    "boost": "`item_ids`, `brand` or `category`",
    "bury": "`item_ids`, `brand` or `category`",
    "synonym": "`synonyms`, and `terms` or `query`",
}


class Rule(Config):
    """One rule; what its action does not use has to be left out."""

    id: str = Field(min_length=1, max_length=128, description="the rule's name, unique")
    action: Action = Field(description="pin | boost | bury | synonym")
    query: str | None = Field(None, min_length=1, description="only for this query, compared normalised")
    category: tuple[str, ...] | None = Field(None, min_length=1, max_length=LEVELS, description="path of a category")
    item_ids: tuple[str, ...] = Field((), max_length=SLATE, description="the items pinned, boosted or buried")
    brand: str | None = Field(None, min_length=1, description="the brand boosted or buried")
    position: int | None = Field(None, ge=0, lt=SLATE, description="place of the first pinned item, 0-based")
    weight: float = Field(2.0, ge=1, le=MAX_WEIGHT, description="what a boost multiplies and a bury divides by")
    terms: tuple[str, ...] = Field((), description="what is typed")
    synonyms: tuple[str, ...] = Field((), description="what is searched as well")

    @model_validator(mode="after")
    def _fits_its_action(self) -> "Rule":
        has = {
            "pin": bool(self.item_ids) and self.position is not None,
            "synonym": bool(self.synonyms) and bool(self.terms or self.query),
        }
        if not has.get(self.action, bool(self.item_ids or self.brand or self.category)):
            raise ValueError(f"a {self.action} needs {_NEEDS[self.action]}")
        surplus = _surplus(self)
        if surplus:
            raise ValueError(f"a {self.action} has no {', '.join(surplus)}")
        return self

    @property
    def normalised(self) -> str:
        """The query as requests are compared with it, "" = any."""
        return normalise(self.query) if self.query else ""

    def holds(self, normalised: str, filters: Filters) -> bool:
        """Whether a request is within the rule's scope."""
        if self.query and self.normalised != normalised:
            return False
        if self.category is None or self.action in ("boost", "bury"):
            return True
        return any(path[: len(self.category)] == self.category for path in filters.category)


def _surplus(rule: Rule) -> list[str]:
    """Fields that are set although the action does not use them."""
    unused = {
        "pin": ("brand", "terms", "synonyms"),
        "boost": ("position", "terms", "synonyms"),
        "bury": ("position", "terms", "synonyms"),
        "synonym": ("category", "item_ids", "brand", "position"),
    }[rule.action]
    return [name for name in unused if name in rule.model_fields_set and getattr(rule, name) not in (None, ())]


def parse_rule(value: object, place: str = "rule") -> Rule:
    """A rule from its wire form. Raises InputError naming the field."""
    if not isinstance(value, Mapping):
        raise InputError(place, "an object", received=value)
    try:
        return Rule.model_validate(dict(value))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([place, *(str(part) for part in first["loc"])])
        raise InputError(field, str(first["msg"]).removeprefix("Value error, ")) from error


def parse_rules(value: object, place: str = "rules") -> tuple[Rule, ...]:
    """Rules from their wire form, in order of precedence. Raises InputError; an id may stand once."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(place, "a list of rules", received=value)
    rules = tuple(parse_rule(rule, f"{place}[{i}]") for i, rule in enumerate(value))
    seen: set[str] = set()
    for i, rule in enumerate(rules):
        if rule.id in seen:
            raise InputError(f"{place}[{i}].id", "an id no other rule has", received=rule.id)
        seen.add(rule.id)
    return rules


def synonyms(rules: Sequence[Rule]) -> Mapping[str, tuple[str, ...]]:
    """What to search as well: analysed words joined by a blank -> analysed words to add.

    Look up each word of a query, and all its words joined. A rule with a query is found by the whole query only.
    """
    added: dict[str, list[str]] = {}
    for rule in rules:
        if rule.action == "synonym":
            new = [word for text in rule.synonyms for word in tokens(text)]
            for typed in [rule.query] if rule.query else rule.terms:
                key = " ".join(tokens(typed))
                added[key] = list(dict.fromkeys([*added.get(key, ()), *new]))
    return {key: tuple(words) for key, words in added.items()}
