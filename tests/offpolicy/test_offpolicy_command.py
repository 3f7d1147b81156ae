"""`podium offpolicy` on a small log: run files in, figures or reasons out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.errors import InputError
from pipeline.logs.partitions import write_days, write_manifest
from podium import cli
from serving.offpolicy import OffPolicy, offpolicy
from serving.replay.offpolicy import places
from tests.frames import act, frame, page

P = {"search": [1.0, 0.4, 0.2]}
REQUESTS = 1500


def worth_of(letter: str) -> float:
    return {"a": 0.5, "b": 0.4, "c": 0.8}[letter]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of requests shown as a, b, c, where c is best, a third of them shuffled; two runs; the examination."""
    root = tmp_path_factory.mktemp("offpolicy")
    rng = np.random.default_rng(0)
    pages, clicks = [], []
    for number in range(REQUESTS):
        drawn = number % 3 == 0
        items = "".join(rng.permutation(list("abc"))) if drawn else "abc"
        marginal = 1 / 3 if drawn else 1.0
        shown = [{"item_id": letter, "position": at, "marginal": marginal} for at, letter in enumerate(items)]
        time = 1000 + 10 * number
        pages.append(page(f"r{number}", time, items, explored=drawn, user_id=f"u{number}") | {"items": shown})
        for at, letter in enumerate(items):
            if rng.random() < P["search"][at] * worth_of(letter):
                row = act("click", letter, time + 1, request_id=f"r{number}", user_id=f"u{number}")
                clicks.append(row | {"event_id": f"c{number}{letter}"})
    for kind, rows in (("impression", pages), ("feedback", clicks)):
        write_days(root / "log", kind, frame(kind, *rows))
    write_manifest(root / "log", "exact")
    for name, order in (("logger", "abc"), ("better", "cba")):
        lines = [f"r{n} Q0 {x} {i + 1} {3 - i} t\n" for n in range(REQUESTS) for i, x in enumerate(order)]
        (root / f"{name}.run").write_text("".join(lines))
    rows = [("search", at, p) for at, p in enumerate(P["search"])]
    pl.DataFrame(rows, schema=["surface", "position", "p"], orient="row").write_csv(root / "examination.csv")
    return root


@pytest.fixture(scope="module")
def compared(folder: Path) -> OffPolicy:
    runs = [folder / "better.run", folder / "logger.run"]
    return offpolicy(runs, folder / "log", examination=str(folder / "examination.csv"), out=folder / "found.json")


def test_the_better_run_wins_although_naive_ndcg_prefers_the_logger(compared: OffPolicy) -> None:
    better, logger = compared.values["systems"]["better"], compared.values["systems"]["logger"]
    assert logger["naive_ndcg@10"]["mean"] > better["naive_ndcg@10"]["mean"]
    assert better["ips_dcg@10"]["mean"] > logger["ips_dcg@10"]["mean"]
    truth = 0.8 + 0.4 / np.log2(3) + 0.5 / 2
    assert better["ips_dcg@10"]["low"] < truth < better["ips_dcg@10"]["high"]
    assert compared.values["verdicts"][0]["verdict"] == "a better"
    assert (compared.values["pages"], compared.values["explored_pages"]) == (REQUESTS, REQUESTS // 3)


def test_the_file_holds_what_is_printed(compared: OffPolicy, folder: Path) -> None:
    kept = json.loads((folder / "found.json").read_text())
    assert kept["systems"]["better"]["ips_dcg@10"]["mean"] == compared.values["systems"]["better"]["ips_dcg@10"]["mean"]
    assert set(kept["examination"]["search"]) == {"source", "p", "refused"}
    said = "\n".join(compared.lines())
    assert "naive_ndcg (biased toward the logger)" in said
    assert "better against logger: a better" in said


def test_the_clip_curve_rises_with_the_level(compared: OffPolicy) -> None:
    levels = compared.values["clipping"]["better"]
    means = [each["mean"] for each in levels]
    assert means == sorted(means)
    assert levels[-1]["clipped_share"] == 0.0


def test_the_command_prints_json(folder: Path) -> None:
    options = ["--run", str(folder / "better.run"), "--logs", str(folder / "log")]
    done = CliRunner().invoke(cli, ["offpolicy", *options, "--examination", str(folder / "examination.csv"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["matched"] == {"better": REQUESTS}


def test_an_examination_from_the_log_names_its_source_or_why_there_is_none(folder: Path) -> None:
    found = offpolicy([folder / "better.run"], folder / "log").values
    about = found["examination"]["search"]
    estimate = found["systems"]["better"]["ips_dcg@10"]
    assert (about["refused"] is None) == (about["source"] != "none") == (estimate["refused"] is None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda f: {"clip": 0.5}, "--clip"),
        (lambda f: {"k": 0}, "--k"),
        (lambda f: {"examination": str(f / "none.csv")}, "--examination"),
    ],
)
def test_options_out_of_range_are_named(folder: Path, change: Callable[[Path], dict[str, object]], field: str) -> None:
    with pytest.raises(InputError, match=field):
        offpolicy([folder / "better.run"], folder / "log", **change(folder))  # type: ignore[arg-type]


@pytest.mark.parametrize("p", ["0.0", "1.5", ""])
def test_a_stated_examination_that_is_no_probability_is_refused(folder: Path, tmp_path: Path, p: str) -> None:
    (tmp_path / "p.csv").write_text(f"surface,position,p\nsearch,0,1.0\nsearch,1,{p}\nsearch,2,0.5\n")
    with pytest.raises(InputError, match="above 0 and at most 1"):
        offpolicy([folder / "better.run"], folder / "log", examination=str(tmp_path / "p.csv"))


def test_a_stated_examination_with_a_gap_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("surface,position,p\nsearch,0,1.0\nsearch,2,0.5\n")
    with pytest.raises(InputError, match="every position"):
        offpolicy([folder / "better.run"], folder / "log", examination=str(tmp_path / "p.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("surface,position,p\nsearch,0,1.0\nsearch,first,0.5\n", "line 3: position: must be a whole number"),
        ("surface;position;p\nsearch;0;1.0\n\nsearch;1\n", "line 4: row: must have as many cells"),
        ("surface,place,p\nsearch,0,1.0\n", "columns: surface, position and p"),
        ("surface,position,p\nsearch,0,often\n", "above 0 and at most 1"),
    ],
)
def test_a_stated_examination_that_cannot_be_read_is_refused_with_the_line(
    folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        offpolicy([folder / "better.run"], folder / "log", examination=str(tmp_path / "p.csv"))


def test_a_run_of_other_requests_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.run").write_text("x1 Q0 a 1 1.0 t\n")
    with pytest.raises(InputError, match="request ids"):
        offpolicy([tmp_path / "other.run"], folder / "log", examination=str(folder / "examination.csv"))


def test_an_item_twice_under_a_request_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "twice.run").write_text("r1 Q0 a 1 1.0 t\nr1 Q0 a 2 0.5 t\n")
    with pytest.raises(InputError, match="each item once"):
        offpolicy([tmp_path / "twice.run"], folder / "log", examination=str(folder / "examination.csv"))


def test_places_are_those_of_each_row_and_none_for_what_is_missing() -> None:
    lists = np.array([[5, 7, 9], [1, -1, -1]])
    assert places(np.array([[9, 5, -1], [9, 1, -1]]), lists).tolist() == [[3, 1, 0], [0, 1, 0]]
