"""Equal values are one value, wherever they come from, and unequal ones are not."""

import json

import numpy as np
import polars as pl
import pytest

from pipeline.catalogue import build_catalogue
from pipeline.features.fields import ItemField
from pipeline.filters import matching, parse_filters
from pipeline.observed import Shown
from pipeline.values import member_texts, plain_members, plain_text, value_text
from retrieval.documents import documents, required
from tests.frames import frame, item, page

SAME = (
    (32, 32.0),
    (True, "true"),
    (False, "false"),
    (32, "32"),
    (32.0, "32"),
    (1e3, 1000),
    (-0.0, 0),
    (1.50, 1.5),
    (10**20, 1e20),
    (0.1, "0.1"),
    ({"b": 2.0, "a": [1.0]}, {"a": [1], "b": 2}),
)
OTHER = (("01", "1"), ("1.10", "1.1"), ("1.0", 1), (1, True), ("True", True), (0, False), ("1e3", 1000), ("", "null"))


def finds(value: object, wanted: object) -> tuple[bool, bool]:
    """Whether a filter finds an item, by the mask and by the labels of the index."""
    row = item("a", attributes=json.dumps({"of": value}))
    catalogue = build_catalogue(frame("item", row), pl.Series([], dtype=pl.String))
    filters = parse_filters({"attributes": {"of": [wanted]}})
    (group,) = required(filters)
    (_, (_, labels)) = documents(catalogue.rows)
    return bool(matching(filters, catalogue, catalogue.at(10**12))[1]), bool(set(group) & set(labels))


@pytest.mark.parametrize(("left", "right"), SAME)
def test_equal_values_meet_on_both_sides(left: object, right: object) -> None:
    assert value_text(left) == value_text(right)
    assert finds(left, right) == finds(right, left) == (True, True)


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_different_values_stay_different(left: object, right: object) -> None:
    assert value_text(left) != value_text(right)
    assert finds(left, right) == finds(right, left) == (False, False)


def test_null_is_no_value_and_each_of_a_list_is_one() -> None:
    assert finds(None, None) == finds(None, "null") == (False, False)
    assert finds([1.0, "blue"], 1) == finds([1.0, "blue"], "blue") == (True, True)


@pytest.mark.parametrize("value", [32.0, 1e3, 10**20, True, "01", "1.10", 'a "b" é', "[x", 0.1, "1e3", -0.0])
def test_a_member_of_many_objects_reads_as_a_single_value_does(value: object) -> None:
    objects = pl.Series([json.dumps({"of": value}), "{}", None, '{"of": null}'])
    assert member_texts(objects, "of").to_list() == [value_text(value), None, None, None]
    assert plain_members(objects, "of").to_list() == [plain_text(value), None, None, None]


def test_lists_and_objects_are_no_plain_values() -> None:
    objects = pl.Series(['{"of": [1.0]}', '{"of": {"a": 1}}', '{"of": ""}', '{"of": "[1.0]"}'])
    assert plain_members(objects, "of").to_list() == [None, None, None, "[1.0]"]


def test_a_declared_field_and_a_segment_know_equal_values() -> None:
    sizes = (42, 42.0, "42", "042", [42.0, 43])
    rows = frame("item", *(item(f"i{n}", attributes=json.dumps({"size": size})) for n, size in enumerate(sizes)))
    assert ItemField.of(rows, "attributes.size").text.to_list() == ["42", "42", "42", "042", "42"]
    catalogue = build_catalogue(rows, pl.Series([], dtype=pl.String))
    few = [page(f"r{n}", 1, "a", context=json.dumps({"region": r})) for n, r in enumerate((7, 7.0, "7", "07"))]
    for times in (1, 100):  # read from lists and from columns
        keys = Shown.of(frame("impression", *few * times), catalogue, "region").segment
        assert len(np.unique(keys[:3])) == 1
        assert keys[3] != keys[0]
