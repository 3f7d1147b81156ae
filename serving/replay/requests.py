"""The requests of an evaluated log with what is relevant to each: shown pages reordered, and whole requests replayed.

A request is asked again with exactly what it was asked with. Its own outcomes are labels only; the engine reads
everything as of the request's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import InputError
from pipeline.features.ids import key_column
from pipeline.filters import Filters, parse_filters
from pipeline.logs.attribution import outcomes_known
from pipeline.logs.events import subject
from pipeline.values import plain_texts
from serving.ports import Ask
from serving.replay.labels import Labels, spread

MOST_CELLS = 50_000_000  # requests times their most items: the lists of all systems lie side by side in memory
REQUESTS = ("request_id", "page", "time", "subject", "query", "surface", "arm", "order", "outcomes")


@dataclass(frozen=True, slots=True)
class Asking:
    """How every request is asked. as_of: ms, the moment all are read at under the frozen state, else None;
    segment: the key of `context` to segment by."""

    catalogue: Catalogue
    segment: str
    as_of: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The candidates a request brings: dense item and logged position `[R, K]`, by item_id ascending, -1 = none."""

    item: NDArray[np.int32]
    position: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Task:
    """R requests of one mode. requests: a row each, columns REQUESTS; shown: in the modes that reorder; logged: what
    any page of a request showed, gain 1, where the whole catalogue is asked."""

    mode: str
    requests: pl.DataFrame
    asks: tuple[Ask, ...]
    labels: Labels
    shown: Shown | None = None
    logged: Labels | None = None

    @property
    def size(self) -> int:
        return len(self.asks)

    @property
    def known(self) -> Mask:
        """`[R]`: the requests whose outcomes the log knows. The others are asked like any, and measured by nothing."""
        return (self.requests["outcomes"] == "known").to_numpy()

    @property
    def unmeasured(self) -> Mask:
        """`[R]`: the requests with nothing relevant, or of unknown outcomes, which leave every mean."""
        return np.asarray(self.labels.positive.count == 0)

    def counts(self) -> dict[str, int]:
        """How many requests there are, and how many of them leave the means for which reason."""
        empty = int((self.unmeasured & self.known).sum())
        return {"requests": self.size, "empty_requests": empty, "unknown_requests": int((~self.known).sum())}


def sampled(request_ids: pl.Series, sample: int | None) -> pl.Series:
    """The distinct ids, or the `sample` of them with the smallest hash: the same ones in whatever log they stand."""
    distinct = request_ids.unique(maintain_order=True)
    if sample is None or sample >= len(distinct):
        return distinct
    return distinct.gather(np.sort(np.argsort(key_column(distinct), kind="stable")[:sample]))


def first_logged(impressions: pl.DataFrame) -> pl.DataFrame:
    """Every page once, in order of time: one that was logged twice counts as first logged."""
    ordered = impressions.sort("time", "event_id")
    return ordered.unique(["request_id", "page"], keep="first", maintain_order=True).with_columns(subject())


def one_item() -> pl.Expr:
    """Pages that show one item or none, perhaps several times over."""
    return pl.col("items").list.eval(pl.element().struct["item_id"]).list.n_unique() < 2


def rank_task(impressions: pl.DataFrame, outcomes: pl.DataFrame, gains: Mapping[str, float], asking: Asking) -> Task:
    """Every page is a request that brings the items it showed, where these have an order: pages of one item are left
    out. impressions: as `first_logged` gives them."""
    pages = impressions.filter(~one_item()).with_row_index("row")
    cells = pages.select("row", "request_id", "page", cell="items").explode("cell", empty_as_null=False)
    cells = cells.with_columns(
        item_id=pl.col("cell").struct.field("item_id"), position=pl.col("cell").struct.field("position")
    )
    cells = cells.sort("row", "position", maintain_order=True)
    cells = cells.unique(["row", "item_id"], keep="first", maintain_order=True)
    earned = outcomes.join(pages.filter(~outcomes_known()), on=["request_id", "page"], how="anti")
    graded = _graded(earned, ["request_id", "page", "item_id"], gains)
    cells = cells.join(graded, on=["request_id", "page", "item_id"], how="left").sort("row", "item_id")
    return with_candidates("rank", pages, cells, asking)


def with_candidates(mode: str, pages: pl.DataFrame, cells: pl.DataFrame, asking: Asking) -> Task:
    """A task whose requests bring candidates.

    pages: one row a request, with `row` and what `asks_of` reads; cells: `row`, `item_id`, `position`, `gain`
    (null = 0), sorted by row and item_id.
    """
    size = np.bincount(cells["row"].to_numpy(), minlength=len(pages)).astype(np.int64)
    _check_size(len(pages), int(size.max(initial=0)))
    item = asking.catalogue.dense(cells["item_id"])
    shown = Shown(
        spread(item, size, -1).astype(np.int32), spread(cells["position"].to_numpy(), size, -1).astype(np.int64)
    )
    brought = cells.group_by("row", maintain_order=True).agg("item_id")
    lists: list[list[str]] = pages.join(brought, on="row", how="left", maintain_order="left")["item_id"].to_list()
    return Task(mode, pages.select(REQUESTS), asks_of(pages, asking, lists), _labels(pages, cells, asking), shown)


def _check_size(requests: int, items: int) -> None:
    if requests * items > MOST_CELLS:
        fit = MOST_CELLS // items
        raise InputError(
            "--sample",
            f"at most {fit} requests: these {requests} bring up to {items} items each, too much to hold",
        )


def funnel_task(impressions: pl.DataFrame, outcomes: pl.DataFrame, gains: Mapping[str, float], asking: Asking) -> Task:
    """Every request_id is one request, asked as its first page was; relevant is all that any page earned.
    Its outcomes are known where those of all its pages are."""
    requests = impressions.sort("page", maintain_order=True).unique("request_id", keep="first", maintain_order=True)
    requests = requests.sort("time", "event_id").with_columns(page=pl.lit(0, pl.Int32)).with_row_index("row")
    unknown = impressions.filter(~outcomes_known()).select("request_id").unique()
    requests = requests.with_columns(
        outcomes=pl.when(pl.col("request_id").is_in(unknown["request_id"].implode()))
        .then(pl.lit("unknown"))
        .otherwise("outcomes")
    )
    graded = _graded(outcomes.join(unknown, on="request_id", how="anti"), ["request_id", "item_id"], gains)
    pairs = graded.join(requests.select("row", "request_id"), on="request_id").sort("row", "item_id")
    labels = _labels(requests, pairs, asking)
    cells = impressions.select("request_id", item_id=pl.col("items").list.eval(pl.element().struct["item_id"]))
    cells = cells.explode("item_id", empty_as_null=False).unique().with_columns(gain=pl.lit(1.0))
    cells = cells.join(requests.select("row", "request_id"), on="request_id").sort("row", "item_id")
    logged = _labels(requests, cells, asking)
    return Task("funnel", requests.select(REQUESTS), asks_of(requests, asking), labels.positive, logged=logged)


def _graded(outcomes: pl.DataFrame, by: list[str], gains: Mapping[str, float]) -> pl.DataFrame:
    """`gain`: the largest gain over the attributed actions of one key."""
    gain = pl.col("action").replace_strict(dict(gains), default=0.0, return_dtype=pl.Float64)
    return outcomes.group_by(by).agg(gain=gain.max())


def _labels(requests: pl.DataFrame, pairs: pl.DataFrame, asking: Asking) -> Labels:
    return Labels(
        len(requests),
        pairs["row"].cast(pl.Int64).to_numpy(),
        asking.catalogue.dense(pairs["item_id"]),
        pairs["gain"].cast(pl.Float64).fill_null(0.0).to_numpy(),
    )


def asks_of(requests: pl.DataFrame, asking: Asking, items: list[list[str]] | None = None) -> tuple[Ask, ...]:
    """One ask a row of `request_id, page, time, subject, query, surface, filters, context`.

    A reordered page is asked under an id of its own, so that it is never taken for a repeated request.
    """
    context = pl.col("context")
    rows = requests.select(
        "request_id",
        "page",
        pl.col("time") if asking.as_of is None else pl.lit(asking.as_of, pl.Int64).alias("time"),
        pl.col("subject", "query").fill_null(""),
        "surface",
        seed=context.str.json_path_match("$.item_id").fill_null(""),
        filters=pl.col("filters").fill_null("{}"),
        context=context.fill_null("{}"),
    )
    parsed = _parsed(rows["filters"])
    contexts = {text: plain_texts(msgspec.json.decode(text)) for text in rows["context"].unique()}
    return tuple(
        Ask(
            id=row["request_id"] if items is None else f"{row['request_id']}:rank:{row['page']}",
            time=row["time"],
            subject=row["subject"],
            query=row["query"],
            surface=row["surface"],
            item_id=row["seed"] or None,
            filters=parsed[row["filters"]],
            segment=contexts[row["context"]].get(asking.segment, ""),
            items=None if items is None else tuple(items[place] or ()),
            context=contexts[row["context"]],
        )
        for place, row in enumerate(rows.iter_rows(named=True))
    )


def _parsed(filters: pl.Series) -> dict[str, Filters]:
    return {text: parse_filters(msgspec.json.decode(text), "impression.filters") for text in filters.unique()}
