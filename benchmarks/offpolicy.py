"""Off-policy estimates where the truth is known.

    python -m benchmarks.offpolicy self-preference [--requests 4000] [--replications 1000]
    python -m benchmarks.offpolicy market --logs LOG --truth TRUTH
    python -m benchmarks.offpolicy open-bandit --data FOLDER [--obp]

`self-preference`: a log of the worse of two rankings; which estimator sees the better one, and how often the truth is
inside its 95 % interval, with the examination known and estimated. `market`: the same question of a simulated market
that `podium simulate` wrote. `open-bandit`: two real policies that ran side by
side (Saito et al., arXiv:2008.07146): the click rate of each from the log of the other, against what it had; --obp
puts the package of that name beside it (where it can be imported).
"""

import argparse
import time
from pathlib import Path

from pipeline.threads import configure_threads

configure_threads(2)

from benchmarks import offpolicy_bandit, offpolicy_market, offpolicy_worlds  # noqa: E402


def self_preference(requests: int, replications: int) -> None:
    started = time.perf_counter()
    for law in offpolicy_worlds.LAWS:
        offpolicy_worlds.known_examination(law, requests, replications, print)
    for law in offpolicy_worlds.LAWS:
        offpolicy_worlds.estimated_examination(law, 5 * requests, 0.2, max(replications // 5, 1), print)
    print(f"\n{time.perf_counter() - started:.0f} s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = arguments.add_subparsers(dest="command", required=True)
    world = commands.add_parser("self-preference")
    world.add_argument("--requests", type=int, default=4000)
    world.add_argument("--replications", type=int, default=1000)
    market = commands.add_parser("market")
    for name in ("logs", "truth"):
        market.add_argument(f"--{name}", type=Path, required=True)
    bandit = commands.add_parser("open-bandit")
    bandit.add_argument("--data", type=Path, required=True, help="the folder with {all,men,women}.parquet")
    bandit.add_argument("--obp", action="store_true")
    given = arguments.parse_args()
    if given.command == "self-preference":
        self_preference(given.requests, given.replications)
    elif given.command == "market":
        offpolicy_market.run(given.logs, given.truth, print)
    else:
        offpolicy_bandit.run(given.data, with_obp=given.obp, say=print)


if __name__ == "__main__":
    main()
