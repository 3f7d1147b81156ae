"""Attacks on a real service, each with what it may cost: how long anybody else waited meanwhile, how much memory grew.

python -m tests.faults.attacks --bundle BUNDLES    # the table of all of them
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

HEAD = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
MB = 1_000_000


@dataclass
class Victim:
    """A service started as its users start it. longest: seconds anybody waited for `/healthz` while watched."""

    port: int
    process: "subprocess.Popen[bytes]"
    longest: float = 0.0
    _watching: bool = field(default=False, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> float:
        """Megabytes in memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    @contextmanager
    def watched(self) -> Iterator[Self]:
        """Ask for `/healthz` again and again, on new connections, meanwhile."""
        self.longest, self._watching = 0.0, True
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._watching = False
            thread.join()

    def _watch(self) -> None:
        while self._watching:
            started = time.perf_counter()
            with self.connect() as connection:
                connection.sendall(GET)
                assert status(connection) == 200
            self.longest = max(self.longest, time.perf_counter() - started)
            time.sleep(0.005)


@contextmanager
def victim(bundle: Path, root: Path, config: str = "") -> Iterator[Victim]:
    """`podium serve` in a process of its own; stopped by its process when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root.mkdir(parents=True, exist_ok=True)
    (root / "podium.toml").write_text(config)
    command = [sys.executable, "-c", "from podium import main; main()", "serve", "--bundle", str(bundle)]
    command += ["--root", str(root), "--config", str(root / "podium.toml"), "--port", str(port)]
    with (root / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        last = time.monotonic() + 120
        while True:
            assert running.poll() is None, (root / "log").read_text()
            assert time.monotonic() < last, "the service did not get ready"
            with suppress(httpx.TransportError):  # nobody listens yet
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            time.sleep(0.1)
        yield Victim(port, running)
    finally:
        running.terminate()
        running.wait(timeout=30)


def status(connection: socket.socket) -> int:
    """Of the answer on a connection; 0 when it was closed without one."""
    head = b""
    with suppress(OSError):
        while b"\r\n" not in head and (more := connection.recv(65_536)):
            head += more
    return int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0


def stream(start: bytes, piece: bytes, total: int) -> Callable[[Victim], int]:
    """Send a beginning, then a piece again and again up to a total, and read what comes."""

    def attack(service: Victim) -> int:
        with service.connect() as connection:
            with suppress(OSError):  # closed, as it should be
                connection.sendall(start)
                for _ in range(total // len(piece)):
                    connection.sendall(piece)
            return status(connection)

    return attack


def post(path: str, body: bytes, method: str = "POST", **headers: str) -> Callable[[Victim], int]:
    def attack(service: Victim) -> int:
        given = {"Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx.Client(base_url=service.url, timeout=120) as client:
            return client.request(method, path, content=body, headers=given).status_code

    return attack


def get(path: str, **headers: str) -> Callable[[Victim], int]:
    return lambda service: httpx.get(service.url + path, headers=headers, timeout=120).status_code


def ask(parameters: bytes) -> Callable[[Victim], int]:
    """For suggestions, with these parameters besides."""
    return stream(b"GET /v1/suggest?prefix=a&" + parameters + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"x", 0)


def keys(count: int, value: str = "1", name: str = "k") -> bytes:
    return ("{" + ",".join(f'"{name}{n}":{value}' for n in range(count)) + "}").encode()


def nested(depth: int, opens: str = "[", closes: str = "]") -> bytes:
    return (opens * depth + ("1" if closes == "}" else "") + closes * depth).encode()


def search(**fields: bytes) -> bytes:
    return b'{"query":"shoes"' + b"".join(b',"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def rank(items: bytes) -> bytes:
    return b'{"items":' + items + b"}"


def event(**fields: bytes) -> bytes:
    known = b'"event_id":"e","type":"feedback","time":1767600000000,"user_id":"ann","item_id":"i1","action":"view"'
    return b"{" + known + b"".join(b',"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def item(**fields: bytes) -> bytes:
    known = b'"event_id":"i","type":"item","time":1767600000000,"item_id":"i9"'
    return b"{" + known + b"".join(b',"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def many(one: bytes, count: int) -> bytes:
    return b"[" + b",".join([one] * count) + b"]"


LONG = b"a" * 65_536
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DEADLINE = {"X_Deadline_Ms": "1" * 5_000}
FORM = {"Content_Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"}
# what is done, and the status it is answered with
ATTACKS: dict[str, tuple[Callable[[Victim], int], int]] = {
    "a header without end": (stream(HEAD + b"X: ", LONG, 100 * MB), 431),
    "headers without end": (stream(HEAD, b"a: b\r\n" * 10_000, 100 * MB), 431),
    "a path without end": (stream(b"GET /", LONG, 100 * MB), 431),
    "a name of a header without end": (stream(HEAD, LONG, 100 * MB), 431),
    "empty lines without end": (stream(b"", b"\r\n" * 30_000, 100 * MB), 431),
    "trailers without end": (stream(CHUNKED + b"0\r\nX: ", LONG, 100 * MB), 431),
    "an extension of a chunk without end": (stream(CHUNKED + b"1;", LONG, 100 * MB), 431),
    "a body without end": (stream(CHUNKED, b"10000\r\n" + LONG + b"\r\n", 100 * MB), 413),
    "requests ahead of answers": (stream(b"", GET * 1_000, 20 * MB), 0),
    "no HTTP": (stream(b"", b"\x16\x03\x01" + LONG, 10 * MB), 400),
    "3.9 MB of unknown keys": (post("/v1/search", search(x=keys(280_000))), 413),
    "unknown keys within the size": (post("/v1/search", b'{"query":"shoes",' + keys(20_000)[1:]), 422),
    "unknown keys, one fewer than too many": (post("/v1/search", b'{"query":"shoes",' + keys(198)[1:]), 422),
    "200,000 weights": (post("/v1/search", search(weights=keys(200_000))), 413),
    "20,000 weights": (post("/v1/search", search(weights=keys(20_000))), 422),
    "a list of 120,000 numbers": (post("/v1/search", search(filters=many(b"1", 120_000))), 422),
    "16,000 parameters of a longer name": (ask(b"&".join([b"bcdef"] * 16_000)), 431),
    "128,000 empty lists": (post("/v1/search", search(context=b'{"a":%s}' % many(b"[]", 84_000))), 422),
    "context nested 255 deep": (post("/v1/search", search(context=b'{"a":%s}' % nested(255))), 422),
    "context nested 100,000 deep": (post("/v1/search", search(context=b'{"a":%s}' % nested(100_000))), 422),
    "filters nested 200 deep": (post("/v1/search", search(filters=nested(200, '{"a":', "}"))), 422),
    "items nested 900 deep": (post("/v1/rank", rank(many(b'{"item_id":"i1","x":%s}' % nested(900), 1))), 422),
    "1 MB of an item's own fields": (post("/v1/rank", rank(many(b'{"item_id":"i1","x":%s}' % keys(70_000), 1))), 422),
    "1,000 items that are none": (post("/v1/rank", rank(many(b"[]", 1_000))), 422),
    "330,000 items": (post("/v1/rank", rank(many(b"{}", 330_000))), 422),
    "a deadline of 5,000 digits": (post("/v1/search", search(), **DEADLINE), 422),
    "a page of 5,000 digits": (post("/v1/search", search(page=b"1" * 5_000)), 422),
    "an exponent of nine digits": (post("/v1/search", search(diversity=b"1e999999999")), 422),
    "16,000 parameters": (ask(b"&".join([b"b"] * 16_000)), 422),
    "4,000 parameters": (ask(b"&".join(b"b%d" % n for n in range(4_000))), 422),
    "1 MB of rules": (post("/v1/rules", many(b"{}", 330_000), "PUT"), 422),
    "an event of 240,000 keys": (post("/v1/events", event(x=keys(240_000))), 422),
    "an event of 300,000 keys": (post("/v1/events", event(x=keys(300_000))), 422),
    "an event nested 400,000 deep": (post("/v1/events", event(x=nested(400_000))), 422),
    "an item of 240,000 attributes": (post("/v1/events", item(attributes=keys(240_000, '"x"'))), 422),
    "an item of 3.8 MB": (post("/v1/events", item(title=b'"%s"' % (b"x " * 1_900_000))), 422),
    "1,900,000 events": (post("/v1/events", many(b"1", 1_900_000)), 422),
    "249,000 events": (post("/v1/events", many(b"{}", 249_000)), 422),
    "1,000 events that are none": (post("/v1/events", many(b"{}", 1_000)), 422),
    "1,000 events of 240 keys": (post("/v1/events", many(event(x=keys(240)), 1_000)), 422),
    "a page of 120,000 items": (post("/v1/events", event(items=many(b'{"a":1}', 120_000))), 422),
    "a foreign form without a body": (post("/v1/bundle/rollback", b"", **FORM), 403),
    "a form without an origin": (post("/v1/bundle/rollback", b"", Content_Type="text/plain"), 415),
    "a foreign name reads": (get("/playground/users", Host="evil.example"), 421),
    "a foreign name deletes": (post("/v1/users/ann", b"", "DELETE", Host="evil.example"), 421),
}


@dataclass(frozen=True, slots=True)
class Cost:
    status: int
    longest: float
    grown: float


def suffered(service: Victim, attack: Callable[[Victim], int]) -> Cost:
    before = service.memory
    with service.watched():
        time.sleep(0.05)
        found = attack(service)
    return Cost(found, service.longest, service.memory - before)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bundle", type=Path, required=True)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as root, victim(given.bundle, Path(root) / "data") as service:
        suffered(service, post("/v1/search", search()))
        for name, (attack, expected) in ATTACKS.items():
            try:
                cost = suffered(service, attack)
            except (httpx.HTTPError, OSError) as error:
                print(f"{name} | {type(error).__name__}", flush=True)  # noqa: T201
                continue
            mark = "" if cost.status == expected else f" (expected {expected})"
            print(f"{name} | {cost.longest * 1e3:.0f} ms | {cost.grown:+.0f} MB | {cost.status}{mark}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
