"""A small market, its log, its split and a bundle trained on it: built once, and copied by whoever breaks it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_checks import Shop, podium


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    log, sides, bundles = root / "market" / "log", root / "split", root / "bundles"
    for command in (
        ("simulate", root / "market", "--world", "tiny", "--json"),
        ("split", log, "--out", sides, "--json"),
        ("train", "--logs", sides / "train", "--out", bundles, "--json"),
    ):
        done = podium(*command)
        assert done.code == 0, done.err
    from pipeline.logs.read import Log

    item = Log.open(log).frame("item", columns=["item_id"])["item_id"][0]
    return Shop(log, sides, bundles, (bundles / "current").resolve(), item)


@pytest.fixture
def broken(shop: Shop, tmp_path: Path) -> Iterator[Path]:
    """A bundle of one's own to break; its files are copies, since bundles share theirs by hard links."""
    yield Path(shutil.copytree(shop.bundle, tmp_path / "bundle"))
