"""The catalogue as of a moment, and filters over it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.catalogue import UNKNOWN, Catalogue, build_catalogue
from pipeline.errors import ArtifactError, InputError
from pipeline.filters import matching, parse_filters
from tests.frames import HOUR, frame, item

SHOE = item("shoe", category=["clothes", "shoes"], brand="Ada", price=30.0, region="eu", tags=["new"])
SOCK = item(
    "sock", category=["clothes", "socks"], brand="Bo", price=5.0, attributes='{"color": ["red", "blue"], "size": 9}'
)
LAMP = item("lamp", time=HOUR, category=["home"], price=50.0)


def shop() -> Catalogue:
    return build_catalogue(frame("item", SHOE, SOCK, LAMP), pl.Series(["shoe", "bare"]))


def test_dense_ids_are_in_order_of_item_id_after_the_unknown_one() -> None:
    assert shop().ids == ["", "bare", "lamp", "shoe", "sock"]
    assert shop().dense(pl.Series(["sock", "nobody"])).tolist() == [4, -1]


def test_an_item_is_available_from_its_first_row_and_a_bare_one_always() -> None:
    before, after = shop().at(HOUR - 1), shop().at(HOUR)
    assert before.available.tolist() == [False, True, False, True, True]
    assert after.available.tolist() == [False, True, True, True, True]


def test_price_and_availability_are_read_as_of_the_moment_in_any_order_of_asking() -> None:
    changes = frame("item", SHOE, item("shoe", 2 * HOUR, price=20.0), item("shoe", 3 * HOUR, available=False))
    catalogue = build_catalogue(changes, pl.Series([], dtype=pl.String))
    seen = {hour: catalogue.at(hour * HOUR) for hour in (3, 0, 2, 1)}
    assert {hour: bool(s.available[1]) for hour, s in seen.items()} == {0: True, 1: True, 2: True, 3: False}
    assert {hour: float(s.price[1]) for hour, s in seen.items() if hour < 3} == {0: 30.0, 1: 30.0, 2: 20.0}


def test_live_items_follow_and_known_ones_keep_their_place() -> None:
    live = shop().extend(frame("item", item("apple", 5, price=1.0), item("shoe", 6, brand="New")), pl.Series(["zed"]))
    assert live.ids == ["", "bare", "lamp", "shoe", "sock", "apple", "zed"]
    assert live.bundled == 5
    assert live.rows["brand"][3] == "New"
    assert live.tie[live.index["apple"]] < live.tie[live.index["bare"]]


def test_adding_items_at_once_or_one_by_one_gives_the_same_catalogue() -> None:
    rows = frame("item", item("x", 5, price=1.0), item("y", 6), item("x", 7, price=2.0))
    at_once = shop().extend(rows)
    one_by_one = shop()
    for place in range(len(rows)):
        one_by_one = one_by_one.extend(rows[place : place + 1])
    assert at_once.rows.equals(one_by_one.rows)
    assert np.array_equal(at_once.at(6).price, one_by_one.at(6).price, equal_nan=True)


def test_a_saved_catalogue_opens_the_same(tmp_path: Path) -> None:
    shop().save(tmp_path)
    opened = Catalogue.open(tmp_path)
    assert opened.rows.equals(shop().rows)
    assert np.array_equal(opened.at(HOUR).price, shop().at(HOUR).price, equal_nan=True)


def test_a_catalogue_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_text("no")
    with pytest.raises(ArtifactError, match="readable table"):
        Catalogue.open(tmp_path)


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        ({}, "bare lamp shoe sock"),
        ({"brand": ["Ada", "Bo"]}, "shoe sock"),
        ({"category": [["clothes"]]}, "shoe sock"),
        ({"category": [["clothes", "socks"], ["home"]]}, "lamp sock"),
        ({"category": [["socks"]]}, ""),
        ({"region": ["us"]}, "bare lamp sock"),
        ({"region": ["eu"]}, "bare lamp shoe sock"),
        ({"tags": ["new"]}, "shoe"),
        ({"price": {"min": 5, "max": 30}}, "shoe sock"),
        ({"price": {"max": 10}}, "sock"),
        ({"attributes": {"color": ["red"], "size": [9]}}, "sock"),
        ({"attributes": {"color": ["green"]}}, ""),
        ({"kind": ["content"]}, ""),
        ({"exclude_items": ["shoe", "nobody"]}, "bare lamp sock"),
        ({"brand": ["Ada"], "price": {"min": 100}}, ""),
    ],
)
def test_filters_are_or_within_a_key_and_across_keys(wire: Mapping[str, object], found: str) -> None:
    catalogue = shop()
    mask = matching(parse_filters(wire), catalogue, catalogue.at(HOUR))
    assert [catalogue.ids[place] for place in np.flatnonzero(mask)] == found.split()
    assert not mask[UNKNOWN]


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ([], "filters"),
        ({"colour": ["red"]}, "filters.colour"),
        ({"brand": "Ada"}, "filters.brand"),
        ({"brand": [1]}, "filters.brand"),
        ({"category": ["home"]}, r"filters.category\[0\]"),
        ({"category": [[]]}, "filters.category"),
        ({"category": "home"}, "filters.category"),
        ({"price": 3}, "filters.price"),
        ({"price": {"min": "3"}}, "filters.price.min"),
        ({"price": {"min": 3, "max": 2}}, "filters.price"),
        ({"price": {"least": 3}}, "filters.price"),
        ({"attributes": ["red"]}, "filters.attributes"),
        ({"attributes": {"color": "red"}}, "filters.attributes.color"),
    ],
)
def test_a_malformed_filter_names_its_key(wire: object, field: str) -> None:
    with pytest.raises(InputError, match=field):
        parse_filters(wire)


LATE = [
    item("x", 10, price=1.0),
    item("y", 10, price=5.0, received=40),
    item("x", 20, price=2.0, title="old", received=50),  # says less than what is known by then
    item("x", 30, price=3.0, title="new"),
]


def test_a_row_that_came_late_is_known_only_then_and_never_against_a_later_statement() -> None:
    catalogue = build_catalogue(frame("item", *LATE), pl.Series([], dtype=pl.String))
    x, y = catalogue.index["x"], catalogue.index["y"]
    assert [float(catalogue.at(time).price[x]) for time in (10, 29, 30, 60)] == [1.0, 1.0, 3.0, 3.0]
    assert [bool(catalogue.at(time).available[y]) for time in (10, 40, 41)] == [False, False, True]
    assert catalogue.rows["title"][x] == "new"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 2, 1, 0)])
def test_late_rows_give_the_same_catalogue_in_whatever_parts_they_come(order: tuple[int, ...]) -> None:
    at_once = build_catalogue(frame("item", *LATE), pl.Series([], dtype=pl.String))
    grown = build_catalogue(frame("item"), pl.Series(["x", "y"]))
    for place in order:
        grown = grown.extend(frame("item", LATE[place]))
    assert grown.rows.equals(at_once.rows)
    for name in ("time", "item", "available", "price", "stated"):
        assert np.array_equal(getattr(grown.timeline, name), getattr(at_once.timeline, name), equal_nan=True)
