"""A store, the place of its log, and a bundle that has learned all there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from compact_tools import DAY, NOW, bundle

from pipeline.logs.store import EventStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    opened = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return bundle(tmp_path / "bundles", NOW + DAY)
