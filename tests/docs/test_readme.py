"""What the documents say is true: commands run, links lead somewhere, the configuration is written down."""

import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from serving.defaults import defaults
from tests.e2e.conftest import free_port
from tests.waiting import soon

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- tested: (\w+) -->\n```bash\n(.*?)```", README, re.DOTALL))
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run(commands: str, where: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=where,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_has_every_tested_block() -> None:
    assert set(BLOCKS) == {"serve", "ask", "train", "evaluate", "offpolicy", "metrics"}


def test_the_metrics_commands_run(tmp_path: Path) -> None:
    said = run(BLOCKS["metrics"], tmp_path)
    assert "ndcg@10" in said
    assert "other" in said


@pytest.mark.full
def test_the_training_and_evaluation_commands_run(tmp_path: Path) -> None:
    assert "current" in run(BLOCKS["train"], tmp_path)
    explained = run(BLOCKS["evaluate"], tmp_path)
    assert '"lost_by"' in explained
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["modes"]["rank"]["systems"]["podium"]["ndcg@10"]["n"] > 0
    assert "<svg" in (tmp_path / "report/report.html").read_text()
    corrected = run(BLOCKS["offpolicy"], tmp_path)
    assert "naive_ndcg" in corrected
    assert report["protocol"]["hash"] in corrected


@pytest.mark.full
def test_the_service_commands_run_and_every_answer_is_an_answer(tmp_path: Path) -> None:
    demo, serve = BLOCKS["serve"].strip().splitlines()
    run(demo, tmp_path)
    port = str(free_port())
    running = subprocess.Popen(serve.replace("8000", port).split(), cwd=tmp_path, env=ENVIRONMENT)
    try:
        _wait(port)
        said = run(BLOCKS["ask"].replace("8000", port), tmp_path)
    finally:
        running.terminate()
        running.wait(timeout=20)
    assert '"request_id"' in said
    assert '"suggestions"' in said
    assert '"accepted":1' in said.replace(" ", "")
    assert "urn:podium:problem" not in said


def _wait(port: str) -> None:
    def ready() -> bool:
        with suppress(httpx.TransportError):  # nobody listens yet
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        return False

    soon(ready, "the service did not get ready", every=0.1)


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "docs/data.md"])
def test_links_lead_to_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", text) + re.findall(r'click \w+ "([^"]+)"', text)
    assert links
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_the_configuration_file_holds_every_key_with_its_default() -> None:
    assert (ROOT / "podium.toml").read_text(encoding="utf-8") == defaults()
    tomllib.loads(defaults())


def test_every_shell_command_of_the_documents_is_one_podium_has() -> None:
    help_text = run("podium --help", ROOT)
    commands = set(re.findall(r"^  (\w[\w-]*)  ", help_text, re.MULTILINE))
    for name in ("README.md", "docs/data.md", "docs/architecture.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        used = set(re.findall(r"(?:^|`)podium ([a-z-]+)", text, re.MULTILINE))
        assert used <= commands, name
