"""`podium events compact`: every event of the store joins the log, each exactly once, and then leaves the store.

How far the store was read (`stored`) stands in the log's manifest and is published with the rows by one rename, so
that a run cut anywhere left the log of before or of after it, and the next one goes on from what that log says. Only
when the log is whole are the forgotten noted as gone, and rows let go of that the log has and no bundle will ask for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from time import perf_counter, time_ns
from typing import Final

from pipeline.bundle import listed
from pipeline.errors import ArtifactError, InputError
from pipeline.logs.events import HAPPENED
from pipeline.logs.forget import Leaving, expire, forget_in, without
from pipeline.logs.grow import Grown, grow
from pipeline.logs.ingest import lasting
from pipeline.logs.partitions import CLEARED, DAY_MS, STORED, days, locked, read_manifest, replaced, write_manifest
from pipeline.logs.spill import Spilled, spill
from pipeline.logs.store import EventStore
from pipeline.logs.taken import decode_stored

CLOCK: Final = "exact"  # of events over HTTP
FOREVER_MS: Final = 2**62
_STEP: Final = 20_000  # events in memory at a time
Progress = Callable[[int, int], None]  # numbers of the store read, of how many


@dataclass(frozen=True, slots=True)
class Compacted:
    """Events read = accepted + quarantined + duplicates (those the log had before) + conflicts; the counts are by type;
    conflicts, mended and orphans: as of an ingest.

    forgotten: rows that left each log, by type; expired: rows of days that are too old, by type; seq: up to which
    number the log holds the store; released: events that left the store.
    """

    read: int
    accepted: dict[str, int]
    quarantined: int
    duplicates: dict[str, int]
    conflicts: dict[str, int]
    reasons: dict[str, int]
    mended: dict[str, int]
    orphans: int
    forgotten: dict[str, dict[str, int]]
    expired: dict[str, int]
    seq: int
    released: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run is to do, read in this order: who was forgotten before the last event up to `head` is known to be.

    after: up to which number the log holds the store; clear: whether the log may still name somebody of `leaving`;
    oldest: the first day that is kept, None to keep all.
    """

    head: int
    after: int
    leaving: Leaving
    clear: bool
    oldest: int | None


def compact(
    store: EventStore,
    log: Path,
    *,
    bundles: Path | None,
    rewrite: Sequence[Path] = (),
    keep_days: int | None = None,
    now: int | None = None,
    on_progress: Progress | None = None,
) -> Compacted:
    """Bring the log at `log`, which may not be there yet, up to the store.

    bundles: the bundles root; the store keeps what came at the earliest cutoff of them or later. None: it keeps all,
    those who were forgotten stay to be removed from other logs, and `log` is a copy. rewrite: other logs that
    forgotten users leave. keep_days: days of the log that are kept; now: ms, from which they count.

    Raises InputError when another job works on one of the logs, or the log has another clock; ArtifactError when one
    of `rewrite` is no log, or a bundle cannot be read.
    """
    started = perf_counter()
    if keep_days is not None and keep_days < 1:
        raise InputError("--keep-days", "1 or more", received=keep_days)
    for other in rewrite:
        read_manifest(other)
        if other.resolve() == log.resolve():
            raise InputError("--rewrite", "logs other than the one that is compacted", received=str(other))
    today = (time_ns() // 1_000_000 if now is None else now) // DAY_MS
    with locked(log):
        kept = lasting(log, CLOCK)
        head = store.head()
        after = _mark(kept.get(STORED), store.id, head)
        pending = store.pending()
        leaving = Leaving(store.id, store.forgotten())
        oldest = None if keep_days is None else today - keep_days
        plan = _Plan(head, after, leaving, leaving.may_be_in(kept), oldest)
        written = _written(store, log, plan, kept, on_progress)
        left = {str(log): written.forgotten} | {str(other): forget_in(other, leaving) for other in rewrite}
        released = 0
        if bundles is not None:
            store.settled(pending)
            released = store.release(*_needless(bundles, store.id, head))
    return Compacted(
        **asdict(written.grown),
        forgotten={name: rows for name, rows in left.items() if rows},
        expired=written.expired,
        seq=head,
        released=released,
        seconds=perf_counter() - started,
    )


def _mark(stored: object, store_id: str, head: int) -> int:
    """Up to which number a log holds this store: 0 where it says nothing of it, or more than the store ever had, as
    after a backup was brought back. Events that come again are duplicates."""
    if not isinstance(stored, dict) or stored.get("id") != store_id:
        return 0
    seq = stored.get("seq")
    return seq if isinstance(seq, int) and seq <= head else 0


def _needless(bundles: Path, store: str, head: int) -> tuple[int, int]:
    """What no bundle has to be told of the store: numbers up to the first, of events before the second, ms. Nothing
    while there is no bundle. Raises ArtifactError for a broken one: what it knows nobody can say."""
    found = listed(bundles)
    for why in found.broken.values():
        raise ArtifactError("bundle", f"{why}; or remove that bundle")
    known = found.bundles
    told = [bundle.stored.seq for bundle in known if bundle.stored is not None and bundle.stored.id == store]
    cutoffs = [bundle.cutoff for bundle in known if bundle.stored is None or bundle.stored.id != store]
    return min([head, *told]), min(cutoffs, default=FOREVER_MS if known else 0)


@dataclass(frozen=True, slots=True)
class _Written:
    grown: Grown = field(default_factory=lambda: Grown(0, {}, 0, {}, {}, {}, {}))
    forgotten: dict[str, int] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)


def _written(
    store: EventStore, log: Path, plan: _Plan, kept: dict[str, object], on_progress: Progress | None
) -> _Written:
    """Publish the next log, unless it would be the one there is."""
    stored = {"id": store.id, "seq": plan.head}
    if kept.get(STORED) == stored and not plan.clear and not _outlived(log, plan.oldest):
        return _Written()
    with replaced(log) as draft:
        base, forgotten = log, {}
        if plan.clear:
            base = draft / ".kept"
            forgotten = without(log, base, plan.leaving.forgotten)
        grown = grow(base, draft, lambda work: _spilled(store, plan, work, on_progress))
        if plan.clear:
            rmtree(base)
        expired = {} if plan.oldest is None else expire(draft, plan.oldest)
        cleared = {CLEARED: plan.leaving.note} if plan.leaving.forgotten else {}
        write_manifest(draft, CLOCK, **kept | {STORED: stored} | cleared)
    return _Written(grown, forgotten, expired)


def _outlived(log: Path, oldest: int | None) -> bool:
    return oldest is not None and any(day < oldest for kind in HAPPENED for day in days(log, kind))


def _spilled(store: EventStore, plan: _Plan, work: Path, on_progress: Progress | None) -> Iterator[Spilled]:
    seq = plan.after
    while seq < plan.head:
        taken = [event for event in store.since(seq, _STEP) if event.seq <= plan.head]
        if not taken:  # the last ones were forgotten or have left
            return
        yield spill(decode_stored(taken, plan.leaving.forgotten), work, f"{seq:016d}")
        seq = taken[-1].seq
        if on_progress is not None:
            on_progress(seq - plan.after, plan.head - plan.after)
