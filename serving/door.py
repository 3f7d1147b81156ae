"""Posts of events that wait at the same moment are read together.

Reading a hundred small posts costs little more than reading one. A post that finds nobody is read at once; those that
come meanwhile gather, and are read together, in the order they came, as soon as the reader is free.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pipeline.errors import InputError
from pipeline.logs.moments import Plausible
from pipeline.logs.store import Limits, StoreFullError
from serving.events import Posted, read_posts

Reader = Callable[[Sequence[tuple[bytes, int | None]], int], list[Posted | InputError]]
_GROUP_BYTES: Final = 256 * 1024  # read together, so that nobody waits long for others
_GROUP_EVENTS: Final = 10_000  # as above, at most


@dataclass(frozen=True, slots=True, eq=False)
class _Post:
    body: bytes
    received: int | None
    done: "asyncio.Future[Posted]"

    @property
    def most(self) -> int:
        """No fewer than its events, which commas part."""
        return self.body.count(b",") + 1


class Door:
    """Reads posts in groups, one group at a time and beside the event loop that it is used from.

    most: events of a post; plausible: which times are believed, None for all.
    limits: posts, and bytes of their bodies, that may wait here; after reading they wait for
    the store, which has the same limits.
    """

    def __init__(
        self,
        most: int,
        limits: Limits = Limits(),  # noqa: B008  a frozen value
        plausible: Plausible | None = None,
    ) -> None:
        self._most, self._limits = most, limits
        self._read_posts = read_posts if plausible is None else partial(read_posts, plausible=plausible)
        self._waiting: deque[_Post] = deque()
        self._inside = self._bytes = 0
        self._reading = False

    async def read(self, body: bytes, received: int | None) -> Posted:
        """What `read_posted` says. Raises InputError, and StoreFullError when too much waits."""
        limits = self._limits
        if self._inside >= limits.waiting or (self._bytes and self._bytes + len(body) > limits.waiting_bytes):
            told = f"{self._inside} posts of {self._bytes / 2**20:.1f} MiB"
            raise StoreFullError(f"{told} wait to be read; post again in a moment")
        post = _Post(body, received, asyncio.get_running_loop().create_future())
        self._inside += 1
        self._bytes += len(body)
        self._waiting.append(post)
        if not self._reading:
            self._read_next()
        return await post.done

    def _read_next(self) -> None:
        group = self._group()
        self._reading = bool(group)
        if group:
            posts = [(post.body, post.received) for post in group]
            reading = asyncio.get_running_loop().run_in_executor(None, _read_each, self._read_posts, posts, self._most)
            reading.add_done_callback(partial(self._answer, group))

    def _group(self) -> list[_Post]:
        """The first that wait; those whose callers have gone are left out."""
        group: list[_Post] = []
        size = events = 0
        while self._waiting:
            post = self._waiting[0]
            size, events = size + len(post.body), events + post.most
            if group and (size > _GROUP_BYTES or events > _GROUP_EVENTS):
                break
            self._waiting.popleft()
            if post.done.done():
                size, events = size - len(post.body), events - post.most
                self._leave(post)
            else:
                group.append(post)
        return group

    def _answer(self, group: Sequence[_Post], reading: "asyncio.Future[list[Posted | Exception]]") -> None:
        for post in group:
            self._leave(post)
        for post, outcome in zip(group, reading.result(), strict=True):
            if post.done.done():  # its caller has gone
                continue
            if isinstance(outcome, Exception):
                post.done.set_exception(outcome)
            else:
                post.done.set_result(outcome)
        self._read_next()

    def _leave(self, post: _Post) -> None:
        self._inside -= 1
        self._bytes -= len(post.body)


def _read_each(read: Reader, posts: Sequence[tuple[bytes, int | None]], most: int) -> list[Posted | Exception]:
    try:
        return [*read(posts, most)]
    except Exception as error:  # one of them is to blame: the others must not suffer
        if len(posts) == 1:
            return [error]
        return [outcome for post in posts for outcome in _read_each(read, [post], most)]
