"""`podium ingest`: any recognised source becomes, or joins, a log; every row is accepted, refused or a duplicate.

Rows are spilled as they are read, then merged day by day with what the log holds. Of events that share an
`event_id` the one with the smallest (received, content) stays, however they were delivered: the same events in any
order, in any number of ingests, give byte-equal Parquet. Ids are never forgotten.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from polars.exceptions import PolarsError

from pipeline.errors import InputError
from pipeline.logs.config import LogsConfig
from pipeline.logs.grow import grow
from pipeline.logs.importers.base import Importer, Sources
from pipeline.logs.importers.formats import choose
from pipeline.logs.importers.podium import PODIUM, units
from pipeline.logs.moments import TIME_OPTIONS, Moments
from pipeline.logs.partitions import CLEARED, MANIFEST, STORED, drafted, read_manifest, write_manifest
from pipeline.logs.spill import Spilled, believed, spill, spill_units

PARALLEL_BYTES = 50 * 10**6  # below this two processes cost more to start than they save
_REASONS: Final = 3  # that an error tells
Progress = Callable[[int, int], None]  # done, total (0: not known)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Events in = accepted + quarantined + duplicates + conflicts; all but the quarantined are by type.

    conflicts: rows that fell, since their id is another's that says something else.
    mended: by reason, what could not be kept of rows which are: fields that could not be read, an item that stood on
    its page before. orphans: feedback on pages that were refused, which stays as history.
    """

    format: str
    clock: str
    read: int
    accepted: dict[str, int]
    quarantined: int
    duplicates: dict[str, int]
    conflicts: dict[str, int]
    reasons: dict[str, int]
    mended: dict[str, int]
    orphans: int
    seconds: float

    @property
    def known(self) -> int:
        """The events that the log holds, new ones or not."""
        return sum(sum(counts.values()) for counts in (self.accepted, self.duplicates, self.conflicts))


def check_any(report: IngestReport, sources: Sources, out: Path) -> None:
    """Raises InputError where a source brought nothing that could be taken."""
    if report.known:
        return
    place = ", ".join(map(str, sources))
    if not report.quarantined:
        raise InputError("rows", "at least one row", place=place)
    often = sorted(report.reasons.items(), key=lambda reason: -reason[1])[:_REASONS]
    why = "; ".join(f"{reason} ({count})" for reason, count in often)
    fix = f"at least one sound row; all {report.quarantined} are in {out}/quarantine: {why}"
    raise InputError("rows", fix, place=place)


def ingest(
    fmt: str | None,
    sources: Sources,
    out: Path,
    *,
    strict: bool = False,
    options: Mapping[str, str] | None = None,
    config: LogsConfig | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Read `sources` (of format `fmt`, or the one that recognises them) into the log at `out`.

    config: which moments are believed.

    Raises InputError when no format recognises the sources, when the log keeps another clock, and, with `strict`,
    after all is written, when a row was quarantined.
    """
    started = perf_counter()
    importer = choose(fmt, sources)
    clock = importer.clock(sources)
    given = dict(options or {})
    moments = Moments.of(given, config or LogsConfig())
    others = {name: value for name, value in given.items() if name not in TIME_OPTIONS}
    reading = partial(_spilled, importer, sources, others, moments, ordered=clock == "order")

    def spilled(work: Path) -> Iterator[Spilled]:
        total = len(units(sources)) if importer is PODIUM else 0
        for done, chunk in enumerate(reading(work), start=1):
            yield chunk
            if on_progress is not None:
                on_progress(done, total)

    with drafted(out) as draft:
        kept = lasting(out, clock)
        kept.pop(CLEARED, None)  # what comes from outside may name whoever had left
        grown = grow(out, draft, spilled)
        earlier = kept.pop("sources", [])
        known = {tuple(s) for s in earlier} if isinstance(earlier, list) else set()
        known |= {(importer.name, source.name) for source in sources}
        write_manifest(draft, clock, sources=sorted(known), **kept)
    report = IngestReport(importer.name, clock, **asdict(grown), seconds=perf_counter() - started)
    if strict and report.quarantined:
        fix = f"every row sound under --strict; {report.quarantined} of {report.read} are in {out}/quarantine"
        raise InputError("rows", fix, place=", ".join(map(str, sources)))
    return report


def _spilled(
    importer: Importer, sources: Sources, options: Mapping[str, str], moments: Moments, work: Path, *, ordered: bool
) -> Iterator[Spilled]:
    if importer is PODIUM:
        parts = units(sources)
        if sum(part.end - part.start for part in parts) > PARALLEL_BYTES:
            yield from spill_units(parts, work, moments, ordered=ordered)
            return
    try:
        chunks = importer.chunks(sources, options, moments)
        for number, chunk in enumerate(believed(chunks, moments, ordered=ordered)):
            yield spill(chunk, work, f"{number:08d}")
    except PolarsError as error:
        place = ", ".join(map(str, sources))
        raise InputError(
            "source", f"{importer.looks_for}, of plain types: text, numbers, times, lists", place=place
        ) from error


def lasting(out: Path, clock: str) -> dict[str, object]:
    """What the manifest of a log that may not be there yet says beyond its rows, where it says it.

    Raises InputError when something else is there, or a log of another clock.
    """
    if not (out / MANIFEST).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError("--out", "a log, an empty folder or a new one", place=str(out))
        return {}
    manifest = read_manifest(out)
    if manifest["clock"] != clock:
        fix = f"a source whose clock is `{manifest['clock']}`, as the log's; ingest this one into a log of its own"
        raise InputError("clock", fix, place=str(out), received=clock)
    return {name: manifest[name] for name in ("sources", STORED, CLEARED) if name in manifest}
