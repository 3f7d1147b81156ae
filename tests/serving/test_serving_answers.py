"""Search, recommend, rank and suggest over HTTP: what is asked arrives, what is ranked is answered, page by page."""

from pathlib import Path

import pytest
from serving_fakes import FakeEngine, TestClient, calling, settings


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_search_answers_every_field_of_the_contract(client: TestClient) -> None:
    answer = client.post("/v1/search", json={"query": "shoe"}).json()
    assert set(answer) == {
        *("request_id", "items", "total", "facets", "refinements", "degraded", "bundle", "arm", "took_ms"),
    }
    assert ids(answer) == [f"i{n:03d}" for n in range(20)]
    assert answer["items"][3] == {
        "item_id": "i003",
        "position": 3,
        "score": 0.997,
        "p_click": 0.5,
        "p_convert": None,
        "kind": "product",
        "sponsored": False,
        "channels": ["lexical", "popular"],
    }
    assert (answer["total"], answer["bundle"], answer["arm"]) == (250, "b-one", "main")


def test_the_engine_is_asked_what_the_caller_asked(client: TestClient, engine: FakeEngine) -> None:
    body = {"query": "Shoe", "user_id": "ann", "sort": "price_asc", "context": {"region": "be"}, "diversity": 0.5}
    body |= {"filters": {"brand": ["acme"]}, "kinds": ["product"], "weights": {"click": 2}}
    client.post("/v1/search", json=body)
    ask = engine.asks[-1]
    assert (ask.query, ask.subject, ask.surface, ask.sort) == ("Shoe", "ann", "search", "price_asc")
    assert (ask.segment, ask.diversity, ask.weights) == ("be", 0.5, {"click": 2.0})
    assert (ask.filters.brand, ask.filters.kind) == (("acme",), ("product",))


def test_a_session_stands_in_for_a_user(client: TestClient, engine: FakeEngine) -> None:
    client.post("/v1/recommend", json={"surface": "home", "session_id": "x"})
    assert (engine.asks[-1].subject, engine.asks[-1].surface) == ("s:x", "home")


def test_pages_are_cut_from_one_slate(client: TestClient, engine: FakeEngine) -> None:
    first = client.post("/v1/search", json={"query": "a", "page_size": 30}).json()
    asked = len(engine.asks)
    engine.pinned = ["i249"]  # whatever changes meanwhile, the slate stays
    body = {"query": "a", "page": 1, "page_size": 30, "request_id": first["request_id"]}
    second = client.post("/v1/search", json=body).json()
    assert second["request_id"] == first["request_id"]
    assert ids(second) == [f"i{n:03d}" for n in range(30, 60)]
    assert second["items"][0]["position"] == 30
    assert len(engine.asks) == asked


def test_a_page_at_the_end_is_short_and_one_beyond_is_empty(client: TestClient) -> None:
    request_id = client.post("/v1/search", json={"query": "a"}).json()["request_id"]
    pages = {}
    for page in (2, 5):  # the slate has 200 items: page 2 of 80 has 40, page 5 none
        body = {"query": "a", "page": page, "page_size": 80, "request_id": request_id}
        pages[page] = client.post("/v1/search", json=body).json()
    assert (len(pages[2]["items"]), pages[5]["items"]) == (40, [])


FIRST = {"query": "Red shoe", "user_id": "ann", "sort": "newest", "filters": {"brand": ["acme"]}, "kinds": ["product"]}
FIRST |= {"diversity": 0.5, "weights": {"click": 2.0}, "page_size": 30}

# what a later page asks differently from FIRST, and the fields that are named
OTHERS: dict[str, tuple[dict[str, object], list[str]]] = {
    "another query": ({"query": "blue shoe"}, ["query"]),
    "no query": ({"query": ""}, ["query"]),
    "another user": ({"user_id": "bob"}, ["user_id"]),
    "a session besides": ({"session_id": "s"}, ["session_id"]),
    "another sort": ({"sort": "price_asc"}, ["sort"]),
    "the default sort": ({"sort": "relevance"}, ["sort"]),
    "another filter": ({"filters": {"brand": ["other"]}}, ["filters"]),
    "no filter": ({"filters": {}}, ["filters"]),
    "one filter more": ({"filters": {"brand": ["acme"], "price": {"max": 5}}}, ["filters"]),
    "another kind": ({"kinds": ["service"]}, ["kinds"]),
    "another kind by filter": ({"filters": {"kind": ["service"]}, "kinds": None}, ["filters"]),
    "another diversity": ({"diversity": 0.0}, ["diversity"]),
    "other weights": ({"weights": {"click": 3.0}}, ["weights"]),
    "everything": ({"query": "x", "user_id": "bob", "sort": "price_desc"}, ["user_id", "sort", "query"]),
}


@pytest.mark.parametrize(("other", "fields"), OTHERS.values(), ids=OTHERS)
def test_a_later_page_of_another_request_is_refused_by_field(
    client: TestClient, other: dict[str, object], fields: list[str]
) -> None:
    request_id = client.post("/v1/search", json=FIRST).json()["request_id"]
    answer = client.post("/v1/search", json={**FIRST, **other, "page": 1, "request_id": request_id})
    assert answer.status_code == 422
    assert sorted(error["field"] for error in answer.json()["errors"]) == sorted(fields)


# what a later page may say
SAME: dict[str, dict[str, object]] = {
    "the same": FIRST,
    "the query alone": {"query": "Red shoe"},
    "the query as it is compared": {"query": "  red  SHOE "},
    "filters without the kinds": {"query": "Red shoe", "filters": {"brand": ["acme"]}},
    "kinds as a filter": {"query": "Red shoe", "filters": {"brand": ["acme"], "kind": ["product"]}},
    "an open price": {"query": "Red shoe", "filters": {"brand": ["acme"], "price": None}},
    "another place": FIRST | {"context": {"scrolled": 800}, "explain": True},
    "nothing, in so many words": {"query": "Red shoe", "user_id": None, "diversity": None},
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_a_later_page_repeats_what_was_asked_or_leaves_it_out(client: TestClient, same: dict[str, object]) -> None:
    request_id = client.post("/v1/search", json=FIRST).json()["request_id"]
    answer = client.post("/v1/search", json={**same, "page": 1, "request_id": request_id})
    assert answer.status_code == 200, answer.text
    assert (ids(answer.json())[0], len(answer.json()["items"])) == ("i030", 30)  # the size, too, is page 0's


@pytest.mark.parametrize("door", ["recommend", "rank"])
def test_a_later_page_is_asked_where_the_first_was(client: TestClient, door: str) -> None:
    body = {"surface": "home"} if door == "recommend" else {"items": [{"item_id": "i001"}]}
    request_id = client.post(f"/v1/{door}", json=body).json()["request_id"]
    answer = client.post("/v1/search", json={"query": "a", "page": 1, "request_id": request_id})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "request_id")
    assert f"/v1/{door}" in answer.json()["detail"]


def test_a_later_page_of_recommendations_is_of_the_same_surface_and_item(client: TestClient) -> None:
    first = {"surface": "similar", "item_id": "i001"}
    request_id = client.post("/v1/recommend", json=first).json()["request_id"]
    for other, field in (({"surface": "home"}, "surface"), ({"item_id": "i002"}, "item_id")):
        answer = client.post("/v1/recommend", json={**first, **other, "page": 1, "request_id": request_id})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_slate_is_shared_by_the_workers_of_one_root(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as one, calling(FakeEngine(), settings(tmp_path)) as other:
        request_id = one.post("/v1/search", json={"query": "a"}).json()["request_id"]
        answer = other.post("/v1/search", json={"query": "a", "page": 1, "request_id": request_id})
    assert ids(answer.json())[0] == "i020"


def test_explain_adds_the_trace(client: TestClient) -> None:
    answer = client.post("/v1/search", json={"query": "a", "explain": True}).json()
    assert answer["trace"] == [
        {"stage": "rank", "rows_in": 250, "rows_out": 200, "ms": 1.5, "fallback": "", "reason": ""}
    ]


def test_an_unknown_seed_is_answered_and_said(client: TestClient) -> None:
    answer = client.post("/v1/recommend", json={"surface": "similar", "item_id": "nowhere"})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["unknown_item"]


def test_a_batch_answers_each_user_under_a_request_of_its_own(client: TestClient, engine: FakeEngine) -> None:
    body = {"user_ids": ["ann", "bob"], "surface": "home", "page_size": 2}
    results = client.post("/v1/recommend/batch", json=body).json()["results"]
    assert [result["user_id"] for result in results] == ["ann", "bob"]
    assert results[0]["request_id"] != results[1]["request_id"]
    assert [ask.subject for ask in engine.asks[-2:]] == ["ann", "bob"]
    assert [len(result["items"]) for result in results] == [2, 2]


def test_rank_answers_each_of_the_callers_items_once(client: TestClient) -> None:
    items = [{"item_id": name} for name in ("i005", "new", "i001")]
    answer = client.post("/v1/rank", json={"items": items, "query": "a"}).json()
    assert ids(answer) == ["i005", "new", "i001"]
    assert [item.get("reason") for item in answer["items"]] == [None, "unknown_item", None]


def test_rank_is_not_cut_to_a_page(client: TestClient) -> None:
    items = [{"item_id": f"x{n}", "price": 3} for n in range(300)]
    assert len(client.post("/v1/rank", json={"items": items}).json()["items"]) == 300


def test_suggestions_come_with_all_their_fields(client: TestClient) -> None:
    answer = client.get("/v1/suggest", params={"placement": "complete", "prefix": "sh", "limit": 2}).json()
    assert answer["suggestions"][1] == {
        "query": "sh1",
        "display": "sh1",
        "score": 1.0,
        "source": "log",
        "highlight": [[0, 1]],
    }
    assert len(answer["suggestions"]) == 2


def test_a_deadline_reaches_the_engine(client: TestClient, engine: FakeEngine) -> None:
    client.post("/v1/search", json={"query": "a"}, headers={"X-Deadline-Ms": "5000"})
    client.post("/v1/search", json={"query": "a"})
    due, none = engine.deadlines[-2:]
    assert due is not None
    assert none is None


def test_a_served_request_is_explained_by_what_was_served(client: TestClient) -> None:
    request_id = client.post("/v1/search", json={"query": "a", "user_id": "ann"}).json()["request_id"]
    url = f"/v1/requests/{request_id}/explain"
    found = client.get(url, params={"item_id": "i004"}).json()
    assert (found["shown"], found["position"], found["found_by"]) == (True, 4, ["lexical"])
    assert client.get(url, params={"item_id": "i249"}).json()["shown"] is False  # beyond the slate's 200
    assert client.get(url).json()["trace"][0]["stage"] == "rank"


def test_a_replayed_similar_page_may_lack_its_item(tmp_path: Path) -> None:
    engine = FakeEngine()
    with calling(engine, settings(tmp_path, replay=True)) as client:
        assert client.post("/v1/recommend", json={"surface": "similar"}).status_code == 200
    assert (engine.asks[-1].surface, engine.asks[-1].item_id) == ("similar", None)


@pytest.mark.parametrize("body", [{"at": "2024-01-01T00:00:00Z"}, {"at": 1_704_067_200_000}])
def test_a_replay_asks_in_its_own_time_and_under_its_own_ids(tmp_path: Path, body: dict) -> None:
    engine = FakeEngine()
    with calling(engine, settings(tmp_path, replay=True)) as client:
        answer = client.post("/v1/search", json={"query": "a", "request_id": "r" * 128, **body})
    assert answer.json()["request_id"] == "r" * 128
    assert engine.asks[-1].time == 1_704_067_200_000  # 2024-01-01 in ms
