"""What a spreadsheet opens runs nothing."""

import csv
import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.spreadsheet import write_csv
from podium import cli

FORMULAS = [
    '=cmd|"/C calc"!A0',
    "=1+1",
    "+1+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "-",
]
PLAIN = ["-1.5", "+3", "-2e-7", "-.5", "7", "shoes", "a=b", "'quoted", "a-b", "", "1+1", "red shoes"]


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_would_be_a_formula_is_text(tmp_path: Path, text: str) -> None:
    write_csv(pl.DataFrame({"query_id": [text], "ndcg": [-0.5]}), tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv") == [["query_id", "ndcg"], [f"'{text}", "-0.5"]]


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay(tmp_path: Path, text: str) -> None:
    write_csv(pl.DataFrame({"query_id": [text], "ndcg": [-1.0], "n": [-3]}), tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv")[1] == [text, "-1.0", "-3"]


def test_a_null_stays_empty(tmp_path: Path) -> None:
    write_csv(pl.DataFrame({"a": pl.Series([None, "=1"], dtype=pl.String)}), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == ["a", "", "'=1"]


def test_queries_of_a_strangers_run_are_no_formulas_in_metrics(tmp_path: Path) -> None:
    (tmp_path / "run.txt").write_text("=1+1 Q0 a 1 2.5 x\n-7 Q0 a 1 2.5 x\n")
    (tmp_path / "qrels.txt").write_text("=1+1 0 a 1\n-7 0 a 1\n")
    given = ["--run", tmp_path / "run.txt", "--qrels", tmp_path / "qrels.txt", "-m", "ndcg@10"]
    done = CliRunner().invoke(cli, ["metrics", *map(str, given), "--out", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    assert sorted(row[0] for row in cells(tmp_path / "out.csv")[1:]) == ["'=1+1", "-7"]


def test_every_csv_is_written_by_one_function() -> None:
    root = Path(__file__).parents[2]
    packages = ("pipeline", "retrieval", "ranking", "rerank", "query_suggest", "serving")
    sources = [root / "podium.py", *(path for name in packages for path in (root / name).rglob("*.py"))]
    written = re.compile(r"\.(write_csv|to_csv)\(|csv\.(writer|DictWriter)\(")
    assert [path.name for path in sources if written.search(path.read_text())] == ["spreadsheet.py"]
