"""Threads are set before any test imports a numeric library; fixtures every package shares."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from pipeline.threads import configure_threads

if TYPE_CHECKING:
    from tests.postgres import Server
    from tests.shop import Shop

configure_threads(2)

# Examples are not timed: the machines that run them are shared.
settings.register_profile("podium", deadline=None)
settings.load_profile("podium")


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    from tests.shop import make_shop

    return make_shop(tmp_path_factory.mktemp("tiny"), "tiny")


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
