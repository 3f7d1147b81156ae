"""A whole market, day by day: `OUT/events` as a shop would have logged it, and the truth apart in `OUT/truth`."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.market.policy import Policy, logging_policy
from pipeline.market.running import MARKET_VERSION, Running
from pipeline.market.world import World

__all__ = ["MARKET_VERSION", "PARTS", "MarketReport", "simulate"]

PARTS = ("events", "truth")


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What was written. ctr: clicks over shown items; seconds: wall time."""

    pages: int
    shown: int
    clicks: int
    purchases: int
    users: int
    items: int
    events: int
    ctr: float
    seconds: float


def simulate(
    world: World, out: Path, on_progress: Callable[[str, float], None] = lambda *_: None, policy: Policy | None = None
) -> MarketReport:
    """Write `out/events` and `out/truth`; on one machine the same world gives the same bytes.

    on_progress: called with the day's name and the share done. policy: who orders the pages, the world's logger
    unless given. Raises InputError when `out` holds a market already; a run that fails leaves nothing.
    """
    begun = time.perf_counter()
    for part in PARTS:
        if (out / part).exists():
            raise InputError("OUT", f"a folder without `{part}`: remove it or choose another", place=str(out))
    if out.exists() and not out.is_dir():
        raise InputError("OUT", "a folder", place=str(out))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".market-", dir=out) as draft:
        run = Running(world)
        run.open(Path(draft))
        for day in range(world.days):
            run.log_day(policy or logging_policy(world))
            on_progress(f"day {day + 1} of {world.days}", (day + 1) / world.days)
        run.close()
        for part in PARTS:
            (Path(draft) / part).rename(out / part)
    count = run.count
    return MarketReport(
        pages=count["pages"],
        shown=count["shown"],
        clicks=count["clicks"],
        purchases=count["purchases"],
        users=world.users,
        items=run.items,
        events=count["events"],
        ctr=count["clicks"] / max(1, count["shown"]),
        seconds=time.perf_counter() - begun,
    )
