"""A state built from a log a day at a time, or grown by a day, is byte for byte the state of everything at once."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline import pages as pages_module
from pipeline.build import Earlier, build_state
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import ArtifactError, InputError
from pipeline.features import tail
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.pages import PATIENCE, REFERABLE
from pipeline.state import State, initial_state
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page

DAY = 24 * HOUR
GAINS = {"click": 1.0, "purchase": 3.0}
Event = Mapping[str, object]
Events = Mapping[str, Sequence[Event]]


@contextmanager
def folders(*names: str) -> Iterator[tuple[Path, ...]]:
    with tempfile.TemporaryDirectory() as root:
        for name in names:
            (Path(root) / name).mkdir()
        yield tuple(Path(root) / name for name in names)


def write(root: Path, events: Events, before: int | None = None) -> Log:
    """A log of the events with time < `before`."""
    for kind in ("item", "impression", "feedback"):
        rows = [row for row in events.get(kind, ()) if before is None or int(str(row["time"])) < before]
        if rows:
            write_days(root, kind, frame(kind, *rows))
    write_manifest(root, "exact")
    return Log.open(root)


def catalogue_of(log: Log) -> Catalogue:
    shown = log.frame("impression")["items"].list.eval(pl.element().struct["item_id"]).explode().rename("item_id")
    mentioned = pl.concat([log.frame("feedback")["item_id"], shown]).drop_nulls()
    return build_catalogue(log.frame("item"), mentioned)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def at_once(log: Log, folder: Path) -> dict[str, bytes]:
    everything = {kind: log.frame(kind) for kind in ("item", "impression", "feedback")}
    initial_state(log.clock, catalogue_of(log), GAINS).advance(everything).save(folder)
    return contents(folder)


moments = st.integers(0, 20 * DAY - 1) | st.integers(0, 3 * DAY - 1)
lateness = st.sampled_from([0, 0, 0, 1, HOUR, DAY, 4 * DAY, 12 * DAY])
pages = st.tuples(
    moments, lateness, st.sampled_from("pqrs"), st.integers(0, 2), st.text("abcxyz", min_size=1, max_size=4)
)
acts = st.tuples(
    moments,
    lateness,
    st.sampled_from(["click", "purchase", "hide", "view", "wave"]),
    st.sampled_from("abcxyz"),
    st.sampled_from(["p", "q", "r", "s", "nowhere", None]),
    st.sampled_from("uv"),
)
QUERIES = {"p": "Red  SHOES", "q": "red shoes", "r": None, "s": ""}
CONTEXTS = {"p": '{"region": "eu"}', "q": '{"region": "us"}', "r": "{}", "s": '{"region": "eu"}'}


@st.composite
def logs(draw: st.DrawFn) -> Events:
    """Late rows, pages of one request days apart, actions before their page and years after it."""
    shown = [
        page(
            request,
            time,
            items,
            event_id=f"{number}",
            received=time + late,
            page=number_of,
            query=QUERIES[request],
            context=CONTEXTS[request],
        )
        for number, (time, late, request, number_of, items) in enumerate(draw(st.lists(pages, max_size=8)))
    ]
    done = [
        act(action, name, time, event_id=f"{number}", received=time + late, request_id=request, user_id=user)
        for number, (time, late, action, name, request, user) in enumerate(draw(st.lists(acts, max_size=12)))
    ]
    described = [
        item(name, time, category=list(path), brand=name)
        for name, time, path in draw(
            st.lists(st.tuples(st.sampled_from("abx"), moments, st.text("kl", min_size=1, max_size=2)), max_size=4)
        )
    ]
    return {"impression": shown, "feedback": done, "item": described}


@settings(deadline=None, max_examples=examples(8))
@given(logs(), st.sampled_from([1, 3, 1000]))
def test_days_and_parts_of_days_give_the_bytes_of_everything_at_once(events: Events, most: int) -> None:
    with folders("log", "built", "whole") as (root, built, whole):
        log = write(root, events)
        build_state(log, catalogue_of(log), GAINS, built, most=most)
        assert contents(built) == at_once(log, whole)


@settings(deadline=None, max_examples=examples(15))
@given(logs(), st.integers(1, 3), st.sampled_from(["time", "received"]))
def test_events_learned_a_few_at_a_time_give_the_bytes_of_everything_at_once(
    events: Events, most: int, order: str
) -> None:
    with folders("log", "whole", "grown") as (root, whole, grown), pytest.MonkeyPatch.context() as patched:
        log = write(root, events)
        expected = at_once(log, whole)
        patched.setattr(tail, "SMALL", 4)
        patched.setattr(pages_module, "SMALL", 4)
        patched.setattr(tail, "_RATIO", 2)
        rows = [(int(str(row[order])), kind, row) for kind in ("impression", "feedback") for row in events[kind]]
        rows.sort(key=lambda each: each[0])
        state = initial_state(log.clock, catalogue_of(log), GAINS)
        for first in range(0, len(rows), most):
            some = rows[first : first + most]
            batch = {
                kind: frame(kind, *(row for _, own, row in some if own == kind)) for kind in ("impression", "feedback")
            }
            state = state.advance(batch)
        state.save(grown)
        assert contents(grown) == expected


cuts = st.integers(1, 20).map(lambda day: day * DAY) | st.integers(0, 1600).map(lambda n: 7 * DAY + n * 1000) | moments


@settings(deadline=None, max_examples=examples(8), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(logs(), cuts)
def test_a_state_grown_by_what_came_after_any_moment_is_the_bytes_of_a_full_build(events: Events, cut: int) -> None:
    with folders("log", "before", "grown", "full") as (root, before, grown, full):
        log, first = write(root, events), Log.open(root, before=cut)
        state = build_state(first, catalogue_of(first), GAINS, before)
        build_state(log, catalogue_of(log), GAINS, grown, earlier=Earlier(state, before, cut))
        build_state(log, catalogue_of(log), GAINS, full)
        assert contents(grown) == contents(full)


def test_an_early_state_with_other_gains_or_items_is_refused(tmp_path: Path) -> None:
    log = write(tmp_path / "log", {"feedback": [act("click", "a", HOUR)]})
    before, into = tmp_path / "before", tmp_path / "into"
    before.mkdir()
    into.mkdir()
    state = build_state(log, catalogue_of(log), GAINS, before)
    for changed, gains in ((state, {"click": 2.0}), (replace(state, segment="device"), GAINS)):
        with pytest.raises(InputError, match="earlier state"):
            build_state(log, state.catalogue, gains, into, earlier=Earlier(changed, before, DAY))
    others = build_catalogue(frame("item"), pl.Series(["z"]))
    with pytest.raises(InputError, match="catalogue"):
        build_state(log, others, GAINS, into, earlier=Earlier(state, before, DAY))


def test_what_feedback_may_refer_to_is_forgotten_when_nothing_can_refer_to_it(tmp_path: Path) -> None:
    shown = [page(f"r{day}", day * DAY, "a") for day in range(30)]
    log = write(tmp_path / "log", {"impression": shown, "feedback": [act("click", "a", 0, request_id="never")]})
    (tmp_path / "state").mkdir()
    pages = build_state(log, catalogue_of(log), GAINS, tmp_path / "state").pages
    latest = 29 * 24
    assert pages.referred["page_tick"].to_list() == [
        tick for tick in (day * 24 + 1 for day in range(30)) if tick >= latest - PATIENCE - REFERABLE
    ]
    assert not len(pages.waiting)


def test_an_action_counts_for_its_page_for_seven_days() -> None:
    blank = initial_state("exact", build_catalogue(frame("item"), pl.Series(["a"])), GAINS)
    shown = frame("impression", page("r", 0, "a"))
    for time, counted in ((REFERABLE * HOUR, 1), ((REFERABLE + 1) * HOUR, 0)):
        state = blank.advance(
            {"impression": shown, "feedback": frame("feedback", act("click", "a", time, request_id="r"))}
        )
        items = state.counters["items"]
        totals = items.at(np.array([state.catalogue.index["a"]]), state.tick(np.array([30 * DAY])))
        assert totals[0, items.place("clicked")] == counted
        assert totals[0, items.place("click")] == 1


def test_a_days_digest_changes_with_its_rows_alone(tmp_path: Path) -> None:
    events = [act("click", "a", 1), act("click", "b", DAY)]
    one = write(tmp_path / "one", {"feedback": events}).day_digests()
    two = write(tmp_path / "two", {"feedback": [*events, act("click", "c", DAY + 1)]}).day_digests()
    assert one["feedback/1970-01-01"] == two["feedback/1970-01-01"]
    assert one["feedback/1970-01-02"] != two["feedback/1970-01-02"]


def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    acts = [act("click", "a", HOUR), act("click", "b", HOUR), act("click", "a", 8 * DAY)]
    log = write(tmp_path / "log", {"feedback": acts})
    (tmp_path / "state").mkdir()
    state = build_state(log, catalogue_of(log), GAINS, tmp_path / "state")
    for part, wrong in (("keys", [2, 1]), ("start", [0, 1, 9]), ("code", [1]), ("total", [[1]])):
        path = tmp_path / "state" / f"base.items.{part}.npy"
        good = path.read_bytes()
        np.save(path, np.array(wrong, dtype=np.int32 if part == "total" else np.int64))
        with pytest.raises(ArtifactError, match="items"):
            State.open(tmp_path / "state", state.catalogue)
        path.write_bytes(good)


def test_a_new_day_of_the_week_leaves_the_base_where_it_lies(tmp_path: Path) -> None:
    rows = {"feedback": [act("click", "a", time) for time in (DAY, 8 * DAY, 9 * DAY, 15 * DAY)]}
    log = write(tmp_path / "log", rows)
    states: dict[int, State] = {}
    catalogue = catalogue_of(log)
    for before, until in ((None, 9), (9, 10), (10, 16)):
        folder = tmp_path / str(until)
        folder.mkdir()
        earlier = None if before is None else Earlier(states[before], tmp_path / str(before), before * DAY)
        view = Log.open(log.root, before=until * DAY)
        states[until] = build_state(view, catalogue, GAINS, folder, earlier=earlier)
    first, within, turned = ((tmp_path / name / "base.items.code.npy").stat().st_ino for name in ("9", "10", "16"))
    assert first == within
    assert turned != first
    sizes = [(len(state.history.base.item), len(state.history)) for state in states.values()]
    assert sizes == [(1, 2), (1, 3), (3, 4)]


def test_a_log_and_the_earlier_events_that_are_its_state_are_built_and_grown_as_one(tmp_path: Path) -> None:
    shown = [page("p", DAY, "ab", query="q"), page("p", DAY + 1, "ab", query="q", event_id="again")]
    early = {"impression": shown, "feedback": [act("click", "a", DAY + HOUR, request_id="p")], "item": [item("a")]}
    late = act("click", "b", DAY + 2 * HOUR, request_id="p", received=3 * DAY)
    later = {"feedback": [late, act("click", "b", 9 * DAY)], "item": [item("a"), item("b", 8 * DAY)]}
    write(tmp_path / "log" / "state", early)
    log = write(tmp_path / "log", later).everything()
    for name in ("whole", "built", "before", "grown"):
        (tmp_path / name).mkdir()
    build_state(log, catalogue_of(log), GAINS, tmp_path / "built", most=2)
    assert contents(tmp_path / "built") == at_once(log, tmp_path / "whole")
    first = Log.open(log.root, before=2 * DAY).everything()
    assert [len(first.frame(kind)) for kind in ("impression", "feedback")] == [2, 1]
    state = build_state(first, catalogue_of(first), GAINS, tmp_path / "before")
    earlier = Earlier(state, tmp_path / "before", 2 * DAY)
    build_state(log, catalogue_of(log), GAINS, tmp_path / "grown", earlier=earlier)
    assert contents(tmp_path / "grown") == contents(tmp_path / "built")


def test_a_day_has_the_digest_it_had_before_the_late_rows_came(tmp_path: Path) -> None:
    events = [act("click", "a", 1), act("click", "b", DAY - 1)]
    late = act("click", "c", DAY - 2, received=DAY)
    early = write(tmp_path / "one", {"feedback": events})
    both = write(tmp_path / "two", {"feedback": [*events, late, act("click", "a", DAY)]})
    then = Log.open(both.root, before=DAY)
    assert then.day_digests() == early.day_digests()
    assert then.day_digests() != both.day_digests()
    assert then.digest() != both.digest()
    assert [then.span(), both.span()] == [(1, DAY - 1), (1, DAY)]


def test_what_happened_or_arrived_later_is_not_read(tmp_path: Path) -> None:
    rows = [act("click", "a", 5, received=7), act("click", "b", 6, received=DAY), act("click", "c", 2 * DAY)]
    root = write(tmp_path / "log", {"feedback": rows}).root
    for before, names in ((5, ""), (7, ""), (8, "a"), (DAY + 1, "ab"), (2 * DAY + 1, "abc")):
        log = Log.open(root, before=before)
        assert log.frame("feedback")["item_id"].to_list() == list(names)
        assert log.has("feedback") == bool(names)


def test_days_are_read_together_up_to_a_number_of_rows_and_large_ones_in_parts(tmp_path: Path) -> None:
    days = (0, 1, 2, 2, 2, 2, 2, 3)
    rows = [act("click", "a", day * DAY + place, event_id=str(place)) for place, day in enumerate(days)]
    log = write(tmp_path / "log", {"feedback": rows})
    slices = [part["feedback"]["time"] // DAY for part in log.slices({"feedback": ["time"]}, 2)]
    assert [part.to_list() for part in slices] == [[0, 1], [2, 2], [2, 2], [2], [3]]
    since = [part["feedback"]["time"] // DAY for part in log.slices({"feedback": ["time"]}, 2, since=2 * DAY + 5)]
    assert [part.to_list() for part in since] == [[2, 2], [3]]
