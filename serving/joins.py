"""What a running service sees of its own log's health: whether feedback finds its page, clocks, repeats, losses.

Counted in arrays, a post at a time; the rates of the last hour ring by the bounds of [watch].
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from threading import Lock
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.logs.watch.config import WatchConfig
from pipeline.logs.watch.joins import RATES, Tally, alarms_of

Ints = NDArray[np.int64]
Frames = Mapping[str, pl.DataFrame]
Named = tuple[int, int]  # a request (hash), and when it was named, ms

_QUICK: Final = ("view", "click")
_COUNTS: Final = (
    "named", "joined", "before_page", "events", "future", "late", "delivered", "duplicates", "rejected", "answered",
    "dropped",
)  # fmt: skip
_PLACE: Final = {name: place for place, name in enumerate(_COUNTS)}
_RATES: Final = [name for name, (part, whole) in RATES.items() if part in _PLACE and whole in _PLACE]
_MINUTES: Final = 60
_PATIENCE: Final = 60.0  # seconds that feedback waits for a page which another worker has still to write
_WAITING: Final = 10_000  # feedback that may wait; what comes beyond is judged at once
_LAG: Final = np.array([1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600]) * 1_000
_DELAY: Final = np.array([0, 0.1, 0.3, 1, 3, 10, 60, 600, 3600, 86_400]) * 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """What is watched of one post: request (hashes) and time of views and clicks that name one, times of all events."""

    request: list[int]
    time: Ints
    times: Ints

    @classmethod
    def of(cls, named: Sequence[Named], times: Sequence[int]) -> "Told":
        moments = np.array([moment for _, moment in named], dtype=np.int64)
        return cls([request for request, _ in named], moments, np.array(times, dtype=np.int64))


def named(feedback: pl.DataFrame) -> list[Named | None]:
    """Of each row what it names, where it is a view or click that names a request: these follow their page within
    minutes; a purchase may come when the page is no longer remembered."""
    # Lists rather than expressions: of a post of one event, planning a query would be most of the work.
    columns = zip(*(feedback[name].to_list() for name in ("action", "request_id", "time")), strict=True)
    return [(hash(request), moment) if request and action in _QUICK else None for action, request, moment in columns]


def told(frames: Frames) -> Told:
    """Of the frames of a post, by type."""
    feedback = frames.get("feedback")
    found = [name for name in named(feedback) if name] if feedback is not None else []
    return Told.of(found, [moment for frame in frames.values() for moment in frame["time"].to_list()])


class Joins(Collector):
    """Counters since the start, rates and alarms of the last hour. Of fixed size, and used from any thread.

    written: pages written and lost so far; now: seconds since 1970.
    """

    def __init__(
        self, config: WatchConfig, written: Callable[[], tuple[int, int]], now: Callable[[], float] = time.time
    ) -> None:
        self._config, self._written, self._now, self._lock = config, written, now, Lock()
        self._young: dict[int, int] = {}  # request (hash) -> when its first page was shown, ms
        self._old: dict[int, int] = {}
        self._waiting: deque[tuple[float, list[int], Ints]] = deque()
        self._held = 0  # feedback in it
        self._total = np.zeros(len(_COUNTS), dtype=np.int64)
        self._hour = np.zeros((_MINUTES, len(_COUNTS)), dtype=np.int64)
        self._minute = int(now() // 60)
        self._lags, self._delays = Spread(_LAG), Spread(_DELAY)

    def learned(self, frames: Frames) -> None:
        """Remember the pages among what the engine has learned."""
        pages = frames.get("impression")
        if pages is None:
            return
        requests, shown = map(hash, pages["request_id"].to_list()), pages["time"].to_list()
        with self._lock:
            deque(map(self._young.setdefault, requests, shown), maxlen=0)
            if len(self._young) >= self._config.remembered:
                self._young, self._old = {}, self._young

    def posted(self, post: Told, accepted: int, duplicates: int, rejected: int) -> None:
        """Count one post that was acknowledged."""
        now = self._now()
        delay = int(now * 1000) - post.times
        with self._lock:
            self._count(
                events=len(delay),
                future=int((delay < -self._config.tolerance_ms).sum()),
                late=int((delay > self._config.late_ms).sum()),
                delivered=accepted + duplicates + rejected,
                duplicates=duplicates,
                rejected=rejected,
            )
            self._delays.add(np.maximum(delay, 0))
            unknown = self._join(post.request, post.time)
            if len(unknown):
                self._waiting.append((now + _PATIENCE, [post.request[at] for at in unknown], post.time[unknown]))
                self._held += len(unknown)
            self._settle(now)

    def collect(self) -> Iterator[Metric]:
        """Everything as Prometheus asks for it."""
        with self._lock:
            self._settle(self._now())
            answered, dropped = self._written()
            known = self._total[[_PLACE["answered"], _PLACE["dropped"]]]
            self._count(answered=answered - int(known[0]), dropped=dropped - int(known[1]))
            hour = Tally(dict(zip(_COUNTS, self._hour.sum(axis=0).tolist(), strict=True)))
            families = self._families(dict(zip(_COUNTS, self._total.tolist(), strict=True)))
        ringing = {alarm.what for alarm in alarms_of(hour, self._config, "hour")}
        rates = GaugeMetricFamily(
            "podium_watch_rate", "rates of the last hour, as `podium events check`", labels=["rate"]
        )
        alarms = GaugeMetricFamily("podium_watch_alarm", "1 while a rate is out of bounds", labels=["rate"])
        for name in _RATES:
            alarms.add_metric([name], float(name in ringing))
            if (rate := hour.rate(name)) is not None:
                rates.add_metric([name], rate)
        yield from (*families, rates, alarms)

    def _families(self, counts: Mapping[str, int]) -> list[Metric]:
        named = CounterMetricFamily("podium_feedback_named", "views and clicks that name a request", labels=["page"])
        named.add_metric(["known"], counts["joined"])
        named.add_metric(["unknown"], counts["named"] - counts["joined"])
        clocks = CounterMetricFamily("podium_events_off_time", "events posted with an unlikely time", labels=["why"])
        for why in ("future", "late", "before_page"):
            clocks.add_metric([why], counts[why])
        lags = self._lags.family("podium_feedback_lag_seconds", "seconds from a page to a view or click on it")
        return [
            named,
            clocks,
            lags,
            self._delays.family("podium_event_delay_seconds", "seconds from an event to its post"),
        ]

    def _count(self, **more: int) -> None:
        minute = int(self._now() // 60)
        if minute > self._minute:
            gone = np.arange(self._minute + 1, min(minute, self._minute + _MINUTES) + 1) % _MINUTES
            self._hour[gone] = 0
            self._minute = minute
        for name, count in more.items():
            self._total[_PLACE[name]] += count
            self._hour[self._minute % _MINUTES, _PLACE[name]] += count

    def _join(self, requests: list[int], times: Ints) -> Ints:
        """Count what finds its page; the places of what does not."""
        shown = np.array(list(map(self._young.get, requests, repeat(-1))), dtype=np.int64)
        if self._old and (shown < 0).any():
            shown = np.maximum(shown, np.array(list(map(self._old.get, requests, repeat(-1))), dtype=np.int64))
        known = shown >= 0
        lag = (times - shown)[known]
        found = int(known.sum())
        self._count(named=found, joined=found, before_page=int((lag < 0).sum()))
        self._lags.add(lag[lag >= 0])
        return np.flatnonzero(~known)

    def _settle(self, now: float) -> None:
        """Judge what has waited long enough, and the longest waiting where too much waits."""
        while self._waiting and (self._waiting[0][0] <= now or self._held > _WAITING):
            _, requests, times = self._waiting.popleft()
            self._held -= len(requests)
            self._count(named=len(self._join(requests, times)))


class Spread:
    """A histogram that takes an array at a time."""

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        self._bounds, self._counts, self._sum = bounds, np.zeros(len(bounds) + 1, dtype=np.int64), 0.0

    def add(self, milliseconds: Ints) -> None:
        place = np.searchsorted(self._bounds, milliseconds)
        self._counts += np.bincount(place, minlength=len(self._counts))
        self._sum += float(milliseconds.sum())

    def family(self, name: str, about: str) -> Metric:
        bounds = [f"{bound / 1000:g}" for bound in self._bounds.tolist()]
        buckets = list(zip([*bounds, "+Inf"], np.cumsum(self._counts).tolist(), strict=True))
        return HistogramMetricFamily(name, about, buckets=buckets, sum_value=self._sum / 1000)
