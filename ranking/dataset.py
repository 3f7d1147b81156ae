"""Training rows: what was shown, what the features said then, and what came of it.

The same feature function and the same preparing stages as in service fill them. Letters: R requests, K shown items
of the longest, n rows, F features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, Mask
from pipeline.features.ids import key_column
from pipeline.features.plain import FeatureSet
from pipeline.filters import NO_FILTERS
from pipeline.logs.attribution import attribute, grades
from pipeline.logs.events import subject
from pipeline.logs.read import Log
from pipeline.metrics.padded import pad
from pipeline.prepare import Analyse, NoCorrection, Normalise
from pipeline.stage import Stage
from pipeline.state import State

REQUESTS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Placed:
    """Where items stood: position `[n]`, -1 where the log does not say; chance `[n]`: P(item at its place), where the
    order was drawn with known chances, else nan."""

    position: NDArray[np.int32]
    chance: NDArray[np.float64]

    @property
    def drawn(self) -> Mask:
        return (self.position >= 0) & (self.chance < 1.0)

    @classmethod
    def unknown(cls, size: int) -> "Placed":
        return cls(np.full(size, -1, dtype=np.int32), np.full(size, np.nan))

    def part(self, rows: slice) -> "Placed":
        return Placed(self.position[rows], self.chance[rows])


@dataclass(frozen=True, slots=True)
class Rows:
    """features: `[n, F]`; grade: `[n]` gain earned; request: `[n]`, numbered in order of time; requests: R."""

    features: NDArray[np.float32]
    grade: NDArray[np.float64]
    request: NDArray[np.int64]
    requests: int
    placed: Placed

    def between(self, first: int, last: int) -> "Rows":
        """The rows of requests `first` up to, not including, `last`."""
        low, high = np.searchsorted(self.request, [first, last])
        part = slice(int(low), int(high))
        requests = self.request[part] - first
        return Rows(self.features[part], self.grade[part], requests, last - first, self.placed.part(part))


def shown_rows(
    log: Log,
    state: State,
    features: FeatureSet,
    *,
    gains: Mapping[str, float],
    prepare: Sequence[Stage] = (),
) -> Rows:
    """One row a shown item of the log's own impressions, requests in order of time.

    prepare: the PREPARE stages that come before ranking in service; without any, the queries are only normalised.
    """
    impressions = _pages(log.frame("impression"))
    return _rows(impressions, _shown_cells(impressions, log, gains), (state, features), prepare)


def latest_batches(
    log: Log, state: State, *, gains: Mapping[str, float], share: float, prepare: Sequence[Stage] = ()
) -> Iterator[tuple[Batch, NDArray[np.float64]]]:
    """The latest share of the pages as prepared batches, each with its grades `[R, K]`."""
    pages = _pages(log.frame("impression"))
    return _prepared(pages.slice(int(len(pages) * (1.0 - share))), (log, state), gains, prepare)


def learned_batches(
    log: Log, state: State, *, latest_share: float, most: int, prepare: Sequence[Stage] = ()
) -> Iterator[Batch]:
    """At most `most` pages as prepared batches, evenly over those before the latest share, which is kept from learning.

    Evenly, since counts grow over a log: drawn from its end alone, rows would be told by their time.
    """
    pages = _pages(log.frame("impression"))
    learned = int(len(pages) * (1.0 - latest_share))
    even = np.arange(min(most, learned)) * learned // max(min(most, learned), 1)
    return (batch for batch, _ in _prepared(pages[even], (log, state), {}, prepare))


def _prepared(
    pages: pl.DataFrame, known: tuple[Log, State], gains: Mapping[str, float], prepare: Sequence[Stage]
) -> Iterator[tuple[Batch, NDArray[np.float64]]]:
    log, state = known
    pages = pages.drop("row").with_row_index("row")
    for _, batch, earned in _batches(pages, _shown_cells(pages, log, gains), state):
        yield _run(prepare or plain_preparation(state), batch), earned


def _shown_cells(impressions: pl.DataFrame, log: Log, gains: Mapping[str, float]) -> pl.DataFrame:
    earned = grades(attribute(impressions, log.frame("feedback")), gains)
    cells = impressions.select("row", "request_id", "explored", "order", cell="items")
    cells = cells.explode("cell", empty_as_null=False)
    place, chance = (pl.col("cell").struct.field(name) for name in ("position", "marginal"))
    cells = cells.select(
        "row",
        "request_id",
        pl.col("cell").struct.field("item_id"),
        position=pl.when(pl.col("order") != "unknown").then(place).fill_null(-1),
        chance=pl.when("explored").then(chance).cast(pl.Float64).fill_null(float("nan")),
    )
    return cells.join(earned, on=["request_id", "item_id"], how="left", maintain_order="left")


def judged_rows(log: Log, state: State, features: FeatureSet, *, prepare: Sequence[Stage] = ()) -> Rows:
    """One row a judged item; a query is one request, in order of its hash, which is no order of the log."""
    judged = log.frame("judgment").group_by("query", "item_id").agg(pl.col("grade").last(), pl.col("time").max())
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
    place = requests["context"].str.json_path_match(f"$.{state.segment}")
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


def _pages(impressions: pl.DataFrame) -> pl.DataFrame:
    """Each page once, in an order that does not depend on delivery."""
    ordered = impressions.sort("time", "event_id")
    return ordered.unique(["request_id", "page"], keep="first", maintain_order=True).with_row_index("row")


def _rows(
    requests: pl.DataFrame, cells: pl.DataFrame, known: tuple[State, FeatureSet], prepare: Sequence[Stage]
) -> Rows:
    """requests: with `row`, in order; cells: row, item_id, grade, position, chance, sorted by row."""
    state, features = known
    found, grade, request = [], [], []
    for first, batch, grades_ in _batches(requests, cells, state):
        ready = _run(prepare or plain_preparation(state), batch)
        found.append(features.values(ready, state)[batch.mask])
        grade.append(grades_[batch.mask])
        request.append(first + np.nonzero(batch.mask)[0])
    if not found:
        return Rows(np.empty((0, 0), np.float32), np.empty(0), np.empty(0, np.int64), 0, Placed.unknown(0))
    placed = Placed(cells["position"].to_numpy(), cells["chance"].to_numpy())
    return Rows(np.concatenate(found), np.concatenate(grade), np.concatenate(request), len(requests), placed)


def _batches(
    requests: pl.DataFrame, cells: pl.DataFrame, state: State
) -> Iterator[tuple[int, Batch, NDArray[np.float64]]]:
    """Requests by hundreds: the number of the first, the batch, and the grades `[R, K]`."""
    about = request_columns(requests, state)
    cells = cells.select(
        "row", pl.col("grade").fill_null(0.0), item=pl.Series(state.catalogue.dense(cells["item_id"]), dtype=pl.Int32)
    )
    bounds = cells["row"].to_numpy()
    for first in range(0, len(requests), REQUESTS_AT_ONCE):
        low, high = np.searchsorted(bounds, [first, first + REQUESTS_AT_ONCE])
        if low == high:
            continue
        part = pad(cells[int(low) : int(high)], "row", ["item", "grade"])
        item = np.where(part.mask, part["item"], -1).astype(np.int32)
        rows = part.keys.to_numpy()
        yield first, Batch({name: array[rows] for name, array in about.items()}, item, {}), part["grade"]


def _objects(column: pl.Series) -> NDArray[Any]:
    return np.array(column.to_list(), dtype=object)


def _same(value: object, size: int) -> NDArray[Any]:
    out = np.empty(size, dtype=object)
    out[:] = value
    return out
