"""Sessions for those who sent none: a subject's events with less than half an hour between them are one session."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.logs.events import subject

IDLE_MS: Final = 30 * 60 * 1000


def derive_sessions(frames: Mapping[str, pl.DataFrame], idle_ms: int = IDLE_MS) -> dict[str, pl.DataFrame]:
    """The frames (by type) with `session_id` filled: `<user_id>@<time of the session's first event>`.

    All types count together: a click continues the session of the page it was made on. Sessions that were sent stay
    as they are and neither start nor break a derived one.
    """
    rows = [
        frame.select(
            subject(),
            "time",
            "session_id",
            kind=pl.lit(kind),
            row=pl.int_range(pl.len(), dtype=pl.Int64),
        )
        for kind, frame in frames.items()
    ]
    if not rows:
        return {}
    starts = pl.concat(rows).filter(pl.col("session_id").is_null()).sort("subject", "time", "kind", "row")
    gap = pl.col("time").diff().over("subject")
    opens = gap.is_null() | (gap >= idle_ms)
    start = pl.when(opens).then("time").forward_fill().over("subject")
    derived = starts.select("kind", "row", derived=pl.col("subject") + "@" + start.cast(pl.String))
    return {kind: _filled(frame, derived.filter(pl.col("kind") == kind)) for kind, frame in frames.items()}


def _filled(frame: pl.DataFrame, derived: pl.DataFrame) -> pl.DataFrame:
    numbered = frame.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    joined = numbered.join(derived.select("row", "derived"), on="row", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("session_id", "derived").alias("session_id")).drop("row", "derived")
