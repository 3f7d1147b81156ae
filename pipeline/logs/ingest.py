"""`podium ingest`: any recognised source becomes, or joins, a log; every row is accepted, refused or a duplicate.

Rows are spilled as they are read, then merged day by day with what the log holds. Of events that share an
`event_id` the one with the smallest (received, content) stays, however they were delivered: the same events in any
order, in any number of ingests, give byte-equal Parquet. Ids are never forgotten.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TextIO

from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.importers.base import Importer, Sources
from pipeline.logs.importers.formats import choose
from pipeline.logs.importers.podium import PODIUM, units
from pipeline.logs.merge import Merged, merge
from pipeline.logs.partitions import MANIFEST, drafted, fsync, link, read_manifest, recover, write_manifest
from pipeline.logs.spill import Spilled, spill, spill_units

PARALLEL_BYTES = 50 * 10**6  # below this two processes cost more to start than they save
Progress = Callable[[int, int], None]  # done, total (0: not known)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Events in = accepted + quarantined + duplicates. `accepted` and `duplicates` are by type."""

    format: str
    clock: str
    read: int
    accepted: dict[str, int]
    quarantined: int
    duplicates: dict[str, int]
    reasons: dict[str, int]
    seconds: float


def ingest(
    fmt: str | None,
    sources: Sources,
    out: Path,
    *,
    strict: bool = False,
    options: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Read `sources` (of format `fmt`, or the one that recognises them) into the log at `out`.

    Raises InputError when no format recognises the sources, when the log keeps another clock, and, with `strict`,
    after all is written, when a row was quarantined.
    """
    started = perf_counter()
    importer = choose(fmt, sources)
    clock = importer.clock(sources)
    recover(out)
    before = _manifest(out, clock)
    with drafted(out) as draft:
        work = draft / ".work"
        work.mkdir()
        spilled, quarantine = _read(importer, sources, options or {}, work, on_progress)
        merged = merge(spilled, out, draft)
        _keep_quarantine(out, quarantine, draft)
        _clear(work)
        earlier = before.get("sources", [])
        known = {tuple(s) for s in earlier} if isinstance(earlier, list) else set()
        known |= {(importer.name, source.name) for source in sources}
        write_manifest(draft, clock, sources=sorted(known))
    report = _report((importer.name, clock), spilled, merged, quarantine, perf_counter() - started)
    if strict and report.quarantined:
        fix = f"every row sound under --strict; {report.quarantined} of {report.read} are in {out}/quarantine"
        raise InputError("rows", fix, place=", ".join(map(str, sources)))
    return report


@dataclass(slots=True)
class Quarantine:
    """The refused rows, written as they come."""

    path: Path
    reasons: Counter[str]

    def add(self, chunk: Spilled, base: int, file: TextIO) -> None:
        for reject in chunk.rejects:
            row = {"file": reject.place, "line": reject.line + base, "field": reject.field}
            row |= {"reason": reject.reason, "raw": reject.raw}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.reasons[f"{reject.field}: {reject.reason}"] += 1


def _read(
    importer: Importer,
    sources: Sources,
    options: Mapping[str, str],
    work: Path,
    on_progress: Progress | None,
) -> tuple[list[Spilled], Quarantine]:
    total = len(units(sources)) if importer is PODIUM else 0
    done = _spilled(importer, sources, options, work)
    quarantine = Quarantine(work / "quarantine.jsonl", Counter())
    kept: list[Spilled] = []
    bases: dict[str, int] = defaultdict(int)
    with quarantine.path.open("w", encoding="utf-8", newline="\n") as file:
        for number, chunk in enumerate(done, start=1):
            quarantine.add(chunk, bases[chunk.place], file)
            bases[chunk.place] += chunk.lines
            kept.append(chunk)
            if on_progress is not None:
                on_progress(number, total)
    return kept, quarantine


def _spilled(importer: Importer, sources: Sources, options: Mapping[str, str], work: Path) -> Iterator[Spilled]:
    if importer is PODIUM:
        parts = units(sources)
        if sum(part.end - part.start for part in parts) > PARALLEL_BYTES:
            yield from spill_units(parts, work)
            return
    try:
        for number, chunk in enumerate(importer.chunks(sources, options)):
            yield spill(chunk, work, f"{number:08d}")
    except PolarsError as error:
        place = ", ".join(map(str, sources))
        raise InputError("source", f"{importer.looks_for}, of plain types ({error})", place=place) from error


def _manifest(out: Path, clock: str) -> dict[str, object]:
    if not (out / MANIFEST).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError("--out", "a log, an empty folder or a new one", place=str(out))
        return {}
    manifest = read_manifest(out)
    if manifest["clock"] != clock:
        fix = f"a source whose clock is `{manifest['clock']}`, as the log's; ingest this one into a log of its own"
        raise InputError("clock", fix, place=str(out), received=clock)
    return manifest


def _keep_quarantine(out: Path, quarantine: Quarantine, draft: Path) -> None:
    """Earlier files stay; this ingest's is named by its content, so that ingesting again adds nothing."""
    for path in sorted((out / "quarantine").glob("*.jsonl")):
        link(path, draft / "quarantine" / path.name)
    if quarantine.reasons:
        with quarantine.path.open("rb") as file:
            name = f"{file_digest(file, 'sha256').hexdigest()[:16]}.jsonl"
        (draft / "quarantine").mkdir(exist_ok=True)
        target = quarantine.path.replace(draft / "quarantine" / name)
        fsync(target)


def _clear(work: Path) -> None:
    for path in work.iterdir():
        path.unlink()
    with suppress(FileNotFoundError):
        work.rmdir()


def _report(
    source: tuple[str, str], spilled: Sequence[Spilled], merged: Merged, quarantine: Quarantine, seconds: float
) -> IngestReport:
    read: Counter[str] = Counter()
    for kind, rows in chain.from_iterable(chunk.rows.items() for chunk in spilled):
        read[kind] += rows
    accepted = {kind: merged.after[kind] - merged.before.get(kind, 0) for kind in read}
    quarantined = sum(quarantine.reasons.values())
    return IngestReport(
        format=source[0],
        clock=source[1],
        read=read.total() + quarantined,
        accepted=accepted,
        quarantined=quarantined,
        duplicates={kind: read[kind] - accepted[kind] for kind in read},
        reasons=dict(quarantine.reasons),
        seconds=seconds,
    )
