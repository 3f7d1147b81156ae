"""What survives: processes killed, power lost and system calls that fail, far more often than the tests do it.

    python -m benchmarks.durability WORK [--only PART ...] [--kills 200] [--seed 7]

Parts: writers, compactions, service, postgresql, server, power, calls. Each prints one line of JSON; a lost, doubled or
invented event ends the run with an error. Needs strace; `postgresql` and `server` need a PostgreSQL server's programs.
"""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.durability import failing, scenes
from tests.durability.kills import kill_compactions, kill_writers
from tests.durability.outages import kill_servers, kill_services
from tests.durability.power import acknowledgements, lose_power, record, some
from tests.postgres import Server, installed, running
from tests.shop import make_shop

POWER: dict[str, Callable[[Path], scenes.Scene]] = {
    "append": partial(scenes.writing, batches=60),
    "append and forget": partial(scenes.writing, batches=30, forget=12),
    "compact, first": partial(scenes.compacting, again=False),
    "compact, again": partial(scenes.compacting, again=True),
    "publish, first": partial(scenes.publishing, again=False),
    "publish, again": partial(scenes.publishing, again=True),
    "activate, first": partial(scenes.activating, again=False),
    "activate, again": partial(scenes.activating, again=True),
}
CALLS: dict[str, Callable[[Path], scenes.Scene]] = {
    "append": scenes.appending,
    "compact, first": partial(scenes.commanding, again=False),
    "compact, again": partial(scenes.commanding, again=True),
    "publish, first": partial(scenes.publishing, again=False),
    "publish, again": partial(scenes.publishing, again=True),
    "activate, first": partial(scenes.activating, again=False),
    "activate, again": partial(scenes.activating, again=True),
}


def power(work: Path, name: str, moments: int, seed: int) -> dict[str, Any]:
    """Power lost at every acknowledgement and at a sample of all other moments of one run."""
    scene = POWER[name](_fresh(work / "root"))
    run = record(scene.root, work / "trace", scene.program, scene.arguments)
    chosen = {*some(acknowledgements(run), moments, seed), *some(run.steps, moments, seed)}
    found = lose_power(run, scene.check, chosen, seed)
    return {"moments": found.moments, "images": found.images, "losses": [asdict(loss) for loss in found.losses[:5]]}


def calls(work: Path, name: str) -> dict[str, Any]:
    """Every system call of one run failing once in every way."""
    bench = failing.Bench(CALLS[name](_fresh(work / "root")), work / "bench")
    outcomes = [bench.run(case) for case in bench.cases()]
    wrong = [asdict(outcome) for outcome in outcomes if outcome.wrong]
    codes = Counter(str(outcome.code) for outcome in outcomes)
    hit = sum(outcome.injected > 0 for outcome in outcomes)
    return {"cases": len(outcomes), "injected": hit, "codes": codes, "wrong": len(wrong), "first": wrong[:5]}


@contextmanager
def _server() -> Iterator[tuple[Server, str]]:
    programs = installed()
    if programs is None:
        raise SystemExit("no PostgreSQL server is installed")
    with running(programs) as server:
        yield server, server.url


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _bundles(work: Path) -> Path:
    if not (work / "shop/bundles/current").exists():
        make_shop(_fresh(work / "shop"), "tiny")
    return work / "shop/bundles"


def _postgresql(work: Path, kills: int, seed: int) -> object:
    with _server() as (_, url):
        return kill_services(_bundles(work), _fresh(work / "postgresql"), url, kills, seed)


def _killed_servers(work: Path, kills: int, seed: int) -> object:
    with _server() as (server, url):
        return kill_servers(_bundles(work), _fresh(work / "server"), server, url, kills, seed)


def _service(work: Path, kills: int, seed: int) -> object:
    root = _fresh(work / "service")
    return kill_services(_bundles(work), root, f"sqlite:///{root}/events.db", kills, seed, every=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--moments", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    told = parser.parse_args()
    work, kills, seed = told.work, told.kills, told.seed
    parts: dict[str, Callable[[], object]] = {
        "writers": lambda: kill_writers(_fresh(work / "writers"), kills, seed),
        "compactions": lambda: kill_compactions(_fresh(work / "compactions"), kills // 2, seed),
        "service": lambda: _service(work, kills // 2, seed),
        "postgresql": lambda: _postgresql(work, kills * 2 // 5, seed),
        "server": lambda: _killed_servers(work, kills // 10, seed),
    }
    parts |= {f"power: {name}": partial(power, _fresh(work / "power"), name, told.moments, seed) for name in POWER}
    parts |= {f"calls: {name}": partial(calls, work / "calls", name) for name in CALLS}
    for name, part in parts.items():
        if not told.only or name in told.only or name.partition(":")[0] in told.only:
            began = perf_counter()
            shutil.rmtree(work / "calls", ignore_errors=True)
            done = part()
            values = done if isinstance(done, dict) else asdict(done)  # type: ignore[call-overload]
            print(json.dumps({"part": name, "seconds": round(perf_counter() - began, 1), **values}), flush=True)


if __name__ == "__main__":
    main()
