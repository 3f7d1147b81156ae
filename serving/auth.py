"""API keys: kept as SHA-256 digests, compared in constant time, each with the scopes it was given.

A plain digest is enough because the keys are 32 random bytes, not passwords: there is nothing to guess.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from pipeline.errors import ConfigError
from serving.problems import Problem
from serving.settings import Settings
from serving.visitors import loopback

SCOPES: Final = ("read", "write", "admin")
_BEARER = HTTPBearer(auto_error=False, description="An API key as a bearer token")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key")


@dataclass(frozen=True, slots=True)
class Key:
    """hash: hex SHA-256 of the secret; scopes: some of `SCOPES`, where admin includes the others."""

    name: str
    hash: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


_FORWARDED: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
LOOPBACK: Final = Key("loopback", "", SCOPES)  # who calls a service without keys


def read_keys(path: Path) -> tuple[Key, ...] | None:
    """The keys of a file, None when there is no file. Raises ConfigError when it is not a list of keys.

    A list of none is refused: whoever wrote it meant to protect something, and nobody could call.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        keys = tuple(Key(str(v["name"]), str(v["hash"]).lower(), tuple(v["scopes"])) for v in values)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        fix = f"a JSON list of objects with name, hash and scopes ({type(error).__name__}: {error})"
        raise ConfigError("keys", fix, place=str(path)) from error
    except OSError as error:
        raise ConfigError("keys", f"a file that can be read ({error.strerror})", place=str(path)) from error
    if not keys:
        raise ConfigError("keys", "at least one key (`podium keys add`), or no such file", place=str(path))
    for key in keys:
        if len(key.hash) != 64 or set(key.hash) - set("0123456789abcdef"):
            raise ConfigError(f"{key.name}.hash", "the hexadecimal SHA-256 of the key", place=str(path))
        if not key.scopes or set(key.scopes) - set(SCOPES):
            raise ConfigError(f"{key.name}.scopes", f"some of {', '.join(SCOPES)}", place=str(path))
    return keys


def new_key(name: str, scopes: Sequence[str]) -> tuple[str, Key]:
    """A fresh secret, to be shown once, and the key that recognises it."""
    secret = f"pod_{secrets.token_urlsafe(32)}"
    return secret, Key(name, digest(secret), tuple(scopes))


def add_key(path: Path, key: Key) -> None:
    """Put a key into a file of keys, in place of one of the same name."""
    others = [asdict(other) for other in read_keys(path) or () if other.name != key.name]
    draft = path.with_name(f".{path.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps([*others, asdict(key)], indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def issue_key(root: Path, name: str, scopes: Sequence[str]) -> str:
    """Make a key for a data root, which may be new; its secret, of which only the hash is kept."""
    secret, key = new_key(name, scopes)
    root.mkdir(parents=True, exist_ok=True)
    add_key(root / "keys.json", key)
    return secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def recognise(keys: Sequence[Key], secret: str) -> Key | None:
    """The key of a secret. Every key is compared, whichever fits, so that time tells nothing."""
    given, found = digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.hash, given):
            found = key
    return found


def keys_of(settings: Settings) -> tuple[Key, ...] | None:
    """The keys of a service, None where it has none and needs none. Raises ConfigError for a named file of keys that is
    not there, and when strangers could call a service without keys."""
    keys = read_keys(settings.keys_file)
    if keys is None and settings.keys is not None:
        raise ConfigError("keys", "a file of API keys that exists", place=str(settings.keys))
    check_bind(settings.host, keys)
    return keys


def check_bind(host: str, keys: Sequence[Key] | None) -> None:
    """Raises ConfigError when strangers could call a service that has no keys."""
    if not keys and not loopback(host.strip("[]")):
        fix = "a loopback address (127.0.0.1), or API keys in ROOT/keys.json, which protect any other"
        raise ConfigError("host", fix, received=host)


def allow(scope: str) -> Callable[..., Key]:
    """A dependency that admits callers with the scope: 401 for an unknown caller, 403 for one without it."""

    async def admitted(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
        header: Annotated[str | None, Depends(_HEADER)],
    ) -> Key:
        keys: tuple[Key, ...] | None = request.app.state.keys
        if keys is None:
            if scope == "admin":
                _at_the_machine(request)
            return LOOPBACK
        secret = bearer.credentials if bearer else header
        key = recognise(keys, secret) if secret else None
        if key is None:
            fix = "Send a known API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            raise Problem(401, fix, headers={"WWW-Authenticate": "Bearer"})
        if not key.may(scope):
            raise Problem(403, f"The key `{key.name}` has no `{scope}` scope; it has {', '.join(key.scopes)}.")
        return key

    return admitted  # type: ignore[return-value]


def _at_the_machine(request: Request) -> None:
    """403 for who does not sit at the machine of a service without keys: another address, a proxy, which would lend
    strangers its own, or a page that is not the service's."""
    client, headers = request.client, request.headers
    foreign = "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host", "")
    if client is None or not loopback(client.host) or foreign or not _FORWARDED.isdisjoint(headers.keys()):
        raise Problem(403, "Without API keys only the service's own machine may do this; `podium keys add` makes one.")


Reader = Annotated[Key, Depends(allow("read"))]
Writer = Annotated[Key, Depends(allow("write"))]
Admin = Annotated[Key, Depends(allow("admin"))]
