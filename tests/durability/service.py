"""A service and its clients: threads that post events, twice now and then, and again until somebody answers."""

import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from tests.durability.history import History, event
from tests.durability.running import Program, until

_PATIENCE: Final = 60.0  # seconds until a service answers


class Service:
    """`podium serve` over one bundle and one root, started and killed as often as one likes, always at one address."""

    def __init__(self, bundles: Path, root: Path, environment: Mapping[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        told = {"--bundle": bundles, "--root": root, "--port": self.port}
        self._arguments = ["serve", *(str(word) for option in told.items() for word in option)]
        self._environment, self._errors = environment, root / "said.txt"
        self._process: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> Program:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        self._process = Program("podium", self._arguments, environment=self._environment, errors=self._errors)
        self._process.go()

    def ready(self) -> None:
        until(self._answers, _PATIENCE, "the service did not get ready")

    def _answers(self) -> bool:
        if not self.process.lives:
            raise RuntimeError(f"the service ended: {self.process.said[-2_000:]}")
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").status_code == 200
        return False

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """A signal, then wait for the end."""
        if self._process is not None:
            if self._process.lives:
                self._process.end(how)
            self._process.close()
            self._process = None


@contextmanager
def serving(bundles: Path, root: Path, environment: Mapping[str, str]) -> Iterator[Service]:
    root.mkdir(parents=True, exist_ok=True)
    service = Service(bundles, root, environment)
    try:
        service.start()
        service.ready()
        yield service
    finally:
        service.end()


class Clients:
    """Threads that post while `going`; what they sent and what they were answered is in `history`."""

    def __init__(self, url: str, threads: int, seed: int, history: History, name: str = "c") -> None:
        self.history, self.answers = history, Counter[int]()
        self._url = url
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._ended = False
        self._busy = [threading.Event() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._post, args=(f"{name}{number}", random.Random(f"{seed} {number}"), busy))
            for number, busy in enumerate(self._busy)
        ]
        for thread in self._threads:
            thread.start()

    def go(self) -> None:
        self._going.set()

    def pause(self) -> None:
        """When it returns nobody waits for an answer: `history` is all there is."""
        self._going.clear()
        until(lambda: not any(busy.is_set() for busy in self._busy), _PATIENCE, "a client still waits")

    def answered(self, more: int, seconds: float = 60) -> None:
        """Wait until so many further posts were accepted."""
        wanted = self.answers[202] + more
        until(lambda: self.answers[202] >= wanted, seconds, f"nothing is accepted any more: {dict(self.answers)}")

    def end(self) -> None:
        self._ended = True
        self._going.set()
        for thread in self._threads:
            thread.join()

    def _post(self, name: str, chance: random.Random, busy: threading.Event) -> None:
        made: list[str] = []
        number = 0
        batch: list[str] = []
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while True:
                self._going.wait()
                if self._ended:
                    return
                busy.set()
                if self._going.is_set():
                    if not batch:
                        ids = [f"{name}.{number}.{place}" for place in range(chance.choice((1, 1, 3, 10)))]
                        twice = chance.sample(made, min(len(made), chance.choice((0, 0, 1, 3))))
                        batch = [*ids, *twice]
                        number += 1
                    if self._send(client, batch):
                        made = [*made[-200:], *batch]
                        batch = []
                busy.clear()

    def _send(self, client: httpx.Client, batch: list[str]) -> bool:
        """Whether the batch is acknowledged; else it is to be sent again."""
        with self._lock:
            self.history.offer(batch)
        try:
            answer = client.post("/v1/events", json=[event(event_id) for event_id in batch])
        except httpx.TransportError:
            time.sleep(0.02)
            return False
        with self._lock:
            self.answers[answer.status_code] += 1
        if answer.status_code != 202:
            time.sleep(0.02)
            return False
        told: dict[str, Any] = answer.json()
        if told["accepted"] + told["duplicates"] != len(batch) or told["rejected"]:
            raise AssertionError(f"an answer that does not add up: {told} of {len(batch)}")
        with self._lock:
            self.history.acknowledge(batch)
        return True


@contextmanager
def clients(url: str, threads: int, seed: int, history: History, name: str = "c") -> Iterator[Clients]:
    posting = Clients(url, threads, seed, history, name)
    try:
        yield posting
    finally:
        posting.end()
