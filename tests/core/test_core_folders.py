"""Folders that take each other's place, and what a command says when files fail it."""

import errno
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline import folders
from pipeline.console import Commands


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "a").write_text(text)
    return path


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(folders, "exchanged", lambda one, other: False)
    folder(tmp_path / "x", "old")
    folders.put(folder(tmp_path / "draft", "new"), tmp_path / "x")
    assert (tmp_path / "x/a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_place_that_cannot_be_taken_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "x", "old")
    draft = folder(tmp_path / "draft", "new")
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self == draft:
            raise OSError(errno.ENOSPC, "full")
        return rename(self, target)

    monkeypatch.setattr(folders, "exchanged", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="full"):
        folders.put(draft, tmp_path / "x")
    assert (tmp_path / "x/a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_place_that_is_not_known_to_last_keeps_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "x", "old")
    draft = folder(tmp_path / "draft", "new")

    def fails(path: Path) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(folders, "sync", fails)
    with pytest.raises(OSError, match="broken"):
        folders.put(draft, tmp_path / "x")
    assert sorted(path.read_text() for path in tmp_path.glob("*/a")) == ["new", "old"]


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    folders.make_folder(tmp_path / "a/b/c")
    folders.make_folder(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "podium work: files: a path that can be used here (No space",
        ),
        (OSError(errno.EIO, "Input/output error", "/x"), "podium work: /x: a path that can be used here (Input/output"),
        (
            OSError("No space left on device (os error 28): /x"),
            "podium work: files: paths that can be used here (No sp",
        ),
        (pl.exceptions.ComputeError("parquet: full (os error 28)"), "podium work: files: paths that can be used here"),
    ],
)
def test_files_that_fail_a_command_are_told_in_a_sentence(error: Exception, says: str) -> None:
    done = CliRunner().invoke(commands(error), ["work"])
    assert (done.exit_code, done.stderr.startswith(says), done.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("error", [pl.exceptions.ComputeError("a bug"), ValueError("(os error 28)"), OSError("odd")])
def test_other_errors_are_not_taken_for_those_of_files(error: Exception) -> None:
    assert CliRunner().invoke(commands(error), ["work"]).exception is error


def commands(error: Exception) -> click.Group:
    @click.group(cls=Commands)
    def cli() -> None:
        pass

    @cli.command()
    def work() -> None:
        raise error

    return cli
