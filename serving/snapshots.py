"""The feature values that answers were ranked by, for a share of the requests: what `podium skew` computes again.

Parquet files, one folder a day of the requests, written after the answer through a queue with an end.
"""

import asyncio
import fcntl
import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import compress
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from pipeline.features.ids import key
from pipeline.logs.store import Forgotten
from serving.events import stranger
from serving.ports import Used
from serving.settings import ServingConfig
from serving.telemetry import Metrics

LOG = logging.getLogger("podium.serving")
SCHEMA: Final = {
    "request_id": pl.String(),
    "time": pl.Int64(),
    "subject": pl.String(),  # "" for nobody
    "query": pl.String(),  # as typed
    "surface": pl.String(),
    "seed": pl.String(),  # the item of a `similar` request, else ""
    "segment": pl.String(),
    "context": pl.String(),  # JSON
    "corrected": pl.String(),
    "terms": pl.List(pl.String()),
    "tick": pl.Int64(),
    "bundle": pl.String(),
    "names": pl.String(),  # `names_digest` of the features
    "item_ids": pl.List(pl.String()),
    "values": pl.List(pl.Float32()),  # item by item, the features of each in their order
}
_GROUP: Final = 100  # requests written together
_LINGER: Final = 1.0  # seconds


def names_digest(names: Sequence[str]) -> str:
    """Tells one list of features from another."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def frame_of(group: Sequence[Used]) -> pl.DataFrame:
    """Snapshots as rows of SCHEMA, a row a request. Who was forgotten and came back has the name events have."""
    columns = {
        "request_id": [used.ask.id for used in group],
        "time": [used.ask.time for used in group],
        "subject": [used.ask.subject.partition("\x1f")[0] for used in group],
        "query": [used.ask.query for used in group],
        "surface": [used.ask.surface for used in group],
        "seed": [used.ask.item_id or "" for used in group],
        "segment": [used.ask.segment for used in group],
        "context": [msgspec.json.encode(used.ask.context).decode() for used in group],
        "corrected": [used.corrected for used in group],
        "terms": [list(used.terms) for used in group],
        "tick": [used.tick for used in group],
        "bundle": [used.bundle for used in group],
        "names": [names_digest(used.names) for used in group],
        "item_ids": [list(used.items) for used in group],
        "values": [pl.Series(used.values.ravel()) for used in group],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def snapshot_files(folder: Path) -> list[Path]:
    """The files of all days, the days in order."""
    return sorted(path for path in folder.glob("*/*.parquet") if not path.name.startswith("."))


class Snapshots:
    """The queue and its writer. What does not fit, or cannot be written, is counted as dropped.

    forgotten: who was forgotten as far as this worker knows; what somebody was answered before is not written after.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        config: ServingConfig,
        metrics: Metrics,
        forgotten: Callable[[], Forgotten] = Forgotten,
    ) -> None:
        self._forgotten = forgotten
        self._folder, self._days, self._metrics = folder, config.snapshot_days, metrics
        self._below = int(share * 2**64)
        self._waiting: asyncio.Queue[Used] = asyncio.Queue(config.snapshots)
        self._files = asyncio.Lock()

    def wants(self, request_id: str) -> bool:
        """Whether this request is of the share, by hash: the same requests wherever they are answered."""
        return self._below > 0 and key(request_id) % 2**64 < self._below

    def offer(self, used: Used) -> None:
        try:
            self._waiting.put_nowait(used)
        except asyncio.QueueFull:
            self._metrics.snapshot_drops.inc()

    async def run(self) -> None:
        """Write for ever, what came within a second in one file; cancel to stop."""
        while True:
            await asyncio.sleep(_LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits now."""
        while group := [self._waiting.get_nowait() for _ in range(min(_GROUP, self._waiting.qsize()))]:
            await asyncio.shield(self._write(self._known(group)))

    async def forget(self, user_id: str) -> None:
        """Remove a user's snapshots."""
        await self.flush()
        async with self._files:
            await asyncio.to_thread(remove_subject, self._folder, user_id)

    def _known(self, group: Sequence[Used]) -> Sequence[Used]:
        """Those whose subjects go by the same names as then."""
        forgotten = self._forgotten()
        if not forgotten:
            return group
        subjects = [used.ask.subject for used in group]
        known = [subject == stranger(subject.partition("\x1f")[0], forgotten) for subject in subjects]
        return list(compress(group, known))

    async def _write(self, group: Sequence[Used]) -> None:
        if not group:
            return
        try:
            async with self._files:
                await asyncio.to_thread(self._keep, group)
        except Exception:
            LOG.exception("%d feature snapshots could not be written", len(group))
            self._metrics.snapshot_drops.inc(len(group))
        else:
            self._metrics.snapshots.inc(len(group))

    def _keep(self, group: Sequence[Used]) -> None:
        for day, part in _by_day(frame_of(group)):
            folder = self._folder / day
            if not folder.exists():
                folder.mkdir(parents=True)
                drop_before(self._folder, date.fromisoformat(day) - timedelta(days=self._days))
            first = int(part["time"][0])
            write_whole(part, folder / f"{first}-{uuid.uuid4().hex[:12]}.parquet")


def _by_day(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    days = [datetime.fromtimestamp(time / 1000, UTC).date().isoformat() for time in frame["time"]]
    for day in sorted(set(days)):
        yield day, frame.filter(pl.Series([each == day for each in days]))


def write_whole(frame: pl.DataFrame, path: Path) -> None:
    """The file appears whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    frame.write_parquet(draft, compression="zstd", compression_level=1)
    draft.replace(path)


def drop_before(folder: Path, first: date) -> None:
    """Remove the days before `first`. They are days of requests, so that a replay of an old log keeps its own."""
    with _alone(folder):
        for day in folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"):
            if day.name < first.isoformat():
                shutil.rmtree(day)


def remove_subject(folder: Path, subject: str) -> None:
    """Write the files that mention a subject again without it; one that held nothing else goes."""
    if not folder.exists():
        return
    with _alone(folder):
        for path in snapshot_files(folder):
            if (
                not pl.scan_parquet(path, glob=False)
                .filter(pl.col("subject") == subject)
                .select(pl.len())
                .collect()
                .item()
            ):
                continue
            left = pl.read_parquet(path, memory_map=False, glob=False).filter(pl.col("subject") != subject)
            if len(left):
                write_whole(left, path)
            else:
                path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other worker changes or removes files meanwhile: it would write back whom we forget, or take a file from
    under our reading. New files may appear."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
