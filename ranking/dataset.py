"""From a log to training rows, through the features and preparing stages of the service.

The same feature function and the same preparing stages as in service fill them. Letters: R requests, K shown items
of the longest, n rows, F features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Batch
from pipeline.features.asking import json_keys
from pipeline.features.declared import wanted
from pipeline.features.ids import key_column
from pipeline.features.personal import LENGTH, past_of
from pipeline.features.plain import FeatureSet, names
from pipeline.features.text import one_spelling
from pipeline.filters import NO_FILTERS
from pipeline.logs.attribution import AttributionConfig, labelled
from pipeline.logs.events import subject
from pipeline.logs.partitions import DAY_MS
from pipeline.logs.read import Log
from pipeline.metrics.padded import pad
from pipeline.prepare import Analyse, NoCorrection, Normalise
from pipeline.stage import Stage
from pipeline.state import State
from pipeline.values import plain_members
from ranking.inputs import Inputs
from ranking.labels import CONVERSION, PageSpan, bare_cells, even, page_spans, pages_at, shown_cells
from ranking.rows import Later, Placed, Rows

REQUESTS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Some pages. numbers: `[R]`, which of those asked for; grade: `[R, K]` earned; place: `[R, K]`, where each item
    stood, -1 where the log does not say."""

    numbers: NDArray[np.int64]
    batch: Batch
    grade: NDArray[np.float64]
    place: NDArray[np.int32]


def shown_rows(
    log: Log,
    state: State,
    features: FeatureSet,
    *,
    gains: Mapping[str, float],
    prepare: Sequence[Stage] = (),
    most_rows: int = 2**62,
) -> Rows:
    """One row a shown item of the log's own labelled pages, requests in order of time.

    prepare: the PREPARE stages that come before ranking in service; without any, the queries are only normalised.
    most_rows: of more, about as many are kept, of pages drawn evenly.
    """
    spans = page_spans(log)
    pages = sum(span.size for span in spans)
    rows = sum(_shown(log, span) for span in spans)
    wanted = pages if rows <= most_rows else int(pages * most_rows / rows)
    found, delays, ages = [], [], []
    end = _end(log)
    for span in spans:
        kept = span.pages(log)[even(span.first, span.size, wanted, pages)].drop("row").with_row_index("row")
        cells = shown_cells(kept, log, gains)
        found.append(_rows(kept, cells, (state, features), prepare))
        delays.append(cells["delay"].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        ages.append((end - kept["time"].to_numpy())[cells["row"].to_numpy()].astype(np.float64))
    if not found:
        return Rows.joined(())
    age = np.concatenate(ages) if log.clock == "exact" else None
    window = AttributionConfig().windows_ms[CONVERSION]
    return Rows.joined(found).with_conversions(np.concatenate(delays), age, window)


def _shown(log: Log, span: PageSpan) -> int:
    """Items shown."""
    pages = log.frame("impression", since=span.since, before=span.before, columns=["items", "outcomes"])
    return int(labelled(pages)["items"].list.len().sum())


def _end(log: Log) -> int:
    """Time of the last feedback, ms: as far as outcomes are known."""
    days = log.days("feedback")
    if not days:
        return 0
    last = log.frame("feedback", since=days[-1] * DAY_MS, columns=["time"])["time"]
    return int(last[-1]) if len(last) else 0


def latest_batches(
    log: Log, state: State, *, gains: Mapping[str, float], share: float, most: int, prepare: Sequence[Stage] = ()
) -> Iterator[Part]:
    """At most `most` pages as prepared batches with what they earned, evenly over the latest share of the log's."""
    pages = sum(span.size for span in page_spans(log))
    first = int(pages * (1.0 - share))
    return _prepared(_evenly(first, pages, most), (log, state), gains, prepare)


def learned_batches(
    log: Log, state: State, *, latest_share: float, most: int, prepare: Sequence[Stage] = ()
) -> Iterator[Batch]:
    """At most `most` pages as prepared batches, evenly over those before the latest share, which is kept from learning.

    Evenly, since counts grow over a log: drawn from its end alone, rows would be told by their time.
    """
    learned = int(sum(span.size for span in page_spans(log)) * (1.0 - latest_share))
    return (part.batch for part in _prepared(_evenly(0, learned, most), (log, state), None, prepare))


def _evenly(first: int, last: int, most: int) -> NDArray[np.int64]:
    wanted = min(most, last - first)
    return first + np.arange(wanted) * (last - first) // max(wanted, 1)


def _prepared(
    places: NDArray[np.int64],
    known: tuple[Log, State],
    gains: Mapping[str, float] | None,
    prepare: Sequence[Stage],
) -> Iterator[Part]:
    """gains: None reads nothing of what was earned."""
    log, state = known
    for pages in pages_at(log, places):
        cells = bare_cells(pages) if gains is None else shown_cells(pages, log, gains)
        for part in _batches(pages, cells, state):
            yield replace(part, batch=_run(prepare or plain_preparation(state), part.batch))


def judged_rows(log: Log, state: State, features: FeatureSet, *, prepare: Sequence[Stage] = ()) -> Rows:
    """One row a judged item; a query is one request, in order of its hash, which is no order of the log."""
    judgments = log.frame("judgment")
    judgments = judgments.with_columns(one_spelling(judgments["query"]))
    judged = judgments.group_by("query", "item_id").agg(pl.col("grade").last(), pl.col("time").max())
    queries = (
        judged.group_by("query")
        .agg(pl.col("time").max())
        .with_columns(hash=pl.col("query").map_batches(lambda c: pl.Series(key_column(c)), return_dtype=pl.Int64))
    )
    nobody = {"user_id": None, "session_id": None, "context": "{}", "surface": "search", "page": 0}
    requests = (
        queries.sort("hash", "query")
        .with_row_index("row")
        .with_columns(request_id=pl.col("query"), **{name: pl.lit(value) for name, value in nobody.items()})
    )
    cells = judged.join(requests.select("row", "query"), on="query").sort("row", "item_id")
    cells = cells.with_columns(position=pl.lit(-1, dtype=pl.Int32), chance=pl.lit(float("nan")))
    return _rows(requests, cells, (state, features), prepare)


def request_columns(requests: pl.DataFrame, state: State) -> dict[str, Array]:
    """The request columns an engine gives, from logged impressions (or rows like them)."""
    who = requests.select(subject().cast(pl.String).fill_null(""))["subject"]
    place = plain_members(requests["context"], state.segment)
    size = len(requests)
    return {
        "id": _objects(requests["request_id"]),
        "time": requests["time"].to_numpy(),
        "subject": _objects(who),
        "subject_key": key_column(who),
        "query": _objects(requests["query"].fill_null("")),
        "surface": _objects(requests["surface"]),
        "seed": state.catalogue.dense(requests["context"].str.json_path_match("$.item_id")),
        "segment_key": np.where(place.is_null().to_numpy(), 0, key_column(place)),
        "context_keys": json_keys(requests["context"], wanted(state.declared).contexts),
        "filters": _same(NO_FILTERS, size),
        "sort": _same("relevance", size),
        "diversity": np.full(size, np.nan, dtype=np.float32),
        "weights": _same(None, size),
    }


def plain_preparation(state: State) -> tuple[Stage, ...]:
    """The least a ranker needs to know of a request: its tick, and its query as typed."""
    return Normalise(state), NoCorrection(), Analyse()


def _run(stages: Sequence[Stage], batch: Batch) -> Batch:
    for stage in stages:
        batch = stage.run(batch)
    return batch


def _rows(
    requests: pl.DataFrame, cells: pl.DataFrame, known: tuple[State, FeatureSet], prepare: Sequence[Stage]
) -> Rows:
    """requests: with `row`, in order; cells: row, item_id, grade, position, chance, sorted by row."""
    state, features = known
    values, grade = [np.empty((0, len(names(state.clock, state.declared))), dtype=np.float32)], [np.empty(0)]
    item, history = [np.empty(0, dtype=np.int32)], np.full((len(requests), LENGTH), -1, dtype=np.int32)
    for part in _batches(requests, cells, state):
        ready, mask = _run(prepare or plain_preparation(state), part.batch), part.batch.mask
        values.append(features.values(ready, state)[mask])
        grade.append(part.grade[mask])
        item.append(part.batch.item[mask])
        history[part.numbers] = past_items(ready, state)
    request = cells["row"].to_numpy().astype(np.int64)
    inputs = Inputs(np.concatenate(values), np.concatenate(item), request, history)
    placed = Placed(cells["position"].to_numpy(), cells["chance"].to_numpy())
    return Rows(inputs, np.concatenate(grade), placed, Later.nothing(len(request)))


def past_items(batch: Batch, state: State) -> NDArray[np.int32]:
    """`[R, LENGTH]`: the subjects' last positive items, of a prepared batch."""
    subject_key = np.where(batch.request("subject") != "", batch.request("subject_key"), 0)
    return past_of(state, subject_key, batch.request("time")).item


def _batches(requests: pl.DataFrame, cells: pl.DataFrame, state: State) -> Iterator[Part]:
    """Requests by hundreds; those that showed nothing are out."""
    about = request_columns(requests, state)
    cells = cells.select(
        "row",
        "position",
        pl.col("grade").fill_null(0.0),
        item=pl.Series(state.catalogue.dense(cells["item_id"]), dtype=pl.Int32),
    )
    bounds = cells["row"].to_numpy()
    for first in range(0, len(requests), REQUESTS_AT_ONCE):
        low, high = np.searchsorted(bounds, [first, first + REQUESTS_AT_ONCE])
        if low == high:
            continue
        part = pad(cells[int(low) : int(high)], "row", ["item", "grade", "position"])
        item, place = (np.where(part.mask, part[name], -1).astype(np.int32) for name in ("item", "position"))
        rows = part.keys.to_numpy()
        yield Part(rows, Batch({name: array[rows] for name, array in about.items()}, item, {}), part["grade"], place)


def _objects(column: pl.Series) -> NDArray[Any]:
    return np.array(column.to_list(), dtype=object)


def _same(value: object, size: int) -> NDArray[Any]:
    out = np.empty(size, dtype=object)
    out[:] = value
    return out
