import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.bundle import open_bundle
from pipeline.errors import InputError
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.market.world import DAY, START, load_world
from podium import cli
from serving.loop import Loop, LoopOptions, run_loop
from tests.loop.conftest import OPTIONS, tiny

pytestmark = pytest.mark.full

ROUNDS = ("round-0", "round-1", "round-2")


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a loop that is a function of its world and options."""
    made = [*(path for name in ROUNDS for path in (out / name).rglob("*")), *(out / "log").rglob("*.parquet")]
    made += [out / "rounds.parquet", out / "rounds.csv", out / "loop.html"]
    return {str(path.relative_to(out)): path.read_bytes() for path in made if path.is_file()}


def test_the_figures_of_the_rounds_add_up_with_their_logs(loop: Loop) -> None:
    whole = Log.open(loop.out / "log")
    assert sum(row["pages"] + row["late_pages"] for row in loop.rounds) == len(whole.frame("impression"))
    for row in loop.rounds:
        log = Log.open(loop.out / row["round"] / "log")
        pages, action = log.frame("impression"), log.frame("feedback")["action"]
        assert row["pages"] + row["late_pages"] == len(pages)
        pages = pages.filter(pl.col("time") >= START + 2 * int(row["round"][-1]) * DAY)
        shown = pages["items"].list.len().sum()
        assert (row["pages"], row["shown"]) == (len(pages), shown)
        assert (row["clicks"], row["purchases"]) == ((action == "click").sum(), (action == "purchase").sum())
        assert row["ctr"] == pytest.approx(row["clicks"] / shown)
        assert row["explored_pages"] == pages["explored"].sum()
        named = pages["items"].explode().struct.field("item_id").n_unique()
        assert row["coverage"] == pytest.approx(named / row["items"])
    assert [row["coverage_so_far"] for row in loop.rounds] == sorted(row["coverage_so_far"] for row in loop.rounds)


def test_the_table_the_csv_and_the_page_hold_every_round(loop: Loop) -> None:
    assert pl.read_parquet(loop.out / "rounds.parquet")["round"].to_list() == list(ROUNDS)
    assert pl.read_csv(loop.out / "rounds.csv")["round"].to_list() == list(ROUNDS)
    html = (loop.out / "loop.html").read_text()
    assert all(name in html for name in ROUNDS)
    assert "never quality" in html
    assert "src=" not in html
    assert "http" not in html
    assert len(loop.lines()) == 5


def test_the_first_round_is_the_loggers_and_the_others_are_each_a_bundles(loop: Loop) -> None:
    first, *served = (row["served_by"] for row in loop.rounds)
    assert first == "logger"
    assert len(set(served)) == 2
    whole = Log.open(loop.out / "log")
    for place, bundle in enumerate([None, *served]):
        since = START + 2 * place * DAY
        assert set(whole.frame("impression", since=since, before=since + 2 * DAY)["bundle"]) == {bundle}


def test_no_page_is_better_than_the_best_there_was(loop: Loop) -> None:
    for row in loop.rounds:
        assert 0 < row["true_share"] < 1
        assert row["regret"] > 0
        assert row["judged"] > 100


def test_a_loop_that_was_stopped_twice_and_lengthened_ends_with_the_same_bytes(
    loop: Loop, options: LoopOptions, tmp_path: Path
) -> None:
    def stop_at(when: str) -> None:
        def stop(what: str, _: float) -> None:
            if what == when:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_loop(tiny(), tmp_path, options, stop)

    stop_at("round-1, train")
    stop_at("round-1, join")
    assert [name for name in ROUNDS if (tmp_path / name).exists()] == ["round-0", "round-1"]
    (tmp_path / ".draft-killed").mkdir()
    run_loop(tiny(), tmp_path, replace(options, rounds=2))
    run_loop(tiny(), tmp_path, options)
    assert not (tmp_path / ".draft-killed").exists()
    ours, theirs = contents(tmp_path), contents(loop.out)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_bundle_has_learned_nothing_of_the_round_it_serves(loop: Loop) -> None:
    for place, row in enumerate(loop.rounds[1:], start=1):
        bundle = open_bundle(loop.out / "bundles" / row["served_by"])
        morning = START + place * OPTIONS.days_per_round * DAY
        pages = Log.open(loop.out / row["round"] / "log").frame("impression").filter(bundle=row["served_by"])
        assert morning - DAY < bundle.cutoff <= morning <= pages["time"].min()


def test_rounds_follow_each_other_without_a_gap(loop: Loop) -> None:
    received = [
        [int(json.loads(line)["received"]) for path in sorted((loop.out / name / "events").glob("part-*.jsonl"))
         for line in path.read_text().splitlines()]
        for name in ROUNDS
    ]  # fmt: skip
    for place, times in enumerate(received):
        assert START + 2 * place * DAY <= min(times) + DAY
        assert max(times) < START + 2 * (place + 1) * DAY
    assert all(max(first) < max(second) for first, second in pairwise(received))
    ids = [set(Log.open(loop.out / name / "log").frame("impression")["event_id"]) for name in ROUNDS]
    assert not ids[0] & ids[1]
    assert not ids[1] & ids[2]


def test_what_a_loop_logs_is_ingested_whole(loop: Loop, tmp_path: Path) -> None:
    for name in ROUNDS:
        done = ingest("podium", [loop.out / name / "events"], tmp_path / name, strict=True)
        assert done.quarantined == 0
        assert done.accepted["impression"] == len(Log.open(loop.out / name / "log").frame("impression"))
    assert sum(len(Log.open(tmp_path / name).frame("feedback")) for name in ROUNDS) == len(
        Log.open(loop.out / "log").frame("feedback")
    )


def test_the_world_goes_on_past_its_days_with_new_items(loop: Loop) -> None:
    """8 items a day of 400; the third round is the world's fifth and sixth day. A notice may come a round late."""
    assert [row["items"] for row in loop.rounds] == [416, 432, 448]
    assert [row["new_items"] for row in loop.rounds] == pytest.approx([0, 16, 16], abs=2)


def test_explored_pages_state_a_uniform_order_of_the_first_items_of_a_slate(loop: Loop) -> None:
    pages = Log.open(loop.out / "round-1" / "log").frame("impression")
    assert pages["explored"].mean() == pytest.approx(0.3, abs=0.08)
    cells = pages.explode("items").unnest("items")
    drawn, certain = cells.filter("explored"), cells.filter(~pl.col("explored"))
    assert set(certain["propensity"]) == set(certain["marginal"]) == {1.0}
    many = (1 / drawn["marginal"]).round()
    assert many.is_between(8, 24).all()
    assert (many == 24).mean() > 0.5
    assert (drawn["propensity"] - 1 / (many - drawn["position"])).abs().max() == pytest.approx(0, abs=1e-12)


def test_a_loop_of_popularity_alone_collapses_and_one_of_podium_that_explores_does_not(
    loop: Loop, options: LoopOptions, tmp_path: Path
) -> None:
    """What shows that coverage can fall: the test of the loop has power."""
    dull = run_loop(tiny(), tmp_path / "out", replace(options, rounds=2, served="popularity", explore=0.0))
    assert dull.rounds[0] == loop.rounds[0]
    assert dull.rounds[1]["coverage"] < 0.3 * dull.rounds[0]["coverage"]
    assert dull.rounds[1]["gini"] > 0.95 > loop.rounds[-1]["gini"]
    assert loop.rounds[-1]["coverage"] >= 0.9 * loop.rounds[0]["coverage"]


def test_a_loop_of_other_options_is_refused(loop: Loop, options: LoopOptions) -> None:
    with pytest.raises(InputError, match="the explore that the loop there began with"):
        run_loop(tiny(), loop.out, replace(options, explore=0.1))
    with pytest.raises(InputError, match="the world that the loop there began with"):
        run_loop(load_world("tiny"), loop.out, options)


def test_a_bundle_of_this_world_serves_the_first_round_and_one_of_another_is_refused(
    loop: Loop, options: LoopOptions, tmp_path: Path
) -> None:
    bundle = loop.out / "bundles" / loop.rounds[1]["served_by"]
    given = replace(options, rounds=2, policy=bundle, retrain=False, days_per_round=1)
    with pytest.raises(InputError, match="--policy: a bundle trained on the log of this very world"):
        run_loop(load_world("tiny", {"seed": "2"}), tmp_path / "other", given)
    done = run_loop(tiny(), tmp_path / "own", given)
    assert [row["served_by"] for row in done.rounds] == [bundle.name] * 2
    before = Log.open(tmp_path / "own" / "before" / "log").frame("impression")
    assert before.equals(Log.open(loop.out / "round-0" / "log").frame("impression"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="`notes"):
        run_loop(tiny(), tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"days_per_round": 0}, "--days-per-round"),
        ({"explore": 1.5}, "--explore"),
        ({"width": 0}, "--explore-width"),
        ({"hours": 0.0}, "--hours"),
        ({"served": "best"}, "served"),
    ],
)
def test_options_out_of_bounds_are_named(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}"):
        run_loop(tiny(), tmp_path / "out", replace(OPTIONS, **changes))  # type: ignore[arg-type]


def test_a_policy_without_rounds_is_a_mistake(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["simulate", str(tmp_path / "out"), "--world", "tiny", "--policy", str(tmp_path)])
    assert done.exit_code == 2
    assert "--rounds: how many rounds" in done.output
