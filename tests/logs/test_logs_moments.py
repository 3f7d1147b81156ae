"""The one way times are read: forms, units, zones, what is ambiguous, what is not believed."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.config import LogsConfig
from pipeline.logs.ingest import ingest
from pipeline.logs.moments import Moments
from pipeline.logs.read import Log

NOW = 1_764_547_200_000  # 2025-12-01T00:00:00Z
T = 1_740_823_200_000  # 2025-03-01T10:00:00Z
CONFIG = LogsConfig()


def reader(config: LogsConfig = CONFIG, **options: str) -> Moments:
    return Moments.of(options, config, NOW)


READ: list[tuple[object, int]] = [
    ("2025-03-01T10:00:00Z", T),
    ("2025-03-01T10:00:00.25+02:00", T - 7_200_000 + 250),
    ("2025-03-01T10:00:00.1239999Z", T + 123),
    ("2025-03-01 10:00:00.000 +0000 UTC", T),
    ("2025/03/01 10:00Z", T),
    ("2025-03-01T11:00:00+01:00[Europe/Berlin]", T),
    (" 2025-03-01T10:00:00-00:00 ", T),
    ("Sat, 01 Mar 2025 10:00:00 GMT", T),
    ("Sat Mar 01 2025 12:00:00 GMT+0200 (Eastern European Standard Time)", T),
    ("1 March 2025 10:00 UTC", T),
    (T, T),
    (str(T), T),
    (T // 1_000, T),
    (f"{T // 1_000}.5", T + 500),
    (T / 1_000 + 0.123, T + 123),
    (f"{T}.75", T),
    (T * 1_000 + 999, T),
    (f"{T}000999", T),
    (datetime(2025, 3, 1, 10, tzinfo=UTC), T),
]
REFUSED: list[tuple[object, str]] = [
    (None, "is empty"),
    ("  ", "is empty"),
    ("yesterday", "must be RFC 3339"),
    ("2025-03-01T10:00:00", "has no offset"),
    ("2025-03-01", "has no offset"),
    (date(2025, 3, 1), "has no offset"),
    ("2025-02-30T10:00:00Z", "no such day"),
    ("2025-03-01T24:00:00Z", "no such day or hour"),
    ("2025-03-01T10:00:61Z", "60 seconds"),
    ("2025-03-01T10:00:00+25:00", "at most 23:59"),
    ("2025-03-01T10:00:00 EST", "must be RFC 3339"),
    ("01/03/2025 10:00 Z", "--option dates=mdy or dates=dmy"),
    ("13/03/2025 10:00 Z", "--option dates=mdy or dates=dmy"),
    ("1.74082E+12", "lost digits"),
    ("20250301", "is before 1990"),
    (0, "is before 1990"),
    ("0001-01-01T00:00:00Z", "is before 1990"),
    ("1970-01-21T03:33:43Z", "epoch seconds"),
    (NOW + 86_400_001, "more than 24 h"),
    (10**30, "no moment before 2100"),
    (float("inf"), "finite"),
    (True, "must be RFC 3339"),
    ("9" * 200, "must be RFC 3339"),
    ([1], "must be RFC 3339"),
]


@pytest.mark.parametrize(("value", "moment"), READ, ids=repr)
def test_a_moment_is_read_in_every_form_that_says_it_all(value: object, moment: int) -> None:
    assert reader().one(value) == moment


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_does_not_say_it_all_is_refused_with_what_would(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        reader().one(value)


@pytest.mark.parametrize(
    ("options", "text", "moment"),
    [
        ({"zone": "UTC"}, "2025-03-01 10:00", T),
        ({"zone": "+02:00"}, "2025-03-01 12:00:00", T),
        ({"zone": "Europe/Berlin"}, "2025-03-01 11:00:00.000", T),
        ({"zone": "Europe/Berlin"}, "2025-07-01T12:00:00", 1_751_364_000_000),
        ({"zone": "Europe/Berlin"}, "2025-03-01T10:00:00Z", T),
        ({"zone": "UTC", "dates": "mdy"}, "03/01/2025 10:00", T),
        ({"zone": "UTC", "dates": "dmy"}, "01.03.2025 10:00:00", T),
        ({"zone": "UTC", "dates": "mdy"}, "3/1/2025, 10:00:00 AM", T),
        ({"unit": "ms"}, str(T), T),
        ({"unit": "us"}, T * 1_000, T),
        ({"unit": "s"}, T // 1_000, T),
    ],
)
def test_an_option_settles_what_a_text_leaves_open(options: dict[str, str], text: object, moment: int) -> None:
    assert reader(**options).one(text) == moment
    assert reader(**options).column(pl.Series([text]))["time"].to_list() == [moment]


@pytest.mark.parametrize("text", ["2025-03-30T02:30:00", "2025-10-26T02:30:00"])
def test_an_hour_that_a_zone_skips_or_repeats_is_no_moment(text: str) -> None:
    (told,) = reader(zone="Europe/Berlin").column(pl.Series([text])).rows()
    assert told == (None, "is not one moment in Europe/Berlin: clocks were changed then; write its offset from UTC")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"zone": "Europe/Berlin", "dates": "dmy"},
        {"zone": "+02:00", "dates": "mdy"},
        {"dates": "mdy"},
        {"unit": "s"},
        {"unit": "us"},
    ],
)
def test_a_column_is_read_as_each_of_its_values_and_in_any_order(options: dict[str, str]) -> None:
    known = reader(**options)
    texts = [v for v, _ in [*READ, *REFUSED] if isinstance(v, str | None)]
    texts += [f"{T + n * 977}" for n in range(50)] + [f"{T // 1000 + n}.{n}" for n in range(50)]
    hours = (
        "8:00:00 AM",
        "12:30:59 AM",
        "12:30:59 PM",
        "0:00:00 AM",
        "13:00:00 PM",
        "11:59:60 PM",
        "8:00 AM",
        "2:30:00 AM",
    )
    texts += [f"{day}/2025 {hour}" for day in ("3/1", "03/13", "13/3", "3/30", "30/03", "2/30") for hour in hours]
    shuffled = random.Random(5).sample(texts, len(texts))
    for values in (texts, shuffled):
        told = known.column(pl.Series(values, dtype=pl.String))
        assert told.rows() == [_alone(known, value) for value in values]


def _alone(known: Moments, value: object) -> tuple[int | None, str | None]:
    try:
        return known.one(value), None
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([T, T // 1_000, T * 1_000, T * 1_000_000, 5, None]),
        pl.Series([T / 1_000 + 0.123, float(T), T + 0.5, float("nan"), None]),
        pl.Series([datetime(2025, 3, 1, 10), None]),
        pl.Series([datetime(2025, 3, 1, 10, tzinfo=UTC), datetime(1960, 1, 1, tzinfo=UTC)]),
        pl.Series([date(2025, 3, 1)]),
        pl.Series([True, None]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_columns_of_every_type_are_read_as_their_values(values: pl.Series) -> None:
    for known in (reader(), reader(zone="Europe/Berlin"), reader(zone="+02:00"), reader(unit="ms"), reader(unit="s")):
        assert known.column(values).rows() == [_alone(known, value) for value in values]


def test_a_nested_column_holds_no_times() -> None:
    told = reader().column(pl.Series([[1, 2], None]))
    assert told["time"].to_list() == [None, None]
    assert told["reason"].str.slice(0, 8).to_list() == ["must be ", "is empty"]


def test_what_is_believed_is_configured() -> None:
    old = LogsConfig(earliest=date(1960, 1, 1), ahead_ms=0)
    assert reader(old).one("1965-01-01T00:00:00Z") < 0
    with pytest.raises(ValueError, match="more than 0 h"):
        reader(old).one(NOW + 1)


@pytest.mark.parametrize("options", [{"unit": "days"}, {"zone": "Mars/Olympus"}, {"zone": "../x"}, {"dates": "ymd"}])
def test_an_option_that_says_nothing_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"--option {next(iter(options))}"):
        reader(**options)


def ingested(tmp_path: Path, lines: Sequence[dict[str, object]], **options: str) -> tuple[list[int], list[str]]:
    """The times of the feedback that was kept, and why other events were refused."""
    source = tmp_path / "events.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = ingest("podium", [source], tmp_path / "log", options=options)
    assert report.read == len(lines)
    log = Log.open(tmp_path / "log")
    return (log.frame("feedback")["time"].to_list() if log.has("feedback") else []), list(report.reasons)


def click(time: object, **more: object) -> dict[str, object]:
    known = {"type": "feedback", "event_id": f"e{time}", "user_id": "u", "item_id": "i", "action": "click"}
    return known | {"time": time} | more


def test_epoch_seconds_are_refused_in_our_own_lines_unless_they_are_named(tmp_path: Path) -> None:
    times, reasons = ingested(tmp_path, [click(T // 1_000), click(T), click(T + 0.5)])
    assert times == [T, T]
    assert reasons == [
        "time: is before 1990-01-01T00:00:00Z ([logs] earliest) as milliseconds: "
        "epoch seconds, to be sent as milliseconds or ingested with --option unit=s"
    ]


def test_epoch_seconds_are_read_when_they_are_named(tmp_path: Path) -> None:
    times, reasons = ingested(
        tmp_path, [click(T // 1_000), click(T / 1_000 + 0.25), click("2025-03-01T10:00:01Z")], unit="s"
    )
    assert (times, reasons) == ([T, T + 250, T + 1_000], [])


@pytest.mark.parametrize("options", [{"zone": "UTC"}, {"dates": "mdy"}, {"unit": "us"}])
def test_our_own_lines_leave_nothing_open_that_an_option_could_settle(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="unit=s or unit=ms"):
        ingested(tmp_path, [click(T)], **options)


def test_a_moment_is_believed_up_to_a_day_after_it_came(tmp_path: Path) -> None:
    day = 86_400_000
    lines = [click(T, received=T - day), click(T + 1, received=T - day), click("2099-01-01T00:00:00Z")]
    times, reasons = ingested(tmp_path, lines)
    assert times == [T]
    assert reasons == ["time: is more than 24 h after it was received ([logs] ahead_ms)"]


def test_an_item_may_have_been_there_before_everything_but_nothing_happened_then(tmp_path: Path) -> None:
    item = {"type": "item", "event_id": "i1", "time": 0, "item_id": "i"}
    times, reasons = ingested(tmp_path, [item, click(0), click(T)])
    assert times == [T]
    assert reasons == ["time: is before 1990-01-01T00:00:00Z ([logs] earliest)"]
    assert Log.open(tmp_path / "log").frame("item")["time"].to_list() == [0]


def test_the_line_of_an_unbelievable_moment_is_the_files(tmp_path: Path) -> None:
    ingested(tmp_path, [click(T), click(5), click(T + 1), click(6)])
    (path,) = (tmp_path / "log" / "quarantine").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["line"], json.loads(row["raw"])["time"]) for row in rows] == [(2, 5), (4, 6)]
