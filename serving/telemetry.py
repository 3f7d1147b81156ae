"""What the service counts, for Prometheus: one registry an app, so that two apps of one process never mix; several
workers are one app, whose numbers are the sums of theirs.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.logs.watch.config import WatchConfig
from serving.joins import Joins
from serving.ports import Slate
from serving.shared import leave_out_the_dead, workers_folder

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})  # a caller may invent others
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Every number of `/metrics`, named and explained in one place."""

    def __init__(self, watch: WatchConfig | None = None) -> None:
        self._folder = workers_folder()
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "requests answered", ("route", "method", "status"))
        self.seconds = self._histogram("request_seconds", "seconds from a request to its answer", ("route",))
        self.turned_away = self._counter(
            "turned_away", "requests for which the queue was full, busy or too late", ("why",)
        )
        self.stages = self._histogram("stage_seconds", "seconds of one stage", ("cascade", "stage"))
        self.degraded = self._counter("degraded", "answers for which a stage did not run as declared", ("stage",))
        self.events = self._counter("events", "events posted: accepted, duplicate or rejected", ("outcome",))
        self.impressions = self._counter("impressions_written", "impressions written after an answer")
        self.drops = self._counter("impressions_dropped", "impressions lost to a full queue or a failed write")
        self.withdrawn = self._counter("explored_withdrawn", "explored pages not given since they could not be written")
        self.snapshots = self._counter("snapshots_written", "requests whose feature values were kept")
        self.snapshot_drops = self._counter("snapshots_dropped", "snapshots lost to a full queue or a failed write")
        self.absorb_failures = self._counter("absorb_failures", "batches of events the engine could not learn")
        self.follow_failures = self._counter("follow_failures", "failed looks for what other processes changed")
        self.key_failures = self._counter("key_failures", "failed readings of the API keys; those known before stay")
        self.lag = self._histogram("visible_seconds", "seconds from the arrival of an event to this worker knowing it")
        about = "items: described, unknown (only named) or removed"
        self.items = self._gauge("items", about, "livemax", ("state",))
        self.tick = self._gauge(
            "tick", "the latest tick that every worker computed ahead of its first request", "livemin"
        )
        self.tick_published = self._gauge("tick_published_seconds", "when that was, in seconds since 1970", "livemin")
        self.tick_took = self._gauge("tick_compute_seconds", "how long that took, beside the requests", "livemax")
        self.tick_failures = self._counter("tick_failures", "ticks that could not be computed ahead")
        self.bundle = self._gauge("bundle_info", "1 for a bundle in use", "livemax", ("bundle",))
        self._bundle = ""
        self.joins = Joins(watch or WatchConfig(), self._folder)
        self.registry.register(self.joins)

    def answered(self, slate: Slate) -> None:
        """Count what the stages of one answer took, and which were degraded."""
        for passed in slate.trace:
            seconds = float(str(passed["ms"])) / 1000
            self.stages.labels(slate.cascade, str(passed["stage"])).observe(seconds)
        for stage in slate.degraded:
            self.degraded.labels(stage).inc()

    def wrote(self, pages: int = 1) -> None:
        """Count impressions that are on the disk."""
        self.impressions.inc(pages)
        self.joins.answered(written=pages)

    def lost(self, pages: int = 1) -> None:
        """Count impressions that never will be."""
        self.drops.inc(pages)
        self.joins.answered(lost=pages)

    def count_items(self, census: Mapping[str, int]) -> None:
        for state, count in census.items():
            self.items.labels(state).set(count)

    def serve(self, bundle: str) -> None:
        if self._bundle:
            self.bundle.labels(self._bundle).set(0)
        self._bundle = bundle
        self.bundle.labels(bundle).set(1)

    def text(self) -> bytes:
        """Of all workers, whichever is asked."""
        if self._folder is None:
            return generate_latest(self.registry)
        leave_out_the_dead(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        registry.register(self.joins)
        return generate_latest(registry)

    def _counter(self, name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"podium_{name}", help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str, of_all: Literal["livemin", "livemax"], labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"podium_{name}", help_, labels, registry=self.registry, multiprocess_mode=of_all)

    def _histogram(self, name: str, help_: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(f"podium_{name}", help_, labels, registry=self.registry, buckets=_SECONDS)


class Timing:
    """ASGI middleware: counts and times each request under its route's pattern, never its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path_format", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(route, method, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
