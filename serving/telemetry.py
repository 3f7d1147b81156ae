"""What the service counts, for Prometheus; one registry an app, so that two apps of one process never mix."""

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.logs.watch.config import WatchConfig
from serving.joins import Joins
from serving.ports import Slate

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})  # a caller may invent others
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Every number of `/metrics`, named and explained in one place."""

    def __init__(self, watch: WatchConfig | None = None) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "requests answered", ("route", "method", "status"))
        self.seconds = self._histogram("request_seconds", "seconds from a request to its answer", ("route",))
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
        self.tick = self._gauge("tick", "the latest tick that was computed ahead of its first request")
        self.tick_published = self._gauge("tick_published_seconds", "when that was, in seconds since 1970")
        self.tick_took = self._gauge("tick_compute_seconds", "how long that took, beside the requests")
        self.tick_failures = self._counter("tick_failures", "ticks that could not be computed ahead")
        self.bundle = Gauge("podium_bundle_info", "1 for the bundle in use", ("bundle",), registry=self.registry)
        self.joins = Joins(watch or WatchConfig(), self._pages)
        self.registry.register(self.joins)

    def answered(self, slate: Slate) -> None:
        """Count what the stages of one answer took, and which were degraded."""
        for passed in slate.trace:
            seconds = float(str(passed["ms"])) / 1000
            self.stages.labels(slate.cascade, str(passed["stage"])).observe(seconds)
        for stage in slate.degraded:
            self.degraded.labels(stage).inc()

    def serve(self, bundle: str) -> None:
        self.bundle.clear()
        self.bundle.labels(bundle).set(1)

    def _pages(self) -> tuple[int, int]:
        """Pages answered so far, and those of them that were lost before they were written."""
        written, lost = (int(next(iter(of.collect())).samples[0].value) for of in (self.impressions, self.drops))
        return written + lost, lost

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"podium_{name}", help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(f"podium_{name}", help_, registry=self.registry)

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
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(route, method, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
