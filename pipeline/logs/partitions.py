"""How a log lies on disk, and how it changes: `LOGS/<type>/<YYYY-MM-DD>/part-0.parquet` and `manifest.json`.

A log is never edited in place. A change builds the whole next log in a draft folder beside it, in which days
that stay as they are become hard links, and then takes its place by renaming: an interrupted job leaves the
log it found. One job at a time works on a log.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import ArtifactError, InputError
from pipeline.folders import exchanged
from pipeline.logs.events import COLUMNS, SCHEMA, TYPES

DAY_MS: Final = 86_400_000
MANIFEST: Final = "manifest.json"
STORED: Final = "stored"  # in the manifest: which event store the log holds, and up to where
CLEARED: Final = "cleared"  # in the manifest: of which store's forgotten users, and how many, the log was cleared
CLOCKS: Final = ("exact", "order")
_PART: Final = "part-0.parquet"
_FIRST: Final = date(1970, 1, 1)
_ROWS: Final = 65_536  # a row group; fixed, so that equal rows are equal bytes


def day_name(day: int) -> str:
    """The folder's name of a day counted from 1970-01-01, UTC."""
    return (_FIRST + timedelta(days=day)).isoformat()


def day_of(name: str) -> int:
    """Inverse of `day_name`. Raises ValueError for a folder that is no day."""
    return (date.fromisoformat(name) - _FIRST).days


def days(root: Path, kind: str) -> list[int]:
    """The days of which the log holds rows of this type, ascending."""
    folder = root / kind
    return sorted(day_of(entry.name) for entry in folder.iterdir()) if folder.is_dir() else []


def day_file(root: Path, kind: str, day: int) -> Path:
    return root / kind / day_name(day) / _PART


def write_days(root: Path, kind: str, frame: pl.DataFrame) -> None:
    """Write one file a day, sorted by (time, event_id). Equal rows give equal bytes, in whatever order they come."""
    day = (pl.col("time") // DAY_MS).alias("_day")
    ordered = frame.select(*COLUMNS[kind], day).sort("time", "event_id").rechunk()
    by_day = ordered.partition_by("_day", as_dict=True, include_key=False)
    for (number,), rows in by_day.items():
        path = day_file(root, kind, int(number))
        path.parent.mkdir(parents=True)
        write_rows(rows, path)
        fsync(path)


def write_rows(rows: pl.DataFrame, target: Path | BytesIO) -> None:
    """A day's rows, sorted by (time, event_id)."""
    rows.rechunk().write_parquet(target, row_group_size=_ROWS, metadata={"schema": str(SCHEMA)})


def link(source: Path, target: Path) -> None:
    """Hard-link one file; copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        fsync(target)


def read_manifest(root: Path) -> dict[str, object]:
    """Raises ArtifactError when `root` is no log, or one of another schema or of an earlier version's columns."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        fix = "a log with manifest.json; `podium ingest` writes one"
        raise ArtifactError("logs", fix, place=str(root)) from None
    except ValueError as error:
        raise ArtifactError(MANIFEST, f"valid JSON ({error})", place=str(root)) from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        got = manifest.get("schema") if isinstance(manifest, dict) else manifest
        fix = f"{SCHEMA}, the one this version reads; `podium migrate {root}` brings an older log to it"
        raise ArtifactError("schema", fix, place=str(root), received=got)
    _check_columns(root)
    if manifest.get("clock") not in CLOCKS:
        raise ArtifactError("clock", "`exact` or `order`", place=str(root), received=manifest.get("clock"))
    for kind in TYPES:
        if (known := days(root, kind)) and (missing := _missing(day_file(root, kind, known[0]), kind)):
            fix = f"the columns of this version, which `podium migrate {root}` adds"
            raise ArtifactError(kind, fix, place=str(root), received=f"a log without {', '.join(missing)}")
    return manifest


def _missing(path: Path, kind: str) -> list[str]:
    """Columns that an earlier version did not write; none of a file that is not there, or none of Parquet's."""
    try:
        have = pl.scan_parquet(path, glob=False).collect_schema()
    except (OSError, pl.exceptions.PolarsError):
        return []  # whoever reads the rows says what is wrong with the file
    return [name for name in COLUMNS[kind] if name not in have]


def _check_columns(root: Path) -> None:
    """Raises ArtifactError for a log of before a column was added, as its first days tell."""
    for kind in TYPES:
        first = next(iter(days(root, kind)), None)
        path = None if first is None else day_file(root, kind, first)
        if path is None or not path.is_file():
            continue
        try:
            have = pl.scan_parquet(path, glob=False).collect_schema()
        except (OSError, pl.exceptions.PolarsError):  # whoever reads the rows says what is the matter
            continue
        if missing := [name for name in COLUMNS[kind] if name not in have]:
            fix = f"the columns of this version; `podium migrate {root}` adds them"
            raise ArtifactError(f"{kind}: {missing[0]}", fix, place=str(path))


def write_manifest(root: Path, clock: str, **facts: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    manifest = {"schema": SCHEMA, "clock": clock, "events": count_rows(root), **facts}
    write_json(root / MANIFEST, manifest)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fsync(path)


def count_rows(root: Path) -> dict[str, int]:
    """Rows of each type that the log holds; types without rows are left out."""
    counts = {}
    for kind in TYPES:
        files = [day_file(root, kind, day) for day in days(root, kind)]
        if files:
            counts[kind] = int(pl.scan_parquet(files, glob=False).select(pl.len()).collect().item())
    return counts


def fsync(path: Path) -> None:
    """Force a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def drafted(out: Path) -> Iterator[Path]:
    """`replaced`, by the only job at work on `out`. Raises InputError while another one is."""
    with locked(out), replaced(out) as draft:
        yield draft


@contextmanager
def locked(out: Path, *, wait: bool = False) -> Iterator[None]:
    """The only job at work on `out`, which is a whole log or none while the block runs: what a crash left is mended.

    The lock is the kernel's, so that it ends with its process, however that ends. Raises InputError while another job
    holds it, unless that is to be waited for.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    lock = _claim(path, out, wait=wait)
    try:
        _mend(out)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever opened it sees that it is not the lock any more
        os.close(lock)


def _claim(path: Path, out: Path, *, wait: bool) -> int:
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, how)
            if _is_at(path, lock):
                return lock
        except BlockingIOError:
            os.close(lock)
            raise InputError("--out", "a log that no other job is writing", place=str(out)) from None
        os.close(lock)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def recover(out: Path) -> None:
    """Mend what a crash left, if it left anything. Raises InputError while a job is at work on the log."""
    with locked(out):
        pass


def _mend(out: Path) -> None:
    draft, old = _beside(out)
    if old.exists() and not out.exists():
        old.rename(out)
    for left in (draft, old):
        if left.exists():
            fsync(out.parent)  # until the names are on the disk, a power loss may bring back under `out` what goes here
            shutil.rmtree(left)


def _beside(out: Path) -> tuple[Path, Path]:
    """Where the next log is built, and where the present one waits while it is replaced in two steps."""
    return out.with_name(f".{out.name}.draft"), out.with_name(f".{out.name}.old")


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """An empty folder that becomes `out`, which is locked, when the block ends well, and vanishes when it does not.

    When the block has ended, nothing is left of what `out` held before.
    """
    out = out.resolve()
    draft, old = _beside(out)
    draft.mkdir()
    try:
        yield draft
        for folder, _, _ in os.walk(draft):
            fsync(Path(folder))
        _replace(draft, out, old)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    fsync(out.parent)
    for left in (draft, old):
        if left.exists():
            shutil.rmtree(left)


def _replace(draft: Path, out: Path, old: Path) -> None:
    """At no moment is there no log, where the file system can exchange two folders; else for that of two renames."""
    if not out.exists():
        draft.rename(out)
    elif not exchanged(draft, out):
        out.rename(old)
        try:
            draft.rename(out)
        except BaseException:
            old.rename(out)
            raise
