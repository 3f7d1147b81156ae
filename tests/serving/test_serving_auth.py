"""Who may call what."""

import json
from pathlib import Path

import pytest
from serving_fakes import FakeEngine, calling, feedback, settings

from pipeline.errors import ConfigError
from serving.app import create_app
from serving.auth import check_bind
from serving.keyring import add_key, new_key, read_keys

OPEN = ["/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json"]
CALLS = [
    ("read", "POST", "/v1/search", {"query": "a"}),
    ("read", "POST", "/v1/recommend", {"surface": "home"}),
    ("read", "POST", "/v1/recommend/batch", {"surface": "home", "user_ids": ["ann"]}),
    ("read", "POST", "/v1/rank", {"items": [{"item_id": "a"}]}),
    ("read", "GET", "/v1/suggest?prefix=a", None),
    ("read", "GET", "/playground/users", None),
    ("read", "GET", "/playground/items?item_id=i001", None),
    ("write", "POST", "/v1/events", feedback()),
    ("admin", "GET", "/v1/rules", None),
    ("admin", "PUT", "/v1/rules", []),
    ("admin", "DELETE", "/v1/rules", None),
    ("admin", "GET", "/v1/bundle", None),
    ("admin", "DELETE", "/v1/users/zoe", None),
]


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """A key for each scope."""
    given = {}
    for scope in ("read", "write", "admin"):
        given[scope], key = new_key(scope, [scope])
        add_key(tmp_path / "keys.json", key)
    return given


def test_a_call_needs_the_scope_of_its_route(tmp_path: Path, secrets: dict[str, str]) -> None:
    with calling(FakeEngine(), settings(tmp_path, host="0.0.0.0")) as client:
        for needed, method, path, body in CALLS:
            for scope, secret in secrets.items():
                response = client.request(method, path, json=body, headers={"Authorization": f"Bearer {secret}"})
                allowed = scope in (needed, "admin")
                assert (response.status_code < 300) is allowed, (scope, method, path, response.text)
                assert allowed or response.status_code == 403
            assert client.request(method, path, json=body).status_code == 401, path


def test_health_metrics_and_pages_need_no_key(tmp_path: Path, secrets: dict[str, str]) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)


def test_a_key_may_come_in_either_header(tmp_path: Path, secrets: dict[str, str]) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        response = client.post("/v1/search", json={"query": "a"}, headers={"X-API-Key": secrets["read"]})
        assert response.status_code == 200
        response = client.post("/v1/search", json={"query": "a"}, headers={"X-API-Key": secrets["read"] + "x"})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"


def test_who_may_not_call_learns_nothing_about_the_body(tmp_path: Path, secrets: dict[str, str]) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        assert client.post("/v1/search", json={"colour": "red"}).status_code == 401


@pytest.mark.parametrize("field", [{"at": 5}, {"request_id": "mine"}])
def test_ones_own_time_or_id_needs_the_admin_scope(tmp_path: Path, secrets: dict[str, str], field: dict) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        for scope, status in (("read", 403), ("admin", 200)):
            body = {"query": "a"} | field
            response = client.post("/v1/search", json=body, headers={"X-API-Key": secrets[scope]})
            assert response.status_code == status, response.text
            params = {"prefix": "a"} | field
            response = client.get("/v1/suggest", params=params, headers={"X-API-Key": secrets[scope]})
            assert response.status_code == status, response.text


def test_the_file_of_keys_holds_no_secret(tmp_path: Path, secrets: dict[str, str]) -> None:
    text = (tmp_path / "keys.json").read_text()
    assert not any(secret in text for secret in secrets.values())
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    assert [key.name for key in read_keys(tmp_path / "keys.json")] == ["read", "write", "admin"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_without_keys_only_loopback_is_served(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        create_app(FakeEngine, settings(tmp_path, host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_bind(host, None)


@pytest.mark.parametrize(
    "keys", [{"name": "x"}, [{"name": "x"}], [{"name": "x", "hash": "ab", "scopes": ["read"]}], "nonsense"]
)
def test_a_broken_file_of_keys_refuses_to_start(tmp_path: Path, keys: object) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    with pytest.raises(ConfigError, match=r"keys\.json"):
        create_app(FakeEngine, settings(tmp_path))


def test_a_scope_nobody_knows_is_refused(tmp_path: Path) -> None:
    _, key = new_key("x", ["write", "fly"])
    (tmp_path / "keys.json").write_text(json.dumps([{"name": "x", "hash": key.hash, "scopes": key.scopes}]))
    with pytest.raises(ConfigError, match="scopes"):
        read_keys(tmp_path / "keys.json")
