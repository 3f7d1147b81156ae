"""Processes to kill or to trace, each a fork of one that has imported everything: what it does is its work alone."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_IMPORTED: Final = ("tests.durability.program", "serving.run", "pipeline.logs.compact")


@cache
def _nursery() -> ForkServerContext:
    """Nothing computes there, so that there are no threads a fork could lose."""
    for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "2", "POLARS_MAX_THREADS": "2"}.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


class Program:
    """A process that runs a function of `program`, once `go` is called. Its lines are read by a thread as they come,
    each given to `note`; those that it wrote before it was killed are there."""

    def __init__(
        self,
        name: str,
        arguments: Any,
        note: Callable[[str], None] = lambda _: None,
        environment: Mapping[str, str] | None = None,
        errors: Path | None = None,
    ) -> None:
        from tests.durability.program import run

        (listens, self._tells), (hears, speaks) = os.pipe(), os.pipe()
        self._errors = errors or _nowhere()
        ends = [listens, speaks, os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]
        told = json.dumps(arguments)
        # Descriptors can be handed over only while the process is started.
        self.process = _nursery().Process(target=run, args=(name, told, dict(environment or {}), _Handles(ends)))
        self.process.start()
        for end in ends:
            os.close(end)
        self._note = note
        self.lines: list[str] = []
        self.first = threading.Event()  # its first line of work has come, or its end
        self._hears = os.fdopen(hears, encoding="utf-8")
        if self._hears.readline() != "ready\n":
            raise RuntimeError(f"{name} did not start: {self.said}")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def said(self) -> str:
        """On its standard error."""
        return self._errors.read_text(encoding="utf-8")

    def go(self) -> None:
        os.write(self._tells, b"\n")

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, if it has not ended by itself, wait for the end, read what was said before."""
        if self.lives:
            os.kill(self.pid, how)
        self.wait()

    def wait(self, seconds: float = 120) -> int:
        self.process.join(seconds)
        if self.process.exitcode is None:
            raise TimeoutError(f"{self.process} does not end")
        self._reader.join(20)
        return self.process.exitcode

    @property
    def lives(self) -> bool:
        return self.process.is_alive()

    def close(self) -> None:
        if self.lives:
            self.end()
        os.close(self._tells)
        self._reader.join(20)
        self._hears.close()
        self.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self) -> None:
        for line in self._hears:
            if line.endswith("\n"):  # else it was killed in the middle
                self.lines.append(line.rstrip("\n"))
                self._note(self.lines[-1])
            self.first.set()
        self.first.set()


class _Handles:
    """Descriptors on their way to a new process: its input, output and errors."""

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles

    def __reduce__(self) -> tuple[Any, ...]:
        return _Arrived, ([DupFd(handle) for handle in self._handles],)


class _Arrived:
    def __init__(self, handles: list[Any]) -> None:
        self._handles = handles

    def settle(self) -> None:
        """Make them 0, 1 and 2."""
        for standard, handle in enumerate(self._handles):
            os.dup2(handle.detach(), standard)


def _nowhere() -> Path:
    import tempfile

    handle, name = tempfile.mkstemp(prefix="podium-said-")
    os.close(handle)
    return Path(name)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises TimeoutError."""
    last = time.monotonic() + seconds
    while not true():
        if time.monotonic() > last:
            raise TimeoutError(what)
        time.sleep(0.005)
