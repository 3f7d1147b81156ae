"""Labels read day by day are those of the whole log, and land where they belong."""

import numpy as np
import polars as pl
from test_ranking_rows import GAINS, HOUR, Memory, market, rows_of

from pipeline.logs.attribution import attribute, grades
from ranking.labels import even, page_spans, pages_at, shown_cells


def half_told(seed: int) -> Memory:
    """A log in which every second action does not say which request it belongs to."""
    frames = market(seed, pages=300)
    feedback = frames["feedback"].with_row_index()
    told = pl.when(pl.col("index") % 2 == 0).then("request_id")
    return Memory(frames | {"feedback": feedback.with_columns(request_id=told).drop("index")})


def test_day_by_day_each_item_earns_what_it_earns_in_the_whole_log() -> None:
    log = half_told(0)
    whole = grades(attribute(log.frame("impression"), log.frame("feedback")), GAINS)
    days = page_spans(log, most=1)  # type: ignore[arg-type]
    assert len(days) == 3
    cells = pl.concat([shown_cells(day.pages(log), log, GAINS) for day in days])  # type: ignore[arg-type]
    found = cells.drop_nulls("grade").select("request_id", "item_id", "grade").sort("request_id", "item_id")
    assert found.equals(whole)
    assert len(found) > 100


def test_a_conversion_is_a_purchase_and_its_delay_counts_from_the_page() -> None:
    log = Memory(market(2, pages=200))
    cells = pl.concat([shown_cells(span.pages(log), log, GAINS) for span in page_spans(log)])  # type: ignore[arg-type]
    bought = log.frame("feedback").filter(pl.col("action") == "purchase")
    page = log.frame("impression").select("request_id", shown_at="time")
    delay = bought.join(page, on="request_id").select(pl.col("time") - pl.col("shown_at"))["time"]
    assert sorted(cells.drop_nulls("delay")["delay"]) == sorted(delay)


def test_rows_say_what_converted_and_what_is_too_young_to_tell() -> None:
    log = Memory(market(4, pages=2_000))
    rows = rows_of(log)
    bought = log.frame("feedback").filter(pl.col("action") == "purchase")
    assert rows.later.converted.sum() == bought.n_unique(["request_id", "item_id"])
    # Everything is bought within twenty minutes, 60 hours before the log ends at the most.
    assert 0 < rows.mature_ms < HOUR / 3
    late = np.searchsorted(rows.request, rows.requests - 1)
    assert rows.later.seen[0] == 1.0
    assert rows.later.seen[late] < 1.0


def test_days_stand_together_as_long_as_their_pages_are_few() -> None:
    log = Memory(market(0, pages=300))
    days = page_spans(log, most=1)  # type: ignore[arg-type]
    sizes = [day.size for day in days]
    assert sum(sizes) == 300
    both = page_spans(log, most=sizes[0] + sizes[1])  # type: ignore[arg-type]
    assert [span.size for span in both] == [sizes[0] + sizes[1], sizes[2]]
    assert [span.first for span in both] == [0, sizes[0] + sizes[1]]
    (whole,) = page_spans(log)  # type: ignore[arg-type]
    assert (whole.since, whole.before, whole.size) == (days[0].since, days[-1].before, 300)


def test_pages_by_number_are_those_of_the_log() -> None:
    log = Memory(market(1, pages=50))
    wanted = np.array([0, 7, 49])
    found = pl.concat(pages_at(log, wanted))  # type: ignore[arg-type]
    assert found["request_id"].to_list() == log.frame("impression")[wanted]["request_id"].to_list()


def test_even_draws_are_as_many_as_asked_for_however_the_days_are_cut() -> None:
    whole = even(0, 100, 37, 100)
    assert len(whole) == 37
    parts = [even(first, 25, 37, 100) + first for first in (0, 25, 50, 75)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert len(even(0, 100, 100, 100)) == 100
    assert not len(even(0, 0, 0, 0))
