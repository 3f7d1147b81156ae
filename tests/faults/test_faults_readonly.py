"""A bundle is opened without writing: where its folders cannot be written to, by several processes at once, and by
others than its maker."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_checks import Shop, check_refused, podium

from pipeline.artifacts import Draft, publish

_PR_CAPBSET_DROP, _OVERRIDES = 24, (1, 2)  # what lets root write where nobody may: CAP_DAC_OVERRIDE and its sibling
AT_ONCE = 10


@pytest.fixture
def fixed(shop: Shop, tmp_path: Path) -> Iterator[Path]:
    """A bundles root and a side of a log below a folder in which nothing may be written."""
    root = tmp_path / "fixed"
    shutil.copytree(shop.bundles, root / "bundles", symlinks=True)
    shutil.copytree(shop.split / "test", root / "test")
    inside = [path for path in root.rglob("*") if not path.is_symlink()]
    for path in (root, *inside):
        path.chmod(path.stat().st_mode & ~0o222)
    yield root
    for path in (root, *inside):
        path.chmod(path.stat().st_mode | 0o200)


def bound(*command: object) -> subprocess.Popen[str]:
    """Start a command for which modes hold, also where the tests are run by root."""

    def give_up() -> None:
        for override in _OVERRIDES:
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, override, 0, 0, 0)

    told = [sys.executable, *map(str, command)]
    pipe = subprocess.PIPE
    return subprocess.Popen(told, text=True, stdout=pipe, stderr=pipe, preexec_fn=give_up, cwd="/")  # noqa: PLW1509


def ended(run: subprocess.Popen[str]) -> str:
    """What a command that ended well printed."""
    out, err = run.communicate()
    assert run.returncode == 0, err
    return out


def seen(root: Path) -> list[tuple[str, int, int, int]]:
    told = ((path, path.lstat()) for path in sorted(root.rglob("*")))
    return [(str(path), about.st_ino, about.st_mtime_ns, about.st_size) for path, about in told]


OPENED = """
import json
import sys
from pathlib import Path
from serving.engine import Engine
from serving.ports import Ask
try:
    Path(sys.argv[1], "probe").touch()
except PermissionError:
    pass
else:
    sys.exit("here anybody may write")
ask = Ask("r", 1_800_000_000_000, "u", "a", "search")
print(json.dumps(list(Engine(Path(sys.argv[1])).answer(ask).item_ids)))
"""


def test_a_bundle_is_opened_where_nothing_can_be_written(fixed: Path) -> None:
    before = seen(fixed)
    assert json.loads(ended(bound("-c", OPENED, fixed / "bundles")))
    assert seen(fixed) == before


@pytest.mark.full
@pytest.mark.parametrize(
    "command",
    [
        ("bundle", "verify", "{root}/bundles"),
        ("bundle", "list", "{root}/bundles"),
        ("bundle", "show", "{root}/bundles"),
        ("explain", "--bundle", "{root}/bundles", "--item", "x"),
        ("features", "--bundle", "{root}/bundles"),
        (
            "evaluate",
            "--bundle",
            "{root}/bundles",
            "--logs",
            "{root}/test",
            "--out",
            "{out}",
            "--sample",
            "20",
            "--json",
        ),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_that_reads_a_bundle_only_reads(command: tuple[str, ...], fixed: Path, tmp_path: Path) -> None:
    before = seen(fixed)
    told = [word.format(root=fixed, out=tmp_path / "out") for word in command]
    assert ended(bound("-m", "podium", *told))
    assert seen(fixed) == before


@pytest.mark.full
def test_ten_processes_open_a_bundle_at_once_and_answer_alike(fixed: Path) -> None:
    runs = [bound("-c", OPENED, fixed / "bundles") for _ in range(AT_ONCE)]
    assert len({ended(run) for run in runs}) == 1


def test_a_service_that_could_keep_nothing_names_its_root_before_it_listens(shop: Shop, tmp_path: Path) -> None:
    nowhere = Path("/proc/podium")  # where nobody can make a folder, not even root
    refused = podium("serve", "--bundle", shop.bundles, "--root", nowhere)
    check_refused(refused, "--root", "a folder that can be written to", str(nowhere))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "events.db").write_text("no database" * 99)
    check_refused(podium("serve", "--bundle", shop.bundles, "--root", tmp_path / "root"), "events.db", "database")


@pytest.mark.full
def test_a_service_beside_bundles_that_cannot_be_written_to_asks_for_a_root(fixed: Path) -> None:
    run = bound("-m", "podium", "serve", "--bundle", fixed / "bundles")
    _, err = run.communicate()
    assert (run.returncode, len(err.splitlines())) == (2, 1), err
    assert "--root: a folder that can be written to" in err


@pytest.mark.parametrize(
    ("umask", "modes"), [(0o022, (0o755, 0o644)), (0o077, (0o700, 0o600)), (0o027, (0o750, 0o640))]
)
def test_what_is_published_is_as_open_as_the_umask_says(umask: int, modes: tuple[int, int], tmp_path: Path) -> None:
    def private(folder: Path) -> None:
        (folder / "deep").mkdir(mode=0o700)
        os.close(os.open(folder / "deep" / "file", os.O_CREAT | os.O_WRONLY, 0o600))

    before = os.umask(umask)
    try:
        publish(tmp_path / "x", Draft("test", {}, {}), private)
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "x", *(tmp_path / "x").rglob("*"))}
    folders, files = 0o777 & ~umask, 0o666 & ~umask
    assert found == {"x": folders, "deep": folders, "file": files, "manifest.json": files}
