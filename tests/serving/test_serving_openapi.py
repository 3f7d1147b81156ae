"""The OpenAPI document says what the service does."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import InputError
from pipeline.filters import parse_filters
from serving.documented import FilterKeys

# filters, and whether they are; what the document says and what the parser does are compared
FILTERS: list[tuple[Any, bool]] = [
    ({}, True),
    ({"category": [["Shoes"], ["Bags", "Belts"]]}, True),
    ({"category": []}, True),
    ({"category": ["Shoes"]}, False),
    ({"category": [[]]}, False),
    ({"category": [["a", "b", "c", "d", "e"]]}, False),
    ({"category": [[1]]}, False),
    ({"category": "Shoes"}, False),
    ({"brand": ["a", "b"], "region": ["be"], "tags": ["new"], "kind": ["product"], "exclude_items": ["i1"]}, True),
    ({"brand": "a"}, False),
    ({"brand": [None]}, False),
    ({"brand": None}, False),
    ({"tags": [1]}, False),
    ({"region": {"be": True}}, False),
    ({"price": {"min": 1, "max": 2.5}}, True),
    ({"price": {"min": None}}, True),
    ({"price": {}}, True),
    ({"price": None}, True),
    ({"price": {"low": 1}}, False),
    ({"price": {"min": "1"}}, False),
    ({"price": {"min": True}}, False),
    ({"price": [1, 2]}, False),
    ({"attributes": {"size": [32, 32.5, "M", True]}}, True),
    ({"attributes": None}, True),
    ({"attributes": {"size": "M"}}, False),
    ({"attributes": ["size"]}, False),
    ({"exclude_items": [["i1"]]}, False),
    ({"colour": ["red"]}, False),
    (["brand"], False),
]


@pytest.mark.parametrize(("filters", "fine"), FILTERS, ids=[str(filters)[:50] for filters, _ in FILTERS])
def test_filters_are_documented_as_they_are_read(filters: Any, fine: bool) -> None:
    def read() -> bool:
        try:
            parse_filters(filters)
        except InputError:
            return False
        return True

    def documented() -> bool:
        try:
            FilterKeys.model_validate(filters)
        except ValidationError:
            return False
        return True

    assert (read(), documented()) == (fine, fine)
