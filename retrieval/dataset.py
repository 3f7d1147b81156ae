"""What two towers read: items as bags of hashed features, requests as what was asked, by whom, after which items.

The service and the training job use the same functions, so that both see a request alike.
Letters: P pairs of a request and an item it led to, R requests, N items, E features of all items, W words, H history.
"""

from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Array, Batch
from pipeline.catalogue import Catalogue
from pipeline.features.ids import Keys, key, key_column
from pipeline.features.text import normalise, tokens
from pipeline.features.texts import Texts, word
from pipeline.logs.attribution import attribute
from pipeline.logs.events import subject
from pipeline.logs.read import Log
from pipeline.state import State
from pipeline.values import plain_members

Items = NDArray[np.int32]
Places = NDArray[np.int64]

SURFACES: Final = ("", "search", "recommend", "similar")  # any other surface is ""
_TITLE, _TEXT = 16, 24  # words of a field that count
QUERY_WORDS: Final = 16
_SIMILAR = "similar"


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How requests and items become numbers. buckets: of hashed features; segments: of hashed segments; history:
    latest items of a subject that count; prices: `[Q]`, upper ends of all price ranges but the last."""

    buckets: int
    segments: int
    history: int
    prices: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bags:
    """Features of items end to end. bucket, weight: `[E]`; start: `[N + 1]`."""

    bucket: Places
    weight: NDArray[np.float32]
    start: Places

    def padded(self) -> tuple[Places, NDArray[np.float32]]:
        """Bucket and weight of each item, `[N, W]`, 0 behind the last one."""
        length = np.diff(self.start)
        place = np.arange(max(int(length.max(initial=0)), 1))[None, :]
        inside = place < length[:, None]
        index = np.where(inside, self.start[:-1, None] + place, 0)
        if not len(self.bucket):
            return np.zeros(inside.shape, np.int64), np.zeros(inside.shape, np.float32)
        return np.where(inside, self.bucket[index], 0), np.where(inside, self.weight[index], 0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests as the user tower reads them. history: `[R, H]` items, -1 padded in front; words: `[R, W]` buckets,
    0 padded behind; segment, surface: `[R]`."""

    history: Items
    words: Places
    segment: Places
    surface: Places

    def rows(self, kept: Array | slice) -> "Asked":
        return Asked(self.history[kept], self.words[kept], self.segment[kept], self.surface[kept])


@dataclass(frozen=True, slots=True)
class Pairs:
    """What was asked when, and an item it led to; all `[P]`. query: a row of `words` `[Q, W]`, the first one empty."""

    subject_key: Keys
    time: Places
    query: Places
    segment: Places
    surface: Places
    seed: Items
    item: Items
    words: Places

    def __len__(self) -> int:
        return len(self.item)

    def rows(self, kept: Array) -> "Pairs":
        return replace(
            self,
            subject_key=self.subject_key[kept],
            time=self.time[kept],
            query=self.query[kept],
            segment=self.segment[kept],
            surface=self.surface[kept],
            seed=self.seed[kept],
            item=self.item[kept],
        )

    def asked(self, state: State, history: int) -> Asked:
        """As of the time of each."""
        past = state.history.last(self.subject_key, self.time, history).item
        similar = self.surface == SURFACES.index(_SIMILAR)
        return Asked(ending_in_seed(past, similar, self.seed), self.words[self.query], self.segment, self.surface)


def spec_of(catalogue: Catalogue, *, buckets: int, history: int) -> Spec:
    price = catalogue.rows["price"].cast(pl.Float64).drop_nulls().to_numpy()
    ends = np.unique(np.quantile(price, np.linspace(0, 1, 17)[1:-1])) if len(price) else np.empty(0)
    return Spec(buckets, 64, history, tuple(ends.tolist()))


def item_bags(catalogue: Catalogue, spec: Spec, texts: Texts | None = None) -> Bags:
    """What every item is: words of title and text, category, brand, tags and attributes, price range.

    Each field weighs the same whatever its length; the title twice.
    """
    texts = Texts.of(catalogue) if texts is None else texts
    every = np.arange(len(catalogue), dtype=np.int32)
    parts: list[tuple[Keys, Places, float]] = []
    for field, most, weight in ((texts.title, _TITLE, 2.0), (texts.text, _TEXT, 1.0)):
        words, owner = field.flat(every)
        place = np.arange(len(words)) - np.searchsorted(owner, owner)
        parts.append((words[place < most].astype(np.int64), owner[place < most], weight))
    parts.append((*catalogue.labels, 1.0))
    for column in (*catalogue.category.T, catalogue.brand):
        owner = np.flatnonzero(column)
        parts.append((column[owner], owner, 0.5))
    price = catalogue.rows["price"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    priced = np.flatnonzero(~np.isnan(price))
    names = np.array([key(f"price {place}") for place in range(len(spec.prices) + 1)], dtype=np.int64)
    parts.append((names[np.searchsorted(np.array(spec.prices), price[priced])], priced, 0.5))
    return _bagged(parts, len(catalogue), spec.buckets)


def _bagged(parts: list[tuple[Keys, Places, float]], items: int, buckets: int) -> Bags:
    weights = [
        weight / np.sqrt(np.maximum(np.bincount(owner, minlength=items), 1))[owner] for _, owner, weight in parts
    ]
    owner = np.concatenate([owner for _, owner, _ in parts])
    order = np.argsort(owner, kind="stable")
    bucket = bucket_of(np.concatenate([own for own, _, _ in parts]), buckets)[order]
    start = np.searchsorted(owner[order], np.arange(items + 1))
    return Bags(bucket, np.concatenate(weights)[order].astype(np.float32), start)


def bucket_of(name: Keys, buckets: int) -> Places:
    """1..buckets - 1; 0 is nothing. Mixed as in SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = name.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    place: Places = ((mixed ^ (mixed >> np.uint64(27))) % np.uint64(buckets - 1)).astype(np.int64) + 1
    return place


def asked(batch: Batch, spec: Spec) -> Asked:
    """Prepared requests as the user tower reads them."""
    surface = np.array([_surface(name) for name in batch.request("surface")], dtype=np.int64)
    past: Items = batch.request("history")[:, -spec.history :]
    if past.shape[1] < spec.history:
        past = np.pad(past, ((0, 0), (spec.history - past.shape[1], 0)), constant_values=-1)
    similar = surface == SURFACES.index(_SIMILAR)
    return Asked(
        ending_in_seed(past, similar, batch.request("seed")),
        word_rows(list(batch.request("terms")), spec.buckets),
        segment_of(batch.request("segment_key"), spec.segments),
        surface,
    )


def ending_in_seed(history: Items, similar: Array, seed: Items) -> Items:
    """On a page of an item, that item is the last one the subject acted on. history: `[R, H]`."""
    seeded = similar & (seed >= 0)
    moved = np.column_stack([history[:, 1:], seed])
    return np.where(seeded[:, None], moved, history).astype(np.int32)


def word_rows(terms: list[list[str]], buckets: int) -> Places:
    """`[R, W]` buckets of the terms of each request; of one width, so that one request is summed up as many are."""
    cut = [own[:QUERY_WORDS] for own in terms]
    rows = np.zeros((len(cut), QUERY_WORDS), dtype=np.int64)
    inside = np.arange(rows.shape[1])[None, :] < np.array([len(own) for own in cut], dtype=np.int64)[:, None]
    hashes = np.array([word(term).hash for own in cut for term in own], dtype=np.int64)
    rows[inside] = bucket_of(hashes, buckets)
    return rows


def segment_of(segment_key: Keys, segments: int) -> Places:
    """1..segments - 1, 0 = none."""
    return np.where(segment_key == 0, 0, bucket_of(segment_key, segments))


def _surface(name: str) -> int:
    return SURFACES.index(name) if name in SURFACES else 0


def training_pairs(log: Log, state: State, spec: Spec) -> Pairs:
    """Every positive of a page with what the page was asked; of other positive actions those that name a query with
    it, the rest as what came next.

    Sorted by time, then subject and item.
    """
    good = [action for action, gain in state.gains.items() if gain > 0]
    feedback = log.frame("feedback").filter(pl.col("action").is_in(good))
    feedback = feedback.with_columns(subject().fill_null("").alias("subject"))
    rows = feedback.select(
        *("event_id", "subject", "time", "item_id"),
        pl.col("query").fill_null("").str.strip_chars(),
        segment=pl.lit(None, pl.String),
        seed=pl.lit(""),
    )
    rows = rows.with_columns(
        surface=pl.when(pl.col("query") == "").then(pl.lit("recommend")).otherwise(pl.lit("search"))
    )
    if log.has("impression"):
        paged = _of_pages(log, feedback, state.segment)
        rows = pl.concat([paged.select(rows.columns), rows.join(paged, on="event_id", how="anti")])
    rows = rows.unique(["subject", "time", "query", "item_id"], keep="first", maintain_order=True)
    rows = rows.sort("time", "subject", "item_id", "query")
    return _as_pairs(rows, state, spec)


def _of_pages(log: Log, feedback: pl.DataFrame, segment: str) -> pl.DataFrame:
    """Positive actions that belong to a request, as of when it was first asked."""
    columns = ["time", "event_id", "request_id", "page", "surface", "query", "context", "user_id", "session_id"]
    impressions = log.frame("impression", columns=[*columns, "items"])
    outcomes = attribute(impressions, feedback.drop("subject")).select("event_id", "request_id", "item_id")
    first = impressions.sort("page", "time", "event_id").unique("request_id", keep="first", maintain_order=True)
    pages = first.select(
        "request_id",
        "time",
        "surface",
        pl.col("query").fill_null(""),
        subject().fill_null("").alias("subject"),
        segment=plain_members(first["context"], segment),
        seed=pl.col("context").str.json_path_match("$.item_id").fill_null(""),
    )
    return outcomes.join(pages, on="request_id", maintain_order="left")


def _as_pairs(rows: pl.DataFrame, state: State, spec: Spec) -> Pairs:
    catalogue = state.catalogue
    queries = pl.concat([pl.Series([""]), rows["query"]]).unique(maintain_order=True)
    place = pl.DataFrame({"query": queries}).with_row_index("place")
    names = [tokens(normalise(query)) for query in queries]
    surfaces = rows["surface"].replace_strict({n: i for i, n in enumerate(SURFACES)}, default=0, return_dtype=pl.Int64)
    segment_key = np.where(rows["segment"].is_null().to_numpy(), 0, key_column(rows["segment"]))
    return Pairs(
        np.where((rows["subject"] == "").to_numpy(), 0, key_column(rows["subject"])),
        rows["time"].to_numpy(),
        rows.join(place, on="query", maintain_order="left")["place"].cast(pl.Int64).to_numpy(),
        segment_of(segment_key, spec.segments),
        surfaces.to_numpy(),
        np.where((rows["seed"] == "").to_numpy(), -1, catalogue.dense(rows["seed"])).astype(np.int32),
        catalogue.dense(rows["item_id"]),
        word_rows(names, spec.buckets),
    )
