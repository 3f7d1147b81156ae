"""Merchandising rules say what they need, where they hold, and what was wrong with them."""

import pytest

from pipeline.errors import InputError
from pipeline.filters import NO_FILTERS, Filters
from pipeline.rules import parse_rule, parse_rules, synonyms


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"action": "boost", "brand": "x"}, "rule.id"),
        ({"id": "r", "action": "lift"}, "rule.action"),
        ({"id": "r", "action": "boost"}, "boost needs"),
        ({"id": "r", "action": "pin", "item_ids": ["a"]}, "pin needs"),
        ({"id": "r", "action": "pin", "item_ids": ["a"], "position": -1}, "rule.position"),
        ({"id": "r", "action": "pin", "item_ids": ["a"], "position": 0, "brand": "x"}, "no brand"),
        ({"id": "r", "action": "boost", "brand": "x", "weight": 3.1}, "rule.weight"),
        ({"id": "r", "action": "boost", "brand": "x", "weight": float("nan")}, "rule.weight"),
        ({"id": "r", "action": "synonym", "terms": ["tv"]}, "synonym needs"),
        ({"id": "r", "action": "boost", "brand": "x", "colour": "red"}, "rule.colour"),
        ("boost", "an object"),
    ],
)
def test_a_wrong_rule_names_its_field(rule: object, field: str) -> None:
    with pytest.raises(InputError, match=field):
        parse_rule(rule)


def test_two_rules_of_one_id_are_refused() -> None:
    rule = {"id": "r", "action": "boost", "brand": "x"}
    with pytest.raises(InputError, match=r"rules\[1\].id"):
        parse_rules([rule, rule])


def test_a_rule_of_a_query_holds_however_the_query_is_written() -> None:
    rule = parse_rule({"id": "r", "action": "boost", "brand": "x", "query": " Red  SHOES"})
    assert rule.holds("red shoes", NO_FILTERS)
    assert not rule.holds("red shoe", NO_FILTERS)


def test_a_pin_of_a_category_holds_where_it_or_a_part_of_it_is_browsed() -> None:
    rule = parse_rule({"id": "r", "action": "pin", "item_ids": ["a"], "position": 0, "category": ["shoes"]})
    assert rule.holds("", Filters(category=(("shoes", "boots"),)))
    assert not rule.holds("", Filters(category=(("hats",),)))
    assert not rule.holds("", NO_FILTERS)


def test_synonyms_are_analysed_and_added_up() -> None:
    rules = parse_rules(
        [
            {"id": "1", "action": "synonym", "terms": ["Sofas", "settee"], "synonyms": ["soft couches"]},
            {"id": "2", "action": "synonym", "terms": ["sofa"], "synonyms": ["lounge"]},
            {"id": "3", "action": "synonym", "query": "Running Shoes", "synonyms": ["trainers"]},
        ]
    )
    assert synonyms(rules) == {
        "sofa": ("soft", "couch", "lounge"),
        "settee": ("soft", "couch"),
        "running shoe": ("trainer",),
    }
