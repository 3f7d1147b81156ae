"""What came of each shown item, read some days at a time so that a log larger than memory can be learned from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.attribution import AttributionConfig, attribute, grades, labelled
from pipeline.logs.partitions import DAY_MS
from pipeline.logs.read import Log

CONVERSION = "purchase"
_PAGES: Final = 100_000  # of one span: what comes of them fits in memory
_PLACED = ["event_id", "time", "request_id", "page", "user_id", "session_id", "items"]


@dataclass(frozen=True, slots=True)
class PageSpan:
    """The labelled pages of some days: since <= time < before (ms); first: number of its first page among the log's;
    size: pages."""

    since: int
    before: int
    first: int
    size: int

    def pages(self, log: Log) -> pl.DataFrame:
        """Each labelled page once, in an order that does not depend on delivery, numbered `row` in the span."""
        ordered = labelled(log.frame("impression", since=self.since, before=self.before))
        return ordered.unique(["request_id", "page"], keep="first", maintain_order=True).with_row_index("row")


def page_spans(log: Log, most: int = _PAGES) -> list[PageSpan]:
    """All days with labelled pages, in order; consecutive ones together as long as they have at most `most` pages.

    Together, since what a day's pages earned is read from the days after it as well.
    """
    found: list[PageSpan] = []
    for day in log.days("impression"):
        since, before = day * DAY_MS, (day + 1) * DAY_MS
        if found and found[-1].size + _pages(log, since, before) <= most:
            since = found.pop().since
        first = found[-1].first + found[-1].size if found else 0
        found.append(PageSpan(since, before, first, _pages(log, since, before)))
    return [span for span in found if span.size]


def _pages(log: Log, since: int, before: int) -> int:
    pages = labelled(log.frame("impression", since=since, before=before, columns=["request_id", "page", "outcomes"]))
    return pages.select("request_id", "page").n_unique()


def even(first: int, size: int, wanted: int, total: int) -> NDArray[np.int64]:
    """Which of the pages `first` to `first + size` belong to `wanted` pages drawn evenly from `total`, from 0."""
    place = np.arange(first, first + size)
    kept = (place + 1) * wanted // total > place * wanted // total if total else np.zeros(size, dtype=np.bool_)
    return np.flatnonzero(kept)


def pages_at(log: Log, places: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    """The pages of these numbers, ascending, a span at a time; `row` counts on from 0 within each frame."""
    for span in page_spans(log):
        low, high = np.searchsorted(places, [span.first, span.first + span.size])
        if low < high:
            chosen = span.pages(log)[places[low:high] - span.first]
            yield chosen.drop("row").with_row_index("row")


def shown_cells(pages: pl.DataFrame, log: Log, gains: Mapping[str, float]) -> pl.DataFrame:
    """One row a shown item of pages of one span: row, request_id, item_id, position (-1 = unknown), chance, grade (null
    = nothing earned), and `delay`: ms from the page to the conversion, null = none."""
    cells = bare_cells(pages)
    outcomes = _outcomes(pages, log)
    both = ["request_id", "item_id"]
    bought = outcomes.filter(pl.col("action") == CONVERSION).group_by(both).agg(converted=pl.col("time").min())
    cells = cells.drop("grade").join(grades(outcomes, gains), on=both, how="left", maintain_order="left")
    cells = cells.join(bought, on=both, how="left", maintain_order="left")
    return cells.with_columns(delay=pl.col("converted") - pl.col("time")).drop("time", "converted")


def bare_cells(pages: pl.DataFrame) -> pl.DataFrame:
    """The shown items without what they earned: `grade` is null, and the `time` of the page stands for the delay."""
    cells = pages.select("row", "request_id", "explored", "order", "time", cell="items")
    cells = cells.explode("cell", empty_as_null=False)
    place, chance = (pl.col("cell").struct.field(name) for name in ("position", "marginal"))
    return cells.select(
        "row",
        "request_id",
        "time",
        pl.col("cell").struct.field("item_id"),
        position=pl.when(pl.col("order") != "unknown").then(place).fill_null(-1),
        chance=pl.when("explored").then(chance).cast(pl.Float64).fill_null(float("nan")),
        grade=pl.lit(None, pl.Float64),
    )


def _outcomes(pages: pl.DataFrame, log: Log) -> pl.DataFrame:
    """Feedback that belongs to these pages, and some that belongs to later ones."""
    windows = AttributionConfig().windows_ms
    if not len(pages):
        return attribute(pages, log.frame("feedback", before=-1), windows)
    since, before = int(pages["time"].min()), int(pages["time"].max()) + max(windows.values()) + 1  # type: ignore[arg-type]
    feedback = log.frame("feedback", since=since, before=before)
    # Without a request's id the latest page that showed the item earned it, which may be a later one than these.
    if feedback["request_id"].null_count():
        pages = log.frame("impression", since=since, before=before, columns=_PLACED)
    return attribute(pages, feedback, windows)
