"""A small market taken through the whole main job, and a service over it as its users start one."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.shop import Shop, make_shop
from tests.waiting import soon

PODIUM = [sys.executable, "-c", "from podium import main; main()"]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Large enough for a thousand held-out requests."""
    return make_shop(tmp_path_factory.mktemp("shop"), "small")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(*arguments: str) -> Iterator[str]:
    """`podium serve` in a process of its own on loopback; stopped by its process when the block ends."""
    port = free_port()
    running = subprocess.Popen([*PODIUM, "serve", *arguments, "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, running)
        yield url
    finally:
        running.terminate()
        running.wait(timeout=20)


def _wait(url: str, running: "subprocess.Popen[bytes]") -> None:
    def ready() -> bool:
        assert running.poll() is None, "the service ended"
        with suppress(httpx.TransportError):  # nobody listens yet
            return httpx.get(f"{url}/readyz").status_code == 200
        return False

    soon(ready, "the service did not get ready", every=0.1)
