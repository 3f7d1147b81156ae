"""A small market, its log, its split, a bundle trained on it and a service over that: built once, and copied by whoever
breaks it."""

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_checks import Caller, Shop

from tests.shop import Shop as Made

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have a client that is not packaged yet
    from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def shop(tiny_shop: Made) -> Shop:
    from pipeline.logs.read import Log

    log, bundles = tiny_shop.root / "log", tiny_shop.bundles
    item = Log.open(log).frame("item", columns=["item_id"])["item_id"][0]
    return Shop(log, tiny_shop.root / "split", bundles, (bundles / "current").resolve(), item)


@pytest.fixture
def broken(shop: Shop, tmp_path: Path) -> Path:
    """A bundle of one's own to break; its files are copies, since bundles share theirs by hard links."""
    return Path(shutil.copytree(shop.bundle, tmp_path / "bundle"))


@pytest.fixture
def places(shop: Shop, tmp_path: Path) -> dict[str, Path]:
    """Folders and files that arguments name."""
    found = {name: tmp_path / name for name in ("bare", "file", "binary", "order", "unknown", "torn")}
    found["bare"].mkdir()
    found["file"].write_text("ann\n")
    found["binary"].write_bytes(b"\xff\xfe\x00ann")
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "events.db").write_text("no database" * 99)
    (tmp_path / "spoilt" / "keys.json").write_text("{")
    for name, text in {"unknown": {"schema": 9}, "order": {"schema": 1, "clock": "order"}, "torn": {}}.items():
        shutil.copytree(shop.log, found[name])
        (found[name] / "manifest.json").write_text(json.dumps(text)[: -1 if name == "torn" else None])
    sides = {name: shop.split / name for name in ("train", "valid", "test")}
    return {
        **found,
        **sides,
        "spoilt": tmp_path / "spoilt",
        "log": shop.log,
        "bundle": shop.bundle,
        "bundles": shop.bundles,
    }


@pytest.fixture(scope="session")
def call(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A service with keys over the bundle."""
    from serving.app import create_app
    from serving.engine import Engine
    from serving.keyring import add_key, new_key
    from serving.settings import ServingConfig, Settings

    root = tmp_path_factory.mktemp("root")
    secrets = {}
    for scope, scopes in {"read": ["read"], "write": ["read", "write"], "admin": ["admin"]}.items():
        secrets[scope], key = new_key(scope, scopes)
        add_key(root / "keys.json", key)
    patient = ServingConfig(deadline_ms=600_000)  # however busy the machine
    settings = Settings(root=root, bundles=shop.bundles, serving=patient)
    app = create_app(lambda: Engine(shop.bundle), settings)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield Caller(client, secrets)
