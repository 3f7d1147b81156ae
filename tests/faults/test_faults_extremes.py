"""Every field of every body, query string, path and header at every extreme: never a 5xx, always a documented status.

What there is to try is read from the OpenAPI document, so that a new field is tried as soon as it is there.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fault_checks import Caller, Shop

from tests.faults.attacks import keys, many, nested

pytestmark = pytest.mark.full

NUMBERS = b"0 -0 -1 1.5 1e308 -1e308 1e-320 1e999 1e999999999 NaN Infinity 9223372036854775807 9223372036854775808"
NUMBERS += b" -9223372036854775809 18446744073709551615 18446744073709551616 253402300800000"
TEXTS = [
    b"",
    b" ",
    b"\\u0000",
    b"\\u001f",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"\xff",
    b"\xed\xa0\x80",
    b"../../etc",
    b"=1+1",
]
TEXTS += [b"x" * 129, b"x" * 513, b"x" * 50_000, b"2026-01-01T00:00:00Z", b"9" * 5_000, b"\\u202e", b"a\\u0301" * 300]
EXTREMES: list[bytes] = [
    *(b"null", b"true", b"{}", b"[]", b"[[]]", b"[{}]", b"[null]", b'[""]', b'["a","a"]', b"", b"{", b"1" * 400),
    *NUMBERS.split(),
    *(b'"%s"' % text for text in TEXTS),
    *(nested(depth) for depth in (29, 33, 253, 900, 5_000)),
    *(nested(depth, '{"a":', "}") for depth in (29, 33, 253, 900)),
    *(many(b'"a"', count) for count in (101, 1_001, 4_900, 6_000)),
    *(keys(199), keys(300), keys(3, "NaN"), keys(3, "1e308"), keys(3, "-1"), keys(3, "null"), keys(3, '"x"')),
    *(
        b'{"":1}',
        b'{"\\ud800":1}',
        b'{"min":1e308,"max":-1e308}',
        b'{"min":null}',
        b'{"price":{"min":18446744073709551615}}',
    ),
    *(
        b'{"region":[1]}',
        b'{"click":1e7}',
        b'{"brand":[""]}',
        b'{"category":[["a","b","c","d","e"]]}',
        b'{"a":1,"a":2}',
    ),
]
PLAIN = ["", " ", "-1", "0", "9" * 30, "9" * 5_000, "nan", "1e999", "\x00", "\x1f", "\ud7ff", "x" * 129, "x" * 5_000]
PLAIN += [
    "../..",
    "%2F",
    "%00",
    "%ff",
    "null",
    "[]",
    "{}",
    "2026-01-01T00:00:00Z",
    "'; DROP TABLE x",
    "a" * 20 + "\U0001f600",
]
KNOWN: dict[str, bytes] = {
    "query": b'"shoes"',
    "surface": b'"home"',
    "user_ids": b'["ann"]',
    "items": b'[{"item_id":"i1"}]',
    "bundle": b'"b-none"',
    "event_id": b'"e1"',
    "type": b'"feedback"',
    "time": b"1767600000000",
}


@pytest.fixture(scope="module")
def service(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A service of its own, which may be changed, over one bundle, which stays."""
    from conftest import TestClient

    from serving.app import create_app
    from serving.auth import check_keys
    from serving.engine import Engine
    from serving.keyring import add_key, new_key
    from serving.settings import Settings

    root = tmp_path_factory.mktemp("extremes")
    secret, key = new_key("admin", ["admin"])
    add_key(root / "keys.json", key)
    settings = Settings(root=root)
    check_keys(settings, [key])
    app = create_app(lambda: Engine(shop.bundle), settings)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield Caller(client, {"read": secret})


def resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in ("oneOf", "anyOf", "allOf"):
        if choice in schema:
            found = [resolved(one, whole) for one in schema[choice]]
            return next((one for one in found if one.get("properties")), schema)
    return schema


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    paths = app.openapi()["paths"]
    return [(path, method.upper(), about) for path, methods in paths.items() for method, about in methods.items()]


def written(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def check(service: Caller, path: str, method: str, about: dict[str, Any], **given: Any) -> None:
    answer = service(method, path, **given)
    told = {key: str(value)[:200] for key, value in given.items()}
    assert answer.status_code < 500, (method, path[:200], told, answer.text[:300])
    assert str(answer.status_code) in about["responses"], (method, path[:200], told, answer.status_code)


def test_every_field_of_every_body_at_every_extreme(service: Caller) -> None:
    whole, tried = service.client.app.openapi(), 0
    for path, method, about in operations(service.client.app):
        content = about.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        body = resolved(content["schema"], whole)
        needed = {name: KNOWN.get(name, b'"x"') for name in body.get("required", ())}
        bodies = [written({**needed, name: value}) for name in body.get("properties", {}) for value in EXTREMES]
        bodies += [*EXTREMES, *(written({**needed, "unknown": value}) for value in EXTREMES)]
        bodies += [b'{"items":[{"item_id":"i1","own":%s}]}' % value for value in EXTREMES if path.endswith("rank")]
        for one in bodies:
            headers = {"Content-Type": "application/json"}
            check(service, path.replace("{", "").replace("}", ""), method, about, content=one, headers=headers)
            tried += 1
    assert tried > 3_000


def test_every_parameter_at_every_extreme(service: Caller) -> None:
    """The percent sign is written as itself, so that what a server makes of it is seen."""
    from urllib.parse import quote

    tried = 0
    for path, method, about in operations(service.client.app):
        known = {one["name"]: "a" for one in about.get("parameters", ()) if one.get("required")}
        for one in about.get("parameters", ()):
            for value in PLAIN:
                given, at = dict(known), path
                headers: dict[str, Any] = {}
                if one["in"] == "header":
                    headers[one["name"]] = value.encode("utf-8", "replace")
                    if any(byte in headers[one["name"]] for byte in b"\x00\x1f"):
                        continue  # no HTTP: the connection refuses it
                else:
                    given[one["name"]] = value
                for name in [name for name in given if f"{{{name}" in path]:
                    at = at.replace(f"{{{name}}}", quote(given.pop(name), safe="%"))
                    at = at.replace(f"{{{name}:path}}", quote(given.pop(name, "a"), safe="%/"))
                query = "&".join(f"{name}={quote(value, safe='%')}" for name, value in given.items())
                check(
                    service, f"{at}?{query}", method, about | {"responses": about["responses"] | ELSE}, headers=headers
                )
                tried += 1
    assert tried > 100


ELSE = {
    "404": "a path that is another's",
    "405": "the same",
}  # an id that is empty, or has a slash, may be no such path


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Origin", "Host", "Content-Length", "X-Deadline-Ms"])
@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"9" * 5_000, b"Bearer " + b"\xe9" * 300, b"a" * 30_000, b"null"])
def test_every_header_at_every_extreme(service: Caller, name: str, value: bytes) -> None:
    request = service.client.build_request("POST", "/v1/search", json={"query": "shoes"})
    request.headers["X-API-Key"] = service.secrets["read"]
    request.headers[name] = value.decode("latin-1") if name != "Content-Length" else "9" * 30
    assert service.client.send(request).status_code in {200, 400, 401, 403, 413, 421, 422}
