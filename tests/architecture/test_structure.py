"""The arrows between the folders, the homes of heavy libraries, and the sizes."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "retrieval", "ranking", "rerank", "query_suggest", "serving")
SOURCES = sorted([*(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")), ROOT / "podium.py"])
STAGES = {"retrieval", "ranking", "rerank", "query_suggest"}

HOMES = {
    "fastapi": "serving/",
    "starlette": "serving/",
    "uvicorn": ("serving/", "podium.py"),
    "faiss": "retrieval/vectors.py",
    "tantivy": "retrieval/lexical.py",
    "lightgbm": ("ranking/boosted.py", "rerank/listwise.py"),
    "ray": "pipeline/cluster.py",
}


@cache
def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    forbidden = {"tests", "benchmarks"}
    if package == "pipeline":
        forbidden |= STAGES | {"serving", "podium"}
    elif package in STAGES:
        forbidden |= (STAGES - {package}) | {"serving", "podium"}
    elif package == "serving":
        forbidden |= {"podium"}
    assert not imported(path) & forbidden


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_one_home(library: str) -> None:
    homes = HOMES[library]
    users = [p.relative_to(ROOT).as_posix() for p in SOURCES if library in imported(p)]
    assert [user for user in users if not user.startswith(homes)] == []


def test_only_the_assembly_the_jobs_and_the_list_of_settings_know_every_package() -> None:
    knows_all = [p.relative_to(ROOT).as_posix() for p in SOURCES if imported(p) >= STAGES]
    assert set(knows_all) <= {"podium.py", "serving/assembly.py", "serving/steps.py", "serving/defaults.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_above_350_lines_and_no_function_above_60(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node)
            length = (node.end_lineno or 0) - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert length <= 60, f"{node.name} has {length} lines"


def test_init_files_are_empty() -> None:
    assert [p for p in SOURCES if p.name == "__init__.py" and p.read_text()] == []


def test_no_format_that_runs_code_when_it_is_read() -> None:
    unsafe = {"pickle", "joblib", "dill", "shelve", "marshal"}
    assert [p for p in SOURCES if imported(p) & unsafe or "allow_pickle=True" in p.read_text()] == []


@pytest.mark.parametrize("command", ["--help", "metrics --help"])
def test_help_starts_without_heavy_libraries(command: str) -> None:
    heavy = "torch", "lightgbm", "faiss", "tantivy", "fastapi", "pandas", "polars"
    code = (
        "import sys, podium\n"
        f"try: podium.cli({command.split()!r})\n"
        "except SystemExit: pass\n"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
