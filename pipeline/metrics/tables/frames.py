"""One table with score and grade side by side, turned into judged lists where it stands."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.evaluation import Rules, evaluate_lists
from pipeline.metrics.order import Numbers
from pipeline.metrics.padded import run_starts
from pipeline.metrics.report import RunReport
from pipeline.metrics.tables.listings import Listing
from pipeline.metrics.tables.lists import LongLists, repeated


def evaluate_listing(listing: Listing, chosen: Rules) -> RunReport:
    """The report of a listing with query_id, item_id (may be missing), score, grade and maybe group.

    Raises InputError for an item that stands twice under a query.
    """
    if "item_id" not in listing.frame.columns and chosen.ties != "expected":
        expected = "expected in a table without item ids, which are what orders equal scores"
        raise InputError("ties", expected, place=listing.name, received=chosen.ties)
    starts = run_starts(listing.frame["query_id"])
    if listing.frame["query_id"].gather(starts).n_unique() < len(starts):
        listing = _together(listing)
        starts = run_starts(listing.frame["query_id"])
    asked = len(starts)
    listing, starts = _judged_only(listing, starts)
    lists = _long_lists(listing.frame, starts)
    _refuse_doubles(lists, listing)
    group = codes(listing.frame["group"]) if "group" in listing.frame.columns else None
    queries = listing.frame["query_id"].gather(starts)
    return evaluate_lists(lists, queries, asked - len(starts), chosen, group)


def codes(keys: pl.Series) -> NDArray[np.int64]:
    """A whole number from 0 for each distinct key; null is one of them."""
    return keys.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _together(listing: Listing) -> Listing:
    """The same rows with those of a query together, the queries by first appearance."""
    keys = listing.frame["query_id"]
    first = keys.to_frame().with_row_index("first").select(pl.col("first").min().over("query_id")).to_series()
    order = first.arg_sort()
    rows = order if listing.rows is None else listing.rows[order]
    return replace(listing, frame=listing.frame[order], rows=rows)


def _long_lists(frame: pl.DataFrame, starts: NDArray[np.int64]) -> LongLists:
    score, retrieved = _known(frame["score"])
    grade, judged = _known(frame["grade"])
    if grade.min(initial=0) < 0:
        judged = (grade >= 0) if judged is None else judged & (grade >= 0)
        grade = np.maximum(grade, 0)
    item = frame["item_id"] if "item_id" in frame.columns else None
    return LongLists(starts, np.diff(starts, append=frame.height), score, grade, item, retrieved, judged)


def _known(values: pl.Series) -> tuple[Numbers, NDArray[np.bool_] | None]:
    """The numbers, 0 for null, and which are known; None where all are."""
    if values.null_count():
        return values.fill_null(0).to_numpy(), values.is_not_null().to_numpy()
    return values.to_numpy(), None


def _judged_only(listing: Listing, starts: NDArray[np.int64]) -> tuple[Listing, NDArray[np.int64]]:
    """Without the queries that have no judgment."""
    grade = listing.frame["grade"]
    if not grade.null_count():
        return listing, starts
    judged = np.logical_or.reduceat(grade.is_not_null().to_numpy(), starts)
    if not judged.any():
        raise InputError("grade", "at least one; nothing is judged", place=listing.name)
    if judged.all():
        return listing, starts
    sizes = np.diff(starts, append=listing.frame.height)
    kept = pl.Series(np.flatnonzero(np.repeat(judged, sizes)))
    rows = kept if listing.rows is None else listing.rows[kept]
    sizes = sizes[judged]
    return replace(listing, frame=listing.frame[kept], rows=rows), np.cumsum(sizes) - sizes


def _refuse_doubles(lists: LongLists, listing: Listing) -> None:
    if lists.item is None:
        return
    numbers = lists.item.dtype.is_integer() and not lists.item.null_count()
    keys = (lists.item if numbers else lists.item.hash()).to_numpy()
    for suspect in repeated(lists, keys.astype(np.uint64, copy=False)):
        items = lists.item.slice(int(lists.starts[suspect]), int(lists.sizes[suspect]))
        double = items.filter(items.is_duplicated())
        if len(double):
            raise listing.repeated(listing.frame["query_id"][int(lists.starts[suspect])], double[0])
