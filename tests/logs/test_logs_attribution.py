"""Attribution, grades and sessions, each case worked by hand. Times are in minutes unless said otherwise."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.logs.attribution import attribute, grades
from pipeline.logs.events import COLUMNS, conform
from pipeline.logs.sessions import derive_sessions

MINUTE = 60_000


def pages(*rows: tuple[str, int, int, str]) -> pl.DataFrame:
    """(request, page, minute, items): each letter of items is an item, shown to `u`."""
    return frame(
        "impression",
        [
            {
                "event_id": f"{request}:{number}",
                "time": minute * MINUTE,
                "request_id": request,
                "page": number,
                "surface": "search",
                "user_id": "u",
                "items": [{"item_id": item, "position": 10 * number + i} for i, item in enumerate(items)],
            }
            for request, number, minute, items in rows
        ],
    )


def told(*rows: tuple[str, str, int, str | None], user: str | None = "u") -> pl.DataFrame:
    """(action, item, minute, request)."""
    return frame(
        "feedback",
        [
            {
                "event_id": f"{action}:{item}:{minute}",
                "time": minute * MINUTE,
                "user_id": user,
                "session_id": "s",
                "item_id": item,
                "action": action,
                "request_id": request,
            }
            for action, item, minute, request in rows
        ],
    )


def frame(kind: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=COLUMNS[kind])
    return conform(kind, pl.DataFrame(rows, infer_schema_length=None))


def found(impressions: pl.DataFrame, feedback: pl.DataFrame) -> list[tuple[Any, ...]]:
    return attribute(impressions, feedback).select("action", "request_id", "page", "item_id", "position").rows()


def test_feedback_with_a_request_belongs_to_it_and_to_the_page_that_shows_the_item() -> None:
    impressions = pages(("r1", 0, 0, "ab"), ("r1", 1, 5, "cd"), ("r2", 0, 6, "cd"))
    assert found(impressions, told(("click", "d", 7, "r1"))) == [("click", "r1", 1, "d", 11)]


def test_an_item_that_is_on_no_page_of_its_request_has_no_position() -> None:
    assert found(pages(("r1", 0, 0, "ab")), told(("click", "z", 1, "r1"))) == [("click", "r1", 0, "z", None)]


def test_feedback_of_an_unknown_request_stays_history() -> None:
    assert found(pages(("r1", 0, 0, "ab")), told(("click", "a", 1, "r9"))) == []


def test_feedback_without_a_request_goes_once_to_the_latest_impression_of_the_item() -> None:
    impressions = pages(("r1", 0, 0, "ab"), ("r2", 0, 10, "ba"), ("r3", 0, 12, "cd"), ("r4", 0, 20, "ab"))
    assert found(impressions, told(("click", "a", 15, None))) == [("click", "r2", 0, "a", 1)]


@pytest.mark.parametrize("request_id", ["r1", None])
@pytest.mark.parametrize(
    ("action", "last_minute"),
    [("click", 30), ("view", 30), ("cart", 24 * 60), ("purchase", 7 * 24 * 60), ("share", 24 * 60)],
)
def test_an_action_counts_up_to_its_window_and_not_beyond(
    request_id: str | None, action: str, last_minute: int
) -> None:
    impressions = pages(("r1", 0, 100, "a"))
    inside = told((action, "a", 100 + last_minute, request_id))
    beyond = told((action, "a", 101 + last_minute, request_id))
    before = told((action, "a", 99, request_id))
    assert len(found(impressions, inside)) == 1
    assert found(impressions, beyond) == []
    assert found(impressions, before) == []


def test_another_subject_s_feedback_without_request_stays_history() -> None:
    impressions = pages(("r1", 0, 0, "a"))
    assert found(impressions, told(("click", "a", 1, None), user="v")) == []
    assert found(impressions, told(("click", "a", 1, None), user=None)) == []


def test_a_page_logged_twice_counts_as_first_logged() -> None:
    impressions = pages(("r1", 0, 0, "ab"), ("r1", 0, 5, "ba"))
    assert found(impressions, told(("click", "b", 6, "r1"))) == [("click", "r1", 0, "b", 1)]


def test_the_grade_is_the_largest_gain_over_the_actions() -> None:
    impressions = pages(("r1", 0, 0, "abc"))
    feedback = told(
        ("view", "c", 1, "r1"),
        ("click", "a", 1, "r1"),
        ("cart", "a", 2, "r1"),
        ("purchase", "b", 3, "r1"),
        ("click", "b", 2, "r1"),
    )
    graded = grades(attribute(impressions, feedback))
    assert graded.rows() == [("r1", "a", 2.0), ("r1", "b", 3.0), ("r1", "c", 0.0)]


def test_no_impressions_or_no_feedback_give_no_outcomes() -> None:
    assert found(pages(), told(("click", "a", 1, "r1"), ("click", "a", 1, None))) == []
    assert found(pages(("r1", 0, 0, "a")), told()) == []


@given(
    shown=st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.integers(0, 60)), max_size=5),
    clicks=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 90), st.sampled_from(["r1", "r2", None])),
        max_size=6,
        unique_by=lambda c: (c[0], c[1]),
    ),
)
def test_attribution_equals_the_rule_spelled_out_row_by_row(
    shown: list[tuple[str, int]], clicks: list[tuple[str, int, str | None]]
) -> None:
    impressions = pages(*((request, number, minute, "ab") for number, (request, minute) in enumerate(shown)))
    outcomes = attribute(impressions, told(*(("click", item, t, request) for item, t, request in clicks)))
    expected = {}
    for item, time, request in clicks:
        if request is None:
            earlier = [minute for _, minute in shown if minute <= time]
            at = max(earlier, default=None)
        else:
            at = next((minute for name, minute in shown if name == request), None)
        if at is not None and 0 <= time - at <= 30:
            expected[f"click:{item}:{time}"] = at
    assert sorted(outcomes["event_id"]) == sorted(expected)
    assert outcomes["event_id"].is_unique().all()


def test_a_session_ends_after_thirty_idle_minutes_and_spans_all_types() -> None:
    impressions = pages(("r1", 0, 0, "a"), ("r2", 0, 50, "a"))
    feedback = told(("click", "a", 25, "r1")).with_columns(session_id=pl.lit(None, dtype=pl.String))
    derived = derive_sessions({"impression": impressions, "feedback": feedback})
    assert derived["impression"]["session_id"].to_list() == ["u@0", "u@0"]
    assert derived["feedback"]["session_id"].to_list() == ["u@0"]
    apart = derive_sessions({"impression": impressions})
    assert apart["impression"]["session_id"].to_list() == ["u@0", f"u@{50 * MINUTE}"]


def test_a_session_that_was_sent_stays() -> None:
    sent = told(("click", "a", 1, None))
    assert derive_sessions({"feedback": sent})["feedback"].equals(sent)
