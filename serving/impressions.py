"""One impression per answered page, written after the answer through a queue with an end."""

import asyncio
import logging
from typing import Final

import orjson

from pipeline.logs.store import EventStore, Row
from serving.slates import Kept
from serving.telemetry import Metrics

LOG = logging.getLogger("podium.serving")
_GROUP: Final = 500  # impressions written together
_LINGER: Final = 0.1  # seconds
_TOLD = ("user_id", "session_id", "query", "context")


def impression(kept: Kept, page: int, size: int, received: int) -> Row | None:
    """The event of one answered page; None for a page without items, which showed nothing.

    A caller without user or session gets the request itself as session: its page belongs to nobody else's.
    """
    slate, request = kept.slate, kept.request
    shown = range(page * size, min((page + 1) * size, len(slate.item_ids)))
    if not shown:
        return None
    items = [
        {
            "item_id": slate.item_ids[at],
            "position": at,
            "score": slate.score[at],
            "propensity": 1.0,  # the order is computed, not drawn
            "channel": "+".join(slate.channels[at]) or None,
        }
        for at in shown
    ]
    event: dict[str, object] = {name: request[name] for name in _TOLD if request.get(name) is not None}
    if "user_id" not in event:
        event.setdefault("session_id", slate.request_id)
    event |= {"event_id": f"{slate.request_id}:{page}", "type": "impression", "time": kept.time}
    event |= {"request_id": slate.request_id, "surface": kept.surface, "filters": kept.filters, "items": items}
    event |= {"page": page, "bundle": slate.bundle, "arm": "main", "explored": False, "tick": slate.tick}
    user = request.get("user_id")
    body = orjson.dumps(event).decode()
    return Row(str(event["event_id"]), "impression", str(user) if user else None, kept.time, received, body)


class Impressions:
    """The queue and its writer. What does not fit, or cannot be written, is counted as dropped."""

    def __init__(self, store: EventStore, metrics: Metrics, most: int) -> None:
        self._store, self._metrics = store, metrics
        self._waiting: asyncio.Queue[Row] = asyncio.Queue(most)

    def offer(self, row: Row) -> None:
        try:
            self._waiting.put_nowait(row)
        except asyncio.QueueFull:
            self._metrics.drops.inc()

    async def run(self) -> None:
        """Write for ever, what came within a tenth of a second in one commit; cancel to stop."""
        while True:
            await asyncio.sleep(_LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits now."""
        while rows := [self._waiting.get_nowait() for _ in range(min(_GROUP, self._waiting.qsize()))]:
            await self._write(rows)

    async def _write(self, rows: list[Row]) -> None:
        try:
            await asyncio.shield(asyncio.wrap_future(self._store.submit(rows)))
        except Exception:
            LOG.exception("%d impressions could not be written", len(rows))
            self._metrics.drops.inc(len(rows))
        else:
            self._metrics.impressions.inc(len(rows))
