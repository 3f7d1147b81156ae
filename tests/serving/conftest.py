"""One engine and one running app a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_fakes import FakeEngine, TestClient, calling, settings


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine, tmp_path: Path) -> Iterator[TestClient]:
    """A service without keys on loopback."""
    with calling(engine, settings(tmp_path)) as client:
        yield client
