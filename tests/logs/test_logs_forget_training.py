"""What is trained after somebody was forgotten knows nothing of them; what was trained before goes by pruning."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from compact_tools import NOW, click, holds, page, row

from pipeline.bundle import bundles
from pipeline.logs.events import TYPES
from pipeline.logs.ingest import ingest
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.logs.store import EventStore
from pipeline.market.simulate import simulate
from pipeline.market.world import load_world
from podium import cli
from serving.jobs import STAGES, train

ANN = "ann-7d1e"


def said(*words: object) -> dict[str, object]:
    outcome = CliRunner().invoke(cli, [str(word) for word in (*words, "--json")], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    found: dict[str, object] = json.loads(outcome.stdout)
    return found


def refused(*words: object) -> str:
    outcome = CliRunner().invoke(cli, [str(word) for word in words])
    assert outcome.exit_code == 2, outcome.output
    return outcome.stderr


def take(root: Path, *events: dict[str, object]) -> None:
    store = EventStore(f"sqlite:///{root / 'events.db'}")
    store.append([row(event) for event in events])
    store.close()


def forget(root: Path) -> None:
    store = EventStore(f"sqlite:///{root / 'events.db'}")
    store.forget(ANN).result()
    store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def market(root: Path, tmp_path: Path) -> Path:
    """A data root whose log is a market's, in which the busiest user is called Ann, and whose store has more of her."""
    simulate(load_world("tiny", {}, None), tmp_path / "market")
    ingest("podium", [tmp_path / "market/events"], tmp_path / "market/log")
    log = Log.open(tmp_path / "market/log")
    busiest = log.frame("feedback")["user_id"].drop_nulls().value_counts().sort("count", "user_id")["user_id"][-1]
    for kind in TYPES:
        rows = log.frame(kind)
        if "user_id" in rows.columns:
            rows = rows.with_columns(pl.col("user_id").replace(busiest, ANN))
        if len(rows):
            write_days(root / "log", kind, rows)
    write_manifest(root / "log", "exact")
    known = log.frame("feedback")["item_id"][0]
    end = log.span()[1]
    take(root, page("p-ann", ANN, end), click("c-ann", ANN, end + 1, item_id=known), click("c-bob", "bob", end + 2))
    return root


@pytest.mark.parametrize("stages", [(), pytest.param(STAGES, marks=pytest.mark.full)], ids=["state", "every stage"])
def test_a_bundle_trained_after_somebody_was_forgotten_has_no_byte_of_them(
    market: Path, stages: tuple[str, ...]
) -> None:
    assert said("events", "compact", "--root", market)["accepted"] == {"impression": 1, "feedback": 2}
    before = train(market / "log", market / "bundles", stages=stages)
    assert any("users.json" in path for path in holds(market / "bundles" / before.bundle, ANN))
    forget(market)
    done = said("events", "compact", "--root", market)
    assert done["forgotten"][str(market / "log")]["feedback"] > 1  # type: ignore[index]
    assert holds(market / "log", ANN) == []
    after = train(market / "log", market / "bundles", stages=stages)
    assert after.bundle != before.bundle
    assert holds(market / "bundles" / after.bundle, ANN) == []
    if not after.promoted:
        said("bundle", "promote", market / "bundles", after.bundle)
    (market / "bundles/previous").unlink()  # as the next training does
    said("bundle", "prune", market / "bundles", "--keep", 1)
    assert bundles(market / "bundles") == [after.bundle]
    assert holds(market, ANN) == []


def test_the_events_of_a_root_move_to_its_log(root: Path) -> None:
    take(root, click("c1"), click("c2", "bob"))
    done = said("events", "compact", "--root", root)
    assert (done["read"], done["accepted"], done["seq"], done["released"]) == (2, {"feedback": 2}, 2, 0)
    assert len(Log.open(root / "log").frame("feedback")) == 2
    assert said("events", "compact", "--root", root)["read"] == 0


def test_a_root_has_one_log_and_any_number_of_copies(root: Path, tmp_path: Path) -> None:
    take(root, click("c1"))
    said("events", "compact", "--root", root, "--out", tmp_path / "big")
    assert (root / "log").resolve() == tmp_path / "big"
    assert said("events", "compact", "--root", root)["read"] == 0
    assert "--out" in refused("events", "compact", "--root", root, "--out", tmp_path / "second")
    assert said("events", "export", "--root", root, "--out", tmp_path / "copy")["accepted"] == {"feedback": 1}
    assert Log.open(tmp_path / "copy").digest() == Log.open(root / "log").digest()
    (tmp_path / "big").rename(tmp_path / "unmounted")
    assert "to which log leads" in refused("events", "compact", "--root", root)


def test_a_backup_holds_the_store_and_the_log_of_one_moment(root: Path, tmp_path: Path) -> None:
    take(root, click("c1"))
    said("events", "compact", "--root", root)
    (root / ".log.draft").mkdir()
    (root / ".log.draft" / "part").write_text("left by a job that was killed")
    said("backup", "--root", root, "--out", tmp_path / "backup")
    said("restore", tmp_path / "backup", "--root", tmp_path / "new")
    assert not list((tmp_path / "new").glob(".*"))
    take(tmp_path / "new", click("c2", time=NOW))
    assert said("events", "compact", "--root", tmp_path / "new")["read"] == 1


def test_what_cannot_be_compacted_is_refused_in_a_sentence(root: Path, tmp_path: Path) -> None:
    assert "a data root with an event store" in refused("events", "compact", "--root", root)
    take(root, click("c1"))
    assert "--keep-days" in refused("events", "compact", "--root", root, "--keep-days", 0)
    missing = refused("events", "compact", "--root", root, "--rewrite", tmp_path / "none")
    assert "a log with manifest.json" in missing
    (tmp_path / "file").write_text("")
    assert "--out" in refused("events", "export", "--root", root, "--out", tmp_path / "file")
