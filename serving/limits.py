"""How much one caller may ask of the service: the size of a body, a place in the queue, the time for an answer."""

import time
from types import TracebackType
from typing import Annotated

from fastapi import Header
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import Problem, refused

MAX_DEADLINE_MS = 60_000


class BodyLimit:
    """ASGI middleware: 413 for a body above `limit` bytes, by its declared length or while it is read."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.limit:
            await self._refusal().response()(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise self._refusal()
            return message

        await self.app(scope, counted, send)

    def _refusal(self) -> Problem:
        return Problem(413, f"A body has at most {self.limit} bytes; send less at a time.")


class Gate:
    """A queue with an end: who finds `limit` others inside is turned away with 429 instead of waiting for long."""

    def __init__(self, limit: int) -> None:
        self.limit, self.inside = limit, 0

    def __enter__(self) -> None:
        if self.inside >= self.limit:
            raise Problem(429, f"{self.inside} requests wait already; try again.", headers={"Retry-After": "1"})
        self.inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inside -= 1


async def deadline(
    x_deadline_ms: Annotated[
        str | None, Header(description=f"milliseconds the answer may take, 1 to {MAX_DEADLINE_MS}")
    ] = None,
) -> float | None:
    """The `time.perf_counter()` moment at which the answer is due, None without the header `X-Deadline-Ms`."""
    if x_deadline_ms is None:
        return None
    if not x_deadline_ms.isascii() or not x_deadline_ms.isdigit() or not 1 <= int(x_deadline_ms) <= MAX_DEADLINE_MS:
        raise refused("X-Deadline-Ms", f"must be a whole number of milliseconds from 1 to {MAX_DEADLINE_MS}")
    return time.perf_counter() + int(x_deadline_ms) / 1000
