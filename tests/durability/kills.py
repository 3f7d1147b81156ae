"""kill -9 at random moments of writers and compactions; after each the store and the log are what clients were told."""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bundles import make_bundle
from tests.durability.history import History, check
from tests.durability.running import Program

_ANEW: Final = 20  # rounds, after which a store is begun anew: a check reads all of it
_LONGEST: Final = 0.25  # seconds a writer works before it is killed
_EARLY: Final = 0.2  # share of kills within the first milliseconds, while a database is opened
_KEPT_MS: Final = 150  # what came later than so long ago is not released


@dataclass
class Tally:
    """What was done to how much: no event of it was lost, doubled, changed or invented."""

    kills: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    more: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.more[name] = self.more.get(name, 0) + by

    def add(self, history: History) -> None:
        self.acknowledged += len(history.acknowledged)
        self.unanswered += len(history.open)


def kill_writers(folder: Path, rounds: int, seed: int, *, early: bool = False) -> Tally:
    """Each round a process goes on with the store of the one before, which was killed. early: bad writers."""
    tally, history = Tally(), History()
    for number, chance in _rounds(rounds, seed):
        url = _store(folder, number)
        if number % _ANEW == 0:
            tally.add(history)
            history = History()
        with Program("write", _writer(url, number, seed, history) | {"early": early}, history.note) as writer:
            _kill_some_time(writer, chance)
        tally.kills += 1
        check(history, url)
    tally.add(history)
    return tally


def kill_compactions(folder: Path, rounds: int, seed: int) -> Tally:
    """Compactions are killed while a writer works, which is killed with them; now and then one is let to the end."""
    tally, history, usual = Tally(), History(), 0.5
    for number, chance in _rounds(rounds, seed):
        url, log = _store(folder, number), folder / f"log-{number // _ANEW}"
        if number % _ANEW == 0:
            tally.add(history)
            history = History()
        with ExitStack() as stack:
            writer = stack.enter_context(Program("write", _writer(url, number, seed, history), history.note))
            compaction = stack.enter_context(Program("compact", _compaction(folder, url, log)))
            writer.go()
            writer.first.wait(60)
            time.sleep(chance.random() * _LONGEST)
            compaction.go()
            time.sleep(chance.random() * usual)
            tally.count("compactions in the middle", compaction.lives)
            compaction.end()
            writer.end()
        tally.kills += 1
        found = check(history, url, log)
        if number % 4 == 3:
            released, usual = run_compaction(folder, url, log)
            tally.count("released", released)
            again = check(history, url, log)
            if again.in_store or again.all != found.all:
                raise AssertionError("a compaction that ended left events behind, or changed them")
            if left := [*folder.glob(f".{log.name}.draft"), *folder.glob(f".{log.name}.old")]:
                raise AssertionError(f"left beside the log: {left}")
    tally.add(history)
    return tally


def run_compaction(folder: Path, url: str, log: Path) -> tuple[int, float]:
    """To its end; how many events left the store, and seconds."""
    with Program("compact", _compaction(folder, url, log)) as compaction:
        began = time.monotonic()
        compaction.go()
        if compaction.wait():
            raise AssertionError(f"the compaction failed: {compaction.said}")
        return int(compaction.lines[0].split()[2]), time.monotonic() - began


def make_bundles(folder: Path, cutoff: int) -> Path:
    """A bundles root with one bundle, of which nothing but its cutoff (ms) is asked."""
    shutil.rmtree(folder / "bundles", ignore_errors=True)
    make_bundle(folder / "bundles", cutoff)
    return folder / "bundles"


def _compaction(folder: Path, url: str, log: Path) -> dict[str, str]:
    bundles = make_bundles(folder, time.time_ns() // 1_000_000 - _KEPT_MS)
    return {"url": url, "log": str(log), "bundles": str(bundles)}


def _rounds(rounds: int, seed: int) -> Iterator[tuple[int, random.Random]]:
    for number in range(rounds):
        yield number, random.Random(f"{seed} {number}")


def _store(folder: Path, number: int) -> str:
    if number % _ANEW == 0 and number:
        for path in folder.glob(f"events-{number // _ANEW - 1}*"):
            path.unlink()
        shutil.rmtree(folder / f"log-{number // _ANEW - 1}", ignore_errors=True)
    return f"sqlite:///{folder}/events-{number // _ANEW}.db"


def _writer(url: str, number: int, seed: int, history: History) -> dict[str, Any]:
    """A writer that first sends again what nobody answered, and some that somebody did."""
    kept = sorted(history.acknowledged)
    return {"url": url, "name": f"r{number}", "seed": seed, "again": history.open + kept[:: max(1, len(kept) // 20)]}


def _kill_some_time(writer: Program, chance: random.Random) -> None:
    writer.go()
    if chance.random() < _EARLY:
        time.sleep(chance.random() * 0.1)
    else:
        writer.first.wait(60)
        time.sleep(chance.random() * _LONGEST)
    writer.end()
