"""Many operations at several processes over one root, checked: does everybody see what was acknowledged, and when?

    python -m benchmarks.history [--operations 100000] [--minutes M] [--only sqlite|postgresql] [--bundles DIR]

Two processes share one SQLite file, four a PostgreSQL server (a fresh one, where Debian's packages are installed).
Clients post items new and changed, clicks, hides and purchases, forget users and replace rules, each at a process
chosen by chance, and ask others what they know: see tests/history. An operation is one event written, one user
forgotten, one set of rules or one read; a post may bring many events. `broken` counts what no process may ever show;
`late` how long ago the first write that a read of another process did not show had been acknowledged. The checker
must be able to fail: with `--follow 5` processes look for news every 5 s, and stale reads have to be found.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.threads import configure_threads

if __name__ == "__main__":  # the processes that are started import this file too, after the libraries
    configure_threads(2)

import numpy as np

from tests.history.checker import Verdict
from tests.history.players import Played, play
from tests.history.workers import workers
from tests.postgres import installed, running
from tests.shop import make_shop

PROCESSES = {"sqlite": 2, "postgresql": 4}
BOUND = 0.1  # seconds after which every process must show what was acknowledged
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    """What a service must find in its environment."""
    if kind == "sqlite":
        yield {}
        return
    programs = installed()
    if programs is None:
        raise SystemExit("no PostgreSQL server is installed: apt-get install postgresql")
    with running(programs) as server:
        yield {"PODIUM_DATABASE": server.url}


def tell(played: Played, verdict: Verdict, seconds: float) -> None:
    total = played.counts.total()
    print(f"{total:,} operations in {seconds:.0f} s, {played.turned_away} requests turned away")
    for kind, count in sorted(played.counts.items()):
        print(f"  {kind:<32} {count:>8,}")
    late = np.array([seconds for seconds, _ in verdict.late])
    print(
        f"broken: {len(verdict.broken)}; later than {BOUND * 1000:.0f} ms: {len(verdict.over(BOUND))} of {len(late):,}"
    )
    for told in [*verdict.broken[:10], *verdict.over(BOUND)[:5]]:
        print(f"  {told}")
    print(f"every read passes at {verdict.longest * 1000:.1f} ms; late, ms: {_quantiles(late)}")
    delays = np.array(played.delays).reshape(-1, 2)
    print(f"a write is shown elsewhere, {len(delays):,} asked for, ms after it was acknowledged:")
    print(f"  by the first read that starts: {_quantiles(delays[:, 0])}")
    print(f"  in an answer that is given:    {_quantiles(delays[:, 1])}", flush=True)


def _quantiles(seconds: np.ndarray) -> str:
    if not len(seconds):
        return "none"
    found: Sequence[float] = np.quantile(seconds, QUANTILES).tolist()
    return "  ".join(f"p{100 * q:g} {1000 * value:.1f}" for q, value in zip(QUANTILES, found, strict=True))


def run(kind: str, bundles: Path, root: Path, options: argparse.Namespace) -> None:
    config = root / "podium.toml"
    root.mkdir()
    config.write_text(f"[serving]\nfollow_seconds = {options.follow}\n", encoding="utf-8")
    count = PROCESSES[kind]
    print(f"\n{kind}, {count} processes, {options.players} clients, seed {options.seed}")
    with database(kind) as environment, workers(bundles, root, count, environment, config) as urls:
        started = time.monotonic()
        played = play(urls, options.seed, options.operations, options.players, options.items, options.minutes * 60)
        seconds = time.monotonic() - started
    tell(played, played.judge(), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="it ends then with fewer operations")
    parser.add_argument("--players", type=int, default=6, help="clients, each a thread")
    parser.add_argument("--items", type=int, default=100, help="of each client, and events of its longest posts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--follow", type=float, default=0.02, help="seconds between two looks for news")
    parser.add_argument("--only", choices=PROCESSES)
    parser.add_argument("--bundles", type=Path, help="a bundles root; one of a small simulated market unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundles = options.bundles or make_shop(Path(folder) / "shop", "tiny").bundles
        for kind in [options.only] if options.only else PROCESSES:
            run(kind, bundles, Path(folder) / kind, options)


if __name__ == "__main__":
    main()
