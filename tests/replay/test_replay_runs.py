"""Past evaluations are found, told apart by protocol, and compared request by request."""

import json
import shutil
from collections.abc import Callable, Mapping
from math import log2
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.errors import GateError, InputError
from pipeline.logs.read import Log
from podium import cli
from serving.replay.run import EvaluateOptions, evaluate
from serving.runs import compare_runs, list_runs
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

Make = Callable[..., Path]
FALL = (100 * (1 / log2(4) - 1) + 20 * (1 - 1 / log2(3))) / 240  # of WORSE_AT_TEA against GOOD, over all pages


@pytest.fixture
def run_of(engine_of: Callable[..., FakeEngine], write_log: Callable[..., Log], tmp_path: Path) -> Make:
    log = write_log(market.log())

    def make(name: str, quality: Mapping[str, float], **options: object) -> Path:
        engine = engine_of({"item": market.items()}, quality=quality)
        evaluate(engine, log, EvaluateOptions(**options), tmp_path / "runs" / name)  # type: ignore[arg-type]
        return tmp_path / "runs" / name

    return make


def test_evaluations_are_found_below_a_folder_with_their_headline(run_of: Make, tmp_path: Path) -> None:
    run = run_of("good", market.GOOD)
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "report.json").write_text('{"world": "base"}')  # not an evaluation
    rows = list_runs([tmp_path / "runs"]).rows
    report = json.loads((run / "report.json").read_text())
    assert [row["mode"] for row in rows] == ["funnel", "rank"]
    assert {row["protocol"] for row in rows} == {report["protocol"]["hash"]}
    rank = rows[1]
    assert rank["mean"] == report["modes"]["rank"]["systems"]["podium"]["ndcg@10"]["mean"]
    assert (rank["bundle"], rank["gate"], rank["n"]) == ("b-fake", "none", 240)


def test_what_a_gate_said_is_listed(run_of: Make, tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text('[minimum]\n"rank.ndcg@10" = 0.99\n')
    with pytest.raises(GateError):
        run_of("bad", market.WORSE_AT_TEA, gate=gate)
    assert {row["gate"] for row in list_runs([tmp_path / "runs"]).rows} == {"refused"}


def test_two_runs_are_compared_request_by_request(run_of: Make) -> None:
    found = compare_runs([run_of("good", market.GOOD), run_of("bad", market.WORSE_AT_TEA)])
    row = next(row for row in found.rows if (row["mode"], row["metric"]) == ("rank", "ndcg@10"))
    assert row["mean"] == pytest.approx(FALL)
    assert (row["run"], row["against"], row["n"]) == ("B", "A", 240)
    assert row["p"] <= row["p_holm"] <= len(found.rows) * row["p"]
    assert found.unlike == []


def test_a_run_is_no_different_from_itself(run_of: Make) -> None:
    run = run_of("good", market.GOOD)
    assert {row["mean"] for row in compare_runs([run, run]).rows} == {0.0}


def test_runs_of_different_protocols_are_refused_and_compared_only_when_asked(run_of: Make) -> None:
    whole, part = run_of("whole", market.GOOD), run_of("part", market.WORSE_AT_TEA, sample=60)
    with pytest.raises(InputError, match=r"sample None and .*60"):
        compare_runs([whole, part])
    found = compare_runs([whole, part], unlike=True)
    assert len(found.unlike) == 1
    assert next(row for row in found.rows if row["mode"] == "rank")["n"] == 60


def test_what_cannot_be_compared_is_named(run_of: Make, tmp_path: Path) -> None:
    run = run_of("good", market.GOOD)
    with pytest.raises(InputError, match="at least two"):
        compare_runs([run])
    with pytest.raises(InputError, match=r"report\.json"):
        compare_runs([run, tmp_path])
    with pytest.raises(InputError, match="an existing folder"):
        list_runs([tmp_path / "nowhere"])
    old = Path(shutil.copytree(run, tmp_path / "old"))
    (old / "requests.parquet").unlink()
    with pytest.raises(InputError, match="evaluate again"):
        compare_runs([run, old])
    strange = Path(shutil.copytree(run, tmp_path / "strange"))
    values = pl.read_parquet(strange / "requests.parquet").with_columns(request_id=pl.lit("x") + pl.col("request_id"))
    values.write_parquet(strange / "requests.parquet")
    with pytest.raises(InputError, match="none in common"):
        compare_runs([run, strange])


def test_the_command_lists_unless_told_to_compare(run_of: Make, tmp_path: Path) -> None:
    one, two = str(run_of("good", market.GOOD)), str(run_of("bad", market.WORSE_AT_TEA))
    root = str(tmp_path / "runs")
    listed = [CliRunner().invoke(cli, ["runs", *args]) for args in ([root], ["list", root], ["--json", root])]
    assert [result.exit_code for result in listed] == [0, 0, 0]
    assert listed[0].output == listed[1].output
    assert len(json.loads(listed[2].output)["runs"]) == 4
    compared = CliRunner().invoke(cli, ["runs", "compare", one, two])
    assert "B less A" in compared.output
    assert f"{FALL:+.4f}" in compared.output
    as_json = json.loads(CliRunner().invoke(cli, ["runs", "compare", one, two, "--json"]).output)
    assert [run["name"] for run in as_json["runs"]] == ["A", "B"]
