"""Podium's own events: `.jsonl` and `.jsonl.gz` in any number of files, or Parquet, or a whole log.

Plain JSON lines are cut into units at line ends, so that several processes can read one file.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk, decode_lines
from pipeline.logs.events import SCHEMA, TYPES
from pipeline.logs.importers.base import Importer, Options, Sources
from pipeline.logs.importers.tables import chunk, columns, read_table
from pipeline.logs.moments import Moments
from pipeline.logs.moments import Unit as Times
from pipeline.logs.partitions import CLOCKS, MANIFEST

UNIT_BYTES = 16 * 2**20
_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_APART = ("quarantine", "state")


@dataclass(frozen=True, slots=True)
class Unit:
    """Part of a file that one process reads: bytes from `start` on, lines that begin before `end`."""

    path: Path
    start: int
    end: int


def event_files(sources: Sources) -> list[Path]:
    """The event files among the sources, and below those that are folders, in order of name."""
    found: list[Path] = []
    for source in sources:
        if not source.exists():
            raise InputError("source", "an existing file or folder", place=str(source))
        inside = sorted(source.rglob("*")) if source.is_dir() else [source]
        found += [p for p in inside if p.name.endswith(_ENDINGS) and not _apart(p, source)]
    return found


def _apart(path: Path, source: Path) -> bool:
    parts = path.relative_to(source).parts
    return any(part in _APART or part.startswith(".") for part in parts)


def recognises(sources: Sources) -> bool:
    found = event_files(sources)
    return bool(found) and all(_is_event_file(path) for path in found)


def _is_event_file(path: Path) -> bool:
    return path.suffix != ".parquet" or _kind_of(path) is not None


def clock(sources: Sources) -> str:
    """`exact`, unless a manifest beside the files says otherwise. Raises InputError for another schema."""
    beside = {(source if source.is_dir() else source.parent) / MANIFEST for source in sources}
    for manifest in sorted(path for path in beside if path.is_file()):
        try:
            facts = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(MANIFEST, f"valid JSON ({error})", place=str(manifest)) from error
        if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
            got = facts.get("schema") if isinstance(facts, dict) else facts
            raise InputError("schema", f"{SCHEMA}, the one this version reads", place=str(manifest), received=got)
        if facts.get("clock", "exact") not in CLOCKS:
            raise InputError("clock", "`exact` or `order`", place=str(manifest), received=facts["clock"])
        if facts.get("clock") == "order":
            return "order"
    return "exact"


def units(sources: Sources) -> list[Unit]:
    """What there is to read. Compressed and Parquet files are one unit each."""
    found: list[Unit] = []
    for path in event_files(sources):
        size = path.stat().st_size
        step = UNIT_BYTES if path.suffix == ".jsonl" else max(size, 1)
        found += [Unit(path, start, min(start + step, size)) for start in range(0, size, step)]
    return found


def read_unit(unit: Unit, moments: Moments) -> Iterator[Chunk]:
    """The unit's chunks; lines count from 1 at the unit's start. Raises InputError for ways of reading that JSON lines
    do not have: a time is RFC 3339, or a number of milliseconds, or with `unit` of seconds."""
    if moments.zone or moments.dates or moments.unit not in {None, "s", "ms"}:
        raise InputError("--option", "unit=s or unit=ms for Podium's own events; other times are RFC 3339")
    if unit.path.suffix == ".parquet":
        return _parquet(unit.path)
    return _compressed(unit.path, moments.unit) if unit.path.suffix == ".gz" else _plain(unit, moments.unit)


def chunks(sources: Sources, _: Options, moments: Moments) -> Iterator[Chunk]:
    return chain.from_iterable(read_unit(unit, moments) for unit in units(sources))


def _plain(unit: Unit, times: Times | None) -> Iterator[Chunk]:
    with unit.path.open("rb") as file:
        if unit.start:
            file.seek(unit.start - 1)
            file.readline()  # the line that crosses the border belongs to the unit before
        here = file.tell()
        if here < unit.end:
            data = file.read(unit.end - here)
            rest = b"" if data.endswith(b"\n") else file.readline()
            yield decode_lines(data + rest, str(unit.path), times)


def _compressed(path: Path, times: Times | None) -> Iterator[Chunk]:
    try:
        with gzip.open(path, "rb") as file:
            while data := file.read(UNIT_BYTES):
                yield decode_lines(data + file.readline(), str(path), times)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("file", f"a whole gzip file ({error})", place=str(path)) from error


def _parquet(path: Path) -> Iterator[Chunk]:
    kind = _kind_of(path)
    frame = read_table(path).frame
    if kind is not None and "type" not in frame.columns:
        yield chunk(path, kind, frame)
        return
    for (name,), rows in frame.partition_by("type", as_dict=True).items():
        if name not in TYPES:
            raise InputError("type", f"one of {', '.join(TYPES)}", place=str(path), received=name)
        yield chunk(path, str(name), rows)


def _kind_of(path: Path) -> str | None:
    """The type of a Parquet file's rows: its `type` column's, else the folder or file name that is a type."""
    names = columns(path)
    if not {"event_id", "time"} <= names:
        return None
    if "type" in names:
        return "type"
    return next((part for part in (*reversed(path.parent.parts), path.stem) if part in TYPES), None)


PODIUM = Importer(
    name="podium",
    looks_for="files ending in .jsonl, .jsonl.gz, or .parquet with event_id, time and type (a column or the folder)",
    recognises=recognises,
    clock=clock,
    chunks=chunks,
)
