"""The orders that the served one is compared with, over the same candidates or the same catalogue."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import best_first
from pipeline.catalogue import Catalogue
from pipeline.errors import InputError
from pipeline.features.match import Matcher
from pipeline.features.text import normalise, tokens
from pipeline.features.texts import TextMemory
from pipeline.features.textstats import TextStats
from pipeline.metrics.statistics.enough import too_few
from pipeline.state import DAY, State
from serving.replay.answers import Slates
from serving.replay.labels import Labels
from serving.replay.requests import Shown, Task
from serving.replay.slices import UNITS, Summary, plain, why

_ROWS_AT_ONCE = 4096
WEEK = 7 * DAY  # ticks
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]


def ordered(shown: Shown, score: Scores, asked: Flags, tie: NDArray[np.int32]) -> Slates:
    """The shown items by `score` `[R, K]` descending, ties by item_id ascending."""
    place = best_first(score, shown.item >= 0, tie[np.maximum(shown.item, 0)])
    item = np.where(place >= 0, np.take_along_axis(shown.item, np.maximum(place, 0), axis=1), -1)
    ranked = np.take_along_axis(score, np.maximum(place, 0), axis=1)
    return Slates(item.astype(np.int32), ranked, np.full(item.shape, np.nan), asked)


def popularity(state: State, task: Task, shown: Shown) -> Scores:
    """`[R, K]`: positive actions of the last 7 days as of each request; on a log without times, of all history."""
    tick = state.tick(np.array([ask.time for ask in task.asks], dtype=np.int64))[:, None]
    layers = state.counters["items"]
    item = shown.item.astype(np.int64)
    counts = layers.window(item, tick, WEEK) if state.clock == "exact" else layers.at(item, tick)
    score: Scores = counts[..., layers.place("positive")].astype(np.float64)
    return score


def bm25(catalogue: Catalogue, task: Task, shown: Shown) -> Scores:
    """`[R, K]`: BM25 of the query as typed against title and text; 0 without a query.

    Words are counted over the catalogue as evaluated, so that no trained part is involved.
    """
    memory = TextMemory()
    matcher = Matcher(TextStats.of(memory.of(catalogue)), memory)
    terms = [tokens(normalise(ask.query)) for ask in task.asks]
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, task.size, _ROWS_AT_ONCE)]
    score: Scores = np.concatenate([matcher.bm25(terms[part], shown.item[part], catalogue) for part in parts])
    return score


def logged(task: Task, shown: Shown, tie: NDArray[np.int32]) -> Slates:
    """As it was shown; nothing for a page whose order the log does not know."""
    asked = (task.requests["order"] == "shown").to_numpy()
    return ordered(shown, -shown.position.astype(np.float64), asked, tie)


def read_truth(folder: Path, task: Task, item_ids: pl.Series) -> Labels:
    """The utility of each (request, item) of `folder/utility.parquet`. item_ids: the catalogue's, in dense order.

    Raises InputError when there is no such file or it knows none of the requests.
    """
    path = folder / "utility.parquet"
    if not path.is_file():
        raise InputError("--truth", "a folder with utility.parquet, as `podium simulate` writes it", place=str(folder))
    rows = task.requests.select("request_id").with_row_index("row").lazy()
    items = item_ids.rename("item_id").to_frame().with_row_index("dense").lazy()
    text = pl.col("request_id", "item_id").cast(pl.String)
    known = pl.scan_parquet(path, glob=False).with_columns(text).join(rows, on="request_id")
    pairs = known.join(items, on="item_id").select("row", "dense", "utility").collect().sort("row", "dense")
    if not len(pairs):
        raise InputError(
            "--truth", "the truth of the log that is evaluated: it knows none of its requests", place=str(path)
        )
    return Labels(
        task.size,
        pairs["row"].cast(pl.Int64).to_numpy(),
        pairs["dense"].cast(pl.Int32).to_numpy(),
        pairs["utility"].cast(pl.Float64).to_numpy(),
    )


def truth_of_shown(truth: Labels, shown: Shown) -> Labels:
    """The truth about the shown items alone, so that the best order is one of them."""
    gain = truth.gains(shown.item)
    row, place = np.nonzero(shown.item >= 0)
    return Labels(truth.requests, row.astype(np.int64), shown.item[row, place], gain[row, place])


def oracle_slates(truth: Labels, tie: NDArray[np.int32], depth: int) -> Slates:
    """The items the truth judges, by utility."""
    order = np.lexsort((tie[truth.item], -truth.gain, truth.row))
    row, count = truth.row[order], truth.count
    place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    kept = place < depth
    slates = Slates.blank(truth.requests, depth)
    slates.item[row[kept], place[kept]] = truth.item[order][kept]
    slates.score[row[kept], place[kept]] = truth.gain[order][kept]
    slates.asked[:] = count > 0
    return slates


def recovered(
    podium: Scores, popular: Scores, oracle: Scores, groups: NDArray[np.int64], seed: int, draws: int = 1000
) -> Summary:
    """(podium - popularity) / (oracle - popularity) of the means over requests `[R]`, with the 95 % interval of a
    bootstrap over groups; null where the three cannot be told apart, or too few."""
    known = ~np.isnan(podium + popular + oracle)
    won, all_ = (podium - popular)[known], (oracle - popular)[known]
    if not len(won):
        return plain({"mean": np.nan, "low": np.nan, "high": np.nan, "n": 0})
    _, group = np.unique(groups[known], return_inverse=True)
    above, best = (np.bincount(group, weights=each).astype(np.float64) for each in (won, all_))
    if few := too_few(len(above), "bootstrap", UNITS):
        return plain({"mean": _ratio(above, best), "low": np.nan, "high": np.nan, "n": len(won)}) | why(few)
    rng = np.random.default_rng(seed)
    drawn = np.array([_ratio(above[pick], best[pick]) for pick in _picks(rng, len(above), draws)])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return plain({"mean": _ratio(above, best), "low": float(low), "high": float(high), "n": len(won)})


def _picks(rng: np.random.Generator, size: int, draws: int) -> "list[NDArray[np.int64]]":
    return [rng.integers(0, size, size) for _ in range(draws)]


def _ratio(above: Scores, best: Scores) -> float:
    whole = float(best.sum())
    return float(above.sum()) / whole if whole != 0 else float("nan")
