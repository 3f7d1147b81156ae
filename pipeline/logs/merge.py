"""New rows and a log become the next log: duplicates fall, changed days are written, the others linked.

Which of several rows with one `event_id` stays is a minimum over (received, content), so it does not depend on the
order in which they were delivered.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.logs.events import COLUMNS, TYPES, empty
from pipeline.logs.partitions import DAY_MS, day_file, days, link, write_days
from pipeline.logs.spill import Spilled

BATCH_ROWS = 200_000  # rows in memory at a time, unless one day alone has more
_DAY = (pl.col("time") // DAY_MS).cast(pl.Int32).alias("day")
_HASH = pl.col("event_id").hash().alias("hash")


@dataclass(frozen=True, slots=True)
class Merged:
    """Rows by type before and after, for the types that gained rows, and how many of one id said something else."""

    before: dict[str, int]
    after: dict[str, int]
    conflicts: dict[str, int]


def merge(spilled: Sequence[Spilled], log: Path, draft: Path) -> Merged:
    """Write into `draft` the log that `log` and the spilled rows make together."""
    merged = Merged({}, {}, {})
    for kind in TYPES:
        new = [chunk.paths[kind] for chunk in spilled if kind in chunk.paths]
        old = {day: day_file(log, kind, day) for day in days(log, kind)}
        if new:
            merged.before[kind] = _rows(old.values())
            merged.after[kind], merged.conflicts[kind] = _merge_kind(kind, new, old, draft)
        else:
            link_days(old, kind, draft)
    return merged


def link_days(files: Mapping[int, Path], kind: str, target: Path) -> None:
    for day, path in files.items():
        link(path, day_file(target, kind, day))


def _merge_kind(kind: str, new: list[Path], old: Mapping[int, Path], draft: Path) -> tuple[int, int]:
    """How many rows there are then, and how many fell that said something else than the one of their id that stayed."""
    arriving = pl.scan_parquet(new, glob=False).group_by(_DAY).len().sort("day").collect(engine="streaming")
    fresh = dict(arriving.iter_rows())
    winners, conflicts, days_apart = _across_days(kind, new, list(old.values()))
    touched = sorted(fresh.keys() | days_apart)
    untouched = {day: path for day, path in old.items() if day not in set(touched)}
    link_days(untouched, kind, draft)
    total = _rows(untouched.values())
    sizes = {day: fresh.get(day, 0) + (_rows([old[day]]) if day in old else 0) for day in touched}
    for batch in _batches(sizes):
        files = [*new, *(old[day] for day in batch if day in old)]
        inside = pl.col("time").is_between(batch[0] * DAY_MS, (batch[-1] + 1) * DAY_MS, closed="left")
        rows = pl.scan_parquet(files, glob=False).filter(inside).collect()
        rows = rows.join(winners, on="event_id", how="anti")
        rows, others = _deduplicated(pl.concat([rows, winners.filter(inside)]))
        conflicts += others
        write_days(draft, kind, rows)
        total += len(rows)
    return total, conflicts


def _across_days(kind: str, new: list[Path], old: list[Path]) -> tuple[pl.DataFrame, int, set[int]]:
    """The row that stays of each event_id found on several days, how many others say something else, and all the days
    it was found on.

    Ids are compared by hash first, and of the log only those that come again: its own are each there once.
    """
    fresh = pl.scan_parquet(new, glob=False).select(_HASH, _DAY).unique().collect(engine="streaming")
    found = fresh
    if old:
        known = pl.scan_parquet(old, glob=False).select(_HASH, _DAY)
        again = known.join(fresh.lazy().select("hash").unique(), on="hash", how="semi").collect(engine="streaming")
        found = pl.concat([fresh, again]).unique()
    repeated = found.filter(pl.col("hash").is_duplicated())
    if repeated.is_empty():
        return empty(kind), 0, set()
    files = [*new, *old]
    several = repeated["hash"].unique().implode()
    rows = pl.scan_parquet(files, glob=False).filter(_HASH.is_in(several)).select(*COLUMNS[kind]).collect()
    return *_deduplicated(rows), set(repeated["day"])


def _deduplicated(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Of each event_id the row with the smallest (received, content), and how many others have another content."""
    twice = rows["event_id"].is_duplicated()
    if not twice.any():
        return rows, 0
    told = pl.struct(name for name in rows.columns if name != "received")  # which does not say what happened
    repeated = rows.filter(twice).with_columns(_content=told.struct.json_encode())
    first = repeated.sort("event_id", "received", "_content").unique("event_id", keep="first")
    kept = repeated.select("event_id", "_content").join(first.select("event_id", _kept="_content"), on="event_id")
    return pl.concat([rows.filter(~twice), first.drop("_content")]), int((kept["_content"] != kept["_kept"]).sum())


def _batches(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Runs of days, ascending, of at most `BATCH_ROWS` rows; a larger day stands alone."""
    batch: list[int] = []
    rows = 0
    for day, size in sizes.items():
        if batch and rows + size > BATCH_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(day)
        rows += size
    if batch:
        yield batch


def _rows(files: Iterable[Path]) -> int:
    paths = list(files)
    return int(pl.scan_parquet(paths, glob=False).select(pl.len()).collect().item()) if paths else 0
