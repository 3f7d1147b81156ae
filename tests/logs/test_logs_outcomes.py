"""Pages whose outcomes are unknown: what is shown there and not acted on is no negative, wherever it is read."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.catalogue import build_catalogue
from pipeline.errors import ArtifactError, InputError
from pipeline.features.ids import keys
from pipeline.logs.attribution import attribute, has_labelled, labelled
from pipeline.logs.decode import decode_events
from pipeline.logs.ingest import ingest
from pipeline.logs.migrate import migrate
from pipeline.logs.partitions import day_file, days, write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.logs.watch.joins import watch
from pipeline.metrics.clicks.pages import read_pages
from pipeline.state import COUNTED, initial_state
from serving.offpolicy import logged_cells, offpolicy
from tests.frames import HOUR, act, frame, page

UNKNOWN = {"outcomes": "unknown"}
TODAY = 1_700_000_000_000
PAGE = {"type": "impression", "event_id": "i1", "time": 1_700_000_000_000, "request_id": "r1", "surface": "search"}
PAGE |= {"user_id": "u", "items": [{"item_id": "a", "position": 0}]}


def logged(folder: Path, *pages: dict[str, object], feedback: tuple[dict[str, object], ...] = ()) -> Log:
    for kind, rows in (("impression", pages), ("feedback", feedback)):
        write_days(folder, kind, frame(kind, *rows))
    write_manifest(folder, "exact")
    return Log.open(folder)


def test_a_page_says_whether_its_outcomes_are_known_and_they_are_unless_it_says_otherwise() -> None:
    posted = [PAGE, PAGE | UNKNOWN | {"event_id": "i2"}, PAGE | {"event_id": "i3", "outcomes": "perhaps"}]
    chunk = decode_events(json.dumps(posted).encode())
    assert chunk.frames["impression"]["outcomes"].to_list() == ["known", "unknown"]
    assert [(reject.line, reject.field) for reject in chunk.rejects] == [(2, "outcomes")]


def test_a_parquet_file_may_say_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "impression").mkdir()
    rows = frame("impression", page("r", TODAY, "ab"), page("s", TODAY, "ab", outcomes="perhaps"))
    rows.write_parquet(tmp_path / "impression/pages.parquet")
    report = ingest("podium", [tmp_path / "impression"], tmp_path / "log")
    assert report.reasons == {"outcomes: must be `known` or `unknown`": 1}


def test_a_log_without_the_column_is_refused_with_the_fix_and_then_all_its_pages_are_known(tmp_path: Path) -> None:
    logged(tmp_path / "log", page("r", HOUR, "ab"))
    path = day_file(tmp_path / "log", "impression", days(tmp_path / "log", "impression")[0])
    pl.read_parquet(path).drop("outcomes").write_parquet(path)
    (tmp_path / "more.jsonl").write_text(json.dumps(PAGE))
    with pytest.raises(ArtifactError, match=r"outcomes: the columns of this version; `podium migrate "):
        Log.open(tmp_path / "log")
    with pytest.raises(ArtifactError, match="podium migrate"):
        ingest("podium", [tmp_path / "more.jsonl"], tmp_path / "log")
    assert migrate(tmp_path / "log").rewritten == 1
    assert has_labelled(Log.open(tmp_path / "log"))
    assert ingest("podium", [tmp_path / "more.jsonl"], tmp_path / "log").accepted == {"impression": 1}


def test_what_was_done_on_such_a_page_still_belongs_to_it() -> None:
    pages = frame("impression", page("r", 10, "ab", **UNKNOWN), page("s", 20, "ab"))
    done = attribute(pages, frame("feedback", act("click", "a", 11, request_id="r"), act("click", "b", 21)))
    assert done.select("request_id", "item_id").rows() == [("r", "a"), ("s", "b")]
    assert labelled(pages)["request_id"].to_list() == ["s"]


@pytest.mark.parametrize("pages", [1, 300], ids=["as lists", "as expressions"])
def test_what_it_shows_is_no_showing_and_what_is_clicked_there_gives_no_rate(pages: int) -> None:
    shown = [page(f"r{n}", HOUR, "ab", query="x", **UNKNOWN) for n in range(pages)]
    shown.append(page("s", HOUR, "ab", query="x"))
    clicks = [act("click", "a", HOUR + 5, request_id="r0"), act("click", "b", HOUR + 6, request_id="s")]
    state = initial_state("exact", build_catalogue(frame("item"), pl.Series(list("ab"))), {"click": 1.0})
    state = state.advance({"impression": frame("impression", *shown), "feedback": frame("feedback", *clicks)})
    place = np.array([state.catalogue.index[letter] for letter in "ab"])
    items = state.counters["items"].at(place, np.array([2, 2]))
    shown_, clicked, positive = (items[:, COUNTED.index(name)].tolist() for name in ("shown", "clicked", "positive"))
    assert (shown_, clicked, positive) == ([1, 1], [0, 1], [1, 1])
    layers = state.pairs["query_items"]
    counts = layers.at(keys(["x"]), place[None], np.array([2]))[0]
    assert counts[:, layers.place("shown")].tolist() == [1, 1]
    assert counts[:, layers.place("clicked")].tolist() == [0, 1]
    asked = state.counters["queries"].at(keys(["x"]), np.array([2]))[0]
    assert asked.tolist() == [pages + 1]  # it was searched all the same


def test_neither_examination_nor_off_policy_reads_it(tmp_path: Path) -> None:
    told = (act("click", "a", HOUR + 1, request_id="r"), act("click", "b", HOUR + 1, request_id="s"))
    log = logged(tmp_path, page("r", HOUR, "abc"), page("s", HOUR, "abc", **UNKNOWN), feedback=told)
    assert len(read_pages(log)) == 3
    assert logged_cells(log, ["search"])["request_id"].unique().to_list() == ["r"]


def test_where_nothing_else_is_known_both_say_so(tmp_path: Path) -> None:
    log = logged(tmp_path / "log", page("r", HOUR, "ab", **UNKNOWN), page("s", HOUR, "ab", order="unknown"))
    with pytest.raises(InputError, match="known order, and known outcomes"):
        read_pages(log)
    (tmp_path / "run.txt").write_text("r Q0 a 1 1.0 x\n")
    with pytest.raises(InputError, match="known order and of known outcomes"):
        offpolicy([tmp_path / "run.txt"], log.root)


def test_a_request_one_of_whose_pages_is_unknown_is_left_out_of_off_policy_whole(tmp_path: Path) -> None:
    second = page("r", HOUR + 1, "de", page=1, event_id="r:1", **UNKNOWN)
    log = logged(tmp_path, page("r", HOUR, "abc"), second, page("s", HOUR, "ab"))
    assert logged_cells(log, ["search"])["request_id"].unique().to_list() == ["s"]


def test_a_page_that_nobody_could_follow_is_not_unseen(tmp_path: Path) -> None:
    log = logged(tmp_path, page("r", HOUR, "ab"), *(page(f"s{n}", HOUR, "ab", **UNKNOWN) for n in range(9)))
    counts = watch(log).overall.counts
    assert (counts["pages"], counts["labelled"], counts["unseen"]) == (10, 1, 1)
