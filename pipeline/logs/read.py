"""Reading a log: whole types as frames in time order, and what is known of it without reading."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.events import COLUMNS, TYPES, empty
from pipeline.logs.items import folded, standing
from pipeline.logs.partitions import DAY_MS, MANIFEST, day_file, day_name, days, read_manifest, write_rows

STATE = "state"
_REPEATED = ("item", "user")  # a side of a split starts with copies of rows that its state holds as well


@dataclass(frozen=True, slots=True)
class Log:
    """A log, or a log with the earlier events that are its state, read as one.

    Build it with `Log.open`. `roots` holds one folder, or state and log. before: ms; what happened or arrived at this
    moment or later is not read, as if it had not come yet.
    """

    root: Path
    clock: str
    manifest: dict[str, object] = field(repr=False)
    roots: tuple[Path, ...]
    before: int | None = None

    @classmethod
    def open(cls, path: Path, before: int | None = None) -> "Log":
        """Raises ArtifactError when `path` is no log or one of another schema."""
        manifest = read_manifest(path)
        return cls(path, str(manifest["clock"]), manifest, (path,), before)

    @property
    def state(self) -> "Log | None":
        """Earlier events that are known but never asked about, where the log carries them."""
        path = self.root / STATE
        return Log.open(path, self.before) if (path / MANIFEST).is_file() else None

    def everything(self) -> "Log":
        """State and own events read as one."""
        state = self.state
        roots = self.roots if state is None else (state.root, self.root)
        return replace(self, roots=roots)

    def days(self, kind: str) -> list[int]:
        """Days with rows of this type, counted from 1970-01-01, ascending."""
        known = sorted({day for root in self.roots for day in days(root, kind) if self._begun(day)})
        if self.before is None:
            return known
        # A day may hold nothing but what had not arrived yet.
        return [day for day in known if self._sizes(kind)[day].read]

    def _begun(self, day: int) -> bool:
        return self.before is None or day * DAY_MS < self.before

    def _files(self, kind: str, day: int) -> list[Path]:
        paths = [day_file(root, kind, day) for root in self.roots]
        return [path for path in paths if path.is_file()]

    def _sizes(self, kind: str, since: int | None = None) -> "dict[int, _Size]":
        """Of each day that has begun. since: ms; only what happened or arrived at this moment or later, and only of
        the days with some of it."""
        known = sorted({day for root in self.roots for day in days(root, kind) if self._begun(day)})
        files = [path for day in known for path in self._files(kind, day)]
        if not files:
            return {}
        rows, read = pl.scan_parquet(files, glob=False), pl.col("time").is_not_null()
        if since is not None:  # a filter, so that files that hold nothing of it are not read
            rows = rows.filter((pl.col("time") >= since) | (pl.col("received") >= since))
        if self.before is not None:
            read &= pl.max_horizontal("time", "received") < self.before
        by_day = rows.group_by(day=pl.col("time") // DAY_MS).agg(pl.len(), read=read.sum())
        return {day: _Size(size, some) for day, size, some in by_day.collect(engine="streaming").iter_rows()}

    def _rows(self, files: list[Path], since: int | None = None) -> pl.LazyFrame:
        """since: ms; only what happened or arrived at this moment or later."""
        rows = pl.scan_parquet(files, glob=False)
        if since is not None:
            rows = rows.filter((pl.col("time") >= since) | (pl.col("received") >= since))
        if self.before is not None:
            rows = rows.filter(pl.col("time") < self.before, pl.col("received") < self.before)
        return rows

    def has(self, kind: str) -> bool:
        return bool(self.days(kind))

    def scan(self, kind: str, *, since: int | None = None, before: int | None = None) -> pl.LazyFrame:
        """Rows with since <= time < before (ms), in no promised order; only the days that can hold them are read."""
        files = [
            day_file(root, kind, day)
            for root in self.roots
            for day in days(root, kind)
            if self._begun(day)
            and (since is None or (day + 1) * DAY_MS > since)
            and (before is None or day * DAY_MS < before)
        ]
        if not files:
            return empty(kind).lazy()
        rows = self._rows(files)
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

    def slices(
        self, columns: Mapping[str, Sequence[str]], most: int, *, since: int | None = None
    ) -> Iterator[dict[str, pl.DataFrame]]:
        """The rows of the types in `columns`, about `most` at once: days in a row together, or a day in parts in order
        of time. Only these are in memory, and the times of a day that has to be parted.

        since: ms; only what happened or arrived at this moment or later. A day that is parted and lies in two roots
        comes root by root.
        """
        sizes: Counter[int] = Counter()
        for kind in columns:
            sizes.update({day: size.read for day, size in self._sizes(kind, since).items()})
        together: list[int] = []
        for day in sorted(day for day, size in sizes.items() if size):
            if together and sum(sizes[each] for each in together) + sizes[day] > most:
                yield self._together(together, columns, since)
                together = []
            if sizes[day] <= most:
                together.append(day)
                continue
            for root in self.roots:
                files = {kind: [path] if (path := day_file(root, kind, day)).is_file() else [] for kind in columns}
                yield from _parted(self._scans(files, since), columns, most)
        if together:
            yield self._together(together, columns, since)

    def _together(
        self, some: Sequence[int], columns: Mapping[str, Sequence[str]], since: int | None
    ) -> dict[str, pl.DataFrame]:
        files = {kind: [path for day in some for path in self._files(kind, day)] for kind in columns}
        return {kind: scan.select(columns[kind]).collect() for kind, scan in self._scans(files, since).items()}

    def _scans(self, files: Mapping[str, list[Path]], since: int | None) -> dict[str, pl.LazyFrame]:
        return {kind: self._rows(paths, since) if paths else empty(kind).lazy() for kind, paths in files.items()}

    def day_digests(self, kinds: Sequence[str] = TYPES) -> dict[str, str]:
        """sha256 of each type and day (`impression/2026-01-01`): a job sees which days are those it has learned.

        It depends on the rows alone: a day that `before` takes rows from has the digest it had without them.
        """
        found = {}
        for kind in kinds:
            sizes = {} if self.before is None else self._sizes(kind)
            for day in self.days(kind):
                cut = day in sizes and sizes[day].read < sizes[day].rows
                contents = [self._left(kind, path) if cut else _content(path) for path in self._files(kind, day)]
                found[f"{kind}/{day_name(day)}"] = sha256("".join(contents).encode()).hexdigest()
        return found

    def _left(self, kind: str, path: Path) -> str:
        """sha256 of the file that holds the rows of this one that are read; "" when there are none."""
        rows = self._rows([path]).select(list(COLUMNS[kind])).collect()
        if not len(rows):
            return ""
        file = BytesIO()
        write_rows(rows.sort("time", "event_id"), file)
        return sha256(file.getvalue()).hexdigest()

    def span(self) -> tuple[int, int]:
        """Time of the first and of the last event of any type, ms. Raises InputError when there is none."""
        ends = [self._ends(kind) for kind in TYPES if self.has(kind)]
        if not ends:
            raise InputError("logs", "a log with at least one event", place=str(self.root))
        return min(first for first, _ in ends), max(last for _, last in ends)

    def _ends(self, kind: str) -> tuple[int, int]:
        known = self.days(kind)
        files = [path for day in {known[0], known[-1]} for path in self._files(kind, day)]
        times = self._rows(files).select(first=pl.col("time").min(), last=pl.col("time").max()).collect()
        return int(times["first"][0]), int(times["last"][0])

    def digest(self) -> str:
        """sha256 over the names and contents of all event files, in order of name, and `before` where it is given."""
        total = sha256(b"" if self.before is None else f"before {self.before}\n".encode())
        for root in self.roots:
            for kind in TYPES:
                for day in filter(self._begun, days(root, kind)):
                    path = day_file(root, kind, day)
                    total.update(f"{path.relative_to(self.root)} {_content(path)}\n".encode())
        return total.hexdigest()


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class _Size(NamedTuple):
    """How many rows a day has, and how many of them are read."""

    rows: int
    read: int


def _parted(
    scans: Mapping[str, pl.LazyFrame], columns: Mapping[str, Sequence[str]], most: int
) -> Iterator[dict[str, pl.DataFrame]]:
    """The rows of one day's files, which are in order of time, at most `most` together."""
    times = [scan.select("time").collect()["time"].to_numpy() for scan in scans.values()]
    merged = np.argsort(np.concatenate(times), kind="stable")
    owner = np.repeat(np.arange(len(times)), [len(each) for each in times])[merged]
    cuts = np.append(np.arange(0, len(owner), most), len(owner))
    edges = {kind: np.append(0, np.cumsum(owner == place))[cuts].tolist() for place, kind in enumerate(scans)}
    for part in range(len(cuts) - 1):
        ends = {kind: (edge[part], edge[part + 1] - edge[part]) for kind, edge in edges.items()}
        yield {kind: scan.select(columns[kind]).slice(*ends[kind]).collect() for kind, scan in scans.items()}


def latest_items(log: Log, before: int | None = None) -> pl.DataFrame:
    """What the rows of each item with time < before come to, `pipeline.logs.items.FOLDED`; sorted by item_id."""
    return folded(log.frame("item", before=before)).sort("item_id")


def latest_users(log: Log, before: int | None = None) -> pl.DataFrame:
    """The last row of each user with time < before, by (time, event_id); sorted by user_id."""
    return latest("user", log.frame("user", before=before))


def latest(kind: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a frame of items or users, in time order, that say what holds in the end."""
    if kind == "item":
        return standing(rows)
    return rows.unique("user_id", keep="last", maintain_order=True).sort("user_id")
