"""Attacks on a real service: each is refused by its status, costs little memory, and nobody else waits for long.

The bounds are far from what is measured on a quiet machine (milliseconds, a few megabytes; docs/operations.md), and far
from what the attacks cost without a guard (10 s, gigabytes).
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
from fault_checks import Shop

from tests.faults.attacks import ATTACKS, GET, HEAD, Victim, post, search, status, suffered, victim

pytestmark = pytest.mark.full
PATIENT = 3.0  # seconds
LARGE = 150.0  # megabytes


@pytest.fixture(scope="module")
def service(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim(shop.bundles, tmp_path_factory.mktemp("attacked")) as found:
        suffered(found, post("/v1/search", search()))
        yield found


@pytest.mark.parametrize(("attack", "expected"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_and_nobody_waits(service: Victim, attack: Callable[[Victim], int], expected: int) -> None:
    cost = suffered(service, attack)
    assert cost.status == expected
    assert cost.longest < PATIENT
    assert cost.grown < LARGE


@pytest.fixture(scope="module")
def hurried(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A service that waits for nobody."""
    config = "[serving]\nhead_seconds = 1.0\nbody_seconds = 1.5\nconnections = 100\n"
    with victim(shop.bundles, tmp_path_factory.mktemp("hurried"), config) as found:
        yield found


def held(service: Victim, start: bytes, piece: bytes, count: int) -> list[int]:
    """What as many callers are told who send a beginning, then a piece now and then, until they are closed."""
    with ExitStack() as stack, service.watched():
        callers = [stack.enter_context(service.connect()) for _ in range(count)]
        for caller in callers:
            caller.sendall(start)
        last = time.monotonic() + 30
        waiting = list(callers)
        while waiting and time.monotonic() < last:
            time.sleep(0.2)
            waiting = [caller for caller in waiting if still_open(caller, piece)]
        assert waiting == [], "some are held for ever"
        return [status(caller) for caller in callers]


def still_open(caller: socket.socket, piece: bytes) -> bool:
    """Send a piece more; whether the service has said nothing and goes on listening."""
    try:
        caller.sendall(piece)
        caller.setblocking(False)
        caller.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        caller.settimeout(60)
    return False


@pytest.mark.parametrize(
    ("start", "piece", "told"),
    [
        (HEAD + b"X: ", b"a", 408),
        (b"GET /", b"a", 408),
        (b"", b"\r\n", 408),
        (HEAD + b"Content-Length: 1000\r\n\r\n{", b" ", 408),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 408),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n", 408),
        (HEAD.replace(b"json", b"text") + b"Content-Length: 1000\r\n\r\n{", b" ", 415),  # answered before it is read
    ],
)
def test_a_slow_caller_is_told_and_closed(hurried: Victim, start: bytes, piece: bytes, told: int) -> None:
    said = held(hurried, start, piece, 20)
    assert set(said) <= {told, 0}, said  # 0: closed while it was sending
    assert hurried.longest < PATIENT


def test_more_connections_than_may_be_keep_nobody_out(hurried: Victim) -> None:
    with ExitStack() as stack, hurried.watched():
        for _ in range(300):
            stack.enter_context(hurried.connect()).sendall(HEAD)
        assert httpx.get(f"{hurried.url}/healthz", timeout=10).status_code == 200
    assert hurried.longest < PATIENT


def test_an_answer_that_nobody_reads_is_dropped(hurried: Victim) -> None:
    before = hurried.memory
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.socket()) for _ in range(50)]
        for caller in callers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            caller.connect(("127.0.0.1", hurried.port))
            caller.settimeout(0.5)
            with suppress(OSError):
                for _ in range(200):
                    caller.sendall(GET.replace(b"/healthz", b"/openapi.json") * 20)
        assert hurried.memory - before < LARGE
        last = time.monotonic() + 30
        while left := [caller for caller in callers if not closed(caller)]:
            assert time.monotonic() < last, f"{len(left)} are held for ever"


def closed(caller: socket.socket) -> bool:
    """Whether the service has ended the connection, behind whatever of the answers is still on its way."""
    caller.settimeout(0.2)
    try:
        while caller.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_the_service_still_answers_as_before(service: Victim) -> None:
    answer = httpx.post(f"{service.url}/v1/search", json={"query": "shoes"})
    assert answer.status_code == 200
    assert answer.json()["items"]
