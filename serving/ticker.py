"""What all requests of an hour share, computed before the first of them asks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from pipeline.features.ticks import SEAL_MS, TICK_MS
from serving.ports import Ahead
from serving.telemetry import Metrics

LOG = logging.getLogger("podium.serving")
T = TypeVar("T")
LEAD_MS: Final = 30_000  # how long before a tick may be used its table is begun
_NAP: Final = 30.0  # seconds; a clock may be set


class OnEngine(Protocol):
    """Runs on the engine's thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class Ticker:
    """Twice a tick: the table of items shortly before the tick may be used, when nearly all that counts is known; and
    at once when it may be, what has come since and the popular items, which are final from then on.

    ahead: as `Engine.ahead`; on_engine: runs on the engine's thread; clock: ms.
    """

    def __init__(
        self,
        ahead: Callable[[int, bool], Ahead | None],
        on_engine: OnEngine,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._ahead, self._on_engine, self._metrics, self._clock = ahead, on_engine, metrics, clock

    async def run(self) -> None:
        """For ever; cancel to stop."""
        while True:
            tick, final, at = self.next()
            while (left := (at - self._clock()) / 1000) > 0:
                await asyncio.sleep(min(left, _NAP))
            try:
                await self.publish(tick, final)
            except Exception:
                LOG.exception("the tick %d could not be computed ahead", tick)
                self._metrics.tick_failures.inc()
                await asyncio.sleep(_NAP)

    def next(self) -> tuple[int, bool, int]:
        """The tick to compute next, whether for good, and when (ms)."""
        now = self._clock()
        tick = (now - SEAL_MS) // TICK_MS + 1
        seal = tick * TICK_MS + SEAL_MS
        return (tick, False, seal - LEAD_MS) if now < seal - LEAD_MS else (tick, True, seal)

    async def publish(self, tick: int, final: bool) -> None:
        """Compute beside the requests, and put to use between two of them."""
        begun = time.perf_counter()
        compute = await self._on_engine(lambda: self._ahead(tick, final))
        if compute is None:
            return
        use = await asyncio.to_thread(compute)
        await self._on_engine(use)
        self._metrics.tick.set(tick)
        self._metrics.tick_published.set(self._clock() / 1000)
        self._metrics.tick_took.set(time.perf_counter() - begun)
