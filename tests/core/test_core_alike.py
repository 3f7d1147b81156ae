import copy
from typing import Any

import pytest

from tests.alike import Record, differences

TOLD: dict[str, Any] = {"a": [1, 2.5, {"b": "x", "c": None}], "d": float("nan"), "e": -3.0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["a"].__setitem__(1, 2.6), ".a[1]: 2.6, not 2.5"),
        (lambda v: v["a"].__setitem__(0, 1.0), ".a[0]: 1.0, not 1"),
        (lambda v: v["a"][2].__setitem__("b", "y"), ".a[2].b: 'y', not 'x'"),
        (lambda v: v["a"].pop(), ".a: 2 values, not 3"),
        (lambda v: v.pop("e"), ": the keys ['e'] are in one alone"),
        (lambda v: v.__setitem__("d", 0.0), ".d: 0.0, not nan"),
        (lambda v: v.__setitem__("e", None), ".e: None, not -3.0"),
    ],
)
def test_what_differs_by_more_than_last_bits_is_named(change: Any, says: str) -> None:
    found = copy.deepcopy(TOLD)
    change(found)
    assert differences(found, TOLD, within=1e-9) == [says]


def test_last_bits_are_no_difference() -> None:
    assert differences({**TOLD, "e": -3.0000000000000004}, TOLD, within=1e-9) == []


def test_a_record_sees_text_numbers_order_and_amount_but_no_last_bit() -> None:
    rows: list[Any] = [("r1", 0, 0.25), ("r1", 1, 0.5), {"deep": [0.1, "x"]}]
    record = Record.of(rows)
    assert record.holds(Record.of([("r1", 0, 0.25 * (1 + 2**-52)), *rows[1:]]))
    others = [
        [("r2", 0, 0.25), *rows[1:]],
        [("r1", 2, 0.25), *rows[1:]],
        [("r1", 0, 0.2501), *rows[1:]],
        [("r1", 0, 0.5), ("r1", 1, 0.25), rows[2]],
        rows[:2],
        [*rows[:2], {"deep": ["x", 0.1]}],
    ]
    assert [record.holds(Record.of(other)) for other in others] == [False] * len(others)
