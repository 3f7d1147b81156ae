"""A log grows by sound rows: each joins its day, is refused into the quarantine, or was there before."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from itertools import chain
from pathlib import Path
from typing import TextIO

import polars as pl

from pipeline.logs.merge import Merged, merge
from pipeline.logs.partitions import day_file, days, fsync, link
from pipeline.logs.spill import Spilled

QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Grown:
    """Events in = accepted + quarantined + duplicates + conflicts; all but the quarantined are by type.

    conflicts: rows that fell, since their id is another's that says something else.
    mended: by reason, what was left out of rows which are kept. orphans: feedback on pages that were refused, which
    stays as history.
    """

    read: int
    accepted: dict[str, int]
    quarantined: int
    duplicates: dict[str, int]
    conflicts: dict[str, int]
    reasons: dict[str, int]
    mended: dict[str, int]
    orphans: int = 0


def grow(log: Path, draft: Path, spilled: Callable[[Path], Iterator[Spilled]]) -> Grown:
    """Write into `draft` the log that `log` becomes by what `spilled` brings into the folder it is given."""
    work = draft / ".work"
    work.mkdir()
    chunks, quarantine = _collected(spilled(work), work)
    merged = merge(chunks, log, draft)
    _keep_quarantine(log, quarantine, draft)
    orphans = _orphans(chunks, log)
    shutil.rmtree(work)
    return replace(_counted(chunks, merged, quarantine.reasons), orphans=orphans)


@dataclass(slots=True)
class _Quarantine:
    """The refused rows, written as they come."""

    path: Path
    reasons: Counter[str]

    def add(self, chunk: Spilled, base: int, file: TextIO) -> None:
        for reject in chunk.rejects:
            row = {"file": reject.place, "line": reject.line + base, "field": reject.field}
            row |= {"reason": reject.reason, "raw": reject.raw}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.reasons[f"{reject.field}: {reject.reason}"] += 1


def _collected(done: Iterator[Spilled], work: Path) -> tuple[list[Spilled], _Quarantine]:
    quarantine = _Quarantine(work / "quarantine.jsonl", Counter())
    kept: list[Spilled] = []
    bases: dict[str, int] = defaultdict(int)
    with quarantine.path.open("w", encoding="utf-8", newline="\n") as file:
        for chunk in done:
            quarantine.add(chunk, bases[chunk.place], file)
            bases[chunk.place] += chunk.lines
            kept.append(chunk)
    return kept, quarantine


def _keep_quarantine(log: Path, quarantine: _Quarantine, draft: Path) -> None:
    """Earlier files stay; the new one is named by its content, so that reading the same again adds nothing."""
    for path in sorted((log / QUARANTINE).glob("*.jsonl")):
        link(path, draft / QUARANTINE / path.name)
    if quarantine.reasons:
        keep_refused(quarantine.path, draft)


def keep_refused(rows: Path, log: Path) -> None:
    """Move a file of refused rows into a log's quarantine, under the name of its content."""
    with rows.open("rb") as file:
        name = f"{file_digest(file, 'sha256').hexdigest()[:16]}.jsonl"
    (log / QUARANTINE).mkdir(exist_ok=True)
    fsync(rows.replace(log / QUARANTINE / name))


def _orphans(chunks: Sequence[Spilled], log: Path) -> int:
    """Feedback that names a page which was refused, where no other page of its request is known."""
    refused = {reject.page for chunk in chunks for reject in chunk.rejects if reject.page is not None}
    told, pages = ([c.paths[kind] for c in chunks if kind in c.paths] for kind in ("feedback", "impression"))
    if not refused or not told:
        return 0
    lost = pl.col("request_id").is_in(pl.Series(sorted(refused)).implode())
    named = pl.scan_parquet(told, glob=False).filter(lost).select("request_id").collect()
    pages += [day_file(log, "impression", day) for day in days(log, "impression")]
    if pages and len(named):
        known = pl.scan_parquet(pages, glob=False).filter(lost).select("request_id").collect(engine="streaming")
        named = named.join(known, on="request_id", how="anti")
    return len(named)


def _counted(chunks: Sequence[Spilled], merged: Merged, reasons: Mapping[str, int]) -> Grown:
    read: Counter[str] = Counter()
    for kind, rows in chain.from_iterable(chunk.rows.items() for chunk in chunks):
        read[kind] += rows
    accepted = {kind: merged.after[kind] - merged.before.get(kind, 0) for kind in read}
    quarantined = sum(reasons.values())
    conflicts = {kind: merged.conflicts.get(kind, 0) for kind in read}
    return Grown(
        read=read.total() + quarantined,
        accepted=accepted,
        quarantined=quarantined,
        duplicates={kind: read[kind] - accepted[kind] - conflicts[kind] for kind in read},
        conflicts=conflicts,
        reasons=dict(reasons),
        mended=dict(sum((Counter(chunk.mended) for chunk in chunks), Counter())),
    )
