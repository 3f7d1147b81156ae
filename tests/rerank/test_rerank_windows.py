"""Rule scattering keeps every item, obeys the rules it can and counts those it cannot."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.windows import scatter
from tests.examples import examples


def test_one_of_a_group_in_any_two_slots() -> None:
    order, broken = scatter(np.arange(4), np.array([[1], [1], [2], [2]]), [(2, 1)], 4, 4)
    assert order.tolist() == [0, 2, 1, 3]
    assert broken.tolist() == [0]


def test_the_least_important_rule_gives_way_first() -> None:
    # After item 0 either rule must break; item 2 breaks only the second, so it goes before item 1.
    groups = np.array([[1, 1], [1, 2], [2, 1]])
    order, broken = scatter(np.arange(3), groups, [(2, 1), (2, 1)], 2, 3)
    assert order.tolist() == [0, 2, 1]
    assert broken.tolist() == [0, 1]


def test_a_query_of_one_brand_still_fills_the_page_and_says_so() -> None:
    order, broken = scatter(np.arange(5), np.full((5, 1), 7), [(4, 1)], 5, 5)
    assert order.tolist() == [0, 1, 2, 3, 4]
    assert broken.tolist() == [4]


def test_items_without_the_attribute_are_free() -> None:
    order, broken = scatter(np.arange(3), np.zeros((3, 1), dtype=np.int64), [(3, 1)], 3, 3)
    assert order.tolist() == [0, 1, 2]
    assert broken.tolist() == [0]


@settings(max_examples=examples(80), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20),
    st.tuples(st.integers(1, 5), st.integers(1, 3)),
    st.tuples(st.integers(1, 5), st.integers(1, 3)),
    st.integers(0, 22),
    st.integers(1, 6),
)
def test_nothing_is_lost_and_violations_are_the_relaxations_counted(
    rows: list[tuple[int, int]], first: tuple[int, int], second: tuple[int, int], k: int, explore: int
) -> None:
    groups = np.array(rows, dtype=np.int64).reshape(-1, 2)
    order, broken = scatter(np.arange(len(rows)), groups, [first, second], k, explore)
    assert sorted(order.tolist()) == list(range(len(rows)))
    for attribute, (window, at_most) in enumerate((first, second)):
        shown = groups[order[:k], attribute].tolist()
        violations = sum(
            value != 0 and shown[max(slot - window + 1, 0) : slot].count(value) >= at_most
            for slot, value in enumerate(shown)
        )
        assert violations == broken[attribute]
