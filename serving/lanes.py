"""The engine's one thread, and who gets it next: what must be learned, then who waits for an answer."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
_Ticket = tuple[Callable[[], Any], "Future[Any]"]


class Lanes:
    """One thread and two queues in front of it. Within a lane the order is that of coming.

    Learning goes first, so that a post of events waits for one answer and not for all that are asked before it. Nobody
    loses by it: what was acknowledged was learned before it was. While answers wait, every other turn is theirs.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "engine")
        self._lock = Lock()
        self._learning: deque[_Ticket] = deque()
        self._answering: deque[_Ticket] = deque()
        self._learned = False  # in the turn before

    def submit(self, work: Callable[[], T], *, learning: bool = False) -> "Future[T]":
        """Run on the thread, at its turn; a future that is cancelled before costs no turn."""
        future: Future[T] = Future()
        with self._lock:
            (self._learning if learning else self._answering).append((work, future))
        self._thread.submit(self._next)  # a turn for each: whose it is, is decided when it comes
        return future

    def shutdown(self) -> None:
        """Do what waits, then end."""
        self._thread.shutdown()

    def _next(self) -> None:
        work, future = self._chosen()
        if not future.set_running_or_notify_cancel():
            return
        try:
            outcome = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(outcome)

    def _chosen(self) -> _Ticket:
        with self._lock:
            self._learned = bool(self._learning) and not (self._learned and self._answering)
            return (self._learning if self._learned else self._answering).popleft()
