"""A state built from a log a day at a time, or grown by a day, is byte for byte the state of everything at once."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build import Earlier, build_state
from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.counting import PATIENCE, REFERABLE
from pipeline.errors import ArtifactError, InputError
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.state import State, initial_state
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


@settings(deadline=None, max_examples=25)
@given(logs(), st.sampled_from([1, 3, 1000]))
def test_days_and_parts_of_days_give_the_bytes_of_everything_at_once(events: Events, most: int) -> None:
    with folders("log", "built", "whole") as (root, built, whole):
        log = write(root, events)
        build_state(log, catalogue_of(log), GAINS, built, most=most)
        assert contents(built) == at_once(log, whole)


@settings(deadline=None, max_examples=25)
@given(logs(), st.integers(1, 20))
def test_a_state_grown_by_new_days_is_the_bytes_of_a_full_build(events: Events, day: int) -> None:
    with folders("early", "log", "before", "grown", "full") as (early, root, before, grown, full):
        first = write(early, events, before=day * DAY)
        state = build_state(first, catalogue_of(first), GAINS, before)
        log = write(root, events)
        build_state(log, catalogue_of(log), GAINS, grown, earlier=Earlier(state, before, day))
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
            build_state(log, state.catalogue, gains, into, earlier=Earlier(changed, before, 1))
    others = build_catalogue(frame("item"), pl.Series(["z"]))
    with pytest.raises(InputError, match="catalogue"):
        build_state(log, others, GAINS, into, earlier=Earlier(state, before, 1))


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
    log = write(tmp_path / "log", {"feedback": [act("click", "a", HOUR), act("click", "b", HOUR)]})
    (tmp_path / "state").mkdir()
    state = build_state(log, catalogue_of(log), GAINS, tmp_path / "state")
    for part, wrong in (("keys", [2, 1]), ("start", [0, 1, 9]), ("code", [1]), ("total", [[1]])):
        path = tmp_path / "state" / f"items.{part}.npy"
        good = path.read_bytes()
        np.save(path, np.array(wrong, dtype=np.int32 if part == "total" else np.int64))
        with pytest.raises(ArtifactError, match="items"):
            State.open(tmp_path / "state", state.catalogue)
        path.write_bytes(good)
