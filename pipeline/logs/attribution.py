"""Which impression earned which feedback, and the grades that follow."""

from collections.abc import Mapping

import polars as pl
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from pipeline.config import Config
from pipeline.logs.events import subject
from pipeline.logs.read import Log

_MINUTE, _DAY = 60_000, 86_400_000
OTHER = "other"


class AttributionConfig(Config):
    """How long after an impression an action still counts for it, and what each action is worth."""

    windows_ms: dict[str, NonNegativeInt] = Field(
        default={
            "view": 30 * _MINUTE,
            "click": 30 * _MINUTE,
            "like": _DAY,
            "cart": _DAY,
            "purchase": 7 * _DAY,
            OTHER: _DAY,
        },
        description="action -> milliseconds after the impression; `other` stands for the actions not named",
    )
    gains: dict[str, NonNegativeFloat] = Field(
        default={"click": 1.0, "like": 1.0, "cart": 2.0, "purchase": 3.0},
        description="action -> gain; actions not named gain 0",
    )


OUTCOMES = {
    "request_id": pl.String(),
    "page": pl.Int32(),
    "item_id": pl.String(),
    "position": pl.Int32(),
    "subject": pl.String(),
    "action": pl.String(),
    "time": pl.Int64(),
    "received": pl.Int64(),
    "value": pl.Int64(),
    "quantity": pl.Int64(),
    "event_id": pl.String(),
}
_TOLD = ("item_id", "subject", "action", "time", "received", "value", "quantity", "event_id")


def outcomes_known() -> pl.Expr:
    """Whether what a page earned nothing for was seen to earn nothing.

    A page that says `unknown` was published without its labels, or without some of them: what was done on it counts as
    it stands, but an item of it that earned nothing is no negative, and no measure may count the page.
    """
    return (pl.col("outcomes") == "known").alias("known")


def labelled(impressions: pl.DataFrame) -> pl.DataFrame:
    """The pages that negatives and measures may come from: see `outcomes_known`."""
    return impressions.filter(outcomes_known())


def has_labelled(log: Log) -> bool:
    """Whether any page of the log can be learned from and measured on."""
    return log.has("impression") and bool(log.scan("impression").select(outcomes_known().any()).collect().item())


def shown_items(impressions: pl.DataFrame) -> pl.DataFrame:
    """One row a shown item: request_id, page, item_id, position, subject, shown_at (ms), in order of time.

    A page that was logged twice counts as first logged.
    """
    pages = impressions.sort("time", "event_id").unique(["request_id", "page"], keep="first", maintain_order=True)
    cells = pages.select("request_id", "page", subject(), shown_at="time", cell="items").explode("cell")
    return cells.select(
        "request_id",
        "page",
        pl.col("cell").struct.field("item_id"),
        pl.col("cell").struct.field("position"),
        "subject",
        "shown_at",
    )


def attribute(
    impressions: pl.DataFrame, feedback: pl.DataFrame, windows: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """One row per feedback that belongs to an impression; columns `OUTCOMES`, sorted by (time, event_id).

    With a request_id it belongs to that request, to the page that shows the item (else to the first, `position`
    null); without one, to the subject's latest impression of the item. In both cases not before the impression and
    at most the action's window after it. The rest is history and absent here.
    """
    limits = AttributionConfig().windows_ms if windows is None else dict(windows)
    shown = shown_items(impressions)
    window = pl.col("action").replace_strict(
        {action: limit for action, limit in limits.items() if action != OTHER},
        default=limits.get(OTHER, _DAY),
        return_dtype=pl.Int64,
    )
    told = feedback.with_columns(subject(), window=window)
    direct = _by_request(told.filter(pl.col("request_id").is_not_null()), shown)
    found = _by_item(told.filter(pl.col("request_id").is_null()), shown)
    both = pl.concat([direct, found])
    delay = both["time"] - both["shown_at"]
    inside = (delay >= 0) & (delay <= both["window"])
    return (
        both.filter(inside)
        .select(pl.col(name).cast(dtype) for name, dtype in OUTCOMES.items())
        .sort("time", "event_id")
    )


def _by_request(told: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    first = shown.sort("request_id", "page", "position")
    pages = first.unique("request_id", keep="first").select("request_id", first_page="page", first_at="shown_at")
    cells = first.unique(["request_id", "item_id"], keep="first", maintain_order=True)
    cells = cells.select("request_id", "item_id", "page", "position", "shown_at")
    joined = told.join(pages, on="request_id").join(cells, on=["request_id", "item_id"], how="left")
    return joined.select(
        "request_id",
        pl.coalesce("page", "first_page").alias("page"),
        "position",
        *_TOLD,
        "window",
        pl.coalesce("shown_at", "first_at").alias("shown_at"),
    )


def _by_item(told: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    joined = (
        told.drop("request_id")
        .sort("time")
        .join_asof(
            shown.sort("shown_at", maintain_order=True),
            left_on="time",
            right_on="shown_at",
            by=["subject", "item_id"],
            strategy="backward",
            coalesce=False,
            check_sortedness=False,
        )
    )
    hit = joined.filter(pl.col("request_id").is_not_null())
    return hit.select("request_id", "page", "position", *_TOLD, "window", "shown_at")


def grades(outcomes: pl.DataFrame, gains: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Grade of (request_id, item_id): the largest gain over its attributed actions. Columns with `grade` float64."""
    worth = AttributionConfig().gains if gains is None else dict(gains)
    gain = pl.col("action").replace_strict(worth, default=0.0, return_dtype=pl.Float64)
    return outcomes.group_by("request_id", "item_id").agg(grade=gain.max()).sort("request_id", "item_id")
