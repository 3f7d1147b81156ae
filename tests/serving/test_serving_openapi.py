"""The OpenAPI document says what the service does."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from serving_fakes import FakeEngine, TestClient

from pipeline.errors import InputError
from pipeline.filters import parse_filters
from pipeline.rules import Rule, parse_rules
from serving.documented import FilterKeys, RuleBook

# filters, and whether they are; what the document says and what the parser does are compared
FILTERS: list[tuple[Any, bool]] = [
    ({}, True),
    ({"category": [["Shoes"], ["Bags", "Belts"]]}, True),
    ({"category": []}, True),
    ({"category": ["Shoes"]}, False),
    ({"category": [[]]}, False),
    ({"category": [["a", "b", "c", "d", "e"]]}, False),
    ({"category": [[1]]}, False),
    ({"category": "Shoes"}, False),
    ({"brand": ["a", "b"], "region": ["be"], "tags": ["new"], "kind": ["product"], "exclude_items": ["i1"]}, True),
    ({"brand": "a"}, False),
    ({"brand": [None]}, False),
    ({"brand": None}, False),
    ({"tags": [1]}, False),
    ({"region": {"be": True}}, False),
    ({"price": {"min": 1, "max": 2.5}}, True),
    ({"price": {"min": None}}, True),
    ({"price": {}}, True),
    ({"price": None}, True),
    ({"price": {"low": 1}}, False),
    ({"price": {"min": "1"}}, False),
    ({"price": {"min": True}}, False),
    ({"price": [1, 2]}, False),
    ({"attributes": {"size": [32, 32.5, "M", True]}}, True),
    ({"attributes": None}, True),
    ({"attributes": {"size": "M"}}, False),
    ({"attributes": ["size"]}, False),
    ({"exclude_items": [["i1"]]}, False),
    ({"colour": ["red"]}, False),
    (["brand"], False),
]


@pytest.mark.parametrize(("filters", "fine"), FILTERS, ids=[str(filters)[:50] for filters, _ in FILTERS])
def test_filters_are_documented_as_they_are_read(filters: Any, fine: bool) -> None:
    def read() -> bool:
        try:
            parse_filters(filters)
        except InputError:
            return False
        return True

    def documented() -> bool:
        try:
            FilterKeys.model_validate(filters)
        except ValidationError:
            return False
        return True

    assert (read(), documented()) == (fine, fine)


# rules, and whether they are
RULES: list[tuple[Any, bool]] = [
    ([], True),
    ([{"id": "a", "action": "boost", "brand": "Acme"}], True),
    ([{"id": "a", "action": "pin", "item_ids": ["i1"], "position": 0, "query": "red"}], True),
    ([{"id": "a", "action": "synonym", "terms": ["x"], "synonyms": ["y"]}], True),
    ([{"id": "a", "action": "boost"}], False),
    ([{"id": "a", "action": "pin", "item_ids": ["i1"]}], False),
    ([{"id": "a", "action": "boost", "brand": "Acme", "weight": 99}], False),
    ([{"id": "a", "action": "boost", "brand": "Acme", "colour": 1}], False),
    ([{"action": "boost", "brand": "Acme"}], False),
    ([5], False),
    (5, False),
]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("rules", "fine"), RULES, ids=[str(rules)[:60] for rules, _ in RULES])
def test_rules_are_documented_as_they_are_read(rules: Any, fine: bool, wrapped: bool, client: TestClient) -> None:
    body = {"rules": rules} if wrapped else rules
    try:
        TypeAdapter(RuleBook | list[Rule]).validate_python(body)
    except ValidationError:
        documented = False
    else:
        documented = True
    taken = client.put("/v1/rules", json=body).status_code == 200
    assert (taken, documented) == (fine, fine)
    assert not fine or len(parse_rules(rules)) == len(rules)


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): about for path, all_ in document["paths"].items() for method, about in all_.items()}


# what clients were generated from: a name that changes breaks them
NAMES = {
    ("post", "/v1/search"): "search",
    ("post", "/v1/recommend"): "recommend",
    ("post", "/v1/recommend/batch"): "recommend_batch",
    ("post", "/v1/rank"): "rank",
    ("get", "/v1/suggest"): "suggest",
    ("post", "/v1/events"): "post_events",
    ("get", "/v1/requests/{request_id}/explain"): "explain",
    ("get", "/v1/rules"): "get_rules",
    ("put", "/v1/rules"): "put_rules",
    ("delete", "/v1/rules"): "delete_rules",
    ("get", "/v1/bundle"): "get_bundle",
    ("post", "/v1/bundle/activate"): "activate",
    ("post", "/v1/bundle/rollback"): "go_back",
    ("delete", "/v1/users/{user_id}"): "forget",
    ("get", "/healthz"): "healthz",
    ("get", "/readyz"): "readyz",
    ("get", "/metrics"): "metrics",
}


def test_operations_keep_their_names_and_each_has_its_own(document: dict[str, Any]) -> None:
    found = {place: about["operationId"] for place, about in operations(document).items()}
    assert NAMES.items() <= found.items()
    assert len(set(found.values())) == len(found)


def test_every_problem_is_documented_by_its_media_type(document: dict[str, Any]) -> None:
    for place, about in operations(document).items():
        for status, answer in about["responses"].items():
            if status >= "400":
                assert answer["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}
                }, (place, status)
    assert list(operations(document)["get", "/metrics"]["responses"]["200"]["content"]) == ["text/plain"]


def test_what_is_asked_is_typed(document: dict[str, Any]) -> None:
    asked = document["components"]["schemas"]["SearchRequest"]["properties"]
    assert set(asked["filters"]["properties"]) == set(FilterKeys.model_fields)
    assert asked["filters"]["additionalProperties"] is False
    assert asked["sort"]["enum"] == ["relevance", "price_asc", "price_desc", "newest"]
    assert set(document["components"]["schemas"]["Gains"]["properties"]) == {"click", "purchase"}
    assert [each["type"] for each in asked["at"]["anyOf"]] == ["integer", "string", "null"]
    rules = operations(document)["put", "/v1/rules"]["requestBody"]["content"]["application/json"]["schema"]
    assert [each.get("$ref", each.get("type")) for each in rules["anyOf"]] == ["#/components/schemas/RuleBook", "array"]


def test_every_example_is_answered(client: TestClient, engine: FakeEngine, document: dict[str, Any]) -> None:
    asked = 0
    for (method, path), about in operations(document).items():
        content = about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        name = content.get("$ref", "").rpartition("/")[2]
        schema = document["components"]["schemas"].get(name, content)
        for example in schema.get("examples", []):
            answer = client.request(method, path, json=example)
            assert answer.status_code < 300, (path, example, answer.text)
            asked += 1
    assert asked >= 8
