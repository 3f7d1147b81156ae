"""Who may call what: a scope for each route, held by the keys of the data root."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from pipeline.errors import ConfigError
from serving.keyring import SCOPES, Key, KeyRing, recognise
from serving.problems import Problem
from serving.settings import Settings
from serving.visitors import loopback

_BEARER = HTTPBearer(auto_error=False, description="An API key as a bearer token")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key")
_FORWARDED: Final = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
LOOPBACK: Final = Key("loopback", "", SCOPES)  # who calls a service without keys


def check_keys(settings: Settings, keys: Sequence[Key] | None) -> None:
    """What the file of keys holds, None where there is none, before a service starts with it.

    Raises ConfigError for a file without a key, since whoever wrote it meant to protect something and nobody could
    call; for a named file that is not there; and when strangers could call a service without keys.
    """
    if keys is not None and not keys:
        fix = "at least one key (`podium keys add`), or no such file"
        raise ConfigError("keys", fix, place=str(settings.keys_file))
    if keys is None and settings.keys is not None:
        raise ConfigError("keys", "a file of API keys that exists", place=str(settings.keys))
    check_bind(settings.host, keys)


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
        ring: KeyRing = request.app.state.keys
        keys = ring.now()
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
