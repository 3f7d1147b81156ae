"""Looking for what other processes changed, often, and at next to no cost while nothing changes."""

import logging
import threading
from collections.abc import Callable
from typing import Final

LOG = logging.getLogger("podium.serving")
_REST: Final = 1.0  # seconds without a look after one that failed
_CALM: Final = 250  # looks that saw nothing new, after which half as many do


class Watch:
    """A thread of its own: looking may wait for a disk or a server, which must hold up no request.

    look: a value that differs when something may have changed; changed: called when it does, and again later when it
    fails; failed: told of each failure.
    """

    def __init__(
        self, look: Callable[[], object], changed: Callable[[], None], seconds: float, failed: Callable[[], None]
    ) -> None:
        self._look, self._changed, self._seconds, self._failed = look, changed, seconds, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        seen: object = None  # what changed before the first look shall not be missed
        pause, same = self._seconds, 0
        while not self._stop.wait(pause):
            same += 1
            pause = self._seconds * (1 if same < _CALM else 2)
            try:
                now = self._look()
                if now != seen:
                    self._changed()
                    seen, same = now, 0
            except Exception:
                LOG.exception("what other processes changed could not be read")
                self._failed()
                pause = _REST
