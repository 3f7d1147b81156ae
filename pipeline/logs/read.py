"""Reading a log: whole types as frames in time order, and what is known of it without reading."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

import polars as pl

from pipeline.errors import InputError
from pipeline.logs.events import COLUMNS, TYPES, empty
from pipeline.logs.partitions import DAY_MS, MANIFEST, day_file, days, read_manifest

STATE = "state"
_REPEATED = ("item", "user")  # a side of a split starts with copies of rows that its state holds as well


@dataclass(frozen=True, slots=True)
class Log:
    """A log, or a log with the earlier events that are its state, read as one.

    Build it with `Log.open`. `roots` holds one folder, or state and log.
    """

    root: Path
    clock: str
    manifest: dict[str, object] = field(repr=False)
    roots: tuple[Path, ...]

    @classmethod
    def open(cls, path: Path) -> "Log":
        """Raises ArtifactError when `path` is no log or one of another schema."""
        manifest = read_manifest(path)
        return cls(path, str(manifest["clock"]), manifest, (path,))

    @property
    def state(self) -> "Log | None":
        """Earlier events that are known but never asked about, where the log carries them."""
        path = self.root / STATE
        return Log.open(path) if (path / MANIFEST).is_file() else None

    def everything(self) -> "Log":
        """State and own events read as one."""
        state = self.state
        roots = self.roots if state is None else (state.root, self.root)
        return Log(self.root, self.clock, self.manifest, roots)

    def days(self, kind: str) -> list[int]:
        """Days with rows of this type, counted from 1970-01-01, ascending."""
        return sorted({day for root in self.roots for day in days(root, kind)})

    def has(self, kind: str) -> bool:
        return bool(self.days(kind))

    def scan(self, kind: str, *, since: int | None = None, before: int | None = None) -> pl.LazyFrame:
        """Rows with since <= time < before (ms), in no promised order; only the days that can hold them are read."""
        files = [
            day_file(root, kind, day)
            for root in self.roots
            for day in days(root, kind)
            if (since is None or (day + 1) * DAY_MS > since) and (before is None or day * DAY_MS < before)
        ]
        if not files:
            return empty(kind).lazy()
        rows = pl.scan_parquet(files)
        if since is not None:
            rows = rows.filter(pl.col("time") >= since)
        if before is not None:
            rows = rows.filter(pl.col("time") < before)
        if len(self.roots) > 1 and kind in _REPEATED:
            rows = rows.unique("event_id", keep="first")
        return rows

    def frame(
        self,
        kind: str,
        *,
        since: int | None = None,
        before: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Rows with since <= time < before (ms), sorted by (time, event_id).

        Raises InputError for a column the type does not have.
        """
        wanted = list(COLUMNS[kind]) if columns is None else list(columns)
        if unknown := [name for name in wanted if name not in COLUMNS[kind]]:
            raise InputError("columns", f"columns of `{kind}`: {', '.join(COLUMNS[kind])}", received=unknown)
        read = list(dict.fromkeys([*wanted, "time", "event_id"]))
        rows = self.scan(kind, since=since, before=before).select(read).collect()
        return rows.sort("time", "event_id").select(wanted)

    def span(self) -> tuple[int, int]:
        """Time of the first and of the last event of any type, ms. Raises InputError when there is none."""
        ends = [self._ends(kind) for kind in TYPES if self.has(kind)]
        if not ends:
            raise InputError("logs", "a log with at least one event", place=str(self.root))
        return min(first for first, _ in ends), max(last for _, last in ends)

    def _ends(self, kind: str) -> tuple[int, int]:
        known = self.days(kind)
        files = [day_file(r, kind, d) for r in self.roots for d in {known[0], known[-1]} if d in days(r, kind)]
        times = pl.scan_parquet(files).select(first=pl.col("time").min(), last=pl.col("time").max()).collect()
        return int(times["first"][0]), int(times["last"][0])

    def digest(self) -> str:
        """sha256 over the names and contents of all event files, in order of name."""
        total = sha256()
        for root in self.roots:
            for kind in TYPES:
                for day in days(root, kind):
                    path = day_file(root, kind, day)
                    with path.open("rb") as file:
                        content = file_digest(file, "sha256").hexdigest()
                    total.update(f"{path.relative_to(self.root)} {content}\n".encode())
        return total.hexdigest()


def latest_items(log: Log, before: int | None = None) -> pl.DataFrame:
    """The last row of each item with time < before, by (time, event_id); sorted by item_id."""
    return latest(log.frame("item", before=before), "item_id")


def latest_users(log: Log, before: int | None = None) -> pl.DataFrame:
    """The last row of each user with time < before, by (time, event_id); sorted by user_id."""
    return latest(log.frame("user", before=before), "user_id")


def latest(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """The last row of each key of a frame that is in time order."""
    return rows.unique(key, keep="last", maintain_order=True).sort(key)
