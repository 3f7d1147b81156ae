"""Whatever id events accept works everywhere: in paths, query strings, bodies, answers, logs and exports."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import polars as pl
import pytest
import uvicorn
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_fakes import calling
from serving_fakes import settings as chosen

from pipeline.logs.read import Log
from pipeline.logs.split import _read_users
from podium import cli
from serving.app import create_app
from serving.engine import Engine
from serving.ports import Slate
from serving.run import export
from serving.slates import Kept, Slates
from tests.examples import examples
from tests.shop import Shop
from tests.waiting import soon

ODD = (
    "org/9", "a//b", "/x",
    "/", "//", "a/", "/a", "50%", "%2F", "a%2Fb", "?", "a?b=c", "#", "a#b", ".", "..", "../x", "a/../b",
    "a b", " ", " a ", "a,b", "a;b", "a&b=c", "a+b", "-x", "--help", "=1+1", "@x", "01", "1.10", "1e3", "null", "true",
    "[1]", '{"a":1}', '"', "'", "\\", "a\\/b", "<b>", "ä", "日本語",
    "🛒" * 128, "a" * 128, "s:ann", "explain", "x/explain",
)  # fmt: skip
IDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co")), min_size=1, max_size=128)
_NUMBER = itertools.count()


@dataclass(frozen=True, slots=True)
class Shelf:
    """A trained service behind a real server, and its data root."""

    client: httpx.Client
    root: Path


@pytest.fixture(scope="module")
def shelf(tiny_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A real server, since a client inside the process decodes paths twice."""
    root = tmp_path_factory.mktemp("ids")
    server = uvicorn.Server(
        uvicorn.Config(create_app(lambda: Engine(tiny_shop.bundles), chosen(root)), log_level="warning")
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        soon(lambda: server.started, "the service did not start")
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
            yield Shelf(client, root)
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(shelf: Shelf) -> httpx.Client:
    return shelf.client


def at(path: str, name: str, key: str) -> str:
    """Where something of this name is; the ids that clients take for steps in a path stand in the query string."""
    return f"{path}?{key}={quote(name, safe='')}" if name in (".", "..") else f"{path}/{quote(name, safe='')}"


def works(client: httpx.Client, name: str) -> None:
    """A user, a session, an item and a page of this name live and are forgotten."""
    now, number = time.time_ns() // 1_000_000, next(_NUMBER)
    about = {"time": now, "user_id": name, "session_id": name}
    told = [
        {"type": "item", "item_id": name, "title": "running shoes", "price": 1.0},
        {"type": "impression", "request_id": name, "surface": "search", "items": [{"item_id": name, "position": 0}]},
        {"type": "feedback", "request_id": name, "item_id": name, "action": "click"},
    ]
    events = [(about if each["type"] != "item" else {"time": now}) | each for each in told]
    events = [each | {"event_id": f"{number}-{place}"} for place, each in enumerate(events)]
    taken = client.post("/v1/events", json=events).json()
    assert taken["accepted"] == 3, taken
    wanted = {"query": "running shoes", "user_id": name, "page_size": 100}
    asked = client.post(
        "/v1/rank", json={"items": [{"item_id": name}], "query": "running shoes", "user_id": name}
    ).json()
    assert asked["items"][0]["item_id"] == name
    assert "reason" not in asked["items"][0]
    left = client.post("/v1/search", json={**wanted, "filters": {"exclude_items": [name]}}).json()
    assert name not in [item["item_id"] for item in left["items"]]
    assert (
        client.post("/v1/recommend", json={"surface": "similar", "item_id": name, "user_id": name}).status_code == 200
    )
    why = client.get(f"/v1/requests/{left['request_id']}/explain", params={"item_id": name}).json()
    assert why["item_id"] == name
    assert client.get("/playground/items", params={"item_id": [name, "x"]}).json()["items"][0]["item_id"] == name
    forgotten = client.delete(at("/v1/users", name, "user_id"))
    assert forgotten.status_code == 200, (name, forgotten.text)
    assert forgotten.json()["user_id"] == name
    assert forgotten.json()["events_removed"] >= 2


@pytest.mark.parametrize("name", ODD)
def test_an_odd_id_works_everywhere(client: httpx.Client, name: str) -> None:
    works(client, name)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS)
def test_any_id_works_everywhere(client: httpx.Client, name: str) -> None:
    works(client, name)


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS)
def test_a_page_of_any_name_is_paged(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    name = name[:120]
    from serving_fakes import FakeEngine

    with calling(FakeEngine(), chosen(tmp_path_factory.mktemp("names"), replay=True)) as client:
        body = {"query": "shoes", "request_id": name, "page_size": 2}
        assert client.post("/v1/search", json=body).json()["request_id"] == name
        assert len(client.post("/v1/search", json={**body, "page": 1}).json()["items"]) == 2


@pytest.mark.parametrize(
    "path", ["/v1/users/%FF", "/v1/users/a%C3", "/v1/requests/%FF/explain", "/v1/users?user_id=%ff"]
)
def test_what_is_no_text_is_no_id(client: httpx.Client, path: str) -> None:
    answer = client.request("GET" if "explain" in path else "DELETE", path)
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/v1/users/", "/v1/users", "/v1/users?user_id=", f"/v1/users/{'a' * 129}", "/v1/users/%00"]
)
def test_no_id_and_what_is_none_are_refused(client: httpx.Client, path: str) -> None:
    assert client.delete(path).status_code == 422


def test_logs_and_exports_hold_ids_as_they_were_written(shelf: Shelf, tmp_path: Path) -> None:
    names = [f"kept {name}"[:128] for name in ODD]
    events = [
        {
            "event_id": name,
            "type": "feedback",
            "time": 1_700_000_000_000,
            "user_id": name,
            "item_id": name,
            "action": "x",
        }
        for name in names
    ]
    assert shelf.client.post("/v1/events", json=events).json()["accepted"] == len(set(names))
    export(shelf.root, tmp_path / "log")
    rows = Log.open(tmp_path / "log").frame("feedback").filter(pl.col("action") == "x")
    for column in ("event_id", "user_id", "item_id"):
        assert set(rows[column]) == set(names)


def test_a_file_of_users_holds_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ann lee\n01\n \norg/9\n\n")
    feedback = pl.DataFrame({"user_id": ["ann lee"]})
    assert sorted(_read_users(tmp_path / "users", feedback)) == ["01", "ann lee", "org/9"]


@pytest.mark.parametrize("name", ["-x", "--help", "a b", "org/9", "=1", "日本"])
def test_the_command_line_takes_any_id(tiny_shop: Shop, name: str) -> None:
    bundle = str(tiny_shop.bundles)
    args = ["explain", "--bundle", bundle, "--user", name, "--query", "shoes", "--item", name]
    done = CliRunner().invoke(cli, args, standalone_mode=False)
    assert done.exception is None, done.output
    assert json.loads(done.output)["item_id"] == name


@pytest.mark.parametrize("name", [name[:100] for name in ODD if name not in (".", "..")])
def test_a_request_of_any_name_is_explained(shelf: Shelf, name: str) -> None:
    slates = Slates(f"sqlite:///{shelf.root / 'slates.db'}", 600, 1_000)
    slates.keep(Kept("search", 0, "search", {"query": "shoes"}, {}, Slate(name, "b", 0, "search")))
    slates.close()
    answer = shelf.client.get(f"/v1/requests/{quote(name, safe='')}/explain")
    assert answer.status_code == 200
    assert answer.json()["request_id"] == name
