"""Batches never lose, double or invent a candidate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import Batch, best_first


def some_batch() -> Batch:
    item = np.array([[3, 1, -1], [2, -1, 4]], dtype=np.int32)
    return Batch(
        {"id": np.array(["a", "b"], dtype=object)}, item, {"score": np.array([[0.1, 0.2, 9.0], [5.0, 9.0, 6.0]])}
    )


def test_the_mask_is_where_there_is_an_item() -> None:
    assert some_batch().mask.tolist() == [[True, True, False], [True, False, True]]


def test_take_moves_columns_with_their_items() -> None:
    taken = some_batch().take(np.array([[1, 0], [2, -1]]))
    assert taken.item.tolist() == [[1, 3], [4, -1]]
    assert taken["score"][taken.mask].tolist() == [0.2, 0.1, 6.0]


def test_keep_closes_the_gaps_in_order() -> None:
    kept = some_batch().keep(np.array([[False, True, True], [True, True, True]]))
    assert kept.item.tolist() == [[1, -1], [2, 4]]


def test_append_fills_a_column_one_side_lacks_with_zero() -> None:
    both = some_batch().append(np.array([[7], [8]], dtype=np.int32), {"rank": np.array([[1], [2]])})
    assert both.item[:, 3].tolist() == [7, 8]
    assert both["rank"].tolist() == [[0, 0, 0, 1], [0, 0, 0, 2]]
    assert both["score"][:, 3].tolist() == [0.0, 0.0]


def test_a_column_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="score"):
        Batch({}, np.zeros((0, 1), np.int32), {"score": np.zeros((0, 2))})


def test_requests_and_columns_cannot_be_edited() -> None:
    with pytest.raises(TypeError):
        some_batch().columns["score"] = np.zeros((2, 3))  # type: ignore[index]


def test_ties_go_to_the_smaller_tie_rank_and_nan_never_leads() -> None:
    score = np.array([[1.0, np.nan, 1.0, 2.0]])
    order = best_first(score, np.array([[True, True, True, True]]), np.array([[5, 0, 4, 9]]))
    assert order.tolist() == [[3, 2, 0, 1]]


@given(
    st.lists(st.tuples(st.floats(allow_nan=True), st.booleans()), min_size=1, max_size=12),
    st.integers(min_value=1, max_value=12),
)
def test_best_first_is_a_prefix_of_a_permutation_of_the_candidates(rows: list[tuple[float, bool]], k: int) -> None:
    score, mask = np.array([[s for s, _ in rows]]), np.array([[m for _, m in rows]])
    tie = np.arange(len(rows))[None, :]
    whole, cut = best_first(score, mask, tie)[0], best_first(score, mask, tie, k)[0]
    assert sorted(whole[whole >= 0].tolist()) == np.flatnonzero(mask[0]).tolist()
    assert whole[: len(cut)].tolist() == cut.tolist()
