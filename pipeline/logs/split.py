"""`podium split`: one log becomes `train`, `valid` and `test`, each a log.

`valid` and `test` hold the events their requests are drawn from and begin with the latest `item` and `user` rows;
everything earlier lies in their `state/`, known but never asked about.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.logs.events import SCHEMA, TYPES
from pipeline.logs.holdout import SIDES, Boundaries, by_last, by_query, by_user, time_boundaries
from pipeline.logs.importers.tables import is_table, read_table
from pipeline.logs.merge import link_days
from pipeline.logs.partitions import (
    DAY_MS,
    count_rows,
    day_file,
    days,
    drafted,
    write_days,
    write_json,
    write_manifest,
)
from pipeline.logs.read import STATE, Log, latest

RULES: Final = ("time", "last", "query", "user")
REPORT: Final = "split.json"
_LASTING: Final = ("item", "user")
_REQUESTS: Final = ("impression", "feedback", "suggest", "judgment")  # the first that a log has sets the times


@dataclass(frozen=True, slots=True)
class Rule:
    """What was asked for. `users` is a file of user_ids, for `last` only."""

    by: str
    users: Path | None
    valid: float
    test: float
    gap_ms: int
    seed: int


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Rows by side and type, and for a split by time its boundaries in ms."""

    by: str
    sides: dict[str, dict[str, int]]
    boundaries: dict[str, int]
    seconds: float


def split(
    logs: Path,
    out: Path,
    by: str = "time",
    *,
    users: Path | None = None,
    valid: float = 0.1,
    test: float = 0.15,
    gap_ms: int = DAY_MS,
    seed: int = 0,
) -> SplitReport:
    """Write `out/{train,valid,test}`.

    Raises InputError for shares out of range, a rule that the log's clock or content does not allow, and sides that
    would be empty.
    """
    started = perf_counter()
    log, rule = Log.open(logs), Rule(by, users, valid, test, gap_ms, seed)
    _check_rule(rule)
    _check_log(log, rule)
    if out.exists() and not (out / REPORT).exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("--out", "a new folder, or an earlier split", place=str(out))
    limits: dict[str, int] = {}
    with drafted(out) as draft:
        if by == "time":
            bounds = time_boundaries(_request_times(log), valid, test, gap_ms)
            limits = asdict(bounds)
            _write_by_time(log, bounds, draft)
        else:
            frames = {kind: log.frame(kind) for kind in TYPES if log.has(kind)}
            _write_marked(frames, _marked(frames, rule), draft)
        sides = {side: count_rows(draft / side) for side in SIDES}
        _refuse_empty(sides)
        told = asdict(rule) | {"users": None if users is None else users.name} | limits
        _write_manifests(log, told, draft)
        write_json(draft / REPORT, {"schema": SCHEMA, **told, "sides": sides})
    return SplitReport(by, sides, limits, perf_counter() - started)


def _check_rule(rule: Rule) -> None:
    if rule.by not in RULES:
        raise InputError("--by", f"one of {', '.join(RULES)}", received=rule.by)
    if not (rule.valid > 0 and rule.test > 0 and rule.valid + rule.test < 1):
        fix = "shares above 0 that sum to less than 1"
        raise InputError("--valid, --test", fix, received=(rule.valid, rule.test))
    if rule.gap_ms < 0:
        raise InputError("--gap", "0 or more", received=rule.gap_ms)
    if rule.users is not None and rule.by != "last":
        raise InputError("--users", "used with --by last only", received=str(rule.users))


def _check_log(log: Log, rule: Rule) -> None:
    place = str(log.root)
    if rule.by == "time" and log.clock == "order":
        fix = "`last` (or `query`, `user`): this log has an order but no times; pass --by last"
        raise InputError("--by", fix, place=place, received=rule.by)
    if rule.by == "last" and not log.has("feedback"):
        raise InputError("--by", "`query` or `time`: this log has no feedback", place=place, received=rule.by)
    if log.state is not None:
        raise InputError("logs", "a whole log, not a side of a split", place=place)


def _request_times(log: Log) -> NDArray[np.int64]:
    kind = next((kind for kind in _REQUESTS if log.has(kind)), None)
    if kind is None:
        fix = "a log with impressions, feedback, suggestions or judgments"
        raise InputError("logs", fix, place=str(log.root))
    return log.scan(kind).select("time").collect()["time"].to_numpy()


def _write_by_time(log: Log, bounds: Boundaries, draft: Path) -> None:
    for kind in (kind for kind in TYPES if log.has(kind)):
        _copy(log, kind, draft / "train", before=bounds.train_end, received_before=bounds.train_end)
        _copy(log, kind, draft / "valid" / STATE, before=bounds.valid_start)
        _copy(log, kind, draft / "test" / STATE, before=bounds.test_start)
        for side, since, before in (
            ("valid", bounds.valid_start, bounds.valid_end),
            ("test", bounds.test_start, None),
        ):
            if kind in _LASTING:
                known = latest(kind, log.frame(kind, before=since))
                own = log.frame(kind, since=since, before=before)
                write_days(draft / side, kind, pl.concat([known, own]))
            else:
                _copy(log, kind, draft / side, since=since, before=before, received_before=before)


def _copy(
    log: Log,
    kind: str,
    target: Path,
    *,
    since: int = 0,
    before: int | None = None,
    received_before: int | None = None,
) -> None:
    """Rows with since <= time < before, and received before a limit: whole days are linked, others rewritten."""
    whole: dict[int, Path] = {}
    late = set() if received_before is None else _late_days(log, kind, received_before)
    for day in days(log.root, kind):
        start, end = day * DAY_MS, (day + 1) * DAY_MS
        if end <= since or (before is not None and start >= before):
            continue
        path = day_file(log.root, kind, day)
        if start >= since and (before is None or end <= before) and day not in late:
            whole[day] = path
            continue
        kept = pl.scan_parquet(path, glob=False).filter(pl.col("time") >= since)
        kept = kept if before is None else kept.filter(pl.col("time") < before)
        kept = kept if received_before is None else kept.filter(pl.col("received") < received_before)
        write_days(target, kind, kept.collect())
    link_days(whole, kind, target)


def _late_days(log: Log, kind: str, received_before: int) -> set[int]:
    """Days that hold a row received at or after the limit."""
    rows = log.scan(kind).filter(pl.col("received") >= received_before)
    return set(rows.select(pl.col("time") // DAY_MS).unique().collect()["time"])


def _marked(frames: dict[str, pl.DataFrame], rule: Rule) -> dict[str, pl.Series]:
    if rule.by == "last":
        return by_last(frames, None if rule.users is None else _read_users(rule.users, frames["feedback"]))
    mark = by_query if rule.by == "query" else by_user
    return mark(frames, rule.valid, rule.test, rule.seed)


def _read_users(path: Path, feedback: pl.DataFrame) -> pl.Series:
    """The user_ids of a table's `user_id` column, or of a text file's lines."""
    if not path.is_file():
        raise InputError("--users", "an existing file", place=str(path))
    if is_table(path):
        table = read_table(path)
        table.need("user_id")
        for reject in table.rejects:
            raise InputError("--users", f"sound rows; a row {reject.reason}", place=f"{path}, line {reject.line}")
        told = table.text("user_id").frame["user_id"].drop_nulls()
    else:
        try:
            lines = path.read_bytes().decode().split("\n")
        except UnicodeDecodeError as error:
            raise InputError("--users", "Parquet, CSV or a text in UTF-8", place=str(path)) from error
        told = pl.Series([line.removesuffix("\r") for line in lines if line.strip()], dtype=pl.String)
    users = told.unique()
    if not feedback["user_id"].is_in(users.implode()).any():
        raise InputError("--users", "ids of users that the log has feedback of", place=str(path))
    return users


def _write_marked(frames: dict[str, pl.DataFrame], marks: dict[str, pl.Series], draft: Path) -> None:
    for kind, frame in frames.items():
        parts = {side: frame.filter(marks[kind] == side) for side in SIDES}
        write_days(draft / "train", kind, parts["train"])
        trained = {day: day_file(draft / "train", kind, day) for day in days(draft / "train", kind)}
        link_days(trained, kind, draft / "valid" / STATE)
        write_days(draft / "test" / STATE, kind, pl.concat([parts["train"], parts["valid"]]))
        for side in ("valid", "test"):
            write_days(draft / side, kind, latest(kind, frame) if kind in _LASTING else parts[side])


def _refuse_empty(sides: dict[str, dict[str, int]]) -> None:
    for side, rows in sides.items():
        if not any(rows.get(kind, 0) for kind in _REQUESTS):
            raise InputError("--by", f"a rule that leaves events in every side ({side} would be empty)")


def _write_manifests(log: Log, rule: dict[str, object], draft: Path) -> None:
    for side in SIDES:
        write_manifest(draft / side, log.clock, side=side, split=rule, sources=log.manifest.get("sources", []))
        if side != "train":
            write_manifest(draft / side / STATE, log.clock, side=f"{side}/{STATE}", split=rule)
