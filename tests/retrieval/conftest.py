"""One shop for all tests that ask and do not change it."""

import pytest

from tests.retrieval.shop import Shop, items


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"), items())
