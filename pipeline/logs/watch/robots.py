"""Who is a program: subjects by what they did, counted day by day and added up.

Four signs: more in a minute than a person does, gaps as even as a timer's, clicks on everything shown, and clicks
without ever anything else where the log's people do other things as well.
"""

import math
from typing import Final

import polars as pl

from pipeline.logs.sessions import IDLE_MS
from pipeline.logs.watch.config import RobotsConfig

SIGNS: Final = ("rate", "regular", "everything", "never_else")
_STEP: Final = 1.1
_SUMS: Final = ("events", "gaps", "bits", "most_bits", "shown", "clicks", "others")
_COLUMNS: Final = pl.Schema(
    {"subject": pl.String(), "busiest": pl.Int64()}
    | {name: pl.Float64() if name in ("bits", "most_bits") else pl.Int64() for name in _SUMS}
)


def nobody() -> pl.DataFrame:
    return pl.DataFrame(schema=_COLUMNS)


def conduct(pages: pl.DataFrame, feedback: pl.DataFrame) -> pl.DataFrame:
    """One row a subject: how much it did, how evenly, and what.

    pages: subject, time (ms), shown (items); feedback: subject, time, action. Views come with the page, by themselves,
    and are no deeds.
    """
    deeds = feedback.filter(pl.col("action") != "view")
    acts = pl.concat([pages.select("subject", "time"), deeds.select("subject", "time")]).sort("subject", "time")
    busy = acts.group_by("subject", minute=pl.col("time") // 60_000).agg(n=pl.len())
    clicked = (pl.col("action") == "click").sum().cast(pl.Int64)
    parts = [
        acts.group_by("subject").agg(events=pl.len().cast(pl.Int64)),
        busy.group_by("subject").agg(busiest=pl.col("n").max().cast(pl.Int64)),
        _evenness(acts),
        pages.group_by("subject").agg(shown=pl.col("shown").sum().cast(pl.Int64)),
        deeds.group_by("subject").agg(clicks=clicked, others=pl.len().cast(pl.Int64) - clicked),
    ]
    found = parts[0]
    for part in parts[1:]:
        found = found.join(part, on="subject", how="left")
    return found.with_columns(pl.exclude("subject").fill_null(0)).select(list(_COLUMNS)).cast(_COLUMNS)


def _evenness(acts: pl.DataFrame) -> pl.DataFrame:
    """n gaps between the events of a visit; bits: n times the entropy of their sizes, by 10 %; most_bits: n log2 n."""
    gap = pl.col("time").diff().over("subject")
    sizes = acts.select("subject", gap=gap).filter(pl.col("gap") < IDLE_MS)
    size = ((pl.col("gap") + 1).log() / math.log(_STEP)).floor().cast(pl.Int32)
    counts = sizes.group_by("subject", size=size).agg(n=pl.len().cast(pl.Float64))
    total = pl.col("n").sum()
    most = total * total.log(2)
    return counts.group_by("subject").agg(
        gaps=total.cast(pl.Int64), bits=most - (pl.col("n") * pl.col("n").log(2)).sum(), most_bits=most
    )


def together(earlier: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """The conduct of both times as one."""
    both = pl.concat([earlier, later])
    return both.group_by("subject").agg(pl.col("busiest").max(), pl.col(_SUMS).sum()).select(list(_COLUMNS))


def judge(subjects: pl.DataFrame, config: RobotsConfig) -> pl.DataFrame:
    """The subjects with a column for each of SIGNS and `robot`, true where any is."""
    deeds, others = int(subjects["clicks"].sum()) + int(subjects["others"].sum()), int(subjects["others"].sum())
    usual = 1.0 - others / deeds if deeds else 1.0  # the chance that a deed is a click
    few = math.log(config.never_else) / math.log(usual) if 0.0 < usual < 1.0 and config.never_else else math.inf
    even = (pl.col("gaps") >= config.gaps) & (pl.col("bits") < config.regularity * pl.col("most_bits"))
    return subjects.with_columns(
        rate=pl.col("busiest") > config.per_minute,
        regular=even,
        everything=(pl.col("shown") >= config.shown) & (pl.col("clicks") >= config.everything * pl.col("shown")),
        never_else=(pl.col("others") == 0) & (pl.col("clicks") > few),
    ).with_columns(robot=pl.any_horizontal(SIGNS))
