"""A log watched: does feedback find its page, are clocks right, is anything lost, doubled, unseen or made by programs?

Read day by day. Memory holds a day's events, the earlier pages its feedback names, and one row a subject.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.attribution import attribute, outcomes_known, shown_items
from pipeline.logs.config import LogsConfig
from pipeline.logs.events import subject
from pipeline.logs.moments import Plausible
from pipeline.logs.partitions import DAY_MS, day_name
from pipeline.logs.read import Log
from pipeline.logs.sessions import IDLE_MS
from pipeline.logs.watch.config import AT_LEAST, WatchConfig
from pipeline.logs.watch.robots import SIGNS, conduct, judge, nobody, together
from pipeline.logs.watch.shares import float_items, shares
from pipeline.logs.watch.sketch import BUCKETS, Counts, quantile, sketch

# rate -> the counts it is the quotient of
RATES: Final[dict[str, tuple[str, str]]] = {
    "join_rate": ("joined", "named"),
    "attributed": ("attributed", "feedback"),
    "before_page": ("before_page", "joined"),
    "future": ("future", "events"),
    "impossible": ("impossible", "events"),
    "at_once": ("at_once", "events"),
    "one_subject": ("largest", "acts"),
    "float_ids": ("float_ids", "events"),
    "late": ("late", "events"),
    "unseen": ("unseen", "labelled"),
    "repeated": ("repeated", "events"),
    "offset": ("off", "clients"),
    "robots": ("robot_events", "acts"),
    "duplicates": ("duplicates", "delivered"),
    "rejected": ("rejected", "delivered"),
    "dropped": ("dropped", "answered"),
}
ALL: Final = "all"
_PAGE: Final = ("request_id", "page", "time", "event_id", "user_id", "session_id", "items")
_TOLD: Final = ("event_id", "time", "received", "user_id", "session_id", "item_id", "action", "request_id")
_QUANTILES: Final = (0.5, 0.95, 0.99)
_LEAST_OF_CLIENT: Final = 5  # events of a day before its clock is judged
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is out of bounds: the rate, the day (or `all`), what was measured of how many, the bound."""

    what: str
    day: str
    measured: float
    bound: float
    of: int

    def __str__(self) -> str:
        side = "at least" if self.what in AT_LEAST else "at most"
        return f"{self.what} {self.day}: {self.measured:.4f} of {self.of}; {side} {self.bound:g} is ordinary"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of a day or of all days; lag: from page to feedback; delay: from time to receipt."""

    counts: dict[str, int]
    lag: Counts = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))
    delay: Counts = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))

    def plus(self, other: "Tally") -> "Tally":
        counts = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in self.counts | other.counts}
        return Tally(counts, self.lag + other.lag, self.delay + other.delay)

    def rate(self, name: str) -> float | None:
        """None where nobody counted, or there is no case."""
        part, whole = RATES[name]
        return self.counts[part] / self.counts[whole] if part in self.counts and self.counts.get(whole) else None

    @property
    def values(self) -> dict[str, Any]:
        spans = {"lag_ms": self.lag, "delay_ms": self.delay}
        quantiles = {
            name: {f"p{share * 100:g}": quantile(counts, share) for share in _QUANTILES}
            for name, counts in spans.items()
        }
        return {"counts": self.counts, "rates": {name: self.rate(name) for name in RATES}, **quantiles}


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found: over all days, by day, who is taken for a program (one row each), and what rings."""

    overall: Tally
    days: dict[str, Tally]
    robots: pl.DataFrame
    alarms: list[Alarm]


def watch(
    log: Log,
    config: WatchConfig | None = None,
    *,
    since: int | None = None,
    before: int | None = None,
    windows: Mapping[str, int] | None = None,
    plausible: Plausible | None = None,
    reported: Mapping[str, int] | None = None,
    on_progress: Progress = lambda *_: None,
) -> Watched:
    """Watch the days of a log that hold events with since <= time < before (ms).

    windows: of attribution, by action. plausible: which moments can be.
    reported: `duplicates`, `rejected`, `delivered`, `dropped`, `answered` as
    ingest, store and service counted them; what a log refused it knows itself. Raises InputError for a log without
    clock or without feedback and pages.
    """
    config = config or WatchConfig()
    if log.clock != "exact":
        raise InputError("--logs", "a log whose clock is exact: an order has no lags", received=log.clock)
    known = sorted({*log.days("feedback"), *log.days("impression")})
    wanted = [day for day in known if _within(day, since, before)]
    if not wanted:
        raise InputError("--logs", "a log with feedback or impressions in these days", place=str(log.root))
    days: dict[str, Tally] = {}
    subjects = nobody()
    for done, day in enumerate(wanted):
        on_progress(day_name(day), done / len(wanted))
        days[day_name(day)], acting = _day(log, day, config, windows, plausible or Plausible.of(LogsConfig()))
        subjects = together(subjects, acting)
    judged = judge(subjects, config.robot)
    overall = _overall(log, list(days.values()), judged, reported or {})
    alarms = [alarm for name, tally in [(ALL, overall), *days.items()] for alarm in alarms_of(tally, config, name)]
    if not log.has("impression"):
        alarms = [alarm for alarm in alarms if alarm.what not in AT_LEAST]  # nothing could be joined, ever
    return Watched(overall, days, judged.filter("robot").sort("events", "subject", descending=[True, False]), alarms)


def _within(day: int, since: int | None, before: int | None) -> bool:
    return (since is None or (day + 1) * DAY_MS > since) and (before is None or day * DAY_MS < before)


def alarms_of(tally: Tally, config: WatchConfig, day: str) -> Iterator[Alarm]:
    """The rates of a tally that are out of bounds, and of enough cases to say so."""
    bounds = config.model_dump(include=set(RATES))
    for name, (_, whole) in RATES.items():
        measured, of = tally.rate(name), tally.counts.get(whole, 0)
        if measured is None or of < config.least:
            continue
        if measured < bounds[name] if name in AT_LEAST else measured > bounds[name]:
            yield Alarm(name, day, measured, bounds[name], of)


def _overall(log: Log, days: list[Tally], judged: pl.DataFrame, reported: Mapping[str, int]) -> Tally:
    """The days' sum, but with subjects judged by all they did, and with what only the whole log knows."""
    total = reduce(Tally.plus, days)
    rejected = sum(map(_lines, (log.root / "quarantine").glob("*.jsonl")))
    whole = {"rejected": rejected, "delivered": total.counts["events"] + rejected} | _robots(judged) | dict(reported)
    return Tally(total.counts | whole, total.lag, total.delay)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _robots(judged: pl.DataFrame) -> dict[str, int]:
    flagged = judged.filter("robot")
    signs = {f"robots_{sign}": int(judged[sign].sum()) for sign in SIGNS}
    acts = {"acts": int(judged["events"].sum()), "robot_events": int(flagged["events"].sum())}
    acts["largest"] = int(str(judged["events"].max() or 0))
    return {"subjects": len(judged), "robots": len(flagged)} | acts | signs


def _day(
    log: Log, day: int, config: WatchConfig, windows: Mapping[str, int] | None, plausible: Plausible
) -> tuple[Tally, pl.DataFrame]:
    """The tally of one day, and the conduct of its subjects."""
    start, end = day * DAY_MS, (day + 1) * DAY_MS
    # A page at the end of the day is seen in the next one's first half hour.
    told = log.scan("feedback", since=start, before=end + IDLE_MS).select(*_TOLD, subject()).collect()
    today = told.filter(pl.col("time") < end)
    own = log.scan("impression", since=start, before=end)
    shown = pl.col("items").list.len()
    own = own.select(subject(), "request_id", "page", "time", "received", outcomes_known(), float_items(), shown=shown)
    pages = own.collect()
    near = _near(log, told, start - config.lookback_days * DAY_MS, end + IDLE_MS)
    counts, lag = _joined(today, near)
    outcomes = attribute(near, told.with_columns(value=None, quantity=None), windows)
    counts["attributed"] = int((outcomes["time"] < end).sum())
    acting = conduct(pages, today)
    counts |= _pages(pages, outcomes) | _clocks(pages, today, config) | _robots(judge(acting, config.robot))
    counts |= shares(pages, today, plausible)
    counts["repeated"] += len(today) - today.n_unique(["subject", "item_id", "action", "request_id", "time"])
    both = pl.concat([pages.select("time", "received"), today.select("time", "received")])
    return Tally(counts, lag, sketch((both["received"] - both["time"]).to_numpy())), acting


def _near(log: Log, told: pl.DataFrame, since: int, before: int) -> pl.DataFrame:
    """The pages that the feedback names, and those of the subjects whose feedback names none."""
    named = told["request_id"].drop_nulls().unique()
    nameless = told.filter(pl.col("request_id").is_null())["subject"].unique()
    wanted = pl.col("request_id").is_in(named.implode()) | subject().is_in(nameless.implode())
    pages = log.scan("impression", since=since, before=before).filter(wanted).select(_PAGE)
    return pages.collect(engine="streaming")


def _joined(today: pl.DataFrame, near: pl.DataFrame) -> tuple[dict[str, int], Counts]:
    """How much of the feedback that names a request finds its page, and its item on it; and how long after."""
    named = today.filter(pl.col("request_id").is_not_null())
    cells = shown_items(near).select("request_id", "item_id", "shown_at")
    known = named.join(cells.select("request_id").unique(), on="request_id", how="semi")
    joined = named.join(cells.unique(["request_id", "item_id"], keep="first"), on=["request_id", "item_id"])
    lag = (joined["time"] - joined["shown_at"]).to_numpy()
    counts = {
        "feedback": len(today),
        "named": len(named),
        "joined": len(joined),
        "no_page": len(named) - len(known),
        "not_on_page": len(known) - len(joined),
        "before_page": int((lag < 0).sum()),
    }
    return counts, sketch(lag[lag >= 0])


def _pages(pages: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, int]:
    """Pages and shown items, pages that were logged twice, pages that could be followed, and those that nothing ever
    followed."""
    distinct = pages.unique(["request_id", "page"])
    followed = distinct.filter("known")
    unseen = followed.join(outcomes.select("request_id", "page"), on=["request_id", "page"], how="anti")
    counts = {"pages": len(distinct), "shown": int(distinct["shown"].sum()), "repeated": len(pages) - len(distinct)}
    return counts | {"labelled": len(followed), "unseen": len(unseen)}


def _clocks(pages: pl.DataFrame, today: pl.DataFrame, config: WatchConfig) -> dict[str, int]:
    """Events from the future, late ones, and the clients whose usual delay no network explains."""
    both = pl.concat([part.select("subject", delay=pl.col("received") - pl.col("time")) for part in (pages, today)])
    ahead, late = pl.col("delay") < -config.tolerance_ms, pl.col("delay") > config.late_ms
    clients = both.group_by("subject").agg(pl.len(), pl.col("delay").median())
    clients = clients.filter(pl.col("len") >= _LEAST_OF_CLIENT)
    off = clients.filter(ahead | (pl.col("delay") > config.offset_ms))
    found = both.select(future=ahead.sum(), late=late.sum()).row(0, named=True)
    return {"events": len(both), **found, "clients": len(clients), "off": len(off)}
