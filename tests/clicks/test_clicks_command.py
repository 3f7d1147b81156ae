"""From a log to a file: `podium examination`, and the pages it reads."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.market.simulate import simulate
from pipeline.market.world import load_world
from pipeline.metrics.clicks.pages import read_pages
from podium import cli


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small market in which every page was drawn."""
    folder = tmp_path_factory.mktemp("clicks")
    world = load_world("tiny", {"explored": "1", "impressions": "6000", "context_effect": "0"})
    simulate(world, folder)
    ingest("podium", [folder / "events"], folder / "log")
    return folder / "log"


def test_a_log_is_read_as_it_was_shown(market: Path) -> None:
    pages = read_pages(Log.open(market))
    assert pages.surfaces == ("recommend", "search", "similar")
    assert pages.places == 16
    assert pages.drawn.all()
    assert pages.pairs == pages.pair.max() + 1
    shown = Log.open(market).frame("impression")["items"].list.len().sum()
    assert len(pages) == shown
    clicks = Log.open(market).frame("feedback").filter(pl.col("action") == "click")
    assert 0.9 * len(clicks) < pages.clicked.sum() <= len(clicks)
    assert (np.diff(pages.request) >= 0).all()
    only = read_pages(Log.open(market), "search")
    assert only.clicked.sum() == pages.clicked[pages.surface == 1].sum()


def test_the_file_has_the_shape_of_the_truth_and_names_every_surface(market: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.parquet"
    options = [
        "--logs",
        str(market),
        "--together",
        "--depth",
        "8",
        "--columns",
        "4",
        "--starts",
        "2",
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(cli, ["examination", *options])
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(out)
    assert found.columns == ["surface", "position", "p", "low", "high", "model"]
    assert found.schema["position"] == pl.Int32
    assert found["surface"].unique().sort().to_list() == ["recommend", "search", "similar"]
    assert found.filter(pl.col("position") == 0)["p"].to_list() == [1.0] * 3
    truth = pl.read_parquet(market.parent / "truth" / "examination.parquet")
    assert set(truth.columns) <= set(found.columns)
    beside = found.join(truth, on=["surface", "position"], suffix="_true")
    assert len(beside) == len(found) == 24
    assert float((beside["p"] - beside["p_true"]).abs().mean()) < 0.08
    assert "rows " in done.output
    assert "explored" in done.output


def test_a_refusal_is_told_and_leaves_no_number(market: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    arguments = ["examination", "--logs", str(market), "--surface", "similar", "--model", "explored", "--out", str(out)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "refused: fewer than 25 clicks" in done.output
    said = json.loads(out.read_text())
    assert said["examination"] == []
    assert said["surfaces"][0]["refused"].startswith("fewer than 25 clicks")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--out", "found.csv"], "out"),
        (["--held-out", "1"], "held-out"),
        (["--starts", "1"], "starts"),
        (["--depth", "1"], "depth"),
        (["--surface", "nowhere"], "surface"),
    ],
)
def test_what_is_out_of_range_is_one_sentence(market: Path, options: list[str], field: str) -> None:
    done = CliRunner().invoke(cli, ["examination", "--logs", str(market), *options])
    assert done.exit_code == 2
    assert field in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_every_model_reports_or_refuses_and_the_fitted_ones_are_judged(market: Path) -> None:
    options = ["--logs", str(market), "--together", "--depth", "6", "--starts", "2", "--model", "all", "--json"]
    done = CliRunner().invoke(cli, ["examination", *options])
    assert done.exit_code == 0, done.output
    said = {each["model"]: each for each in json.loads(done.output)["surfaces"]}
    assert list(said) == ["explored", "swaps", "pbm", "ubm", "dbn", "sdbn", "cascade"]
    assert all(each["refused"] is None for each in said.values())
    assert {name for name, each in said.items() if "perplexity" in each} == {"pbm", "ubm", "dbn", "sdbn", "cascade"}
    assert all(1.0 < said[name]["perplexity"] < 2.0 for name in ("pbm", "ubm", "dbn", "sdbn", "cascade"))
