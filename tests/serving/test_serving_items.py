"""Items one by one, the fields of answers, and ids that nobody describes."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from serving_fakes import FakeEngine, TestClient, calling, settings

from pipeline.catalogue import build_catalogue
from pipeline.logs.read import Log
from serving.engine import Engine
from serving.run import export
from tests.frames import frame, item
from tests.shop import Shop

_NUMBER = itertools.count()
SHOE = {"title": "zq purple shoe", "brand": "Ada", "category": ["shoes"], "price": 30.0, "attributes": {"size": 9}}


def event(what: str, /, **fields: object) -> dict[str, object]:
    return {"event_id": f"{what}-{next(_NUMBER)}", "type": what, "time": time.time_ns() // 1_000_000, **fields}


@pytest.fixture
def client(tiny_shop: Shop, tmp_path: Path) -> Iterator[TestClient]:
    with calling(Engine(tiny_shop.bundles), settings(tmp_path)) as client:  # type: ignore[arg-type]
        assert client.post("/v1/events", json=[event("item", item_id="org/9", **SHOE)]).json()["accepted"] == 1
        yield client


def found(client: TestClient, **asked: object) -> dict[str, dict]:
    answer = client.post("/v1/search", json={"query": "zq purple", "page_size": 100, **asked})
    assert answer.status_code == 200, answer.text
    return {each["item_id"]: each for each in answer.json()["items"]}


def test_a_patch_changes_what_it_names_and_is_known_at_once(client: TestClient, tmp_path: Path) -> None:
    for n, patch in enumerate(({"price": 8}, {"attributes": {"color": "red"}}, {"brand": None}, {"price": 7.5}, {})):
        answer = client.patch("/v1/items/org%2F9", json=patch)
        assert answer.status_code == 200, (n, answer.text)
    stands = client.get("/v1/items/org%2F9").json()
    assert stands == answer.json()
    assert (stands["title"], stands["brand"], stands["price"]) == ("zq purple shoe", None, 7.5)
    assert stands["attributes"] == {"size": 9, "color": "red"}
    assert "org/9" in found(client, filters={"attributes": {"color": ["red"]}, "price": {"max": 7.5}})
    export(tmp_path, tmp_path / "log")
    rows = Log.open(tmp_path / "log").frame("item")
    assert rows["partial"].to_list() == [False, True, True, True, True]
    assert build_catalogue(rows, pl.Series([], dtype=pl.String)).rows["price"][-1] == 7.5


def test_a_restarted_service_knows_the_item_as_it_stood(tiny_shop: Shop, tmp_path: Path, client: TestClient) -> None:
    client.patch("/v1/items/org%2F9", json={"price": 8})
    with calling(Engine(tiny_shop.bundles), settings(tmp_path)) as again:  # type: ignore[arg-type]
        assert again.get("/v1/items/org%2F9").json() == client.get("/v1/items/org%2F9").json()


def test_a_removed_item_is_shown_nowhere_until_it_is_described_again(client: TestClient) -> None:
    page = client.post("/v1/search", json={"query": "zq purple", "page_size": 100}).json()
    place = [each["item_id"] for each in page["items"]].index("org/9")
    for _ in range(2):
        assert client.delete("/v1/items?item_id=org/9").json() == {"item_id": "org/9", "removed": True}
    assert "org/9" not in found(client)
    if place:
        body = {"query": "zq purple", "page": place, "page_size": 1, "request_id": page["request_id"]}
        assert client.post("/v1/search", json=body).json()["items"] == []
    assert client.get("/v1/items/org%2F9").status_code == 404
    assert client.patch("/v1/items/org%2F9", json={"price": 1}).status_code == 404
    assert client.get("/playground/items", params={"item_id": ["org/9"]}).json() == {"items": []}
    ranked = client.post("/v1/rank", json={"items": [{"item_id": "org/9"}]}).json()
    assert ranked["items"][0]["reason"] == "unavailable"
    client.post("/v1/events", json=[event("item", item_id="org/9", partial=True, available=True, price=3)])
    assert "org/9" not in found(client)
    client.post("/v1/events", json=[event("item", item_id="org/9", **SHOE)])
    assert "org/9" in found(client)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_item_nobody_describes_is_a_404(client: TestClient, method: str) -> None:
    client.post("/v1/events", json=[event("feedback", user_id="u", item_id="named", action="click")])
    for name in ("named", "never"):
        body = {"json": {"price": 1}} if method == "PATCH" else {}
        assert client.request(method, f"/v1/items/{name}", **body).status_code == 404


def test_a_wrong_patch_is_refused_by_field(client: TestClient) -> None:
    for patch, field in (
        ({"price": -1}, "price"), ({"price": "8"}, "price"), ({"colour": "red"}, "colour"),
        ({"item_id": "b"}, "item_id"),
        ({"partial": False}, "partial"), ({"title": 3}, "title"), ({"tags": [1]}, "tags[0]"), ({"time": 1}, "time"),
        ({"category": [None]}, "category[0]"), ({"attributes": []}, "attributes"), ({"kind": ""}, "kind"),
    ):  # fmt: skip
        answer = client.patch("/v1/items/org%2F9", json=patch)
        assert answer.status_code == 422, patch
        assert answer.json()["errors"][0]["field"] == field
    assert client.get("/v1/items/org%2F9").json()["price"] == 30.0


def test_answers_carry_the_fields_that_are_named(client: TestClient) -> None:
    names = ["title", "price", "attributes.size", "attributes.none", "available"]
    (shoe,) = [each for each in found(client, fields=names).values() if each["item_id"] == "org/9"]
    told = {"title": "zq purple shoe", "price": 30.0, "attributes.size": 9, "attributes.none": None, "available": True}
    assert shoe["fields"] == told
    assert "fields" not in found(client)["org/9"]
    ranked = client.post(
        "/v1/rank", json={"items": [{"item_id": "org/9"}, {"item_id": "never"}], "fields": names}
    ).json()
    by_name = {each["item_id"]: each for each in ranked["items"]}
    assert by_name["org/9"]["fields"] == told
    assert by_name["never"]["reason"] == "unknown_item"
    assert by_name["never"]["fields"]["title"] is None
    batch = {"user_ids": ["a", "b"], "surface": "home", "fields": ["brand"]}
    for result in client.post("/v1/recommend/batch", json=batch).json()["results"]:
        assert all(set(each["fields"]) == {"brand"} for each in result["items"])


def test_a_later_page_carries_them_as_they_stand_then(client: TestClient) -> None:
    asked = {"surface": "home", "page_size": 2, "fields": ["price"]}
    first = client.post("/v1/recommend", json=asked).json()
    body = {"surface": "home", "page": 1, "request_id": first["request_id"]}
    second = client.post("/v1/recommend", json=body).json()["items"]
    assert all(set(each["fields"]) == {"price"} for each in second)
    client.patch(f"/v1/items/{second[0]['item_id']}", json={"price": 123})
    assert client.post("/v1/recommend", json=body).json()["items"][0]["fields"] == {"price": 123.0}
    renamed = client.post("/v1/recommend", json={**body, "fields": ["brand"]}).json()["items"]
    assert all(set(each["fields"]) == {"brand"} for each in renamed)


@pytest.mark.parametrize(
    ("path", "body"),
    [("search", {"query": "a"}), ("recommend", {"surface": "home"}), ("rank", {"items": [{"item_id": "a"}]})],
)
def test_an_unknown_field_is_refused(client: TestClient, path: str, body: dict[str, object]) -> None:
    for name in ("colour", "vector", "attributes.", "", "item_id", "price.x"):
        answer = client.post(f"/v1/{path}", json={**body, "fields": ["price", name]})
        assert answer.status_code == 422, name
        assert answer.json()["errors"][0]["field"] == "fields[1]"


def test_what_only_feedback_names_is_never_recommended_and_counted(client: TestClient) -> None:
    clicks = [event("feedback", user_id=f"u{n}", item_id="only named", action="purchase") for n in range(50)]
    client.post("/v1/events", json=clicks)
    for body in (
        {"surface": "home", "user_id": "u1"},
        {"surface": "home"},
        {"surface": "similar", "item_id": "only named"},
    ):
        shown = client.post("/v1/recommend", json={**body, "page_size": 100}).json()["items"]
        assert "only named" not in [each["item_id"] for each in shown]
    ranked = client.post("/v1/rank", json={"items": [{"item_id": "only named"}]}).json()["items"]
    assert ranked[0]["reason"] == "unknown_item"
    assert 'podium_items{state="unknown"} 1.0' in client.get("/metrics").text
    assert client.get("/v1/bundle").json()["catalogue"]["unknown"] == 1


def test_unknown_ids_are_accepted_where_configuration_or_the_log_says_so() -> None:
    some, none = frame("item", item("a")), frame("item")
    for rows, unknown, available in ((some, "ignore", False), (some, "accept", True), (none, "ignore", True)):
        catalogue = build_catalogue(rows, pl.Series(["named"])).ignoring(unknown)
        assert bool(catalogue.at(10).available[catalogue.index["named"]]) is available
        live = catalogue.extend(frame("item", item("b", 5)), pl.Series(["also named"]))
        assert bool(live.at(10).available[live.index["also named"]]) is available
        assert bool(live.at(10).available[live.index["b"]])
        described = live.extend(frame("item", item("named", 7)))
        assert bool(described.at(10).available[described.index["named"]])


def test_a_change_needs_the_scope_to_write(tmp_path: Path) -> None:
    from serving.keyring import issue_key

    reader = issue_key(tmp_path / "keys.json", "reader", ["read"])
    with calling(FakeEngine(), settings(tmp_path)) as client:
        headers = {"X-API-Key": reader}
        assert client.get("/v1/items/i001", headers=headers).status_code == 200
        assert client.patch("/v1/items/i001", json={"price": 1}, headers=headers).status_code == 403
        assert client.delete("/v1/items/i001", headers=headers).status_code == 403
