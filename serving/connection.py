"""The connection of one caller: how much of a request is read, for how long, and how many may be open.

uvicorn over httptools reads a head without an end, waits for a slow one for ever and holds any number of them. All of
this comes before the application, so that no key is needed. What is refused is told as the application would tell it.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.problems import Problem

_AHEAD: Final = 32  # requests that a caller may send before the first is answered


@dataclass(frozen=True, slots=True)
class Reading:
    """head_bytes: of the request line and the headers; head_seconds: from the first byte to the last of them;
    body_seconds: the same of the body, and how long an answer may wait for who does not read it; connections: open at
    once, in one worker."""

    head_bytes: int
    head_seconds: float
    body_seconds: float
    connections: int


class RefusedError(Exception):
    """Ends the parsing of a request that was refused."""


class Connection(HttpToolsProtocol):
    """uvicorn's own, with an end to everything."""

    def __init__(self, reading: Reading, **given: Any) -> None:
        super().__init__(**given)
        self._reading = reading
        self._tick = min(reading.head_seconds, reading.body_seconds)
        self._due = math.inf  # when what is being read must be whole
        self._made = 0.0
        self._in_head, self._head = False, 0
        self._moved, self._still = False, 0  # whether these bytes ended a head or were of a body; bytes since
        self._problem: Problem | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._made = self.loop.time()
        self._due = self._made + self._reading.head_seconds
        self._timer = self.loop.call_later(self._tick, self._look)
        if len(self.connections) > self._reading.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._due == math.inf:
            self._due = self.loop.time() + self._reading.head_seconds
        self._moved = False
        super().data_received(data)
        self._still = 0 if self._moved else self._still + len(data)
        if self._still > self._reading.head_bytes and not self.transport.is_closing():
            self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._due = self.loop.time() + self._reading.head_seconds
        if len(self.pipeline) >= _AHEAD:
            self._stop(Problem(400, f"More than {_AHEAD} requests come before the first is answered."))

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._grow(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows a body in chunks is nobody's header
            super().on_header(name, value)
            self._grow(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        self._in_head, self._moved = False, True
        self._due = self.loop.time() + self._reading.body_seconds
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved, self._due = True, math.inf
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self._reading.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, _: str) -> None:
        self._refuse(self._problem or Problem(400, "This is not an HTTP request."))

    @property
    def _idle(self) -> bool:
        """Nobody computes for it."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > self._reading.head_bytes:
            self._stop(self._too_large())

    def _too_large(self) -> Problem:
        return Problem(431, f"The request line and the headers have at most {self._reading.head_bytes} bytes.")

    def _stop(self, problem: Problem) -> None:
        """Refuse from within the parser, which calls `send_400_response` for what it cannot go on with."""
        self._problem = problem
        raise RefusedError

    def _refuse(self, problem: Problem) -> None:
        """Answer at once and close. Nothing is said where it would be taken for the answer to something else."""
        fresh = self._idle and (self.cycle is None or self._in_head)
        if fresh or not (self._idle or self._in_head or self.cycle.response_started):
            self.transport.write(_written(problem))
        self.transport.close()

    def _look(self) -> None:
        """Close what is overdue. Looked at now and then, so that a request costs no timer."""
        now = self.loop.time()
        if now >= self._due and (self._idle or self.cycle.more_body):
            self._refuse(Problem(408, "The request did not come in time: send its head and its body without a pause."))
        if not self.transport.is_closing():
            self._timer = self.loop.call_at(min(max(self._due, now + 0.05), now + self._tick), self._look)

    def _make_room(self) -> None:
        """Close the oldest connection that nobody computes for, or else this one."""
        others = [one for one in self.connections if isinstance(one, Connection) and one is not self and one._idle]
        if others:
            min(others, key=lambda one: one._made).transport.abort()
        else:
            why = f"{self._reading.connections} connections are open and in use; try again."
            self._refuse(Problem(503, why, headers={"Retry-After": "1"}))


def _written(problem: Problem) -> bytes:
    """A problem as it goes over the wire, after which the connection ends."""
    answer = problem.response()
    headers = [*answer.raw_headers, (b"connection", b"close")]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[problem.status_code] + lines + b"\r\n" + bytes(answer.body)
