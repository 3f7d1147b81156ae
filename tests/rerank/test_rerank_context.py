"""Features of a list: worked by hand, blind to the order it came in, and silent about places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank.context import SHARE_NAMES, Listed, above_as_placed, crowding, likenesses, shares


def listed(**columns: object) -> Listed:
    """One list of four: a and b of one brand, a and c of one category, and nothing in the last place."""
    values: dict[str, object] = {
        "mask": [[True, True, True, False]],
        "merit": [[-1.0, -2.0, -3.0, 0.0]],
        "category": [[7, 8, 7, 7]],
        "brand": [[5, 5, 0, 5]],
        "vectors": [[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]]],
    } | columns
    kinds = {"vectors": np.float32, "mask": np.bool_, "category": np.int64, "brand": np.int64}
    return Listed(**{name: np.array(value, dtype=kinds.get(name, np.float64)) for name, value in values.items()})


def column(lists: Listed, name: str) -> list[float]:
    values = shares(likenesses(lists), lists.mask)
    return [round(float(v), 4) for v in values[0, :3, SHARE_NAMES.index(name)]]


def test_shares_are_means_over_the_other_items_of_the_list() -> None:
    assert column(listed(), "category_share") == [0.5, 0.0, 0.5]
    assert column(listed(), "brand_share") == [0.5, 0.5, 0.0]  # no brand is not a brand in common
    assert column(listed(), "likeness_share") == [0.3, 0.4, 0.7]  # (0 + .6) / 2, (0 + .8) / 2, (.6 + .8) / 2


def test_company_is_what_stands_right_above() -> None:
    place = np.array([[2, 0, 1, -1]])
    assert above_as_placed(place, 7)[0].astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0] * 4]
    assert above_as_placed(place, 1)[0].astype(int).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0] * 4]


def test_crowding_is_the_mean_likeness_to_the_company_and_the_share_without_any() -> None:
    lists = listed()
    alike = likenesses(lists)
    share = shares(alike, lists.mask)
    found = crowding(alike, above_as_placed(np.array([[2, 0, 1, -1]]), 7), share)[0]
    assert np.allclose(found[0], [0.5, 0.5, 0.3])  # a below b and c: one category, one brand, (0 + .6) / 2
    assert np.allclose(found[2], [0.0, 0.0, 0.8])  # c below b alone
    assert np.allclose(found[1], share[0, 1])


@given(st.permutations(range(4)))
def test_features_move_with_the_items(order: list[int]) -> None:
    place = np.array([[2, 0, 1, -1]])
    lists = listed()
    moved = listed(
        **{name: np.array(getattr(lists, name))[:, order] for name in ("mask", "merit", "category", "brand", "vectors")}
    )
    for one, other, above in ((lists, moved, place), (lists, moved, np.full((1, 4), -1))):
        kept = [
            np.concatenate([share, crowding(alike, above_as_placed(where, 7), share)], axis=-1)
            for each, where in ((one, above), (other, above[:, order]))
            for alike in [likenesses(each)]
            for share in [shares(alike, each.mask)]
        ]
        rows = [row for row, old in enumerate(order) if old != 3]
        assert np.allclose(kept[0][:, [order[row] for row in rows]], kept[1][:, rows], atol=1e-6, equal_nan=True)


def test_a_list_without_items_has_numbers_all_the_same() -> None:
    empty = listed(mask=[[False] * 4])
    assert (shares(likenesses(empty), empty.mask) == 0).all()
