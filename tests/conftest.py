"""Threads are set before any test imports a numeric library; fixtures every package shares."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from pipeline.threads import configure_threads

if TYPE_CHECKING:
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
