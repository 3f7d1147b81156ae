"""Keys come and go while the service runs, and what befalls their file never lets anybody in."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from serving_fakes import FakeEngine, TestClient, calling, settings

from podium import cli
from serving.keyring import add_key, issue_key, new_key, read_keys, revoke_key


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["keys", *map(str, words)])


def added(root: Path, name: str, *scopes: str) -> str:
    outcome = run("add", name, "--root", root, *(word for scope in scopes for word in ("--scope", scope)))
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout.strip()


def status(client: TestClient, secret: str) -> int:
    return client.post("/v1/search", json={"query": "a"}, headers={"X-API-Key": secret}).status_code


def test_keys_are_listed_by_name_scopes_and_age_and_never_by_hash(tmp_path: Path) -> None:
    secret = added(tmp_path, "shop", "write", "read", "write")
    added(tmp_path, "ops", "admin")
    listed = run("list", "--root", tmp_path, "--json")
    found = json.loads(listed.stdout)["keys"]
    assert [(key["name"], key["scopes"]) for key in found] == [("shop", ["write", "read"]), ("ops", ["admin"])]
    assert all(key["created"].startswith("20") for key in found)
    shown = listed.output + run("list", "--root", tmp_path).output
    hashes = [key.hash for key in read_keys(tmp_path / "keys.json") or ()]
    assert not any(hidden in shown for hidden in (secret, *hashes))


def test_a_root_without_keys_lists_none(tmp_path: Path) -> None:
    assert json.loads(run("list", "--root", tmp_path, "--json").stdout) == {"keys": []}
    assert "no keys" in run("list", "--root", tmp_path).stdout


def test_a_file_of_before_ages_were_noted_is_still_read(tmp_path: Path) -> None:
    _, key = new_key("old", ["read"])
    row = {"name": "old", "hash": key.hash, "scopes": ["read"]}
    (tmp_path / "keys.json").write_text(json.dumps([row]))
    assert json.loads(run("list", "--root", tmp_path, "--json").stdout)["keys"][0]["created"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("revoke", "nobody"), "one of the keys: shop"),
        (("revoke", ""), "one of the keys: shop"),
        (("add", "", "--scope", "read"), "1 to 128 characters"),
        (("add", "a\nb", "--scope", "read"), "1 to 128 characters"),
        (("add", "n" * 129, "--scope", "read"), "1 to 128 characters"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    from tests.faults.fault_checks import podium

    added(tmp_path, "shop", "read")
    outcome = podium("keys", *words, "--root", tmp_path)
    assert outcome.code == 2
    assert says in outcome.sentence
    assert [key.name for key in read_keys(tmp_path / "keys.json") or ()] == ["shop"]


def test_the_file_is_its_owners_alone_after_every_change(tmp_path: Path) -> None:
    for change in (lambda: added(tmp_path, "a", "read"), lambda: added(tmp_path, "b", "read")):
        change()
    (tmp_path / "keys.json").chmod(0o644)
    run("revoke", "a", "--root", tmp_path)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".keys.json.lock", "keys.json"]


def test_a_running_service_knows_at_once_who_came_and_who_went(tmp_path: Path) -> None:
    first = added(tmp_path, "first", "read")
    with calling(FakeEngine(), settings(tmp_path)) as client:
        assert status(client, first) == 200
        second = added(tmp_path, "second", "read")
        assert (status(client, first), status(client, second)) == (200, 200)
        assert run("revoke", "first", "--root", tmp_path).exit_code == 0
        assert (status(client, first), status(client, second)) == (401, 200)
        again = added(tmp_path, "second", "write")  # in place of the one before
        assert (status(client, second), status(client, again)) == (401, 403)


def test_with_the_last_key_the_last_caller_goes(tmp_path: Path) -> None:
    only = added(tmp_path, "only", "admin")
    with calling(FakeEngine(), settings(tmp_path)) as client:
        run("revoke", "only", "--root", tmp_path)
        assert status(client, only) == 401
        assert client.post("/v1/search", json={"query": "a"}).status_code == 401


def test_the_first_key_closes_a_service_that_had_none(tmp_path: Path) -> None:
    with calling(FakeEngine(), settings(tmp_path)) as client:
        assert client.post("/v1/search", json={"query": "a"}).status_code == 200
        secret = added(tmp_path, "first", "read")
        assert client.post("/v1/search", json={"query": "a"}).status_code == 401
        assert status(client, secret) == 200


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


# what befalls the file of keys
ACCIDENTS: dict[str, Callable[[Path], object]] = {
    "it vanished": Path.unlink,
    "it is empty": lambda path: path.write_text(""),
    "it was cut": lambda path: path.write_text(path.read_text()[:-20]),
    "it is an object": lambda path: path.write_text("{}"),
    "it is a number": lambda path: path.write_text("5"),
    "it is null": lambda path: path.write_text("null"),
    "it is nested deeply": lambda path: path.write_text("[" * 100_000),
    "a key without scopes": lambda path: path.write_text('[{"name": "x", "hash": "' + "0" * 64 + '", "scopes": []}]'),
    "it is no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "it is a folder": _directory,
    "it leads nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("accident", ACCIDENTS.values(), ids=ACCIDENTS)
def test_a_file_that_cannot_be_read_changes_nothing_and_is_told(
    tmp_path: Path, accident: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    secret = added(tmp_path, "shop", "read")
    with calling(FakeEngine(), settings(tmp_path)) as client, caplog.at_level(logging.ERROR, "podium.serving"):
        accident(path)
        for _ in range(3):
            assert status(client, secret) == 200
            assert client.post("/v1/search", json={"query": "a"}).status_code == 401
        assert sum("API keys known before stay" in said for said in caplog.messages) == 1
        assert "podium_key_failures_total 1.0" in client.get("/metrics").text
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        other = issue_key(path, "other", ["read"])
        assert (status(client, secret), status(client, other)) == (401, 200)


def test_a_file_without_rights_to_read_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = added(tmp_path, "shop", "read")
    with calling(FakeEngine(), settings(tmp_path)) as client:
        issue_key(tmp_path / "keys.json", "other", ["read"])

        def refuse(path: Path, **_: object) -> str:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_text", refuse)
        assert status(client, secret) == 200
        assert client.post("/v1/search", json={"query": "a"}).status_code == 401


def _change(path: Path, number: int) -> None:
    for name in (f"a{number}", f"b{number}"):
        add_key(path, new_key(name, ["read"])[1])
    revoke_key(path, f"a{number}")


def test_changes_at_the_same_moment_do_not_undo_one_another(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ProcessPoolExecutor(4) as pool:
        for done in [pool.submit(_change, path, number) for number in range(24)]:
            done.result()
    assert {key.name for key in read_keys(path) or ()} == {f"b{number}" for number in range(24)}


def test_the_environment_may_put_the_keys_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_KEYS", str(tmp_path / "secrets" / "podium.json"))
    added(tmp_path, "shop", "read")
    assert (tmp_path / "secrets" / "podium.json").is_file()
    assert not (tmp_path / "keys.json").exists()
    assert json.loads(run("list", "--root", tmp_path, "--json").stdout)["keys"][0]["name"] == "shop"
