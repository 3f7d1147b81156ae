"""Shares of a day that no honest log has: moments that cannot be, everything at one moment, one subject who is nearly
everybody, ids that were numbers with a fraction once."""

from typing import Final

import polars as pl

from pipeline.logs.moments import Plausible

_FLOAT: Final = r"^-?\d+\.0+$"  # 10.0 in one table is 10 in another


def float_items() -> pl.Expr:
    """Of pages whether they show an item by such an id."""
    name = pl.element().struct.field("item_id")
    return pl.col("items").list.eval(name.str.contains(_FLOAT)).list.any().alias("float_items")


def shares(pages: pl.DataFrame, told: pl.DataFrame, plausible: Plausible) -> dict[str, int]:
    """Of a day's pages and feedback: `impossible` moments, those at the commonest one, and those with a float as id.

    pages: with `float_items`.
    """
    subject = pl.col("subject").str.contains(_FLOAT)
    both = pl.concat(
        [
            pages.select("time", odd=subject | pl.col("float_items").fill_null(value=False)),
            told.select("time", odd=subject | pl.col("item_id").str.contains(_FLOAT)),
        ]
    )
    now = plausible.now + plausible.ahead
    commonest = both.group_by("time").len()["len"].max()
    found = both.select(
        impossible=(~pl.col("time").is_between(plausible.earliest, now)).sum(), float_ids=pl.col("odd").sum()
    )
    return {**found.row(0, named=True), "at_once": int(str(commonest or 0))}
