"""How much one caller may ask of the service: what a body may be, a place in the queue, the time for an answer."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import Header, Request
from starlette.types import Message, Receive

from serving.problems import Problem, refused

T = TypeVar("T")
MAX_DEADLINE_MS: Final = 60_000
_LATEST: Final = 0.1  # weight of the latest turn in the average of what one takes
_PARAMETERS: Final = 100  # of a query string


@dataclass(frozen=True, slots=True)
class Bound:
    """What a JSON body may be before anything looks at what it says. values: texts, numbers, lists and objects in it;
    keys: of one object; depth: of lists and objects in one another."""

    size: int = 64_000
    values: int = 2_000
    keys: int = 200
    depth: int = 32

    def read(self, body: bytes) -> Any:
        """The JSON value of a body. Raises JSONDecodeError, and Problem for one that is out of bounds.

        Commas and brackets are more than the values there are, so that of most bodies nothing but these is counted.
        """
        opened = body.count(b"[") + body.count(b"{")
        if opened > self.values:  # before so many objects are made
            raise self._too_many()
        value = orjson.loads(body)  # Python's own parser lets NaN and lone surrogates in, which no store can hold
        if opened > self.depth or opened + body.count(b",") > min(self.keys, self.values):
            self._check(value)
        return value

    def _check(self, value: Any) -> None:
        """Level by level, so that neither width nor depth is walked further than allowed."""
        level, count = [value], 1
        for depth in range(self.depth + 1):
            inside = [one for one in level if isinstance(one, dict | list)]
            count += sum(map(len, inside))
            if count > self.values:
                raise self._too_many()
            if any(isinstance(one, dict) and len(one) > self.keys for one in inside):
                raise refused("body", f"must have at most {self.keys} keys in an object")
            if inside and depth == self.depth:
                raise refused(_deepest(value), f"must be nested at most {self.depth} deep")
            level = [one for outer in inside for one in _inner(outer)]

    def _too_many(self) -> Problem:
        return refused("body", f"must hold at most {self.values} values")


def _inner(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _deepest(value: Any) -> str:
    """The field that is nested most."""
    if not isinstance(value, dict):
        return "body"

    def depth(one: Any) -> int:
        level, found = [one], 0
        while level := [more for outer in level if isinstance(outer, dict | list) for more in _inner(outer)]:
            found += 1
        return found

    return str(max(value, key=lambda name: depth(value[name])))


EVENTS: Final = "/v1/events"
_BOUNDS: Final = {
    "/v1/search": Bound(size=256_000, values=5_000),
    "/v1/recommend": Bound(size=256_000, values=5_000),
    "/v1/recommend/batch": Bound(size=256_000, values=5_000),
    "/v1/rank": Bound(size=1_000_000, values=50_000),
    "/v1/rules": Bound(size=1_000_000, values=20_000),
    EVENTS: Bound(size=2**63),  # [serving] body_bytes; its events are bounded where they are read
}


def bound_of(path: str, most: int) -> Bound:
    """The bound of a route's body. most: bytes that any body may have."""
    found = _BOUNDS.get(path, Bound())
    return Bound(min(found.size, most), found.values, found.keys, found.depth)


def bounded(request: Request, size: int) -> Receive:
    """How a request is received, up to `size` bytes. Raises Problem 413 for a body above it, by its declared length or
    while it is read, and 422 for a query string of too many parameters."""
    if request.scope["query_string"].count(b"&") >= _PARAMETERS:
        raise refused("query", f"must have at most {_PARAMETERS} parameters")
    too_large = Problem(413, f"A body of this path has at most {size} bytes; send less at a time.")
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > size):
        raise too_large
    seen, receive = 0, request.receive

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > size:
            raise too_large
        return message

    return counted


class Gate:
    """A queue with an end, in number and in time: who cannot be answered when it is due is turned away at once, instead
    of waiting for an answer that comes too late.

    limit: who may be inside; seconds: an answer may take that does not say when it is due, None for ever; turned_away:
    told why. How long it takes until a turn comes is told by those inside and by what the latest took on the average.
    """

    def __init__(self, limit: int, seconds: float | None, turned_away: Callable[[str], None]) -> None:
        self.limit, self.inside = limit, 0
        self._seconds, self._turned_away = seconds, turned_away
        self._mean = 0.0

    async def through(
        self, submit: Callable[[Callable[[], T]], "Future[T]"], work: Callable[[], T], due: float | None
    ) -> T:
        """What the work says when its turn has come. due: a moment of `time.perf_counter()`."""
        now = time.perf_counter()
        if due is None and self._seconds is not None:
            due = now + self._seconds
        if self.inside >= self.limit:
            raise self._refused("full", 429)
        if self.inside and due is not None and now + (self.inside + 1) * self._mean > due:
            raise self._refused("busy")
        self.inside += 1
        try:
            return await self._waited(submit(partial(self._timed, work, due)), due)
        finally:
            self.inside -= 1

    async def _waited(self, turn: "Future[T]", due: float | None) -> T:
        """What a turn brings; one that has not come when it is due is given up."""
        waiting = asyncio.wrap_future(turn)
        if due is None:
            return await waiting
        timer = asyncio.get_running_loop().call_later(due - time.perf_counter(), turn.cancel)
        try:
            return await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the caller's task, not the turn
                raise
            raise self._refused("late") from None
        finally:
            timer.cancel()

    def _timed(self, work: Callable[[], T], due: float | None) -> T:
        started = time.perf_counter()
        if due is not None and started > due:
            raise self._refused("late")
        try:
            return work()
        finally:
            self._mean += _LATEST * (time.perf_counter() - started - self._mean)

    def _refused(self, why: str, status: int = 503) -> Problem:
        self._turned_away(why)
        wait = max(1, math.ceil(self.inside * self._mean))
        said = f"{self.inside} requests wait already, so that this one would be answered too late; try again."
        return Problem(status, said, headers={"Retry-After": str(wait)})


async def deadline(
    x_deadline_ms: Annotated[
        str | None, Header(description=f"milliseconds the answer may take, 1 to {MAX_DEADLINE_MS}")
    ] = None,
) -> float | None:
    """The `time.perf_counter()` moment at which the answer is due, None without the header `X-Deadline-Ms`."""
    if x_deadline_ms is None:
        return None
    digits = x_deadline_ms.isascii() and x_deadline_ms.isdigit() and len(x_deadline_ms) <= len(str(MAX_DEADLINE_MS))
    if not digits or not 1 <= int(x_deadline_ms) <= MAX_DEADLINE_MS:
        raise refused("X-Deadline-Ms", f"must be a whole number of milliseconds from 1 to {MAX_DEADLINE_MS}")
    return time.perf_counter() + int(x_deadline_ms) / 1000
