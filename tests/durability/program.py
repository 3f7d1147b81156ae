"""What the processes do that are killed or traced.

Each says `ready`, waits for a line, and only then works: what is traced or made to fail from there on is its work. It
says on its standard output what it was told, in lines of one write.
"""

import ctypes
import json
import os
import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline import artifacts, bundle
from pipeline.errors import PodiumError
from pipeline.logs import compact as compaction
from pipeline.logs import store as stores
from tests.durability.history import row

_ANYBODY: Final = (0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER, so that strace need not be our parent
_LOCK = threading.Lock()


def say(*words: object) -> None:
    """One line in one write: a kill leaves all of it or none."""
    with _LOCK:
        os.write(1, (" ".join(map(str, words)) + "\n").encode())


def started() -> None:
    """Everything is imported: wait until whoever started us is ready."""
    ctypes.CDLL(None).prctl(*_ANYBODY, 0, 0, 0)
    say("ready")
    os.read(0, 1)


def write(
    url: str,
    name: str,
    seed: int = 0,
    *,
    threads: int = 2,
    batches: int = 1 << 60,
    again: list[str] | None = None,
    synchronous: str = "FULL",
    forget: int = 0,
    early: bool = False,
) -> None:
    """Post new events, some twice, and first of all those of `again`; `forget`: a user after so many batches; `early`:
    a bad writer, that says it is done before it is."""
    open_database = stores.open_database
    stores.open_database = lambda url, _, *rest: open_database(url, synchronous, *rest)
    started()
    store = stores.EventStore(url)
    work = partial(_post, store, batches=batches, forget=forget, early=early)
    shares = [(again or [])[number::threads] for number in range(threads)]
    workers = [
        threading.Thread(target=work, args=(f"{name}.{number}", random.Random(f"{seed} {number}"), share))
        for number, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    store.close()
    say("end")


def _post(
    store: Any, name: str, chance: random.Random, again: list[str], *, batches: int, forget: int, early: bool
) -> None:
    made: list[str] = []
    for number in range(batches):
        ids = [f"{name}.{number}.{place}" for place in range(chance.choice((1, 1, 2, 5, 20)))]
        twice = chance.sample(made, min(len(made), chance.randrange(3)))
        batch = [*ids, *twice, *again[:20]]
        del again[:20]
        chance.shuffle(batch)
        say("offer", *batch)
        if early:
            say("ack", 0, *batch)
        done = store.append([row(event_id) for event_id in batch])
        say("ack", done.last, *batch)
        made += ids
        if forget and number + 1 == forget:
            say("forget", f"user-{forget % 7}")
            store.forget(f"user-{forget % 7}").result()
            say("forgotten", f"user-{forget % 7}")


def append(url: str, batches: list[list[str]]) -> None:
    """Post batches and go on when one is refused."""
    started()
    store = None
    for number, batch in enumerate(batches):
        say("offer", *batch)
        try:
            store = store or stores.EventStore(url)
            done = store.append([row(event_id) for event_id in batch])
            say("ack", done.last, *batch)
        except PodiumError as error:
            say("refused", number, type(error).__name__, error)
    if store is not None:
        store.close()
    say("end")


def compact(url: str, log: str, bundles: str, synced: bool = True) -> None:
    """Bring a log up to the store, and let go of what came before the earliest cutoff of the bundles."""
    if not synced:
        _unsynced()
    started()
    store = stores.EventStore(url)
    done = compaction.compact(store, Path(log), bundles=Path(bundles))
    say("compacted", done.seq, done.released)
    store.close()
    say("end")


def publish(into: str, text: str, synced: bool = True) -> None:
    """Publish an artifact of a few files, one of them in a folder of its own."""

    def fill(folder: Path) -> None:
        (folder / "part").mkdir()
        for place, name in enumerate(("a.txt", "b.txt", "part/c.txt")):
            (folder / name).write_text(f"{text} {place} " * 500, encoding="utf-8")

    if not synced:
        _unsynced()
    started()
    artifacts.publish(Path(into), artifacts.Draft("test.durable", {"text": text}, {}), fill)
    say("published", text)


def activate(root: str, parts: dict[str, str], cutoff: int, synced: bool = True) -> None:
    """Bind a bundle and make it the current one."""
    if not synced:
        _unsynced()
    started()
    bound = bundle.bind(Path(root), {name: Path(folder) for name, folder in parts.items()}, cutoff)
    say("bound", bound.id)
    bundle.promote(Path(root), bound.id)
    say("promoted", bound.id)


def podium(*arguments: str) -> None:
    """A command of ours."""
    from podium import cli

    sys.argv = ["podium", *arguments]
    started()
    cli()


def _unsynced() -> None:
    """A program that forgot all its fsyncs."""
    os.fsync = os.fdatasync = lambda _: None  # type: ignore[assignment]


def run(name: str, arguments: str, environment: dict[str, str], handles: Any) -> None:
    """What a new process does."""
    handles.settle()
    os.environ.update(environment)
    programs: dict[str, Callable[..., None]] = {
        "write": write,
        "append": append,
        "compact": compact,
        "publish": publish,
        "activate": activate,
        "podium": podium,
    }
    told = json.loads(arguments)
    try:
        if isinstance(told, list):
            programs[name](*told)
        else:
            programs[name](**told)
    except PodiumError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(error.exit_code)
