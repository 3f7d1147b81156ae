"""No check of these tables is one that cannot fail: take away the guard, and the check of its case fails."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import click
import polars as pl
import pytest
from fault_checks import Caller, Shop, check_problem, check_refused, podium
from test_faults_arguments import EVALUATED, LISTS, SPLITS, check_command, check_lists
from test_faults_bundles import CHANGED, PUBLISHED, check_unopened
from test_faults_config import FILES, commands
from test_faults_events import changed, check_one_row, check_over_a_file, check_table, with_one_bad
from test_faults_http import CALLS, RAW

pytestmark = pytest.mark.full


@dataclass(frozen=True, slots=True)
class Bench:
    """What the checks work on."""

    shop: Shop
    broken: Path
    places: dict[str, Path]
    call: Caller
    tmp: Path


@pytest.fixture
def bench(shop: Shop, places: dict[str, Path], call: Caller, tmp_path: Path) -> Callable[[str], Bench]:
    """A fresh bench in a folder of this name."""

    def make(name: str) -> Bench:
        folder = tmp_path / name
        folder.mkdir()
        return Bench(shop, Path(shutil.copytree(shop.bundle, folder / "bundle")), places, call, folder)

    return make


def event(field: str, reason: str, **changes: object) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        path = bench.tmp / "events.jsonl"
        path.write_bytes(with_one_bad(changed("impression", changes)))
        check_one_row(path, bench.tmp / "log", field, reason)

    return check


def configured(case: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        text, words = FILES[case]
        config = bench.tmp / "podium.toml"
        config.write_bytes(text)
        check_refused(podium(*commands(config, bench.shop, bench.tmp)[0]), *words)

    return check


def verified(case: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        spoil, words = CHANGED[case]
        spoil(bench.broken)
        check_refused(podium("bundle", "verify", bench.broken, "--json"), *words)

    return check


def opened(case: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        spoil, words = PUBLISHED[case]
        spoil(bench.broken)
        check_unopened(bench.broken, bench.shop.item, words)

    return check


def asked(command: str, case: str) -> Callable[[Bench], None]:
    table = {"split": SPLITS, "evaluate": EVALUATED}[command]
    return lambda bench: check_command(command, *table[case], bench.places, bench.tmp / "out")


def measured(case: str) -> Callable[[Bench], None]:
    *given, words = LISTS[case]
    return lambda bench: check_lists(tuple(given), words, bench.tmp)  # type: ignore[arg-type]


def called(case: str) -> Callable[[Bench], None]:
    method, path, scope, given, status, words = CALLS[case]
    return lambda bench: check_problem(bench.call(method, path, scope=scope, **given), status, *words)


def posted(case: str) -> Callable[[Bench], None]:
    body, content, status, words = RAW[case]
    return lambda bench: check_problem(bench.call.raw("/v1/search", body, content), status, *words)


def refused(path: str, body: dict[str, Any], *words: str) -> Callable[[Bench], None]:
    return lambda bench: check_problem(bench.call("POST", path, json=body), 422, *words)


def nothing(*_: object, **__: object) -> None:
    """A guard that lets everything pass."""


def sound(_: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Every row is found sound."""
    return pl.DataFrame(schema={"field": pl.String, "reason": pl.String}).clear(len(frame))


def unlimited(request: Any, _: int) -> Any:
    return request.receive


# the guard, what takes its place, the check that must fail then
GUARDS: list[tuple[str, object, Callable[[Bench], None]]] = [
    ("pipeline.console.Commands.invoke", click.Group.invoke, asked("split", "an unknown rule")),
    ("pipeline.logs.decode.problems", sound, event("user_id", "is required, or a session_id", user_id=None)),
    (
        "pipeline.logs.importers.tables.Table._scalar",
        lambda table, *_: table,
        lambda bench: check_table("text in a number", bench.tmp),
    ),
    ("pipeline.logs.ingest.lasting", lambda *_: {}, lambda bench: check_over_a_file(bench.tmp)),
    ("pipeline.config.check_sections", nothing, configured("a misspelt section")),
    ("pipeline.bundle.verify_files", nothing, verified("a flipped bit")),
    ("pipeline.bundle.verify_names", nothing, verified("a file that leaves the part")),
    ("pipeline.bundle.verify_names", nothing, verified("a link to a file elsewhere")),
    ("pipeline.bundle.verify_names", nothing, verified("a file nobody lists")),
    ("pipeline.bundle._fit", nothing, verified("a part of another catalogue")),
    ("pipeline.bundle._identity", lambda *_: ANY, verified("another cutoff")),
    ("pipeline.bundle._identity", lambda *_: ANY, verified("an id that leaves the root")),
    ("pipeline.bundle.misfit", nothing, verified("a cutoff that is a fraction")),
    ("pipeline.bundle.read_json", lambda path: json.loads(path.read_text()), verified("a field that stands twice")),
    ("pipeline.catalogue.read_table", lambda path, _: pl.read_parquet(path), opened("items without names")),
    ("serving.assembly.open_reorderings", lambda _: {}, opened("a trade above one")),
    ("pipeline.logs.split._check_log", nothing, asked("split", "time of a log without clock")),
    ("pipeline.logs.split._check_rule", nothing, asked("split", "an unknown rule")),
    ("podium.duration", lambda *_: 0, asked("split", "a gap without unit")),
    ("serving.replay.run._check", nothing, asked("evaluate", "an unknown slice")),
    ("pipeline.metrics.tables.listings._refuse", nothing, measured("a score that is nan")),
    ("pipeline.metrics.runs._refuse_repeated", nothing, measured("an item twice")),
    ("serving.routes.base.bounded", unlimited, posted("too large")),
    ("serving.routes.base._require_json", nothing, posted("text")),
    ("serving.auth.Key.may", lambda *_: True, called("reading without admin's scope")),
    ("serving.service.Service.identify", lambda *_: ("mine", 0), called("a request_id of one's own")),
    (
        "serving.wire.parse_filters",
        nothing,
        refused("/v1/search", {"query": "red", "filters": {"colour": ["red"]}}, "filters.colour"),
    ),
    (
        "serving.wire._distinct",
        nothing,
        refused("/v1/rank", {"items": [{"item_id": "a"}, {"item_id": "a"}]}, "only once"),
    ),
]


@pytest.mark.parametrize(("guard", "instead", "check"), GUARDS, ids=lambda value: value if str(value) == value else "")
def test_a_case_passes_with_its_guard_and_fails_without(
    guard: str,
    instead: object,
    check: Callable[[Bench], None],
    bench: Callable[[str], Bench],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(bench("with"))
    monkeypatch.setattr(guard, instead)
    with pytest.raises(AssertionError):
        check(bench("without"))
