"""Who goes to which side: pure rules from frames to a `side` per row. Sides are `train`, `valid`, `test`."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.features.text import spelt
from pipeline.logs.events import subject

SIDES = ("train", "valid", "test")
_CATALOGUE = ("item", "user")  # known to every side, so no rule divides them


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Half-open ranges of time in ms. Between two sides lies the gap, whose requests are nobody's."""

    train_end: int
    valid_start: int
    valid_end: int
    test_start: int


def time_boundaries(times: NDArray[np.int64], valid: float, test: float, gap_ms: int) -> Boundaries:
    """The last `test` share of the requests, before it a gap, `valid` of them, and another gap.

    `times` [N] are the requests' times in any order. Requests of one time stay together. Raises InputError when a
    side would be empty.
    """
    ordered = np.sort(times)
    count = len(ordered)
    first_test = count - round(test * count)
    if not 0 < first_test < count:
        raise _empty("test")
    test_start = int(ordered[first_test])
    valid_end = test_start - gap_ms
    last_valid = int(np.searchsorted(ordered, valid_end))
    first_valid = last_valid - round(valid * count)
    if not 0 < first_valid < last_valid:
        raise _empty("train" if first_valid <= 0 else "valid")
    valid_start = int(ordered[first_valid])
    if ordered[0] >= valid_start - gap_ms:
        raise _empty("train")
    return Boundaries(valid_start - gap_ms, valid_start, valid_end, test_start)


def _empty(side: str) -> InputError:
    fix = f"shares and a gap that leave requests in every side ({side} is empty); try a smaller --gap"
    return InputError("--gap, --valid, --test", fix)


def by_last(frames: Mapping[str, pl.DataFrame], users: pl.Series | None) -> dict[str, pl.Series]:
    """Each subject's last feedback is tested, the one before it validates.

    With `users` only theirs is tested; of the others, whose true last one is not here or not asked for, the last
    validates. Pages and suggestions follow the time of their subject's held-out feedback.
    """
    told = frames["feedback"].with_columns(subject(), row=pl.int_range(pl.len()))
    place = pl.int_range(pl.len(), 0, -1).over("subject") - 1
    ordered = told.sort("subject", "time", "event_id").with_columns(place=place)
    tested = pl.lit(value=True) if users is None else pl.col("user_id").is_in(users.implode()).fill_null(value=False)
    side = (
        pl.when(tested & (pl.col("place") == 0))
        .then(pl.lit("test"))
        .when(pl.col("place") == tested.cast(pl.Int64))
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )
    marked = ordered.select("row", "subject", "time", side=side)
    cuts = marked.group_by("subject").agg(
        valid_at=pl.col("time").filter(pl.col("side") == "valid").min(),
        test_at=pl.col("time").filter(pl.col("side") == "test").min(),
    )
    sides = {kind: _followed(kind, frame, cuts) for kind, frame in frames.items() if kind != "feedback"}
    return sides | {"feedback": marked.sort("row")["side"]}


def _followed(kind: str, frame: pl.DataFrame, cuts: pl.DataFrame) -> pl.Series:
    if kind not in ("impression", "suggest"):
        return _all_train(frame)
    joined = frame.select(subject(), "time").join(cuts, on="subject", how="left", maintain_order="left")
    side = (
        pl.when(pl.col("time") >= pl.col("test_at"))
        .then(pl.lit("test"))
        .when(pl.col("time") >= pl.col("valid_at"))
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )
    return joined.select(side=side).to_series()


def by_query(frames: Mapping[str, pl.DataFrame], valid: float, test: float, seed: int) -> dict[str, pl.Series]:
    """All of a query's rows go to one side, by hash of the normalised text. Feedback follows its request's query."""
    keys: dict[str, pl.Series] = {}
    for kind, frame in frames.items():
        if kind in _CATALOGUE:
            keys[kind] = pl.Series([None] * len(frame), dtype=pl.String)
        else:
            keys[kind] = spelt(frame["query"])
    if "feedback" in frames and "impression" in frames:
        asked = frames["impression"].select("request_id", asked=keys["impression"])
        acted = frames["feedback"].select("request_id", query=keys["feedback"])
        joined = acted.join(asked.unique("request_id", keep="any"), on="request_id", how="left", maintain_order="left")
        keys["feedback"] = joined.select(pl.coalesce("asked", "query")).to_series()
    return {kind: hashed_sides(key, valid, test, seed) for kind, key in keys.items()}


def by_user(frames: Mapping[str, pl.DataFrame], valid: float, test: float, seed: int) -> dict[str, pl.Series]:
    """All of a subject's events go to one side, by hash. What has no subject trains."""
    return {
        kind: hashed_sides(frame.select(subject()).to_series(), valid, test, seed)
        if "session_id" in frame.columns
        else _all_train(frame)
        for kind, frame in frames.items()
    }


def hashed_sides(keys: pl.Series, valid: float, test: float, seed: int) -> pl.Series:
    """A side per key, the same on every machine: BLAKE2 of seed and key as a number in [0, 1). Null keys train."""
    distinct = keys.drop_nulls().unique()
    side = [_hashed(key, valid, test, seed) for key in distinct]
    if not side:
        return pl.Series("side", ["train"] * len(keys), dtype=pl.String)
    return keys.replace_strict(distinct, pl.Series(side), default="train", return_dtype=pl.String).alias("side")


def _hashed(key: str, valid: float, test: float, seed: int) -> str:
    digest = blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return "test" if share < test else "valid" if share < test + valid else "train"


def _all_train(frame: pl.DataFrame) -> pl.Series:
    return pl.Series("side", ["train"] * len(frame), dtype=pl.String)
