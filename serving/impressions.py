"""One impression per answered page. Most are written after the answer, through a queue with an end; one that chance
had a hand in is written before it, since a page that was explored and is not in the log would spoil what is learned."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

import orjson

from pipeline.errors import PodiumError
from pipeline.logs.store import Appended, EventStore, Forgotten, Row
from serving.slates import Kept
from serving.telemetry import Metrics

LOG = logging.getLogger("podium.serving")
_GROUP: Final = 500  # impressions written together
_LINGER: Final = 0.1  # seconds
_PATIENCE: Final = 2.0  # seconds that a stopping service waits for its last impressions
_TOLD = ("user_id", "session_id", "query", "context")


def impression(kept: Kept, page: int, places: Sequence[int], received: int) -> Row | None:
    """The event of one answered page that showed these places of the slate; None where it showed nothing.

    A caller without user or session gets the request itself as session: its page belongs to nobody else's.
    """
    slate, request = kept.slate, kept.request
    if not places:
        return None
    items = [
        {
            "item_id": slate.item_ids[at],
            "position": at,
            "score": slate.score[at],
            "propensity": slate.propensity[at] if slate.explored else 1.0,  # else the order is computed, not drawn
            "channel": "+".join(slate.channels[at]) or None,
        }
        for at in places
    ]
    if slate.explored and slate.marginal:
        for item, at in zip(items, places, strict=True):
            item["marginal"] = slate.marginal[at]
    event: dict[str, object] = {name: request[name] for name in _TOLD if request.get(name) is not None}
    if "user_id" not in event:
        event.setdefault("session_id", slate.request_id)
    event |= {"event_id": f"{slate.request_id}:{page}", "type": "impression", "time": kept.time}
    event |= {"request_id": slate.request_id, "surface": kept.surface, "filters": kept.filters, "items": items}
    event |= {"page": page, "bundle": slate.bundle, "arm": "main", "explored": slate.explored, "tick": slate.tick}
    user = request.get("user_id")
    body = orjson.dumps(event).decode()
    return Row(str(event["event_id"]), "impression", str(user) if user else None, kept.time, received, body)


class Impressions:
    """The queue and its writer. What does not fit, or cannot be written, is counted as dropped. Used from one thread.

    forgotten: who was forgotten as far as this worker knows; a page that was answered to somebody before he was
    forgotten is not written after.
    """

    def __init__(
        self, store: EventStore, metrics: Metrics, most: int, forgotten: Callable[[], Forgotten] = Forgotten
    ) -> None:
        self._store, self._metrics, self._most, self._forgotten = store, metrics, most, forgotten
        self._waiting: deque[tuple[Row, Forgotten]] = deque()
        self._sent: set[Future[Appended]] = set()

    def offer(self, row: Row) -> None:
        if len(self._waiting) >= self._most:
            self._metrics.lost()
            return
        self._waiting.append((row, self._forgotten()))

    async def write(self, row: Row, seconds: float) -> bool:
        """Whether a page is on the disk: false when it is not after `seconds`, or cannot be, and then never will be."""
        try:
            future = self._store.submit([row])
            waiter = asyncio.wrap_future(future)
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
            if not done and future.cancel():
                raise TimeoutError("the event store takes too long")
            await waiter
        except Exception:
            LOG.exception("an explored page could not be written")
            self._metrics.withdrawn.inc()
            return False
        self._metrics.wrote()
        return True

    async def run(self) -> None:
        """Write for ever, what came within a tenth of a second in one commit; cancel to stop."""
        while True:
            await asyncio.sleep(_LINGER)
            self.send()

    def send(self) -> None:
        """Hand all that waits to the store, which writes it before anything that comes later."""
        now = self._forgotten()
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
            rows = [row for row, then in group if then is now or _still_known(row.user_id, then, now)]
            try:
                sent = self._store.submit(rows)
            except PodiumError as error:
                self._lost(len(rows), error)
                continue
            self._sent.add(sent)
            sent.add_done_callback(self._written(len(rows)))

    async def flush(self) -> None:
        """Write all that waits now; give up on a store that takes too long."""
        self.send()
        if sent := [asyncio.wrap_future(each) for each in tuple(self._sent)]:
            await asyncio.wait(sent, timeout=_PATIENCE)

    def _written(self, count: int) -> Callable[["Future[Appended]"], None]:
        def done(sent: "Future[Appended]") -> None:
            self._sent.discard(sent)
            error = None if sent.cancelled() else sent.exception()
            if error is not None or sent.cancelled():
                self._lost(count, error)
            else:
                self._metrics.wrote(count)

        return done

    def _lost(self, count: int, error: BaseException | None) -> None:
        LOG.error("%d impressions could not be written: %s", count, error)
        self._metrics.lost(count)


def _still_known(user: str | None, then: Forgotten, now: Forgotten) -> bool:
    return user is None or then.times(user) == now.times(user)
