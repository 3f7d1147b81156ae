"""Moments as sources write them, read by one strict rule: what is not said is asked for, never guessed.

Each value is read by itself, so neither the order of rows nor a neighbour's form matters. These forms are known:

- RFC 3339 and what comes near it: `2025-03-01T10:00:00.25+02:00`; a space for `T`, `/` for `-`, without seconds, with a
  fraction of any length, the offset as `Z`, `UTC`, `GMT`, `+02:00`, `+0200` or `+02`;
- the month by its English name: `Sat, 01 Mar 2025 10:00:05 GMT`, `Sat Mar 01 2025 10:00:05 GMT+0000 (...)`;
- day and month as numbers before the year: `03/01/2025 10:00 AM`. Which is which is said by `dates` (`mdy`, `dmy`);
  without it every such date is refused, also one that could be one day only: its neighbours could not;
- seconds, milliseconds, microseconds or nanoseconds since 1970, whole or with a fraction. The unit is `unit`'s, or the
  coarsest by which the number lies before 2100: from 1990 on no number can be two of them.

A date, or a date and a time, without an offset needs `zone`. What then lies outside the plausible range is refused.

`Moments.of(options, config)` makes the reader (`ingest` hands it to each importer); `reader.column(series)` reads a
column of any type and tells per row a moment or a reason; `reader.one(value)` reads one value or raises ValueError with
the reason; `reader.knowing(unit="s")` adds what a format itself says of its times.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from pipeline.errors import InputError
from pipeline.logs.config import LogsConfig
from pipeline.logs.events import KNOWN
from pipeline.logs.wire import MAX_TIME

Unit = Literal["s", "ms", "us", "ns"]
Dates = Literal["mdy", "dmy"]
Zone = ZoneInfo | timezone

TIME_OPTIONS: Final = ("unit", "zone", "dates")
READ: Final = {"time": pl.Int64(), "reason": pl.String()}  # what `column` tells of each row

_MADE: Final = 1_795_996_800_000  # 2026-11-30
_TEXT: Final = 100  # characters of a time at most
_NS: Final[dict[Unit, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_CLOCK: Final = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?(?: ?(?P<half>[AaPp][Mm]))?"
)
_OFFSET: Final = r"(?: ?(?P<zone>Z|z|(?:UTC|GMT)?[+-]\d\d:?(?:\d\d)?(?: UTC)?|UTC|GMT)(?: ?\(.*\)| ?\[.*\])?)?"
_NAMED: Final = r"(?P<name>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_FORMS: Final = tuple(
    re.compile(rf"{day}(?:(?:[T ]|, ?){_CLOCK}{_OFFSET})?", re.ASCII)
    for day in (
        r"(?P<year>\d{4})([-/])(?P<month>\d\d)\2(?P<day>\d\d)",
        r"(?P<first>\d{1,2})([-/.])(?P<then>\d{1,2})\2(?P<year>\d{4})",
        rf"(?:[A-Z][a-z]+,? )?(?P<day>\d{{1,2}})[ -]{_NAMED}[ -](?P<year>\d{{4}})",
        rf"(?:[A-Z][a-z]+,? )?{_NAMED} (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})",
    )
)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)
_ROUNDED: Final = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLAIN: Final = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[0-5]\d(?:\.\d{1,9})?"  # the form that is read a column at a time
_HALVED: Final = r"^(\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:[0-5]\d [AP]M)$"
_FORM: Final = "must be RFC 3339 (2025-03-01T10:00:00Z), or another form that docs/data.md names, or an epoch number"


@dataclass(frozen=True, slots=True)
class Plausible:
    """Which moments (ms) a log believes: from `earliest` to `ahead` after an event came, or after `now`."""

    earliest: int
    ahead: int
    now: int

    @classmethod
    def of(cls, config: LogsConfig, now: int | None = None) -> "Plausible":
        """now: ms; None is the clock's, which is wrong where it stands before this version was made."""
        first = datetime(config.earliest.year, config.earliest.month, config.earliest.day, tzinfo=UTC)
        return cls(_ms(first), config.ahead_ms, max(time.time_ns() // 1_000_000, _MADE) if now is None else now)

    def doubt(self, moment: int, came: int | None = None) -> str | None:
        """Why a moment is not believed; None when it is. came: ms, when it was received; None is now."""
        came = self.now if came is None else came
        if moment < self.earliest:
            return self._early if not self.earliest <= moment * 1_000 <= came + self.ahead else self._in_seconds
        return self._late if moment > came + self.ahead else None

    def doubts(self, kind: str, frame: pl.DataFrame) -> pl.Series:
        """Of events of one type, with `time` and `received`, why each is not believed; null where it is.

        Whoever brings no `received` of its own came now. What is known, items, users and judgments, may have been so
        before everything: at 0.
        """
        time, came = pl.col("time"), pl.col("received")
        early = (time < self.earliest) & ((time != 0) if kind in KNOWN else True)
        in_seconds = (time * 1_000).is_between(self.earliest, self.now + self.ahead)
        late = (time > came + self.ahead) | ((time == came) & (time > self.now + self.ahead))
        reason = pl.when(early & in_seconds).then(pl.lit(self._in_seconds)).when(early).then(pl.lit(self._early))
        return frame.select(reason=reason.when(late).then(pl.lit(self._late))).to_series()

    def believes(self, frame: pl.DataFrame) -> bool:
        """Whether it doubts none, which is seen at a glance."""
        time, came = frame["time"], frame["received"]
        bounds = time.min(), time.max(), (time - came).max()
        first, last, ahead = (int(str(bound or 0)) for bound in bounds)
        return first >= self.earliest and last <= self.now + self.ahead and ahead <= self.ahead

    @property
    def _early(self) -> str:
        return f"is before {said(self.earliest)} ([logs] earliest)"

    @property
    def _in_seconds(self) -> str:
        return (
            f"{self._early} as milliseconds: epoch seconds, to be sent as milliseconds or ingested with --option unit=s"
        )

    @property
    def _late(self) -> str:
        return f"is more than {self.ahead / 3_600_000:g} h after it was received ([logs] ahead_ms)"


@dataclass(frozen=True, slots=True)
class Moments:
    """How a source's times are read. None: not said, so a value that needs it is refused (`unit`: goes by its size)."""

    plausible: Plausible
    unit: Unit | None = None
    dates: Dates | None = None
    zone: Zone | None = None

    @classmethod
    def of(cls, options: Mapping[str, str], config: LogsConfig, now: int | None = None) -> "Moments":
        """By the TIME_OPTIONS among `options`. Raises InputError for a value that is none."""
        unit, zone, dates = map(options.get, TIME_OPTIONS)
        if unit is not None and unit not in _NS:
            raise InputError("--option unit", "`s`, `ms`, `us` or `ns`", received=unit)
        if dates not in (None, "mdy", "dmy"):
            raise InputError("--option dates", "`mdy` (03/01 is March 1) or `dmy` (03/01 is January 3)", received=dates)
        where = None if zone is None else _zone(zone)
        return cls(Plausible.of(config, now), unit, cast("Dates | None", dates), where)

    def knowing(self, unit: Unit | None = None, dates: Dates | None = None, zone: Zone | None = None) -> "Moments":
        """With what a format says of its own times; an option goes first."""
        return replace(self, unit=self.unit or unit, dates=self.dates or dates, zone=self.zone or zone)

    def one(self, value: object) -> int:
        """Epoch milliseconds (UTC). Raises ValueError with the reason, which follows the field's name."""
        moment = self._read(value)
        if doubt := self.plausible.doubt(moment):
            raise ValueError(doubt)
        return moment

    def column(self, values: pl.Series) -> pl.DataFrame:
        """`time` (ms; null where refused) and `reason` (null where read) of each row: the columns of READ."""
        if values.dtype.is_nested() or values.dtype in (pl.Time, pl.Duration, pl.Binary, pl.Object):
            values = values.is_not_null().replace(False, None)  # no time has this type
        plausible = self.plausible
        quick = self._quickly(values).alias("time")
        quick = quick.set(~quick.is_between(plausible.earliest, plausible.now + plausible.ahead), None)
        if not quick.null_count():
            return quick.to_frame().with_columns(reason=pl.lit(None, dtype=pl.String))
        slow = values.filter(quick.is_null()).unique()
        told = pl.DataFrame([self._tell(value) for value in slow], schema=READ, orient="row").with_columns(value=slow)
        found = pl.DataFrame([quick.alias("quick"), values.alias("value")])
        found = found.join(told, on="value", how="left", nulls_equal=True, maintain_order="left")
        read = pl.col("quick").is_not_null()
        return found.select(time=pl.coalesce("quick", "time"), reason=pl.when(~read).then("reason"))

    def _tell(self, value: object) -> tuple[int | None, str | None]:
        try:
            return self.one(value), None
        except ValueError as error:
            return None, str(error)

    def _quickly(self, values: pl.Series) -> pl.Series:
        """Moments of the values of the most usual forms, as `one` would read them; null for the others."""
        if values.dtype.is_integer():
            return self._scaled(values.cast(pl.Int64, strict=False))
        if values.dtype.is_float():
            return self._scaled(values.cast(pl.Float64).fill_nan(None))
        if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
            return values.dt.epoch("ms")
        if values.dtype in (pl.Datetime, pl.Date):
            return self._local(values.cast(pl.Datetime("us")))
        if values.dtype == pl.String():
            numbers = self._scaled(values.str.extract(r"^(\d{1,18})(?:\.0*)?$").cast(pl.Int64, strict=False))
            whole = values.str.extract(f"({_PLAIN}(?:Z|[+-]\\d\\d:\\d\\d)$)").str.replace(" ", "T")
            placed = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False).dt.epoch("ms")
            bare = values.str.extract(f"({_PLAIN}$)").str.replace(" ", "T")
            local = self._local(bare.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False))
            return pl.select(pl.coalesce(numbers, placed, local, self._halved(values))).to_series()
        return pl.repeat(None, len(values), dtype=pl.Int64, eager=True)

    def _halved(self, values: pl.Series) -> pl.Series:
        """Moments of dates with the hour of a half of the day, `11/15/2019 8:00:00 AM`, where the order is known."""
        if self.dates is None:
            return pl.repeat(None, len(values), dtype=pl.Int64, eager=True)
        form = f"{'%m/%d' if self.dates == 'mdy' else '%d/%m'}/%Y %I:%M:%S %p"
        return self._local(values.str.extract(_HALVED).str.to_datetime(form, time_unit="us", strict=False))

    def _local(self, values: pl.Series) -> pl.Series:
        """Moments of dates and times without an offset; null where the zone is not known or has not one of them."""
        if self.zone is None:
            return pl.repeat(None, len(values), dtype=pl.Int64, eager=True)
        if isinstance(self.zone, ZoneInfo):
            placed = values.dt.replace_time_zone(self.zone.key, ambiguous="null", non_existent="null")
            return placed.dt.epoch("ms")
        return values.dt.epoch("ms") - self.zone.utcoffset(None) // _MILLISECOND

    def _scaled(self, numbers: pl.Series) -> pl.Series:
        """Moments of epoch numbers in seconds or milliseconds."""
        number = pl.col("number")
        seconds = number * 1_000 if numbers.dtype.is_integer() else (number * 1e6).round() // 1_000
        per = {"s": seconds, "ms": number, "us": number // 1_000, "ns": number // 1_000_000}
        in_order = [pl.when(number < MAX_TIME * 1_000_000 // ns).then(per[unit]) for unit, ns in _NS.items()]
        chosen = pl.coalesce(in_order) if self.unit is None else per[self.unit]
        moments = numbers.to_frame("number").select(chosen).to_series()
        return (
            moments.cast(pl.Float64).floor().cast(pl.Int64, strict=False)
            if moments.dtype.is_float()
            else moments.cast(pl.Int64)
        )

    def _read(self, value: object) -> int:
        match value:
            case None:
                raise ValueError("is empty; a time is required")
            case bool():
                raise ValueError(_FORM)
            case datetime():
                return self._placed(value)
            case date():
                return self._placed(datetime(value.year, value.month, value.day))
            case int():
                return self._epoch(Decimal(value))
            case float():
                return self._epoch(Decimal(repr(value)))
            case str():
                return self._text(value.strip())
        raise ValueError(_FORM)

    def _text(self, text: str) -> int:
        if not text:
            raise ValueError("is empty; a time is required")
        if len(text) > _TEXT:
            raise ValueError(_FORM)
        if _NUMBER.fullmatch(text):
            return self._epoch(Decimal(text))
        if _ROUNDED.fullmatch(text):
            raise ValueError("has lost digits to its exponent; export it as text")
        found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
        if found is None:
            raise ValueError(_FORM)
        return self._written(found.groupdict())

    def _epoch(self, number: Decimal) -> int:
        if not number.is_finite():
            raise ValueError("must be a finite number")
        for unit, ns in _NS.items():
            if self.unit in (None, unit):
                microseconds = int((number * ns / 1_000).to_integral_value())  # of a float no more digits mean anything
                if (moment := microseconds // 1_000) < MAX_TIME or self.unit is not None:
                    return moment
        raise ValueError("is no moment before 2100 in any unit")

    def _written(self, part: Mapping[str, str | None]) -> int:
        month, day = self._date(part)
        hour, second = int(part["hour"] or 0), int(part["second"] or 0)
        if half := part["half"]:
            if not 1 <= hour <= 12:
                raise ValueError("is no moment: an hour of AM and PM is 1 to 12")
            hour = hour % 12 + 12 * (half.lower() == "pm")
        if second > 60:
            raise ValueError("is no moment: a minute has 60 seconds")
        try:
            whole = datetime(int(part["year"] or 0), month, day, hour, int(part["minute"] or 0))
        except ValueError:
            raise ValueError("is no moment: there is no such day or hour") from None
        zone = part["zone"]
        whole = whole.replace(tzinfo=_offset(zone)) if zone else whole
        return self._placed(whole) + second * 1_000 + int((part["fraction"] or "0")[:3].ljust(3, "0"))

    def _date(self, part: Mapping[str, str | None]) -> tuple[int, int]:
        """Month and day."""
        if name := part.get("name"):
            return _MONTHS.index(name) + 1, int(part["day"] or 0)
        if part.get("month"):
            return int(part["month"] or 0), int(part["day"] or 0)
        if self.dates is None:
            raise ValueError("is ambiguous: --option dates=mdy or dates=dmy says what comes first, month or day")
        first, then = int(part["first"] or 0), int(part["then"] or 0)
        return (first, then) if self.dates == "mdy" else (then, first)

    def _placed(self, when: datetime) -> int:
        """The moment of a date and time, by its offset, else by the zone."""
        if when.tzinfo is not None:
            return _ms(when)
        if self.zone is None:
            raise ValueError("has no offset from UTC; --option zone=UTC (or Europe/Berlin, +02:00) says where it holds")
        early, late = (_ms(when.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1))
        if early != late:
            raise ValueError(f"is not one moment in {self.zone}: clocks were changed then; write its offset from UTC")
        return early


def said(moment: int) -> str:
    """A moment as people read it, UTC, to the second."""
    try:
        when = _EPOCH + timedelta(seconds=moment // 1_000)
    except OverflowError:
        return f"{moment} ms since 1970"
    return when.isoformat().replace("+00:00", "Z")


def _ms(when: datetime) -> int:
    return (when - _EPOCH) // _MILLISECOND


def _offset(text: str) -> Zone:
    found = re.search(r"([+-])(\d\d):?(\d\d)?", text)
    if found is None:
        return UTC
    hours, minutes = int(found[2]), int(found[3] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("is no moment: an offset from UTC is at most 23:59")
    return timezone((1 if found[1] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def _zone(name: str) -> Zone:
    """Raises InputError for what is neither a zone's name nor an offset."""
    try:
        return _offset(name) if re.fullmatch(r"Z|UTC|GMT|[+-]\d\d:?\d\d", name) else ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError, OSError):
        fix = "UTC, an offset such as +02:00, or a zone's name such as Europe/Berlin"
        raise InputError("--option zone", fix, received=name) from None
