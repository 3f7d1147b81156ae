"""Long tables become padded arrays without losing, doubling or moving a row."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.padded import pad, run_starts

LONG = pl.DataFrame({"request": ["b", "b", "a", "b"], "item": ["z", "y", "x", "w"], "score": [1.0, 2.0, 3.0, 4.0]})


def test_requests_come_by_first_appearance_and_rows_keep_their_order() -> None:
    padded = pad(LONG, "request", ["score"])
    assert padded.keys.to_list() == ["b", "a"]
    assert padded["score"].tolist() == [[1.0, 2.0, 4.0], [3.0, 0.0, 0.0]]
    assert padded.mask.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("frame", [LONG, LONG.sort("request", descending=True, maintain_order=True)])
def test_an_order_column_sorts_within_the_request(frame: pl.DataFrame) -> None:
    padded = pad(frame, "request", ["score"], order="item")
    assert padded["score"].tolist() == [[4.0, 2.0, 1.0], [3.0, 0.0, 0.0]]


def test_item_ids_are_ordered_by_their_utf8_bytes() -> None:
    frame = pl.DataFrame({"request": [1] * 4, "item": ["é", "z", "Z", "10"], "score": [4, 3, 2, 1]})
    assert pad(frame, "request", ["score"], order="item")["score"].tolist() == [[1, 2, 3, 4]]


def test_no_rows_give_no_requests() -> None:
    padded = pad(LONG.clear(), "request", ["score"])
    assert padded.mask.shape == (0, 0)
    assert run_starts(LONG["request"].clear()).tolist() == []


@pytest.mark.parametrize("keys", [[1, 1, 2, 1], ["b", "b", "a", "b"], [None, None, 3, None]])
def test_a_run_starts_where_the_key_changes(keys: list[object]) -> None:
    assert run_starts(pl.Series(keys)).tolist() == [0, 2, 3]


def test_a_missing_key_is_a_request_of_its_own() -> None:
    frame = pl.DataFrame({"request": [None, 1, None], "score": [1, 2, 3]})
    assert pad(frame, "request", ["score"])["score"].tolist() == [[1, 3], [2, 0]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 1000)), max_size=60))
def test_padding_keeps_every_row_of_every_request(rows: list[tuple[int, int]]) -> None:
    frame = pl.DataFrame(rows, schema={"request": pl.Int64, "value": pl.Int64}, orient="row")
    expected = {key: [value for other, value in rows if other == key] for key, _ in rows}
    whole = pad(frame, "request", ["value"])
    cells = zip(whole.keys.to_list(), whole["value"], whole.mask, strict=True)
    assert {key: values[mask].tolist() for key, values, mask in cells} == expected
    assert list(whole.keys) == list(expected)
