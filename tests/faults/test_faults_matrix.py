"""Every command over every legal log that says next to nothing: a sane answer, or one sentence of what lacks."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_checks import LONGEST, Outcome, podium
from legal_data import FURTHER, NAMED
from matrix_bench import Bench

COMMANDS = ("ingest", "split", "train", "evaluate", "examination", "offpolicy", "compare", "gate", "serve")
MADE = {"ingest": "log", "split": "sides", "train": "bundles/current", "evaluate": "report", "gate": "gated"}
REPORT = ("report.json", "report.html", "run.parquet", "requests.parquet")
GATES = ("gate", "check")
FOREIGN = re.compile(
    r"Traceback|\w+(Error|Warning|Exception)\b|polars|numpy|lightgbm|site-packages|\bnan\b", re.IGNORECASE
)


AT_ONCE = ("no clicks", "empty")  # what `make test` tries too


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """The bench of a row, which is made once."""
    made: dict[str, Bench] = {}

    def of(row: str) -> Bench:
        if row not in made:
            made[row] = Bench({**NAMED, **FURTHER}[row], tmp_path_factory.mktemp("row"))
        return made[row]

    return of


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("row", [pytest.param(row, marks=() if row in AT_ONCE else pytest.mark.full) for row in NAMED])
def test_a_log_that_says_little_ends_in_an_answer_or_a_sentence(
    bench: Callable[[str], Bench], row: str, command: str
) -> None:
    check(bench(row), command)


@pytest.mark.full
@pytest.mark.parametrize("command", [*COMMANDS, "features", "check", "explain"])
@pytest.mark.parametrize("row", FURTHER)
def test_a_log_odd_in_another_way_does_too(bench: Callable[[str], Bench], row: str, command: str) -> None:
    check(bench(row), command)


@pytest.mark.full
def test_a_bundle_judged_by_what_it_was_trained_on_is_told_loudly(bench: Callable[[str], Bench]) -> None:
    of = bench("nothing odd")
    sides, bundles = of.root / "sides", of.root / "bundles"
    of("train")
    for side, share in (("train", 1.0), ("test", 0.0)):
        told = podium("evaluate", "--bundle", bundles, "--logs", sides / side, "--out", of.root / f"on-{side}")
        assert told.code == 0, told.err
        report = strict((of.root / f"on-{side}/report.json").read_text())
        assert report["trained_on"]["share"] == {"pages": share}
        page = (of.root / f"on-{side}/report.html").read_text()
        warned = "was trained on 100% of the pages it is judged by"
        assert (warned in page) == (warned in told.out.splitlines()[0]) == (side == "train")
    told = podium("evaluate", "--bundle", bundles, "--logs", of.root / "log", "--out", of.root / "on-log", "--json")
    (warning,) = strict(told.out)["trained_on"]["warnings"]
    assert "was trained on 75% of the pages" in warning


def check(bench: Bench, command: str) -> None:
    outcome = bench(command)
    made = bench.root / MADE[command] if command in MADE else None
    assert outcome.code in ((0, 2, 3) if command in GATES else (0, 2)), outcome
    left = [path for path in bench.root.rglob(".*") if "draft" in path.name or path.name.startswith(".report")]
    assert not left, "nothing half made is left behind"
    if outcome.code:
        check_sentence(outcome)
    else:
        check_answer(outcome, command)
    if made is not None and command != "ingest":  # which writes what it refused
        assert made.exists() == (outcome.code != 2), f"{made} after exit code {outcome.code}"
    if command in ("evaluate", "gate") and outcome.code != 2:
        check_report(bench.root / MADE[command])


def check_sentence(outcome: Outcome) -> None:
    sentence = outcome.sentence
    assert not FOREIGN.search(sentence), sentence
    assert len(sentence) <= LONGEST, sentence
    assert ": " in sentence, "it says of what"


def check_answer(outcome: Outcome, command: str) -> None:
    answer = strict(outcome.out)
    if command == "serve":
        statuses = {path: told["status"] for path, told in answer.items()}
        assert set(statuses.values()) <= {200, 202}, [told for told in answer.values() if told["status"] > 202]


def check_report(folder: Path) -> None:
    """The four files, whole; what there is no figure of is null, and said in words on the page."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(REPORT)
    report = strict((folder / "report.json").read_text())
    assert report["modes"]
    assert report["failed"] == {}, "no part of the report failed"
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", (folder / "report.html").read_text(), flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None)\b", text), re.findall(r".{40}\b(?:nan|inf|None)\b.{40}", text)


def strict(text: str) -> dict:
    """JSON as its standard has it: without NaN and Infinity."""

    def no(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=no)
