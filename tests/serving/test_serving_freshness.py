"""A trained service knows on the next request what it was told before: acts, new items, new words, what is gone."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving_fakes import TestClient, calling, settings

from pipeline.features.text import tokens
from retrieval.documents import documents
from serving.engine import Engine
from tests.shop import Shop

_NUMBER = itertools.count()


@dataclass
class Desk:
    """A running service over a trained shop, and ways to ask it."""

    client: TestClient
    engine: Engine

    def post(self, *events: dict[str, object]) -> None:
        assert self.client.post("/v1/events", json=events).json()["accepted"] == len(events)

    def ask(self, door: str, **body: object) -> dict:
        sized = body if door == "rank" else {"page_size": 100, **body}
        answer = self.client.post(f"/v1/{door}", json=sized)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def shown(self, door: str, **body: object) -> list[str]:
        return [item["item_id"] for item in self.ask(door, **body)["items"]]

    def described(self, item_id: str, **changed: object) -> dict[str, object]:
        """A known item described again, but for what changed."""
        catalogue = self.engine.state.catalogue
        row = catalogue.rows.row(catalogue.index[item_id], named=True)
        words = ("title", "text", "brand", "category", "tags", "kind")
        kept = {name: row[name] for name in (*words, "currency", "price", "available")}
        return event("item", item_id=item_id, **{**kept, **changed})


def event(what: str, /, **fields: object) -> dict[str, object]:
    return {"event_id": f"{what}-{next(_NUMBER)}", "type": what, "time": time.time_ns() // 1_000_000, **fields}


@pytest.fixture(scope="module")
def engine(tiny_shop: Shop) -> Engine:
    return Engine(tiny_shop.bundles)


@pytest.fixture
def desk(engine: Engine, tiny_shop: Shop, tmp_path: Path) -> Iterator[Desk]:
    own = engine.changed(lambda parts: parts)  # the same open files, its own events
    with calling(own, settings(tmp_path)) as client:  # type: ignore[arg-type]
        yield Desk(client, own)


@pytest.fixture
def user(engine: Engine) -> str:
    return engine.sample_users(1)[0]


def test_an_act_is_in_the_sequence_of_the_very_next_request(desk: Desk) -> None:
    def channels() -> set[str]:
        answer = desk.ask("recommend", surface="home", user_id="somebody new")
        return {channel for item in answer["items"] for channel in item["channels"]}

    assert "popular" in channels() <= {"popular", "tower"}
    desk.post(
        event("feedback", user_id="somebody new", item_id=desk.shown("recommend", surface="home")[0], action="click")
    )
    # What others acted on after the same item; whether the towers are asked, training says.
    assert {"popular", "covisit"} <= channels() <= {"popular", "covisit", "tower"}


@pytest.mark.parametrize(
    ("action", "surface"), [("hide", "home"), ("purchase", "recommend"), ("purchase", "cart page")]
)
def test_a_hide_or_a_purchase_acts_at_once_also_on_the_pages_of_a_kept_answer(
    desk: Desk, user: str, action: str, surface: str
) -> None:
    body = {"surface": surface, "user_id": user, "page_size": 10}
    first = desk.ask("recommend", **body)
    later = {**body, "page": 1, "request_id": first["request_id"]}
    page = desk.shown("recommend", **later)
    others = desk.shown("recommend", surface=surface, user_id="somebody else", page_size=100)
    place = next(place for place, item in enumerate(page) if item in others)
    gone = page[place]
    desk.post(event("feedback", user_id=user, item_id=gone, action=action))
    again = desk.ask("recommend", **later)
    left = [at for at in range(10) if at != place]
    assert [item["item_id"] for item in again["items"]] == [page[at] for at in left]
    assert [item["position"] for item in again["items"]] == [10 + at for at in left]
    assert again["total"] == first["total"] - 1
    assert gone not in desk.shown("recommend", **body)
    batch = desk.ask("recommend/batch", surface=surface, user_ids=[user, "somebody else"], page_size=100)["results"]
    assert [gone in [item["item_id"] for item in each["items"]] for each in batch] == [False, True]


def test_configuration_says_which_surfaces_what_was_bought_leaves(tiny_shop: Shop, tmp_path: Path) -> None:
    config = tmp_path / "podium.toml"
    config.write_text('[retrieval.exclude.purchase]\nsurfaces = ["search", "cart*"]\n')
    asks = {
        "search": {"query": "shirt"},
        "cart page": {"surface": "cart page"},
        "home": {"surface": "home"},
    }
    engine = Engine(tiny_shop.bundles, config=config)
    with calling(engine, settings(tmp_path)) as client:  # type: ignore[arg-type]
        desk = Desk(client, engine)

        def shown(name: str, **more: object) -> list[str]:
            return desk.shown("search" if name == "search" else "recommend", user_id="buyer", **asks[name], **more)

        before = {name: shown(name) for name in asks}
        item = next(item for item in before["search"] if all(item in items for items in before.values()))
        desk.post(event("feedback", user_id="buyer", item_id=item, action="purchase"))
        assert {name: item in shown(name) for name in asks} == {"search": False, "cart page": False, "home": True}


def test_a_new_item_is_found_by_its_words_and_beside_its_like(desk: Desk, user: str) -> None:
    like = desk.shown("recommend", surface="home", user_id=user)[0]
    row = desk.engine.items([like])[0]
    desk.post(event("item", item_id="brand-new", title=f"zyxel {row['title']}", category=row["category"], price=5.0))
    assert desk.shown("search", query="zyxel") == ["brand-new"]
    desk.post(event("feedback", user_id=user, item_id=like, action="click"))
    beside = desk.ask("recommend", surface="similar", item_id=like)
    channels = {item["item_id"]: item["channels"] for item in beside["items"]}
    assert "fresh" in channels["brand-new"]
    assert "brand-new" in desk.shown("recommend", surface="home", user_id=user)
    assert desk.ask("recommend", surface="similar", item_id="brand-new")["degraded"] == []
    ranked = desk.ask("rank", items=[{"item_id": "brand-new"}])
    assert "reason" not in ranked["items"][0]


def test_a_changed_title_is_found_by_its_new_words_alone(desk: Desk) -> None:
    def channels() -> dict[str, list[str]]:
        return {item["item_id"]: item["channels"] for item in desk.ask("search", query="shirt")["items"]}

    item_id = next(item for item, found in channels().items() if "lexical" in found)
    desk.post(desk.described(item_id, title="quuxel tray", text=None, category=["Trays"], tags=[]))
    assert desk.shown("search", query="quuxel") == [item_id]
    assert "lexical" not in channels().get(item_id, [])


@pytest.mark.parametrize("door", ["search", "recommend"])
def test_an_item_that_became_unavailable_is_gone_from_every_surface(desk: Desk, user: str, door: str) -> None:
    body = {"query": "shirt"} if door == "search" else {"surface": "home", "user_id": user}
    body["filters"] = {"category": [desk.engine.items(desk.shown("search", query="shirt")[:1])[0]["category"]]}
    before = desk.ask(door, **body)
    kept = desk.ask(door, **body, page_size=1)["request_id"]
    gone, seed = (item["item_id"] for item in before["items"][:2])
    (brand,) = {row["brand"] for row in desk.engine.items([gone])}
    desk.post(desk.described(gone, available=False))
    after = desk.ask(door, **body)
    later = desk.ask(door, **body, page=1, page_size=1, request_id=kept)
    assert gone not in [item["item_id"] for item in after["items"]]
    assert (after["total"], later["total"]) == (before["total"] - 1, before["total"] - 1)
    assert after["facets"]["brand"].get(brand, 0) == before["facets"]["brand"][brand] - 1
    assert later["facets"] == after["facets"]
    assert gone not in desk.shown("recommend", surface="similar", item_id=seed)
    ranked = desk.ask("rank", items=[{"item_id": gone}, {"item_id": seed}])
    assert {item["item_id"]: item.get("reason") for item in ranked["items"]} == {gone: "unavailable", seed: None}
    desk.post(desk.described(gone, available=True))
    assert gone in [item["item_id"] for item in desk.ask(door, **body)["items"]]


def test_what_leads_nowhere_is_not_suggested_until_it_leads_somewhere_again(desk: Desk) -> None:
    asks = [
        {"prefix": "dri"},
        {"placement": "hint"},
        {"placement": "discover"},
        {"placement": "rescue", "query": "drll"},
    ]

    def suggested() -> list[list[str]]:
        answers = [desk.client.get("/v1/suggest", params={"limit": 50, **asked}).json() for asked in asks]
        return [[each["query"] for each in answer["suggestions"]] for answer in answers]

    before = suggested()
    assert all(before)
    assert len(before[1]) == 1
    catalogue = desk.engine.state.catalogue
    desk.post(*(desk.described(item_id, available=False) for item_id in catalogue.ids[1:]))
    assert suggested() == [[], [], [], []]
    drill = next(
        row["item_id"] for row in catalogue.rows.iter_rows(named=True) if "drill" in tokens(row["title"] or "")
    )
    words = {word for lists in documents(catalogue.rows[[catalogue.index[drill]]]) for own in lists[0] for word in own}
    desk.post(desk.described(drill, available=True))
    now = suggested()
    assert "drill" in now[0]
    assert all(set(tokens(query)) & words for queries in now for query in queries)
    desk.post(*(desk.described(item_id, available=True) for item_id in catalogue.ids[1:]))
    assert suggested() == before
