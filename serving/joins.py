"""What a running service sees of its own log's health: whether feedback finds its page, clocks, repeats, losses.

Counted in arrays, a post at a time; the rates of the last hour ring by the bounds of [watch].
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.logs.watch.config import WatchConfig
from pipeline.logs.watch.joins import RATES, Tally, alarms_of
from serving.shared import Counts

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

    folder: where the workers of a service add their counts up, None where there is one worker; now: seconds since 1970.
    """

    def __init__(self, config: WatchConfig, folder: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self._config, self._now, self._lock = config, now, Lock()
        self._young: dict[int, int] = {}  # request (hash) -> when its first page was shown, ms
        self._old: dict[int, int] = {}
        self._waiting: deque[tuple[float, list[int], Ints]] = deque()
        self._held = 0  # feedback in it
        self._counts = Counts("joins", _Board.SIZE, folder)
        self._own = _Board(self._counts.own)
        if not self._own.minute[0]:
            self._own.minute[0] = now() // 60

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
            self._own.delays.add(np.maximum(delay, 0))
            unknown = self._join(post.request, post.time)
            if len(unknown):
                self._waiting.append((now + _PATIENCE, [post.request[at] for at in unknown], post.time[unknown]))
                self._held += len(unknown)
            self._settle(now)

    def answered(self, written: int = 0, lost: int = 0) -> None:
        """Count pages that were answered: those written, and those lost before they were."""
        with self._lock:
            self._count(answered=written + lost, dropped=lost)

    def collect(self) -> Iterator[Metric]:
        """Everything as Prometheus asks for it, of all workers together."""
        with self._lock:
            self._settle(self._now())
            boards = [_Board(row) for row in self._counts.everybody()]
        latest = int(self._now() // 60)
        lately = np.sum([board.hour_until(latest) for board in boards], axis=0)
        hour = Tally(dict(zip(_COUNTS, lately.tolist(), strict=True)))
        total = _Board(np.sum([board.row for board in boards], axis=0))
        ringing = {alarm.what for alarm in alarms_of(hour, self._config, "hour")}
        rates = GaugeMetricFamily(
            "podium_watch_rate", "rates of the last hour, as `podium events check`", labels=["rate"]
        )
        alarms = GaugeMetricFamily("podium_watch_alarm", "1 while a rate is out of bounds", labels=["rate"])
        for name in _RATES:
            alarms.add_metric([name], float(name in ringing))
            if (rate := hour.rate(name)) is not None:
                rates.add_metric([name], rate)
        yield from (*_families(total), rates, alarms)

    def _count(self, **more: int) -> None:
        self._own.move_to(int(self._now() // 60))
        for name, count in more.items():
            self._own.count(_PLACE[name], count)

    def _join(self, requests: list[int], times: Ints) -> Ints:
        """Count what finds its page; the places of what does not."""
        shown = np.array(list(map(self._young.get, requests, repeat(-1))), dtype=np.int64)
        if self._old and (shown < 0).any():
            shown = np.maximum(shown, np.array(list(map(self._old.get, requests, repeat(-1))), dtype=np.int64))
        known = shown >= 0
        lag = (times - shown)[known]
        found = int(known.sum())
        self._count(named=found, joined=found, before_page=int((lag < 0).sum()))
        self._own.lags.add(lag[lag >= 0])
        return np.flatnonzero(~known)

    def _settle(self, now: float) -> None:
        """Judge what has waited long enough, and the longest waiting where too much waits."""
        while self._waiting and (self._waiting[0][0] <= now or self._held > _WAITING):
            _, requests, times = self._waiting.popleft()
            self._held -= len(requests)
            self._count(named=len(self._join(requests, times)))


def _families(board: "_Board") -> list[Metric]:
    counts = dict(zip(_COUNTS, board.total.tolist(), strict=True))
    named = CounterMetricFamily("podium_feedback_named", "views and clicks that name a request", labels=["page"])
    named.add_metric(["known"], counts["joined"])
    named.add_metric(["unknown"], counts["named"] - counts["joined"])
    clocks = CounterMetricFamily("podium_events_off_time", "events posted with an unlikely time", labels=["why"])
    for why in ("future", "late", "before_page"):
        clocks.add_metric([why], counts[why])
    lags = board.lags.family("podium_feedback_lag_seconds", "seconds from a page to a view or click on it")
    delays = board.delays.family("podium_event_delay_seconds", "seconds from an event to its post")
    return [named, clocks, lags, delays]


class _Board:
    """What one worker has counted, in one row of integers; a sum of rows is what all have, but for the minutes.

    minute: the latest one counted in; total: of _COUNTS; hour: the same by minute of the last hour, in a ring.
    """

    SIZE: Final = 1 + (1 + _MINUTES) * len(_COUNTS) + len(_LAG) + 2 + len(_DELAY) + 2

    def __init__(self, row: Ints) -> None:
        sizes = [1, len(_COUNTS), _MINUTES * len(_COUNTS), len(_LAG) + 2]
        self.row = row
        self.minute, self.total, ring, lags, delays = np.split(row, np.cumsum(sizes))
        self._ring = ring.reshape(_MINUTES, len(_COUNTS))
        self.lags, self.delays = Spread(_LAG, lags), Spread(_DELAY, delays)

    def move_to(self, minute: int) -> None:
        """Forget what is older than an hour."""
        before = int(self.minute[0])
        if minute > before:
            self._ring[np.arange(before + 1, min(minute, before + _MINUTES) + 1) % _MINUTES] = 0
            self.minute[0] = minute

    def count(self, place: int, count: int) -> None:
        self.total[place] += count
        self._ring[int(self.minute[0]) % _MINUTES, place] += count

    def hour_until(self, minute: int) -> Ints:
        """Counts of the hour that ends with a minute, whenever this worker last counted."""
        last = int(self.minute[0])
        counted = last - (last - np.arange(_MINUTES)) % _MINUTES
        return np.asarray(self._ring[counted > minute - _MINUTES].sum(axis=0))


class Spread:
    """A histogram that takes an array at a time. counts: of each bucket, and the sum (ms)."""

    def __init__(self, bounds: NDArray[np.float64], counts: Ints) -> None:
        self._bounds, self._counts, self._sum = bounds, counts[:-1], counts[-1:]

    def add(self, milliseconds: Ints) -> None:
        place = np.searchsorted(self._bounds, milliseconds)
        self._counts += np.bincount(place, minlength=len(self._counts))
        self._sum += milliseconds.sum()

    def family(self, name: str, about: str) -> Metric:
        bounds = [f"{bound / 1000:g}" for bound in self._bounds.tolist()]
        buckets = list(zip([*bounds, "+Inf"], np.cumsum(self._counts).tolist(), strict=True))
        return HistogramMetricFamily(name, about, buckets=buckets, sum_value=int(self._sum[0]) / 1000)
