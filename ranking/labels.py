"""What came of each shown item, read from the log day by day so that a log larger than memory can be learned from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.attribution import AttributionConfig, attribute, grades
from pipeline.logs.partitions import DAY_MS
from pipeline.logs.read import Log

CONVERSION = "purchase"
_PLACED = ["event_id", "time", "request_id", "page", "user_id", "session_id", "items"]


@dataclass(frozen=True, slots=True)
class PageDay:
    """The pages of one day: since <= time < before (ms); first: number of its first page in the log; size: pages."""

    since: int
    before: int
    first: int
    size: int

    def pages(self, log: Log) -> pl.DataFrame:
        """Each page once, in an order that does not depend on delivery, numbered `row` in the day."""
        ordered = log.frame("impression", since=self.since, before=self.before)
        return ordered.unique(["request_id", "page"], keep="first", maintain_order=True).with_row_index("row")


def page_days(log: Log) -> list[PageDay]:
    """The days with impressions, in order."""
    found, first = [], 0
    for day in log.days("impression"):
        since, before = day * DAY_MS, (day + 1) * DAY_MS
        size = log.frame("impression", since=since, before=before, columns=["request_id", "page"]).n_unique()
        found.append(PageDay(since, before, first, size))
        first += size
    return found


def even(first: int, size: int, wanted: int, total: int) -> NDArray[np.int64]:
    """Which of the pages `first` to `first + size` belong to `wanted` pages drawn evenly from `total`, from 0."""
    place = np.arange(first, first + size)
    kept = (place + 1) * wanted // total > place * wanted // total if total else np.zeros(size, dtype=np.bool_)
    return np.flatnonzero(kept)


def pages_at(log: Log, places: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    """The pages of these numbers, ascending, a day at a time; `row` counts on from 0 within each frame."""
    for day in page_days(log):
        low, high = np.searchsorted(places, [day.first, day.first + day.size])
        if low < high:
            chosen = day.pages(log)[places[low:high] - day.first]
            yield chosen.drop("row").with_row_index("row")


def shown_cells(pages: pl.DataFrame, log: Log, gains: Mapping[str, float]) -> pl.DataFrame:
    """One row a shown item of pages of one day: row, request_id, item_id, position (-1 = unknown), chance, grade (null
    = nothing earned), and `delay`: ms from the page to the conversion, null = none."""
    cells = pages.select("row", "request_id", "explored", "order", "time", cell="items")
    cells = cells.explode("cell", empty_as_null=False)
    place, chance = (pl.col("cell").struct.field(name) for name in ("position", "marginal"))
    cells = cells.select(
        "row",
        "request_id",
        "time",
        pl.col("cell").struct.field("item_id"),
        position=pl.when(pl.col("order") != "unknown").then(place).fill_null(-1),
        chance=pl.when("explored").then(chance).cast(pl.Float64).fill_null(float("nan")),
    )
    outcomes = _outcomes(pages, log)
    both = ["request_id", "item_id"]
    bought = outcomes.filter(pl.col("action") == CONVERSION).group_by(both).agg(converted=pl.col("time").min())
    cells = cells.join(grades(outcomes, gains), on=both, how="left", maintain_order="left")
    cells = cells.join(bought, on=both, how="left", maintain_order="left")
    return cells.with_columns(delay=pl.col("converted") - pl.col("time")).drop("time", "converted")


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
