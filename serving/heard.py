"""What a service has heard of: what its bundle learned, then what its store took. A log may hold more than that, as
where the bundle was trained on one side of a split, or less, as before the store was compacted into it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pipeline.bundle import Bundle
from pipeline.errors import InputError
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore
from serving.events import to_frames
from serving.settings import load_settings

_STEP = 20_000  # events read from the store at once


@contextmanager
def store_beside(snapshots: Path) -> Iterator[EventStore | None]:
    """The event store of the root whose snapshots these are, None where there is none."""
    root = snapshots.resolve().parent
    settings = load_settings(None, root=root)
    if settings.database is None and not (root / "events.db").is_file():
        yield None
        return
    store = EventStore(settings.database_url)
    try:
        yield store
    finally:
        store.close()


def heard(
    log: Log, bundle: Bundle, store: EventStore | None, kinds: Sequence[str]
) -> tuple[Mapping[str, pl.DataFrame], int]:
    """Rows of these types that the service knew, and how many later ones of the log it did not. Without a store all of
    the log counts.

    Raises InputError when the log holds nothing of what the bundle learned.
    """
    frames = {kind: log.frame(kind) for kind in kinds}
    learned = (pl.col("time") < bundle.cutoff) & (pl.col("received") < bundle.cutoff)
    if not any(len(frame.filter(learned)) for frame in frames.values()):
        fix = "a log that reaches back to what the bundle was trained on; let `podium events export` grow a copy of it"
        raise InputError("--logs", fix, place=str(log.root))
    if store is None or log.clock != "exact":
        return frames, 0
    taken = _taken(store, bundle, ~learned)
    known: dict[str, pl.DataFrame] = {}
    unheard = 0
    for kind, frame in frames.items():
        since = taken.get(kind, frame.clear()).select(frame.columns)
        later = frame.filter(~learned)
        unheard += len(later.join(since, on="event_id", how="anti"))
        known[kind] = (
            pl.concat([frame.filter(learned), since]).unique("event_id", keep="first").sort("time", "event_id")
        )
    return known, unheard


def _taken(store: EventStore, bundle: Bundle, new: pl.Expr) -> Mapping[str, pl.DataFrame]:
    """What the store holds that the bundle did not learn: by number where the bundle says up to which it did, else by
    time, as a service that starts from it does."""
    stored = bundle.stored
    known = stored is not None and stored.id == store.id and stored.seq <= store.head()
    seq = stored.seq if stored is not None and known else 0
    parts: dict[str, list[pl.DataFrame]] = {}
    while rows := store.since(seq, _STEP):
        seq = rows[-1].seq
        frames, _ = to_frames(rows, store.forgotten())
        for kind, frame in frames.items():
            parts.setdefault(kind, []).append(frame if known else frame.filter(new))
    return {kind: pl.concat(some) for kind, some in parts.items()}
