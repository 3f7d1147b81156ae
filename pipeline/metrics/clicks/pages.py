"""Pages that were shown, as arrays: what the click models are fitted to, and the one door from a log to them."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.features.text import spelt
from pipeline.logs.attribution import attribute, labelled
from pipeline.logs.read import Log
from pipeline.metrics.clicks.arrays import dense

Numbers = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLICK: Final = "click"
TOGETHER: Final = "all"


@dataclass(frozen=True, slots=True)
class ShownPages:
    """Shown items, one a row `[n]`, in the order of request and position; no place of a request occurs twice.

    request: 0-based, all pages of a request together; position: 0-based; pair: (surface, query or seed item, item) as
    a number from 0; clicked; chance: P(item at this place | request) where the order was drawn, else nan; surface:
    index into `surfaces`; subject: who looked, as a number from 0, what intervals resample by; pairs: how many numbers
    of pairs there are.
    """

    request: Ints
    position: Ints
    pair: Ints
    clicked: Mask
    chance: Floats
    surface: Ints
    subject: Ints
    surfaces: tuple[str, ...]
    pairs: int

    def __len__(self) -> int:
        return len(self.request)

    @property
    def drawn(self) -> Mask:
        """Rows of pages in an order that was drawn with known chances."""
        return self.chance < 1.0

    @property
    def places(self) -> int:
        """Positions up to the deepest that was shown."""
        return int(self.position.max()) + 1 if len(self.position) else 0

    def table(self, values: Numbers, fill: Any) -> Numbers:
        """Values of rows `[n]` as `[R, P]`, requests by positions."""
        table = np.full((int(self.request.max(initial=-1)) + 1, self.places), fill, dtype=values.dtype)
        table[self.request, self.position] = values
        return table

    def take(self, rows: Mask | Ints) -> "ShownPages":
        """Some of the rows. Requests are numbered anew; pairs keep their numbers."""
        return replace(
            self,
            request=dense(self.request[rows]),
            position=self.position[rows],
            pair=self.pair[rows],
            clicked=self.clicked[rows],
            chance=self.chance[rows],
            surface=self.surface[rows],
            subject=self.subject[rows],
        )

    def together(self) -> "ShownPages":
        """All surfaces as one, named `all`; their pairs stay apart."""
        return replace(self, surface=np.zeros(len(self), dtype=np.int64), surfaces=(TOGETHER,))


def page_rows(
    request: Numbers,
    position: Numbers,
    pair: Numbers,
    clicked: Numbers,
    chance: Numbers | None = None,
    subject: Numbers | None = None,
) -> ShownPages:
    """Pages of one surface from arrays `[n]` in any order; without subjects, each request is its own.

    Raises InputError when a place of a request occurs twice, or a position is negative.
    """
    request, position = dense(np.asarray(request)), np.asarray(position, dtype=np.int64)
    if len(position) and position.min() < 0:
        raise InputError("position", "0 or more", received=int(position.min()))
    order = np.lexsort((position, request))
    pair = dense(np.asarray(pair))
    key = np.stack([request[order], position[order]])
    if bool((key[:, 1:] == key[:, :-1]).all(axis=0).any()):
        raise InputError("position", "one item at each place of a request")
    return ShownPages(
        request=key[0],
        position=key[1],
        pair=pair[order],
        clicked=np.asarray(clicked)[order].astype(np.bool_),
        chance=np.full(len(order), np.nan) if chance is None else np.asarray(chance, dtype=np.float64)[order],
        surface=np.zeros(len(order), dtype=np.int64),
        subject=key[0] if subject is None else dense(np.asarray(subject))[order],
        surfaces=(TOGETHER,),
        pairs=int(pair.max(initial=-1)) + 1,
    )


def read_pages(log: Log, surface: str | None = None) -> ShownPages:
    """The shown items of a log, with the clicks that belong to them (`pipeline.logs.attribution`).

    A pair is the item under its query (normalised), under its seed item (`context.item_id`) where
    there is no query, else the item alone. Impressions in no known order or of unknown outcomes, and places that occur
    twice, are left out.
    surface: only this one. Raises InputError when the log has no such impression.
    """
    impressions = log.frame("impression")
    shown = _cells(impressions).filter(pl.lit(surface is None) | (pl.col("surface") == (surface or "")))
    if not len(shown):
        raise InputError(
            "surface",
            "one with shown items in a known order, and known outcomes",
            place=str(log.root),
            received=surface,
        )
    clicks = log.frame("feedback").filter(pl.col("action") == CLICK)
    outcomes = attribute(impressions, clicks).select("request_id", "item_id", clicked=pl.lit(True)).unique()
    rows = shown.join(outcomes, on=["request_id", "item_id"], how="left", maintain_order="left")
    names = tuple(sorted(rows["surface"].unique().to_list()))
    pair = _number(rows, "surface", "asked", "item_id")
    return ShownPages(
        request=_number(rows, "request_id"),
        position=rows["position"].to_numpy().astype(np.int64),
        pair=pair,
        clicked=rows["clicked"].fill_null(value=False).to_numpy(),
        chance=rows["chance"].to_numpy().astype(np.float64),
        surface=rows["surface"].replace_strict({name: i for i, name in enumerate(names)}).to_numpy().astype(np.int64),
        subject=_number(rows, "subject"),
        surfaces=names,
        pairs=int(pair.max()) + 1,
    )


def _cells(impressions: pl.DataFrame) -> pl.DataFrame:
    """One row a shown item, in the order of request and position."""
    seed = pl.col("context").str.json_path_match("$.item_id")
    query = pl.col("query").map_batches(spelt, return_dtype=pl.String())
    pages = labelled(impressions).filter(pl.col("order") == "shown").sort("time", "event_id")
    cells = (
        pages.unique(["request_id", "page"], keep="first", maintain_order=True)
        .select(
            "request_id",
            "surface",
            subject=pl.coalesce("user_id", pl.lit("s:") + pl.col("session_id"), "request_id"),
            asked=pl.coalesce(pl.lit("q:") + query, pl.lit("i:") + seed, pl.lit("")),
            cell="items",
        )
        .explode("cell")
        .unnest("cell")
        .filter(pl.col("position").is_not_null())
    )
    once = cells.unique(["request_id", "position"], keep="first", maintain_order=True)
    return once.with_columns(
        chance=pl.when(pl.col("marginal") < 1.0).then(pl.col("marginal")).otherwise(float("nan"))
    ).sort("request_id", "position")


def _number(rows: pl.DataFrame, *columns: str) -> Ints:
    """The rank of each row's value among the different ones of these columns, in order of appearance."""
    different = rows.select(*columns).unique(maintain_order=True).with_row_index("number")
    joined = rows.select(*columns).join(different, on=columns, how="left", maintain_order="left")
    return joined["number"].to_numpy().astype(np.int64)
