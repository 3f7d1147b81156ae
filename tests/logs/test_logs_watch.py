"""A log watched: each rate on a log small enough to count by hand, and the alarm that belongs to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import GateError, InputError
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.logs.watch.config import RobotsConfig, WatchConfig
from pipeline.logs.watch.joins import Watched, watch
from pipeline.logs.watch.robots import conduct, judge, together
from pipeline.logs.watch.sketch import quantile, sketch
from podium import cli

DAY = 86_400_000
T0 = 20_000 * DAY  # 2024-10-04
Event = dict[str, Any]


def page(number: int, time: int, user: str | None = None, **fields: object) -> Event:
    """A page of three items, `a`, `b` and `c`."""
    items = [{"item_id": item, "position": at} for at, item in enumerate("abc")]
    known = {"event_id": f"p{number}", "type": "impression", "request_id": f"r{number}", "surface": "home"}
    return known | {"time": time, "received": time + 100, "user_id": user or f"u{number % 50}", "items": items} | fields


def told(number: int, time: int, item: str = "b", action: str = "click", **fields: object) -> Event:
    known = {"event_id": f"f{number}", "type": "feedback", "request_id": f"r{number}", "user_id": f"u{number % 50}"}
    return known | {"time": time, "received": time + 100, "item_id": item, "action": action} | fields


def visits(count: int = 200, start: int = T0, step: int = 60_000) -> list[Event]:
    """A page a minute, each clicked 4 s later."""
    pages = [page(n, start + n * step) for n in range(count)]
    return pages + [told(n, start + n * step + 4_000) for n in range(count)]


def log_of(folder: Path, events: list[Event]) -> Log:
    source = folder / "events.jsonl"
    source.write_text("".join(json.dumps(event) + "\n" for event in events))
    ingest("podium", [source], folder / "log")
    return Log.open(folder / "log")


def rung(found: Watched) -> set[tuple[str, str]]:
    return {(alarm.what, alarm.day) for alarm in found.alarms}


def test_a_sound_log_joins_everything_and_rings_nothing(tmp_path: Path) -> None:
    found = watch(log_of(tmp_path, visits()))
    assert found.alarms == []
    assert found.overall.rate("join_rate") == found.overall.rate("attributed") == 1.0
    assert found.overall.counts["pages"] == found.overall.counts["named"] == 200
    assert found.overall.values["lag_ms"]["p50"] == pytest.approx(4_000, rel=0.025)
    assert found.overall.values["delay_ms"]["p99"] == pytest.approx(100, rel=0.025)
    assert len(found.robots) == 0


def test_the_alarm_rings_when_five_in_a_hundred_pages_are_lost(tmp_path: Path) -> None:
    kept = [event for event in visits() if event["type"] == "feedback" or int(event["request_id"][1:]) % 20]
    found = watch(log_of(tmp_path, kept))
    assert found.overall.rate("join_rate") == 0.95
    assert found.overall.counts["no_page"] == 10
    assert rung(found) >= {("join_rate", "all"), ("join_rate", "2024-10-04")}
    alarm = next(alarm for alarm in found.alarms if alarm.what == "join_rate")
    assert str(alarm) == "join_rate all: 0.9500 of 200; at least 0.97 is ordinary"


def test_an_item_that_its_page_did_not_show_is_not_joined(tmp_path: Path) -> None:
    events = visits(100) + [told(n, T0 + n * 60_000 + 5_000, "z", event_id=f"z{n}") for n in range(100)]
    found = watch(log_of(tmp_path, events))
    assert (found.overall.counts["not_on_page"], found.overall.counts["no_page"]) == (100, 0)
    assert found.overall.rate("join_rate") == 0.5


def test_feedback_that_names_no_request_may_be_attributed_all_the_same(tmp_path: Path) -> None:
    nameless = [event | ({"request_id": None} if event["type"] == "feedback" else {}) for event in visits(100)]
    found = watch(log_of(tmp_path, nameless))
    assert found.overall.rate("join_rate") is None
    assert found.overall.rate("attributed") == 1.0
    assert found.overall.rate("unseen") == 0.0


def test_a_page_of_an_earlier_day_is_found_and_one_beyond_the_lookback_is_not(tmp_path: Path) -> None:
    events = [page(1, T0), told(1, T0 + 5 * DAY, action="purchase"), page(2, T0), told(2, T0 + 20 * DAY)]
    log = log_of(tmp_path, events)
    found = watch(log)
    assert (found.overall.counts["named"], found.overall.counts["joined"]) == (2, 1)
    assert list(found.days) == ["2024-10-04", "2024-10-09", "2024-10-24"]
    assert found.days["2024-10-09"].values["lag_ms"]["p50"] == pytest.approx(5 * DAY, rel=0.025)
    assert watch(log, WatchConfig(lookback_days=30)).overall.counts["joined"] == 2


def test_a_click_after_midnight_shows_that_the_page_before_it_was_seen(tmp_path: Path) -> None:
    found = watch(log_of(tmp_path, [page(1, T0 + DAY - 1_000), told(1, T0 + DAY + 1_000)]))
    assert found.days["2024-10-04"].rate("unseen") == 0.0
    assert found.days["2024-10-05"].counts["joined"] == 1


def test_pages_that_nothing_follows_are_unseen(tmp_path: Path) -> None:
    found = watch(log_of(tmp_path, [*visits(4), *(page(n, T0 + n * 60_000) for n in range(4, 200))]))
    assert found.overall.rate("unseen") == 0.98
    assert rung(found) == {("unseen", "all"), ("unseen", "2024-10-04")}


def test_clocks_that_are_wrong_are_told_from_events_that_come_late(tmp_path: Path) -> None:
    events = visits(200)
    for event in events:
        number = int(event["request_id"][1:])
        if number % 50 == 7:  # this client's clock is five minutes ahead: its 4 pages and 4 clicks
            event["received"] = event["time"] - 300_000
        elif number == 8:  # one late page and click of a client whose clock is right
            event["received"] = event["time"] + 2 * 3_600_000
    found = watch(log_of(tmp_path, events))
    assert (found.overall.counts["future"], found.overall.counts["late"]) == (8, 2)
    assert (found.overall.counts["clients"], found.overall.counts["off"]) == (50, 1)
    assert rung(found) == {("future", "all"), ("future", "2024-10-04")}


def test_feedback_before_its_page_is_counted_and_has_no_lag(tmp_path: Path) -> None:
    events = [*visits(98), page(98, T0), told(98, T0 - 1_000), page(99, T0), told(99, T0 - 1_000)]
    found = watch(log_of(tmp_path, events))
    assert found.overall.counts["before_page"] == 2
    assert found.overall.lag.sum() == 98
    assert ("before_page", "all") in rung(found)


def test_the_same_thing_under_another_event_id_is_repeated(tmp_path: Path) -> None:
    events = visits(100)
    again = [event | {"event_id": event["event_id"] + "-again"} for event in events[:3] + events[-2:]]
    found = watch(log_of(tmp_path, events + again))
    assert found.overall.counts["repeated"] == 5
    assert rung(found) == {("repeated", "all"), ("repeated", "2024-10-04")}


def test_what_ingest_refused_and_what_is_reported_counts(tmp_path: Path) -> None:
    log = log_of(tmp_path, [*visits(98), *({"event_id": f"x{n}", "type": "feedback"} for n in range(4))])
    assert watch(log).overall.rate("rejected") == 4 / 200
    assert watch(log).overall.rate("duplicates") is None
    told_so = {"duplicates": 30, "delivered": 300, "rejected": 1, "dropped": 1, "answered": 500}
    found = watch(log, reported=told_so)
    assert (found.overall.rate("duplicates"), found.overall.rate("dropped")) == (0.1, 0.002)
    assert rung(found) == {("duplicates", "all"), ("dropped", "all")}


def test_a_rate_of_few_cases_is_not_judged(tmp_path: Path) -> None:
    found = watch(log_of(tmp_path, [told(n, T0 + n) for n in range(50)] + visits(1)))
    assert found.overall.rate("join_rate") == 1 / 50
    assert not {what for what, _ in rung(found)} & {"join_rate"}


def test_only_the_days_asked_for_are_watched(tmp_path: Path) -> None:
    log = log_of(tmp_path, visits(10) + [told(n, T0 + 3 * DAY, event_id=f"l{n}") for n in range(10)])
    assert list(watch(log, since=T0 + DAY).days) == ["2024-10-07"]
    assert list(watch(log, before=T0 + DAY).days) == ["2024-10-04"]
    with pytest.raises(InputError, match="--logs: a log with feedback or impressions in these days"):
        watch(log, since=T0 + 9 * DAY)


def test_a_log_without_pages_joins_nothing_and_does_not_ring_for_it(tmp_path: Path) -> None:
    history = [told(n, T0 + n * 60_000, request_id=None) for n in range(200)]
    found = watch(log_of(tmp_path, history))
    assert found.overall.rate("attributed") == 0.0
    assert found.alarms == []


def acts(subject: str, times: list[int], action: str = "click") -> pl.DataFrame:
    return pl.DataFrame({"subject": [subject] * len(times), "time": times, "action": [action] * len(times)})


def signs(pages: pl.DataFrame, feedback: pl.DataFrame, **config: object) -> dict[str, list[str]]:
    judged = judge(conduct(pages, feedback), RobotsConfig.model_validate(config)).sort("subject")
    names = ("rate", "regular", "everything", "never_else")
    return {row["subject"]: [name for name in names if row[name]] for row in judged.to_dicts()}


NO_PAGES = pl.DataFrame(schema={"subject": pl.String(), "time": pl.Int64(), "shown": pl.Int64()})


def test_more_in_a_minute_than_a_person_does_is_a_program() -> None:
    fast, slow = [T0 + n * n * 50 for n in range(31)], [T0 + n * n * 50 for n in range(30)]
    feedback = pl.concat([acts("fast", fast), acts("slow", slow), acts("seen", fast, "view")])
    assert signs(NO_PAGES, feedback, never_else=0) == {"fast": ["rate"], "slow": []}


def test_a_timer_is_a_program_even_when_it_shakes_a_little() -> None:
    chance = np.random.default_rng(1)
    gaps = {
        "timer": np.full(40, 60_000),
        "shaking": 60_000 + chance.integers(-500, 500, 40),
        "person": np.exp(chance.normal(10, 1, 40)).astype(np.int64),
    }
    feedback = pl.concat([acts(name, (T0 + np.cumsum(gap)).tolist()) for name, gap in gaps.items()])
    assert signs(NO_PAGES, feedback, never_else=0) == {"person": [], "shaking": ["regular"], "timer": ["regular"]}


def test_who_clicks_on_everything_shown_is_a_program() -> None:
    times = [T0 + n * n * 10_000 for n in range(60)]
    pages = pl.DataFrame({"subject": ["all", "some"], "time": [T0, T0], "shown": [60, 60]})
    found = signs(pages, pl.concat([acts("all", times[:48]), acts("some", times[:47])]), never_else=0)
    assert found == {"all": ["everything"], "some": []}  # 48 of 60 are .8


def test_who_clicks_much_and_never_does_anything_else_is_a_program_where_people_do_other_things() -> None:
    """Of 100 deeds 20 are no clicks, so n clicks alone have a chance of .8^n: below .01 from n = 21 on."""
    times = [T0 + n * n * 10_000 for n in range(60)]
    people = [acts("ann", times[:20]), acts("ann", times[20:40], "cart")]
    found = signs(
        NO_PAGES, pl.concat([*people, acts("bot", times[:21]), acts("eve", times[:20]), acts("fay", times[:19])])
    )
    assert found == {"ann": [], "bot": ["never_else"], "eve": [], "fay": []}
    assert signs(NO_PAGES, acts("only", times)) == {"only": []}  # a log of clicks alone says nothing


def test_the_conduct_of_days_adds_up_to_that_of_the_time() -> None:
    first, second = acts("ann", [T0, T0 + 5_000]), acts("ann", [T0 + DAY, T0 + DAY + 7_000, T0 + DAY + 9_000])
    apart = together(conduct(NO_PAGES, first), conduct(NO_PAGES, second)).row(0, named=True)
    whole = conduct(NO_PAGES, pl.concat([first, second])).row(0, named=True)
    added = ("subject", "busiest", "events", "gaps", "shown", "clicks", "others")
    assert {name: apart[name] for name in added} == {name: whole[name] for name in added}
    assert (apart["events"], apart["gaps"], apart["busiest"]) == (5, 3, 3)
    # The entropy is each day's own: one gap has none, two different ones have 1 bit each.
    assert (apart["bits"], apart["most_bits"]) == (2.0, 2.0)


@given(st.lists(st.integers(1, 10**10), min_size=1), st.floats(0.01, 1))
def test_a_quantile_of_the_sketch_is_within_two_and_a_half_percent(spans: list[int], share: float) -> None:
    exact = sorted(spans)[max(1, int(np.ceil(share * len(spans)))) - 1]
    # A quantile is told in tenths.
    assert quantile(sketch(np.array(spans)), share) == pytest.approx(exact, rel=0, abs=0.025 * exact + 0.05)


def test_the_command_prints_rates_and_ends_with_three_on_an_alarm(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound", tmp_path / "broken"
    for folder in (sound, broken):
        folder.mkdir()
    log_of(sound, visits())
    log_of(broken, visits()[20:])
    run = CliRunner()
    done = run.invoke(cli, ["events", "check", "--logs", str(sound / "log")])
    assert done.exit_code == 0
    assert "join_rate       1.0000" in done.stdout
    done = run.invoke(cli, ["events", "check", "--logs", str(broken / "log"), "--json"])
    assert done.exit_code == GateError.exit_code == 3
    said = json.loads(done.stdout)
    assert {"what": "join_rate", "day": "all", "measured": 0.9, "bound": 0.97, "of": 200} in said["alarms"]
    assert "join_rate all: 0.9000 of 200" in done.stderr
    bounds = tmp_path / "podium.toml"
    bounds.write_text("[watch]\njoin_rate = 0.9\n")
    assert run.invoke(cli, ["events", "check", "--logs", str(broken / "log"), "--config", str(bounds)]).exit_code == 0


def test_the_command_takes_the_counts_that_ingest_printed(tmp_path: Path) -> None:
    log_of(tmp_path, visits())
    report = tmp_path / "ingest.json"
    report.write_text('{"accepted": {"feedback": 90}, "duplicates": {"feedback": 10}, "quarantined": 0}')
    run, asked = CliRunner(), ["events", "check", "--logs", str(tmp_path / "log"), "--report", str(report)]
    done = run.invoke(cli, asked)
    assert done.exit_code == 3
    assert "duplicates all: 0.1000 of 100; at most 0.05" in done.stderr
    report.write_text("{}")
    done = run.invoke(cli, asked)
    assert done.exit_code == 2
    assert "--report: what `podium ingest --json` printed" in done.stderr
