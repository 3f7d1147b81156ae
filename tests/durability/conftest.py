"""What these tests need of the machine: without it they are skipped, with the reason."""

from pathlib import Path

import pytest

from tests.durability.strace import missing


@pytest.fixture(scope="session")
def tracing() -> None:
    """strace, and leave to use it."""
    if why := missing():
        pytest.skip(why)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to work in, with room beside it."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder
