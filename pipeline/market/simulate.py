"""A whole market, day by day: `OUT/events` as a shop would have logged it, and the truth apart in `OUT/truth`."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.events import SCHEMA
from pipeline.market import rows
from pipeline.market.catalogue import Ints, make_catalogue
from pipeline.market.clicks import CLICK, PURCHASE, Deeds, Pages, act
from pipeline.market.policy import Policy, Slate, logging_policy
from pipeline.market.pool import Heads, Pool, gather, make_heads
from pipeline.market.queries import completions, make_intents
from pipeline.market.sessions import Market, Visits, visit
from pipeline.market.shelf import Shelf, drifted, first_stock, make_shelf, next_stock
from pipeline.market.shoppers import make_shoppers
from pipeline.market.suggest import SUGGEST, SearchBox, keystrokes
from pipeline.market.truth import Truth, TruthFiles, judge, write_examination
from pipeline.market.vocabulary import read_vocabulary
from pipeline.market.world import DAY, START, World
from pipeline.market.write import EventFiles, delivered, event_lines

# Raise it with every change of what a seed gives, and say in docs/log.md why: figures of two versions do not compare.
MARKET_VERSION = 1
PARTS = ("events", "truth")
BLOCK = 4096  # requests at a time: bounds memory in large worlds


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
    """Write `out/events` and `out/truth`; the same world gives the same bytes.

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
        run = _Run(world, Path(draft), policy or logging_policy(world))
        for day in range(world.days):
            run.simulate_day(day)
            on_progress(f"day {day + 1} of {world.days}", (day + 1) / world.days)
        run.finish()
        for part in PARTS:
            (Path(draft) / part).rename(out / part)
    return run.report(time.perf_counter() - begun)


class _Run:
    """The state that one day hands to the next: stock, demand, running numbers, open files."""

    def __init__(self, world: World, out: Path, policy: Policy) -> None:
        self._world, self._out, self._policy = world, out, policy
        self._words = read_vocabulary(world.items)
        things, people, wishes, stock, delivery = (np.random.default_rng([world.seed, 0, i]) for i in range(5))
        catalogue = make_catalogue(world, self._words, things)
        shoppers = make_shoppers(world, self._words, catalogue, people)
        self._market = Market(world, catalogue, shoppers, make_intents(self._words, catalogue, wishes))
        self._box = SearchBox(self._market.intents, completions(self._market.intents))
        self._stock = first_stock(catalogue, stock)
        self._mood = wishes.standard_normal(len(self._market.intents.leaf))
        names = rows.item_ids(np.arange(len(catalogue.leaf))).to_list()
        self._truth = TruthFiles(out / "truth", names)
        self._files = EventFiles(out / "events", world, delivery)
        self._count = dict.fromkeys(("pages", "shown", "clicks", "purchases", "requests", "sessions", "feedback"), 0)

    def simulate_day(self, day: int) -> None:
        rng = np.random.default_rng([self._world.seed, 1, day])
        changed = np.empty(0, dtype=np.int64)
        if day:
            self._stock, changed = next_stock(self._world, self._market.catalogue, self._stock, day, rng)
            self._mood = drifted(self._mood, self._world.drift, rng)
        self._announce(day, changed, rng)
        shelf = make_shelf(self._world, self._market.catalogue, self._stock, day)
        heads = make_heads(self._market, self._words, shelf)
        visits = visit(self._market, shelf, self._mood, self._count["sessions"], rng)
        self._count["sessions"] = int(visits.number[-1]) + 1
        for start in range(0, len(visits), BLOCK):
            self._serve(shelf, heads, visits.take(slice(start, start + BLOCK)), rng)
        self._files.flush(day)

    def finish(self) -> None:
        self._truth.close()
        write_examination(self._out / "truth", self._world)
        manifest = {
            "schema": SCHEMA,
            "market": MARKET_VERSION,
            "seed": self._world.seed,
            "world": self._world.model_dump(),
        }
        text = json.dumps(manifest, indent=2) + "\n"
        (self._out / "events" / "manifest.json").write_text(text, encoding="utf-8")

    def report(self, seconds: float) -> MarketReport:
        count = self._count
        return MarketReport(
            pages=count["pages"],
            shown=count["shown"],
            clicks=count["clicks"],
            purchases=count["purchases"],
            users=self._world.users,
            items=len(self._market.catalogue.leaf),
            events=self._files.written,
            ctr=count["clicks"] / max(1, count["shown"]),
            seconds=seconds,
        )

    def _announce(self, day: int, changed: Ints, rng: np.random.Generator) -> None:
        """The rows of new and changed items and of new accounts."""
        morning, night = START + day * DAY, START + (day + 1) * DAY
        catalogue, shoppers = self._market.catalogue, self._market.shoppers
        new = np.flatnonzero((catalogue.created >= morning) & (catalogue.created < night))
        which = np.concatenate([changed, new])
        moment = np.concatenate([np.full(len(changed), morning), catalogue.created[new]])
        self._log("item", rows.item_rows(self._words, catalogue, self._stock, which, moment), rows.ITEM, rng)
        joined = np.flatnonzero((shoppers.joined >= morning) & (shoppers.joined < night))
        self._log("user", rows.user_rows(self._words, shoppers, joined), rows.USER, rng)

    def _serve(self, shelf: Shelf, heads: Heads, visits: Visits, rng: np.random.Generator) -> None:
        """Answer a block of requests, and log what follows."""
        market, world = self._market, self._world
        request_ids = rows.ids("r", self._count["requests"] + np.arange(len(visits)), 9)
        self._count["requests"] += len(visits)
        typed, typo = keystrokes(world, market.intents, self._box, visits, request_ids, rng=rng)
        visits = replace(visits, typo=typo)
        pool = gather(market, self._words, shelf, heads, visits, rng=rng)
        truth = judge(market, self._stock, visits, pool)
        slate = self._policy.rank(visits, pool, 2 * world.page_size, rng)
        pages = lay_out(world, visits, pool, slate, truth, rng=rng)
        deeds = before(
            world.end, act(world, market.catalogue, pages, market.shoppers.bot[visits.who][pages.request], rng)
        )
        feedback = rows.feedback_rows(
            world, self._stock, visits, request_ids, pages, deeds=deeds, first=self._count["feedback"], rng=rng
        )
        self._truth.add(request_ids.to_list(), pool, truth)
        self._log("impression", rows.impression_rows(market, visits, request_ids, pages), rows.IMPRESSION, rng)
        self._log("feedback", feedback, rows.FEEDBACK, rng)
        self._log("suggest", typed, SUGGEST, rng)
        self._tally(pages, deeds)

    def _tally(self, pages: Pages, deeds: Deeds) -> None:
        self._count["pages"] += len(pages.request)
        self._count["shown"] += int(pages.present.sum())
        self._count["clicks"] += int((deeds.action == CLICK).sum())
        self._count["purchases"] += int((deeds.action == PURCHASE).sum())
        self._count["feedback"] += len(deeds.action)

    def _log(self, kind: str, frame: pl.DataFrame, fields: dict[str, bool], rng: np.random.Generator) -> None:
        self._files.add(event_lines(kind, delivered(self._world, frame, rng), fields))


def lay_out(world: World, visits: Visits, pool: Pool, slate: Slate, truth: Truth, *, rng: np.random.Generator) -> Pages:
    """Cut the slates into the pages that were asked for."""
    size = world.page_size
    second = np.flatnonzero(visits.pages == 2)
    request = np.concatenate([np.arange(len(visits)), second])
    number = np.repeat([0, 1], [len(visits), len(second)])

    pause = np.concatenate([np.zeros(len(visits), dtype=np.int64), rng.integers(15_000, 60_000, len(second))])
    position = number[:, None] * size + np.arange(size)
    column = slate.column[request[:, None], position]
    present = column >= 0
    filled = present.any(axis=1)
    request, number, position, column, present = (part[filled] for part in (request, number, position, column, present))
    at = (request[:, None], np.maximum(column, 0))
    return Pages(
        request=request,
        number=number,
        time=visits.time[request] + pause[filled],
        item=pool.items[at],
        present=present,
        position=position,
        propensity=slate.propensity[request[:, None], position],
        marginal=slate.marginal[request[:, None], position],
        relevance=truth.relevance[at],
        click=truth.click[at],
        purchase=truth.purchase[at],
    )


def before(end: int, deeds: Deeds) -> Deeds:
    """Only what happens before the log ends."""
    kept = deeds.time < end
    return Deeds(deeds.page[kept], deeds.place[kept], deeds.action[kept], deeds.time[kept], deeds.dwell[kept])
