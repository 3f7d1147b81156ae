"""Threads are set before any test imports a numeric library; fixtures every package shares."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from pipeline.threads import configure_threads
from tests.examples import FULL, examples

if TYPE_CHECKING:
    from tests.postgres import Server
    from tests.shop import Shop

configure_threads(2)
_HERE = Path(__file__).parent
_TOGETHER = ("loop", "replay")

# Examples are not timed: the machines that run them are shared.
settings.register_profile("podium", deadline=None, max_examples=examples(100), derandomize=not FULL)
settings.load_profile("podium")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture go to one worker (`--dist loadgroup`), so that it is made once: those of a file, and
    those of a folder whose files share one that is dear."""
    for item in items:
        group = item.path.parent if item.path.parent.name in _TOGETHER else item.path
        item.add_marker(pytest.mark.xdist_group(str(group.relative_to(_HERE))))


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    """A tiny market and a bundle trained on it; the workers of a run share it, and nobody changes it."""
    from tests.shop import Shop, make_shop

    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "tiny"
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes first makes it, the others wait
        if not root.exists():
            made = make_shop(root.with_suffix(".draft"), "tiny")
            made.root.rename(root)
    return Shop(root)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is not."""
    folder = os.environ.get("PODIUM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PODIUM_DATA names no folder of data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[Server]":
    """A PostgreSQL server; tests that need it skip where none is installed."""
    from tests.postgres import installed, running

    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    programs = installed()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    with running(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: "Server") -> str:
    """An empty schema of its own."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres_server.url}?options=-csearch_path%3D{name}"
