"""kill -9 of a service under load, and of the database server below it."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.durability.history import History, check
from tests.durability.kills import Tally
from tests.durability.running import alive
from tests.durability.service import Clients, Service, clients, serving
from tests.postgres import Server

THREADS: Final = 4
_LONGEST: Final = 0.6  # seconds of load before a kill


def kill_services(bundles: Path, root: Path, url: str, rounds: int, seed: int, every: int = 1) -> Tally:
    """Kill and start again, clients posting all the while. every: kills between two checks."""
    tally, history, chance = Tally(), History(), random.Random(seed)
    with serving(bundles, root, _database(url)) as service, clients(service.url, THREADS, seed, history) as posting:
        for number in range(rounds):
            _load(posting, chance)
            service.end()
            tally.kills += 1
            if number % every == every - 1:
                posting.pause()
                check(history, url)
                posting.go()
            service.start()
            if chance.random() < 0.1:  # while it starts
                time.sleep(chance.random() * 2)
                service.end()
                tally.kills += 1
                service.start()
            service.ready()
        _calm(service, posting)
    return _told(tally, history, posting, url)


def kill_servers(bundles: Path, root: Path, server: Server, url: str, rounds: int, seed: int) -> Tally:
    """Kill PostgreSQL's server under a service that goes on, and start it again."""
    tally, history, chance = Tally(), History(), random.Random(seed)
    with serving(bundles, root, _database(url)) as service, clients(service.url, THREADS, seed, history) as posting:
        for _ in range(rounds):
            _load(posting, chance)
            kill_server(server)
            tally.kills += 1
            time.sleep(chance.random() * 0.3)
            server.start()
            posting.answered(THREADS)  # the same service works again
            posting.pause()
            check(history, url)
        _calm(service, posting)
    return _told(tally, history, posting, url)


def kill_server(server: Server) -> None:
    """SIGKILL to the server and its processes, as when memory runs out: nothing is tidied."""
    first = int((server.folder / "data/postmaster.pid").read_text(encoding="ascii").split()[0])
    family = [first, *_children(first)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(map(alive, family)):
        time.sleep(0.005)
    # Where nobody reaps orphans, the dead still have their ids, and the next server would take them for running ones.
    for left in (server.folder / "data/postmaster.pid", *server.folder.glob(".s.PGSQL.*")):
        left.unlink(missing_ok=True)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                if int((entry / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def _database(url: str) -> dict[str, str]:
    return {"PODIUM_DATABASE": url}


def _load(posting: Clients, chance: random.Random) -> None:
    posting.go()
    posting.answered(1)
    time.sleep(chance.random() * _LONGEST)


def _calm(service: Service, posting: Clients) -> None:
    """At last everybody is answered: who posts again until then loses nothing, and is not counted twice."""
    service.ready()
    posting.go()
    posting.answered(3 * THREADS)
    posting.pause()


def _told(tally: Tally, history: History, posting: Clients, url: str) -> Tally:
    check(history, url)
    tally.add(history)
    for status, times in posting.answers.items():
        tally.count(f"answers {status}", times)
    return tally
