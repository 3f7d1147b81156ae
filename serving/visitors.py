"""Which web pages may call: those of the service's own names. A browser carries a stranger's request to any address.

`Host` tells under which name a browser found the service, so that a name of somebody else's that leads here (DNS
rebinding) is refused, also for reads. `Origin`, or `Sec-Fetch-Site` where it is absent, tells whose page asks; a page
of another site may change nothing. What is not a browser sends neither of the two, and needs only a known `Host`.
"""

import ipaddress
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.problems import Problem

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_LONGEST: Final = 300  # characters of a name with its port


def loopback(host: str) -> bool:
    """Whether a name or address leads to this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Hosts:
    """The names of a service: loopback, the address it listens on, and those of the configuration.

    A service that listens on all addresses has every address for a name, but no word: what a name leads to, whoever
    owns the name decides.
    """

    def __init__(self, bound: str, configured: Collection[str]) -> None:
        self._bound = bound.strip("[]").lower()
        self._every_address = self._bound in {"", "0.0.0.0", "::"}
        self._any = "*" in configured
        self._below = tuple(name[1:] for name in configured if name.startswith("*."))
        self._configured = frozenset(configured)

    def knows(self, authority: str) -> bool:
        """Whether `name`, `name:port` or `[address]:port` is one of ours."""
        name = _name(authority)
        if not name:
            return False
        return self._any or name == self._bound or loopback(name) or self._named(name) or self._address(name)

    def _named(self, name: str) -> bool:
        return name in self._configured or name.endswith(self._below)

    def _address(self, name: str) -> bool:
        if not self._every_address:
            return False
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def names(self, origin: str) -> bool:
        """Whether the configuration names the host of an origin, as it must behind a proxy that changes `Host`."""
        name = _name(origin.partition("://")[2])
        return bool(name) and self._named(name)


def _name(authority: str) -> str:
    """The host of an authority, "" for what is none."""
    found = _AUTHORITY.fullmatch(authority) if len(authority) <= _LONGEST else None
    return found[1].strip("[]").rstrip(".") if found else ""


class Visitors:
    """ASGI middleware: 421 for a `Host` that is not one of `hosts`; 403 for a page of another site that would change
    something, unless its origin is one of `origins`."""

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Sequence[str] = ()) -> None:
        self.app, self._hosts, self._origins = app, hosts, frozenset(origins)
        self._known = lru_cache(maxsize=256)(hosts.knows)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._refusal(scope)):
            await problem.response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        given: dict[bytes, list[bytes]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in scope["headers"]:
            if name in given:
                given[name].append(value)
        hosts = [value.decode("latin-1").lower() for value in given[b"host"]]
        if not hosts and scope["http_version"] == "1.0":  # which has none, and no browser speaks it
            hosts = ["localhost"]
        if len(hosts) != 1 or len(hosts[0]) > _LONGEST or not self._known(hosts[0]):
            fix = "add the name to `hosts` under [serving] of podium.toml if it is the service's own"
            return Problem(421, f"The service does not answer under this name: {fix}.", [("Host", "is not known")])
        if scope["method"] in SAFE or self._own(hosts[0], given[b"origin"], given[b"sec-fetch-site"]):
            return None
        fix = "a page may change something only at its own service, or when `cors` under [serving] names its origin"
        return Problem(403, f"A page of another site asks: {fix}.", [("Origin", "is another site")])

    def _own(self, host: str, origins: Sequence[bytes], sites: Sequence[bytes]) -> bool:
        """Whether no page asks, or one of ours."""
        if origins:
            return all(self._expected(value.decode("latin-1").lower(), host) for value in origins)
        return all(site in {b"same-origin", b"none"} for site in sites)

    def _expected(self, origin: str, host: str) -> bool:
        return origin.partition("://")[2] == host or origin in self._origins or self._hosts.names(origin)
