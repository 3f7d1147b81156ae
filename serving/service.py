"""The service between the routes and the engine: who computes where, what is kept, what is logged."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pipeline.logs.moments import Plausible
from pipeline.logs.store import Appended, EventStore, Forgotten, Row
from serving.door import Door
from serving.events import stranger, warm_up
from serving.follow import Follower
from serving.impressions import Impressions, impression
from serving.keyring import Key
from serving.lanes import Lanes
from serving.limits import Gate
from serving.ports import Ask, Engine, Slate, Still, Used
from serving.problems import Problem, refused
from serving.settings import Settings
from serving.slates import Kept, Slates
from serving.snapshots import Snapshots
from serving.telemetry import Metrics
from serving.ticker import Ticker
from serving.watch import Watch
from serving.wire import Asked, RecommendRequest, SuggestQuery

T = TypeVar("T")
_OTHERS = 2.0  # seconds after which every worker knows who was forgotten, and has written what it held before
_LONGEST = 120  # characters of a caller's request_id whose impressions still fit an event_id


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Service:
    """One app's engine, stores and background work.

    The engine has a thread of its own, and only one. An answer is milliseconds of computing, which on the event loop
    would hold up every health check and every other connection; on many threads it would be no faster (they share
    the interpreter) and answers would meet changes of state half way. One thread puts answers, events, rules and
    bundles in a row, so that each request sees all that was acknowledged before it.
    """

    def __init__(self, settings: Settings, engine: Engine, metrics: Metrics) -> None:
        config = settings.serving
        self.settings, self.engine, self.metrics = settings, engine, metrics
        self.store = EventStore(settings.database_url)
        self.door = Door(config.event_batch, plausible=None if settings.replay else Plausible.of(settings.logs))
        slates = f"sqlite:///{settings.root / 'slates.db'}"
        self.slates = Slates(slates, config.slate_minutes * 60, config.slates, digest=self.store.digest)
        self.follower = Follower(engine, self.store, settings, metrics)
        self.impressions = Impressions(self.store, metrics, config.impressions, self._forgotten)
        self.snapshots = Snapshots(settings.root / "snapshots", settings.sampled, config, metrics, self._forgotten)
        failed = metrics.follow_failures.inc
        self._watch = Watch(self.follower.look, self._catch_up, config.follow_seconds, failed)
        self._ticker = Ticker(lambda tick, final: engine.ahead(tick, final=final), self.on_engine, metrics, now_ms)
        seconds = None if settings.replay else config.deadline_ms / 1000  # a replay is about all answers
        self._gate = Gate(config.waiting, seconds, lambda why: metrics.turned_away.labels(why).inc())
        self._thread = Lanes()
        self._learning = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ready = False

    async def start(self) -> None:
        """Learn what the root holds, read an event and answer once to warm up, then be ready."""
        await asyncio.to_thread(warm_up)
        await self.on_engine(self.follower.catch_up)
        for query in ("warm up", ""):
            warm = Ask(id="warm-up", time=now_ms(), query=query, surface="search" if query else "recommend")
            await self.on_engine(partial(self.engine.answer, warm))
        endless = [self.impressions.run(), self.snapshots.run()]
        if not self.settings.replay:  # in which time is the caller's
            endless.append(self._ticker.run())
        self._tasks = {asyncio.create_task(work) for work in endless}
        self._watch.start()
        self.ready = True

    async def stop(self) -> None:
        """Write what waits, then let go of everything."""
        self.ready = False
        await asyncio.to_thread(self._watch.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.impressions.flush()
        await self.snapshots.flush()
        self._thread.shutdown()
        await asyncio.to_thread(self.store.close)
        self.slates.close()

    def on_engine(self, work: Callable[[], T], *, learning: bool = False) -> Awaitable[T]:
        """Run on the engine's thread, after what already waits for it; learning goes before answers."""
        return asyncio.wrap_future(self._thread.submit(work, learning=learning))

    async def think(self, work: Callable[[], T], due: float | None = None) -> T:
        """Run on the engine's thread for a caller, who is turned away when it would come too late. due: a moment of
        `time.perf_counter()`; else the configuration says how long an answer may take."""
        return await self._gate.through(self._thread.submit, work, due)

    async def solve(self, door: str, body: Asked, key: Key, due: float | None, explore: bool = True) -> Kept:
        """Compute a slate and keep it for its next pages. explore: whether chance may have a hand in it."""
        request_id, moment = self.identify(body, key)
        lost = isinstance(body, RecommendRequest) and body.surface == "similar" and body.item_id is None
        if lost and not self.settings.replay:  # a log does not tell the item of its `similar` pages
            raise refused("item_id", "is required when the surface is `similar`")
        ask = body.ask(request_id, moment, self.settings.serving.segment)
        ask = replace(ask, subject=self.known_as(ask.subject), explore=explore)
        request = body.model_dump(exclude_unset=True)
        used: list[Used] = []
        told = (used.append,) if self.snapshots.wants(request_id) else ()

        def compute() -> Kept:
            slate = self.engine.answer(ask, due, *told)
            kept = Kept(door, moment, ask.surface, request, body.logged_filters, slate)
            self.slates.keep(kept)
            return kept

        kept = await self.think(compute, due)
        self.metrics.answered(kept.slate)
        for values in used:
            self.snapshots.offer(values)
        return kept

    def identify(self, body: Asked | SuggestQuery, key: Key) -> tuple[str, int]:
        """The request's id and time (ms): ours, or the caller's where the caller may choose them."""
        for field, value in (("at", body.at), ("request_id", body.request_id)):
            if value is not None and not (self.settings.replay or key.may("admin")):
                why = "needs the admin scope, or a service under --replay"
                raise Problem(403, f"{field} {why}.", [(field, why)])
        if body.request_id and len(body.request_id) > _LONGEST and not self.settings.replay:
            raise refused("request_id", f"must have at most {_LONGEST} characters")
        return body.request_id or uuid.uuid4().hex, now_ms() if body.at is None else body.at

    def known_as(self, subject: str) -> str:
        return stranger(subject, self.follower.forgotten)

    async def still(self, kept: Kept, body: Asked, due: float | None = None) -> Still:
        """What of a kept slate may be shown now: not what is gone, hidden or bought meanwhile. A replay asks as of the
        caller's time, or else as of page 0."""
        moment = kept.time if self.settings.replay else now_ms()
        ask = body.ask(kept.slate.request_id, moment if body.at is None else body.at, self.settings.serving.segment)
        ask = replace(ask, subject=self.known_as(ask.subject))
        return await self.think(lambda: self.engine.still(kept.slate, ask), due)

    async def told(self, body: Asked, kept: Kept, ids: Sequence[str], due: float | None) -> list[dict[str, object]]:
        """What the catalogue says of a page's items, of the fields that are asked for here or were on page 0."""
        first = kept.request.get("fields")
        names = body.fields or (first if isinstance(first, list) else [])
        if not names:
            return []
        moment = kept.time if self.settings.replay else now_ms()
        at = moment if body.at is None else body.at
        return await self.think(lambda: self.engine.told(ids, names, at), due)

    async def log(self, kept: Kept, page: int, places: Sequence[int]) -> bool:
        """Log an answered page, which showed these places; a replay leaves no trace.

        Queued, unless the slate is explored: then it is on the disk, or the answer is false and it must not be given.
        """
        if self.settings.replay or (row := impression(kept, page, places, now_ms())) is None:
            return True
        if kept.slate.explored:
            return await self.impressions.write(row, self.settings.serving.explored_seconds)
        self.impressions.offer(row)
        return True

    async def take(self, rows: Sequence[Row]) -> Appended:
        """Make events durable, then known to the engine: the caller's next request sees them."""
        self.impressions.send()  # the page a click refers to comes before the click
        appended = await asyncio.wrap_future(self.store.submit(rows))
        async with self._learning:
            if self.follower.seq < appended.last:  # else somebody who came before us brought ours along
                await self.on_engine(self.follower.learn, learning=True)
        return appended

    async def forget(self, user_id: str) -> int:
        """Remove a user's events, kept answers and snapshots; the engine meets the user as a stranger from now on."""
        self.impressions.send()
        removed = await asyncio.wrap_future(self.store.forget(user_id))
        await self.on_engine(self.follower.catch_up)
        await self._sweep(user_id)
        task = asyncio.create_task(self._sweep(user_id, _OTHERS))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return removed

    async def _sweep(self, user_id: str, delay: float = 0.0) -> None:
        """Remove what is kept of a user beside the store; again after a delay, since another worker may have kept
        something in the moment before it knew."""
        await asyncio.sleep(delay)
        await asyncio.to_thread(self.slates.forget, user_id)
        await self.snapshots.forget(user_id)

    def slate_problem(self, slate: Slate) -> Problem | None:
        """Why an old slate cannot be explained any more."""
        if slate.bundle == self.engine.bundle_id:
            return None
        return Problem(410, f"The request was answered from the bundle {slate.bundle}, which is not in use any more.")

    def _forgotten(self) -> Forgotten:
        return self.follower.forgotten

    def _catch_up(self) -> None:
        """On the watch's thread: let the engine's learn what is new, and wait for it, so that a burst is learned in few
        steps."""
        if self.follower.anything():
            self.follower.open_promoted()
            self._thread.submit(self.follower.catch_up, learning=True).result()
