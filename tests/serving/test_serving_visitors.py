"""A browser is not the operator: under which names the service answers, and which pages may change something."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from serving_fakes import AT_THE_MACHINE, FakeEngine, TestClient, bundles_root, calling, feedback, settings

from pipeline.errors import ConfigError
from serving.app import create_app
from serving.keyring import add_key, new_key
from serving.run import load_settings
from serving.visitors import Hosts

SAME = {"Origin": "http://127.0.0.1:8000"}
UNSAFE = [
    ("POST", "/v1/search", {"query": "a"}),
    ("POST", "/v1/events", feedback()),
    ("PUT", "/v1/rules", []),
    ("DELETE", "/v1/rules", None),
    ("DELETE", "/v1/users/ann", None),
    ("POST", "/v1/bundle/rollback", None),
]
READS = ["/", "/docs", "/openapi.json", "/healthz", "/metrics", "/v1/rules", "/v1/bundle", "/playground/users"]
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "https://127.0.0.1:8000.evil.example"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
]
STRANGE_HOSTS = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "10.0.0.7",
    "",
    "a@localhost",
    "x" * 400,
]
OUR_HOSTS = ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.9.9.9", "shop.localhost"]


def ids(value: object) -> str:
    return json.dumps(value)[:60]


@pytest.mark.parametrize(("method", "path", "body"), UNSAFE, ids=ids)
def test_a_page_of_another_site_changes_nothing(client: TestClient, method: str, path: str, body: object) -> None:
    for headers in FOREIGN:
        answer = client.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (403, "Origin"), (headers, answer.text)


@pytest.mark.parametrize("path", READS)
def test_nothing_is_read_under_a_strange_name(client: TestClient, path: str) -> None:
    for host in STRANGE_HOSTS:
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (421, "Host"), (host, answer.text)


@pytest.mark.parametrize("host", OUR_HOSTS)
def test_the_machines_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/v1/rules", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("headers", [{}, SAME, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}], ids=ids)
def test_the_services_own_page_and_programs_change_things(client: TestClient, headers: Mapping[str, str]) -> None:
    for method, path, body in UNSAFE[:-1]:
        assert client.request(method, path, json=body, headers=headers).status_code < 300, path


def test_names_of_the_configuration_are_the_services_own(tmp_path: Path) -> None:
    serving = {"hosts": ("shop.example", "*.cluster.local")}
    with calling(FakeEngine(), settings(tmp_path, serving=serving)) as client:
        for host, known in {
            "shop.example": 200,
            "a.cluster.local:81": 200,
            "cluster.local": 421,
            "x.shop": 421,
        }.items():
            assert client.get("/healthz", headers={"Host": host}).status_code == known, host
        # A proxy that changes Host leaves Origin as it is.
        ours, other = ({"Origin": f"https://{name}"} for name in ("shop.example", "evil.example"))
        assert client.post("/v1/search", json={"query": "a"}, headers=ours).status_code == 200
        assert client.post("/v1/search", json={"query": "a"}, headers=other).status_code == 403


def test_on_every_address_an_address_is_a_name_and_a_word_is_not() -> None:
    hosts = Hosts("0.0.0.0", ())
    assert [hosts.knows(name) for name in ("10.1.2.3:80", "[fd00::1]", "localhost")] == [True] * 3
    assert [hosts.knows(name) for name in ("pod.example", "10.1.2.3.evil.example", "10.1.2.3.4", "")] == [False] * 4
    assert Hosts("10.1.2.3", ()).knows("10.1.2.3")
    assert not Hosts("10.1.2.3", ()).knows("10.1.2.4")
    assert Hosts("127.0.0.1", ("*",)).knows("anything.example")


@pytest.mark.parametrize(
    ("serving", "key"),
    [
        ("hosts = ['shop.example:80']", "hosts"),
        ("hosts = ['https://shop.example']", "hosts"),
        ("hosts = ['a*b']", "hosts"),
        ("cors = ['*']", "cors"),
        ("cors = ['shop.example']", "cors"),
        ("cors = ['https://shop.example/']", "cors"),
        ("cors = ['null']", "cors"),
    ],
)
def test_names_and_origins_that_are_none_are_refused(tmp_path: Path, serving: str, key: str) -> None:
    (tmp_path / "podium.toml").write_text(f"[serving]\n{serving}\n")
    with pytest.raises(ConfigError, match=key):
        load_settings(tmp_path / "podium.toml")


FORMS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "", "application/jsonp"]


@pytest.mark.parametrize("media", FORMS)
@pytest.mark.parametrize("body", [b"", b"a=b"])
@pytest.mark.parametrize("path", ["/v1/bundle/rollback", "/v1/bundle/activate", "/v1/search", "/v1/events"])
def test_a_form_is_refused_with_and_without_a_body(client: TestClient, path: str, body: bytes, media: str) -> None:
    assert client.post(path, content=body, headers={"Content-Type": media}).status_code == 415


def test_a_rollback_needs_no_body(tmp_path: Path) -> None:
    from pipeline.bundle import promote

    bundles = tmp_path / "bundles"
    before, after = bundles_root(bundles, 2)
    promote(bundles, after)
    with calling(FakeEngine(), settings(tmp_path, bundles=bundles)) as client:
        answer = client.request("POST", "/v1/bundle/rollback")  # neither body nor type, as `curl -X POST`
        assert (answer.status_code, answer.json()) == (200, {"bundle": before})


def test_a_body_of_unknown_length_needs_its_type(client: TestClient) -> None:
    assert client.post("/v1/bundle/rollback", content=iter([b"x"])).status_code == 415


@pytest.mark.parametrize(
    ("client_host", "headers"),
    [
        ("10.0.0.7", {}),
        ("testclient", {}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.7"}),
        ("127.0.0.1", {"X-Real-IP": "10.0.0.7"}),
    ],
)
def test_without_keys_only_the_machine_itself_is_the_operator(
    tmp_path: Path, client_host: str, headers: Mapping[str, str]
) -> None:
    app = create_app(FakeEngine, settings(tmp_path))
    with TestClient(app, **AT_THE_MACHINE | {"client": (client_host, 1)}) as client:
        for method, path, body in UNSAFE[2:]:
            assert client.request(method, path, json=body, headers=headers).status_code == 403, path
        assert client.post("/v1/search", json={"query": "a"}, headers=headers).status_code == 200


def test_other_pages_call_only_when_the_configuration_names_their_origin(tmp_path: Path) -> None:
    shop = {"Origin": "https://shop.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    with calling(FakeEngine(), settings(tmp_path, serving={"cors": ("https://shop.example",)})) as client:
        assert (
            client.options("/v1/search", headers=shop | asked).headers["access-control-allow-origin"] == shop["Origin"]
        )
        answer = client.post("/v1/search", json={"query": "a"}, headers=shop | {"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, shop["Origin"])
        assert client.put("/v1/rules", json=[], headers=shop).status_code == 403  # no key: only the machine itself
        evil = {"Origin": "https://evil.example"}
        assert "access-control-allow-origin" not in client.options("/v1/search", headers=evil | asked).headers
        assert client.post("/v1/search", json={"query": "a"}, headers=evil).status_code == 403
    with calling(FakeEngine(), settings(tmp_path / "off")) as client:
        answer = client.options("/v1/search", headers=shop | asked)
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_a_head(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/rules", "DELETE, GET, PUT"),
        ("OPTIONS", "/v1/rules", "DELETE, GET, PUT"),
        ("PUT", "/v1/search", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/v1/requests/r/explain", "GET"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_names_all_that_the_path_takes(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/docs", "/"])
def test_a_page_loads_nothing_from_another_server(client: TestClient, path: str) -> None:
    page = client.get(path)
    loaded = re.findall(r"""(?:src|href)="([^"#]+)""", page.text)
    assert [name for name in loaded if not name.startswith(("/", "data:,"))] == []
    assert [client.get(name).status_code for name in loaded if name.startswith("/")] == [200] * (len(loaded) - 1)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in client.get("/playground/docs.js").text


def test_an_empty_list_of_keys_makes_nobody_the_operator(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[]")
    with pytest.raises(ConfigError, match="at least one key"):
        create_app(FakeEngine, settings(tmp_path))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_file_of_keys_that_is_named_must_be_there(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"lost\.json"):
        create_app(FakeEngine, settings(tmp_path, host=host, keys=tmp_path / "lost.json"))


def test_a_folder_of_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(ConfigError, match=r"keys\.json"):
        create_app(FakeEngine, settings(tmp_path))


@pytest.mark.parametrize("left", ["", "[]", None])
def test_a_file_of_keys_that_is_emptied_while_the_service_runs_opens_nothing(tmp_path: Path, left: str | None) -> None:
    _, key = new_key("admin", ["admin"])
    add_key(tmp_path / "keys.json", key)
    with calling(FakeEngine(), settings(tmp_path)) as client:
        (tmp_path / "keys.json").unlink()
        if left is not None:
            (tmp_path / "keys.json").write_text(left)
        for method, path, body in UNSAFE:
            assert client.request(method, path, json=body).status_code == 401, path


def test_the_documentation_names_every_status_of_the_rules(client: TestClient) -> None:
    told = client.get("/openapi.json").json()["paths"]["/v1/rules"]["delete"]["responses"]
    assert client.delete("/v1/rules?id=none").status_code == 404
    assert "404" in told


@pytest.mark.parametrize("user", ["a%0Ab", "%0a", "a%1f%0A"])
def test_an_id_with_a_line_break_is_refused(client: TestClient, user: str) -> None:
    answer = client.delete(f"/v1/users/{user}")
    assert answer.status_code == 422, answer.text
