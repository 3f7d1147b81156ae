"""Slate metrics of a run file, by name (`ild@10`, `alpha_ndcg@10`): what `podium metrics --items` adds.

A page is a query's first k items by score, equal scores by item_id ascending. With judgments the judged queries count,
as for every other metric, one that the run lacks with an empty page; without them all queries of the run. An item that
the table does not know keeps its slot and has no category, topic or vector; such items are counted.

Per request: ild (of vectors, else of category paths, else of topics; the report says which), ild_path, ild_topics,
entropy (of top categories), novelty, and with judgments alpha_ndcg and srecall. Of all pages together: coverage, gini,
and gini_discounted (a slot's exposure is 1 / log2(1 + rank)).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.evaluation import EmptyRule
from pipeline.metrics.padded import pad
from pipeline.metrics.report import QueryCounts
from pipeline.metrics.slates import kernels
from pipeline.metrics.slates.items import ItemTable
from pipeline.metrics.statistics.compare import DRAWS, Interval, bootstrap_interval
from pipeline.metrics.statistics.enough import too_few
from pipeline.metrics.tables.listings import Listing

Floats = NDArray[np.float64]
Places = NDArray[np.int32]
T = TypeVar("T")

RELEVANT: Final = 1.0  # the least grade of a relevant item
CATALOGUE_DRAWS: Final = 200  # for the spread of one number, where percentiles would need more
_WHOLE: Final = 1_000_000  # slots: no cut


@dataclass(frozen=True, slots=True)
class Pages:
    """R pages: items `[R, K]`, relevant `[R, K]`, pool `[R, P]` of relevant items (both None without judgments); -1:
    an empty slot, or an item the table does not know, of which there are `unknown`."""

    items: Places
    relevant: NDArray[np.bool_] | None
    pool: Places | None
    table: ItemTable
    unknown: int


@dataclass(frozen=True, slots=True)
class SlateValues:
    """metrics: label → mean or value, with 95 % interval; per_query: query_id and the per-request metrics; notes: what
    ild looked at, the catalogue's size, shown slots whose item it does not know."""

    metrics: dict[str, Interval]
    per_query: pl.DataFrame
    queries: QueryCounts
    notes: dict[str, object]


def is_slate_metric(label: str) -> bool:
    """Whether `label`, with or without a cut, names one of these."""
    return label.partition("@")[0] in {*PER_REQUEST, *OF_CATALOGUE}


def slate_values(
    run: Listing,
    items: ItemTable,
    names: Sequence[str],
    qrels: Listing | None = None,
    *,
    empty: EmptyRule = "zero",
    seed: int = 0,
    draws: int = DRAWS,
) -> SlateValues:
    """The metrics `names` of the run's pages. empty: as in `pipeline.metrics.runs`.

    Raises InputError for an unknown name, one whose column the table lacks, or which needs judgments, and for an item
    that stands twice under a query.
    """
    cuts = {label: _parsed(label) for label in dict.fromkeys(names)}
    queries, pages = _laid_out(run, items, qrels, max((k for _, k in cuts.values()), default=1))
    metrics: dict[str, Interval] = {}
    values: dict[str, Floats] = {}
    for label, (name, k) in cuts.items():
        if name in OF_CATALOGUE:
            metrics[label] = _of_catalogue(name, pages, k, seed)
        else:
            values[label] = PER_REQUEST[name](pages, k)
            if empty == "zero" and name in FILLS:
                np.nan_to_num(values[label], copy=False)
            metrics[label] = _mean(values[label], seed, draws)
    notes: dict[str, object] = {"catalogue": len(items.ids), "unknown_slots": pages.unknown}
    if any(name == "ild" for name, _ in cuts.values()):
        notes["ild"] = "vectors" if items.vectors is not None else "topics" if items.paths is None else "paths"
    per_query = pl.DataFrame({"query_id": queries, **values})
    return SlateValues(metrics, per_query, _counts(run, queries, qrels), notes)


def _parsed(label: str) -> tuple[str, int]:
    found = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]{0,5}))?", label)
    if not found or not is_slate_metric(found[1]):
        known = ", ".join([*PER_REQUEST, *OF_CATALOGUE])
        raise InputError("metric", f"one of {known}, with or without a cut such as @10", received=label)
    return found[1], int(found[2]) if found[2] else _WHOLE


def _laid_out(run: Listing, table: ItemTable, qrels: Listing | None, depth: int) -> tuple[pl.Series, Pages]:
    """Query ids ascending, and their pages."""
    frame = run.frame.select("query_id", "item_id", "score")
    doubled = frame.select("query_id", "item_id").is_duplicated()
    if doubled.any():
        raise run.repeated(*frame.filter(doubled).select("query_id", "item_id").row(0))
    asked = frame if qrels is None else qrels.frame
    queries = asked["query_id"].unique().sort()
    numbered = pl.DataFrame({"query_id": queries}).with_row_index("query")
    frame = frame.join(numbered, on="query_id").sort("query", "score", "item_id", descending=[False, True, False])
    frame = frame.group_by("query", maintain_order=True).head(depth)
    frame = frame.with_columns(place=pl.Series(table.dense(frame["item_id"])))
    unknown = int((frame["place"] < 0).sum())
    if qrels is None:
        return queries, Pages(_padded(frame, "place", len(queries)), None, None, table, unknown)
    judged = qrels.frame.filter(pl.col("grade") >= RELEVANT).join(numbered, on="query_id")
    good = judged.select("query", "item_id", relevant=pl.lit(value=1, dtype=pl.Int32))
    frame = frame.join(good, on=["query", "item_id"], how="left", maintain_order="left").fill_null(0)
    # Of equal gains the ideal page takes the greater item_id: so does ndeval.
    judged = judged.sort("query", "item_id", descending=[False, True])
    judged = judged.with_columns(place=pl.Series(table.dense(judged["item_id"])))
    relevant = _padded(frame, "relevant", len(queries)) > 0
    pool = _padded(judged, "place", len(queries))
    return queries, Pages(_padded(frame, "place", len(queries)), relevant, pool, table, unknown)


def _counts(run: Listing, queries: pl.Series, qrels: Listing | None) -> QueryCounts:
    ran = run.frame["query_id"].unique()
    if qrels is None:
        return QueryCounts(0, 0, 0, len(ran))
    both = int(queries.is_in(ran.implode()).sum())
    relevant = qrels.frame.filter(pl.col("grade") >= RELEVANT)["query_id"].n_unique()
    return QueryCounts(len(queries), len(queries) - both, len(queries) - relevant, len(ran) - both)


def _padded(frame: pl.DataFrame, column: str, rows: int) -> Places:
    """`[rows, K]`: the column of each query, whose rows stand together; -1 elsewhere."""
    part = pad(frame, "query", [column])
    values = np.full((rows, max(1, part.mask.shape[1])), -1, dtype=np.int32)
    if part.mask.size:
        values[part.keys.to_numpy()] = np.where(part.mask, part[column], -1)
    return values


def _mean(values: Floats, seed: int, draws: int) -> Interval:
    if draws:
        return bootstrap_interval(values, seed, draws=draws, units="queries")
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else float("nan")
    return Interval(mean, float("nan"), float("nan"), len(known))


def _of_catalogue(name: str, pages: Pages, k: int, seed: int) -> Interval:
    """Coverage has no interval: a resample can only show fewer items. Gini's is its value and 1.96 times its spread
    over resamples of the pages, whose percentiles would be off for the same reason."""
    size, shown = len(pages.table.ids), pages.items[:, :k]
    discounted = name == "gini_discounted"
    exposed = kernels.exposure(shown, size, k, discounted=discounted)
    if name == "coverage":
        return Interval(kernels.coverage(exposed), float("nan"), float("nan"), len(shown))
    value, generator = kernels.gini(exposed), np.random.default_rng(seed)
    if few := too_few(len(shown), "bootstrap", "queries"):
        return Interval(value, float("nan"), float("nan"), len(shown), few.reason, few.needed)
    drawn = np.empty(CATALOGUE_DRAWS)
    for i in range(CATALOGUE_DRAWS):
        rows = generator.integers(0, len(shown), len(shown))
        drawn[i] = kernels.gini(kernels.exposure(shown[rows], size, k, discounted=discounted))
    half = 1.96 * float(drawn.std(ddof=1))
    return Interval(value, max(0.0, value - half), min(1.0, value + half), len(shown))


def _ild(pages: Pages, k: int) -> Floats:
    if pages.table.vectors is not None:
        return kernels.intra_list_distance(pages.items, pages.table.vectors, k)
    return _ild_topics(pages, k) if pages.table.paths is None else _ild_path(pages, k)


def _ild_path(pages: Pages, k: int) -> Floats:
    return kernels.path_distance(pages.items, _needed(pages.table.paths, "category"), k)


def _ild_topics(pages: Pages, k: int) -> Floats:
    return kernels.intra_list_difference(pages.items, _needed(pages.table.topics, "category (or topics)"), k)


def _entropy(pages: Pages, k: int) -> Floats:
    return kernels.entropy(pages.items, _needed(pages.table.paths, "category")[:, 0] - 1, k)


def _novelty(pages: Pages, k: int) -> Floats:
    return kernels.novelty(pages.items, kernels.self_information(_needed(pages.table.popularity, "popularity")), k)


def _srecall(pages: Pages, k: int) -> Floats:
    topics, (relevant, pool) = _needed(pages.table.topics, "category (or topics)"), _judged(pages)
    return kernels.subtopic_recall(pages.items, relevant, pool, topics, k)


def _alpha_ndcg(pages: Pages, k: int) -> Floats:
    topics, (relevant, pool) = _needed(pages.table.topics, "category (or topics)"), _judged(pages)
    return kernels.alpha_ndcg(pages.items, relevant, pool, topics, k)


def _needed(column: T | None, name: str) -> T:
    if column is None:
        raise InputError("--items", f"a table with the column {name}, which this metric looks at")
    return column


def _judged(pages: Pages) -> tuple[NDArray[np.bool_], Places]:
    if pages.relevant is None or pages.pool is None:
        raise InputError("--qrels", "judgments: alpha_ndcg and srecall count relevant items")
    return pages.relevant, pages.pool


PER_REQUEST: Final[dict[str, Callable[[Pages, int], Floats]]] = {
    "ild": _ild,
    "ild_path": _ild_path,
    "ild_topics": _ild_topics,
    "entropy": _entropy,
    "novelty": _novelty,
    "alpha_ndcg": _alpha_ndcg,
    "srecall": _srecall,
}
OF_CATALOGUE: Final = ("coverage", "gini", "gini_discounted")
FILLS: Final = ("alpha_ndcg", "srecall")  # count 0 where a judged query has nothing relevant, unless `empty="skip"`
