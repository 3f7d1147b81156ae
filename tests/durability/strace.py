"""System calls of a process: recorded with strace, or made to fail."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.durability.running import alive

# What changes files or tells somebody something; `unmodelled` ones are recorded so that none goes unseen.
_CHANGES: Final = (
    *("openat", "open", "creat", "write", "pwrite64", "writev", "pwritev", "pwritev2", "lseek"),
    *("fsync", "fdatasync", "truncate", "ftruncate", "fallocate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat"),
    *("mkdir", "mkdirat", "sendto", "sendmsg"),
    *("sync", "syncfs", "sync_file_range", "msync", "copy_file_range", "sendfile", "dup3"),
)
_LINE: Final = re.compile(r"^(\d+) +(.*)$", re.DOTALL)
_RESUMED: Final = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_CALL: Final = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?(?: ([A-Z]+))?.*$", re.DOTALL)
_LONGEST: Final = 20_000  # of a path in hexadecimal
NEVER: Final = 1 << 60
_UNFINISHED: Final = "<unfinished ...>"


@dataclass(frozen=True, slots=True)
class Call:
    """began, ended: lines of the trace; arguments: as strace prints them; place: of the file a call returned."""

    thread: str
    name: str
    arguments: tuple[str, ...]
    result: int
    place: str
    error: str
    began: int
    ended: int

    def path(self, argument: int) -> str:
        """A path given as text or, in brackets, as a descriptor."""
        told = self.arguments[argument]
        return decode(told[told.index("<") + 1 : told.rindex(">")]) if "<" in told else decode(told.strip('"'))

    @property
    def places(self) -> list[str]:
        """All paths, of descriptors or as text."""
        told = (place for place in self.arguments if "<" in place or (place.startswith('"') and len(place) < _LONGEST))
        return [*(self.path(self.arguments.index(place)) for place in told), self.place]

    def descriptor(self, argument: int = 0) -> int:
        return int(self.arguments[argument].partition("<")[0])

    def data(self, argument: int) -> bytes:
        """Bytes given as one string or as several in a vector, as many as were taken."""
        found = re.findall(r'"([^"]*)"', self.arguments[argument])
        whole = b"".join(map(_bytes, found))
        return whole if self.ended == NEVER else whole[: self.result]


def missing() -> str:
    """Why nothing can be traced here, empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace: {done.stderr.strip()}" if done.returncode else ""


@contextlib.contextmanager
def recording(pid: int, into: Path) -> Iterator[None]:
    """Record the calls of a running process and of its threads until it ends."""
    told = ("-y", "-xx", "-v", "-s", "100000000", "-e", f"trace={','.join(_known(_CHANGES))}")
    with attached(pid, into, told):
        yield


@contextlib.contextmanager
def failing(pid: int, into: Path, call: str, error: str, when: str, paths: Sequence[Path] = ()) -> Iterator[None]:
    """Let the calls of a name fail (`when`: `3`, `3+`, ... of each thread), of all paths or of the given ones."""
    told = [f"-P{path}" for path in paths]
    with attached(pid, into, ("-y", *told, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")):
        yield


@contextlib.contextmanager
def attached(pid: int, into: Path, told: Sequence[str]) -> Iterator[None]:
    """strace at work on a process; let go of it, if it still runs, when the block ends."""
    command = ["strace", "-f", "-o", str(into), *told, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        while line and "attached" not in line:
            line = tracer.stderr.readline()
        if not line:
            raise RuntimeError(f"strace could not attach to {pid}")
        yield
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            tracer.wait(0.5 if alive(pid) else 20)
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)


def _known(names: Sequence[str]) -> list[str]:
    """Names with a question mark: strace passes over those that this machine's kernel has not."""
    return [f"?{name}" for name in names]


def read(trace: Path) -> list[Call]:
    """The calls of a recording, in the order in which they ended."""
    calls: list[Call] = []
    waiting: dict[str, tuple[int, str]] = {}
    with trace.open(encoding="ascii") as lines:
        for number, line in enumerate(lines):
            if not (found := _LINE.match(line.rstrip("\n"))):
                continue
            thread, text = found.groups()
            began = number
            if text.endswith(_UNFINISHED):
                waiting[thread] = number, text.removesuffix(_UNFINISHED).rstrip()
                continue
            if resumed := _RESUMED.match(text):
                began, start = waiting.pop(thread)
                text = start + resumed.group(2)
            if call := _CALL.match(text):
                calls.append(_call(thread, call, began, number))
    # A call that never ended may have done its work, or none of it.
    for thread, (began, text) in waiting.items():
        if call := _CALL.match(f"{text}) = ?"):
            calls.append(_call(thread, call, began, NEVER))
    return calls


def _call(thread: str, found: "re.Match[str]", began: int, ended: int) -> Call:
    name, arguments, result, place, error = found.groups()
    number = -1 if result == "?" else int(result)
    return Call(thread, name, _split(arguments), number, decode(place or ""), error or "", began, ended)


def _split(arguments: str) -> tuple[str, ...]:
    """At the commas that are in no bracket; strings are hexadecimal and hold neither."""
    if "[" not in arguments and "{" not in arguments:
        return tuple(arguments.split(", "))
    parts, depth, start = [], 0, 0
    for mark in re.finditer(r"[\[{]|[\]}]|, ", arguments):
        if mark.group() in "[{":
            depth += 1
        elif mark.group() in "]}":
            depth -= 1
        elif not depth:
            parts.append(arguments[start : mark.start()])
            start = mark.end()
    return (*parts, arguments[start:])


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def decode(text: str) -> str:
    """A path as strace -xx prints it."""
    return os.fsdecode(_bytes(text)) if text.startswith("\\x") else text
