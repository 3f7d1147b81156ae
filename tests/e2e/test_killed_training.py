"""A training run killed at any moment goes on where it stopped, and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.bundle import open_bundle
from pipeline.errors import InputError
from serving.workshop import claimed
from tests.shop import Shop

pytestmark = pytest.mark.full
KILLS = 20


def start(logs: Path, out: Path) -> subprocess.Popen[bytes]:
    """A run, returned when it has begun its first step."""
    command = [sys.executable, "-m", "podium", "train", "--logs", str(logs), "--out", str(out)]
    said = out.with_name(f"{out.name}.said")
    with said.open("wb") as stream:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
    while not said.stat().st_size and run.poll() is None:
        time.sleep(0.01)
    return run


def contents(root: Path) -> dict[str, bytes]:
    """Every published file, manifests without the moment they were made."""
    found = {}
    for path in sorted((root / "artifacts").rglob("*")):
        if path.is_file():
            name = path.relative_to(root).as_posix()
            found[name] = path.read_bytes()
            if path.name == "manifest.json":
                about = json.loads(found[name])
                found[name] = json.dumps(about | {"created": ""}, sort_keys=True).encode()
    return found


def test_a_run_killed_at_twenty_random_moments_resumes_to_the_same_bytes(tiny_shop: Shop, tmp_path: Path) -> None:
    logs = tiny_shop.root / "split/train"
    whole = start(logs, tmp_path / "whole")
    began = time.perf_counter()
    assert whole.wait() == 0
    seconds = time.perf_counter() - began
    chance = random.Random(7)
    killed, roots, root = 0, [], tmp_path / "killed-0"
    while killed < KILLS:
        run = start(logs, root)
        time.sleep(chance.random() * seconds)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            killed += 1
        if run.wait() == 0:
            roots.append(root)
            root = tmp_path / f"killed-{len(roots)}"
    if root.exists():
        assert start(logs, root).wait() == 0
        roots.append(root)
    expected = contents(tmp_path / "whole")
    for each in roots:
        assert contents(each) == expected
        assert open_bundle(each).id == open_bundle(tmp_path / "whole").id
        assert not list(each.rglob(".draft-*"))


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with claimed(tmp_path), pytest.raises(InputError, match="no other training"), claimed(tmp_path):
        pass
    with claimed(tmp_path):
        pass
