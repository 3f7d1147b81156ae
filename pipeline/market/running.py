"""A market that goes on from day to day, whoever orders its pages.

The days of a world are its first: a closed loop may go on past them, with newcomers like those who came before. What
follows from the seed alone (stock, demand, who comes for what) is the same under every policy; only what the policies
caused is kept between runs.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.artifacts import write_json
from pipeline.logs.events import SCHEMA
from pipeline.market import rows
from pipeline.market.catalogue import Ints, make_catalogue
from pipeline.market.clicks import CLICK, PURCHASE, Deeds, Pages, act
from pipeline.market.newcomers import more_items, more_shoppers, more_stock
from pipeline.market.pages import before, lay_out
from pipeline.market.policy import Listener, Policy, Requests
from pipeline.market.pool import Heads, admit, gather, make_heads
from pipeline.market.queries import completions, make_intents
from pipeline.market.sessions import Market, Visits, pages_of, visit
from pipeline.market.shelf import Shelf, drifted, first_stock, make_shelf, next_stock
from pipeline.market.shoppers import make_shoppers
from pipeline.market.suggest import SUGGEST, SearchBox, keystrokes
from pipeline.market.truth import Truth, TruthFiles, WorthFile, best_dcg, judge, shown_dcg, write_examination
from pipeline.market.vocabulary import read_vocabulary
from pipeline.market.world import DAY, START, World
from pipeline.market.write import EventFiles, delivered, event_lines

# Raise it with every change of what a seed gives, and say in docs/log.md why: figures of two versions do not compare.
MARKET_VERSION = 1
BLOCK = 4096  # requests at a time: bounds memory in large worlds
_COUNTED = ("pages", "shown", "clicks", "purchases", "requests", "sessions", "feedback", "events")
_EVER = 2**62
_STATE, _WAITING = "market.json", "waiting.parquet"


class Running:
    """The state that one day hands to the next: stock, demand, running numbers, open files.

    endless: whether days follow the world's last; judged: of about how many
    requests a day the best page is written too, beside what every request's own was worth.
    """

    def __init__(self, world: World, *, endless: bool = False, judged: int = 0) -> None:
        self.world, self.day, self.count = world, 0, dict.fromkeys(_COUNTED, 0)
        self._endless, self._judged = endless, judged
        self._words = read_vocabulary(world.items)
        things, people, wishes, stock, self._delivery = (np.random.default_rng([world.seed, 0, i]) for i in range(5))
        catalogue = make_catalogue(world, self._words, things)
        shoppers = make_shoppers(world, self._words, catalogue, people)
        self._market = Market(world, catalogue, shoppers, make_intents(self._words, catalogue, wishes))
        self._box = SearchBox(self._market.intents, completions(self._market.intents))
        self._stock = first_stock(catalogue, stock)
        self._mood = wishes.standard_normal(len(self._market.intents.leaf))
        self._waiting: list[pl.DataFrame] = []

    @property
    def items(self) -> int:
        """How many items there are, later arrivals included."""
        return len(self._market.catalogue.leaf)

    @property
    def living(self) -> int:
        """How many items have come before the next day begins."""
        return self._market.catalogue.living(self.day)

    def first_items(self) -> pl.DataFrame:
        """The event rows of the items of the first morning."""
        first = np.arange(self.world.items)
        moment = np.full(len(first), START)
        return rows.item_rows(self._words, self._market.catalogue, self._stock, first, moment)

    def open(self, out: Path) -> None:
        """Write what follows to `out/events` and `out/truth`."""
        names = rows.item_ids(np.arange(self.items)).to_list()
        self._out = out
        self._truth = TruthFiles(out / "truth", names)
        self._worth = WorthFile(out / "truth") if self._judged else None
        self._files = EventFiles(out / "events", self.world, self._delivery, self._waiting)

    def close(self) -> None:
        """Finish the files; what has not been delivered waits for the next."""
        self._truth.close()
        if self._worth is not None:
            self._worth.close()
        write_examination(self._out / "truth", self.world)
        manifest = {
            "schema": SCHEMA,
            "market": MARKET_VERSION,
            "seed": self.world.seed,
            "world": self.world.model_dump(),
        }
        text = json.dumps(manifest, indent=2) + "\n"
        (self._out / "events" / "manifest.json").write_text(text, encoding="utf-8")
        self._waiting = self._files.waiting

    def log_day(self, policy: Policy) -> None:
        """The next day, answered in blocks of sessions by a policy of the shop's own."""
        rng = np.random.default_rng([self.world.seed, 1, self.day])
        shelf, heads, visits = self._begin(rng)
        for start in range(0, len(visits), BLOCK):
            self._serve(shelf, heads, visits.take(slice(start, start + BLOCK)), policy, (rng, rng))
        self._end()

    def serve_day(self, policy: Listener, explored: float, starts: Ints, bundle: str | None = None) -> None:
        """The next day, answered by a policy that learns of events as they are delivered.

        explored: share of requests with randomised pages; starts: ms after midnight, ascending and above 0: at these
        moments the policy hears what was delivered so far, and answers all that is asked up to the next. Chance in what
        the policy does never changes what is asked, so that policies are compared on the same requests.
        """
        seed, day = self.world.seed, self.day
        shelf, heads, visits = self._begin(np.random.default_rng([seed, 1, day]))
        drawn = np.random.default_rng([seed, 2, day]).random(len(visits))
        visits = replace(visits, explored=drawn < explored)
        moments = START + day * DAY + np.concatenate([[0], starts])
        place = np.searchsorted(moments, visits.time, side="right") - 1
        for part, moment in enumerate(moments.tolist()):
            policy.hear(self._files.told(moment))
            some = visits.take(np.flatnonzero(place == part))
            if len(some):
                chances = (np.random.default_rng([seed, stream, day, part]) for stream in (3, 4))
                self._serve(shelf, heads, some, policy, (next(chances), next(chances)), bundle)
        self._end()

    def save(self, folder: Path) -> None:
        """What `resume` goes on from."""
        pl.concat(self._waiting).write_parquet(folder / _WAITING)
        state = {"day": self.day, "count": self.count, "delivery": self._delivery.bit_generator.state}
        write_json(folder / _STATE, state)

    def resume(self, folder: Path) -> None:
        """Go on, from the first morning, to where another of the same world was saved."""
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        while self.day < state["day"]:
            self._morning(np.random.default_rng([self.world.seed, 1, self.day]))
            self.day += 1
        self.count = state["count"]
        self._delivery.bit_generator.state = state["delivery"]
        self._waiting = [pl.read_parquet(folder / _WAITING, glob=False)]

    def _morning(self, rng: np.random.Generator) -> Ints:
        """The stock and the demand of the day; returns the items whose row changed overnight."""
        world, day = self.world, self.day
        if self._endless and day >= world.days - 1 and (day + 1) % world.days == 0:
            fresh = np.random.default_rng([world.seed, 5, day])
            catalogue = more_items(world, self._market.catalogue, day, fresh)
            shoppers = more_shoppers(world, self._market.shoppers, day, fresh)
            self._stock = more_stock(self._stock, catalogue, fresh)
            self._market = replace(self._market, catalogue=catalogue, shoppers=shoppers)
        if not day:
            return np.empty(0, dtype=np.int64)
        self._stock, changed = next_stock(world, self._market.catalogue, self._stock, day, rng)
        self._mood = drifted(self._mood, world.drift, rng)
        return changed

    def _begin(self, rng: np.random.Generator) -> tuple[Shelf, Heads, Visits]:
        changed = self._morning(rng)
        self._truth.item_ids = rows.item_ids(np.arange(self.items)).to_numpy()
        self._announce(changed, rng)
        shelf = make_shelf(self.world, self._market.catalogue, self._stock, self.day)
        heads = make_heads(self._market, self._words, shelf)
        visits = visit(self._market, shelf, self._mood, self.count["sessions"], rng)
        self.count["sessions"] = int(visits.number[-1]) + 1
        return shelf, heads, visits

    def _end(self) -> None:
        written = self._files.written
        self._files.flush(self.day, last=not self._endless and self.day == self.world.days - 1)
        self.count["events"] += self._files.written - written
        self.day += 1

    def _announce(self, changed: Ints, rng: np.random.Generator) -> None:
        """The rows of new and changed items and of new accounts."""
        morning, night = START + self.day * DAY, START + (self.day + 1) * DAY
        catalogue, shoppers = self._market.catalogue, self._market.shoppers
        new = np.flatnonzero((catalogue.created >= morning) & (catalogue.created < night))
        which = np.concatenate([changed, new])
        moment = np.concatenate([np.full(len(changed), morning), catalogue.created[new]])
        self._log("item", rows.item_rows(self._words, catalogue, self._stock, which, moment), rows.ITEM, rng)
        joined = np.flatnonzero((shoppers.joined >= morning) & (shoppers.joined < night))
        self._log("user", rows.user_rows(self._words, shoppers, joined), rows.USER, rng)

    def _serve(
        self,
        shelf: Shelf,
        heads: Heads,
        visits: Visits,
        policy: Policy,
        chances: tuple[np.random.Generator, np.random.Generator],
        bundle: str | None = None,
    ) -> None:
        """Answer a block of requests, and log what follows. chances: of the market, and of the policy."""
        market, world, (rng, drawn) = self._market, self.world, chances
        request_ids = rows.ids("r", self.count["requests"] + np.arange(len(visits)), 9)
        self.count["requests"] += len(visits)
        typed, typo = keystrokes(world, market.intents, self._box, visits, request_ids, rng=rng)
        visits = replace(visits, typo=typo)
        pool = gather(market, self._words, shelf, heads, visits, rng=rng)
        requests = Requests(visits, pool, lambda: rows.request_rows(market, visits, request_ids))
        slate = policy.rank(requests, 2 * world.page_size, drawn)
        pool, columns = admit(pool, slate.item)
        truth = judge(market, self._stock, visits, pool)
        pages = lay_out(world, visits, pool, slate, columns, truth, rng=rng)
        bot = market.shoppers.bot[visits.who][pages.request]
        deeds = before(_EVER if self._endless else world.end, act(world, market.catalogue, pages, bot, rng))
        feedback = rows.feedback_rows(
            world, self._stock, visits, request_ids, pages, deeds=deeds, first=self.count["feedback"], rng=rng
        )
        self._truth.add(request_ids.to_list(), pool, truth)
        self._weigh(visits, request_ids, truth, columns)
        shown = rows.impression_rows(market, visits, request_ids, pages, bundle)
        self._log("impression", shown, rows.IMPRESSION, rng)
        self._log("feedback", feedback, rows.FEEDBACK, rng)
        self._log("suggest", typed, SUGGEST, rng)
        self._tally(pages, deeds)

    def _weigh(self, visits: Visits, request_ids: pl.Series, truth: Truth, columns: Ints) -> None:
        """Write what was shown, and for some sessions, the same under every policy, the best that could have been."""
        if self._worth is None:
            return
        depth = visits.pages * self.world.page_size
        every = max(1, pages_of(self.world, self.day) // self._judged)
        which = np.flatnonzero(visits.number % every == 0)
        best = np.full(len(visits), np.nan)
        best[which] = best_dcg(self._market, self._stock, visits.take(which), depth[which])
        self._worth.add(request_ids, visits.explored, shown_dcg(truth, columns, depth), best)

    def _tally(self, pages: Pages, deeds: Deeds) -> None:
        self.count["pages"] += len(pages.request)
        self.count["shown"] += int(pages.present.sum())
        self.count["clicks"] += int((deeds.action == CLICK).sum())
        self.count["purchases"] += int((deeds.action == PURCHASE).sum())
        self.count["feedback"] += len(deeds.action)

    def _log(self, kind: str, frame: pl.DataFrame, fields: dict[str, bool], rng: np.random.Generator) -> None:
        self._files.add(event_lines(kind, delivered(self.world, frame, rng), fields))
