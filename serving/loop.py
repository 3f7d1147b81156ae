"""The closed loop of `podium simulate --rounds N`: a bundle answers the market, learns from what it showed, and again.

A round is a folder that appears whole: its events, their log, the truth, what the market goes on from, and the figures.
A loop that was stopped goes on behind its last whole round, and ends with the same bytes as one that was not.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from pipeline.artifacts import write_json
from pipeline.bundle import Bundle, open_bundle
from pipeline.catalogue import Catalogue
from pipeline.errors import InputError
from pipeline.features.ticks import SEAL_MS
from pipeline.logs.events import COLUMNS
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.market.policy import logging_policy
from pipeline.market.running import MARKET_VERSION, Running
from pipeline.market.world import DAY, START, World
from pipeline.progress import Report, silent
from pipeline.spreadsheet import write_csv
from serving.engine import Engine
from serving.jobs import STAGES, train
from serving.loop_policy import SERVED, Served, starts_of
from serving.loop_report import lines, measure, page
from serving.ports import DEPTH
from serving.workshop import claimed

BEFORE, LOGGER = "before", "logger"
JUDGED = 400  # requests a day whose best page is looked for
_ABOUT = "loop.json"
_AT_ONCE = 500_000  # rows
_LATEST_START = 3660  # days


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """explore: share of requests with randomised pages, None = the world's; width: how many items of a slate these are
    drawn from; hours: between two moments at which a bundle hears news; retrain: a bundle a round, else one for all.

    policy: the bundle of the first round; without it that round is the shop's own logger's, and the first bundle learns
    from it. served: see `serving.loop_policy.Served`.
    """

    rounds: int
    days_per_round: int = 1
    explore: float | None = None
    width: int = 64
    hours: float = 6.0
    retrain: bool = True
    policy: Path | None = None
    served: str = "podium"
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """asked: what makes the loop what it is; rounds: a row each; seconds: round -> what they went to."""

    out: Path
    asked: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]
    seconds: Mapping[str, Mapping[str, float]]

    @property
    def values(self) -> dict[str, Any]:
        return {"out": str(self.out), "asked": self.asked, "rounds": list(self.rounds), "seconds": self.seconds}

    def lines(self) -> list[str]:
        """For a reader: a line a round."""
        return [*lines(self.rounds, self.seconds), f"{self.out}/rounds.parquet, rounds.csv, loop.html"]


def run_loop(world: World, out: Path, options: LoopOptions, on_progress: Report = silent) -> Loop:
    """Leave `out/{round-0,...,log,bundles,rounds.parquet,rounds.csv,loop.html}`, or go on where a loop of the same
    world and options ended.

    Raises InputError for options that do not fit, a folder of something else, or a bundle of another world.
    """
    _check(options)
    market = Running(world, endless=True, judged=JUDGED)
    given = None if options.policy is None else _fitting(open_bundle(options.policy), market)
    asked = {"market": MARKET_VERSION, "world": world.model_dump(), **_asked(options, given)}
    with claimed(out):
        seconds = _begun(out, asked)
        run = _Run(market, out, options, given)
        legs = run.legs()
        done = [leg for leg in legs if (out / leg).is_dir()]
        if done:
            market.resume(out / done[-1] / "market")
            run.join(done[-1])
        for place in range(len(done), len(legs)):
            seconds[legs[place]] = run.leg(legs[:place], legs[place], partial(_tell, on_progress, place / len(legs)))
            write_json(out / _ABOUT, {"asked": asked, "seconds": seconds})
        rounds = tuple(json.loads((out / leg / "round.json").read_bytes()) for leg in legs if leg != BEFORE)
        _write(out, asked, rounds)
    on_progress("done", 1.0)
    return Loop(out, asked, rounds, seconds)


@dataclass(frozen=True, slots=True)
class _Run:
    """A loop at work. given: the bundle of the first round, where there is one."""

    market: Running
    out: Path
    options: LoopOptions
    given: Bundle | None

    def legs(self) -> list[str]:
        """The rounds by name; ahead of a bundle's first the days that it learned from."""
        rounds = [f"round-{place}" for place in range(self.options.rounds)]
        return rounds if self.given is None else [BEFORE, *rounds]

    def leg(self, earlier: list[str], name: str, tell: Callable[[str], None]) -> dict[str, float]:
        """One round, from the bundle that serves it to the log that the next one learns from. Returns the seconds."""
        spent: dict[str, float] = {}

        @contextmanager
        def timed(step: str) -> Iterator[None]:
            tell(f"{name}, {step}")
            started = perf_counter()
            yield
            spent[step] = perf_counter() - started

        with timed("train"):
            bundle = self._bundle(earlier, name)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=self.out) as scratch:
            folder = Path(scratch) / name
            since = START + self.market.day * DAY
            with timed("serve"):
                self._serve(folder, bundle)
            with timed("measure"):
                ingest("podium", [folder / "events"], folder / "log")
                figures = measure(folder, [self.out / one for one in earlier], since, self.market.living)
                by = LOGGER if bundle is None else bundle.name
                write_json(folder / "round.json", {"round": name, "served_by": by, "day": self.market.day, **figures})
            folder.rename(self.out / name)
        with timed("join"):
            self.join(name)
        return spent

    def join(self, name: str) -> None:
        """Add a round to the log that grows; what is in it already is recognised."""
        ingest("podium", [self.out / name / "events"], self.out / "log")

    def _bundle(self, earlier: list[str], name: str) -> Path | None:
        """The bundle that answers a round, None for the shop's own logger."""
        if not earlier:
            return None
        if self.given is not None and (name == "round-0" or not self.options.retrain):
            return self.given.root
        if not self.options.retrain and name != "round-1":
            first = json.loads((self.out / "round-1" / "round.json").read_bytes())
            return self.out / "bundles" / str(first["served_by"])
        stages = STAGES if self.options.served == "podium" else ()
        done = train(self.out / "log", self.out / "bundles", config=self.options.config, stages=stages)
        return self.out / "bundles" / done.bundle

    def _serve(self, folder: Path, bundle: Path | None) -> None:
        """The days of a round, written to `folder`, with what the market goes on from."""
        market, options = self.market, self.options
        folder.mkdir()
        market.open(folder)
        if bundle is None:
            for _ in range(options.days_per_round if self.given is None else _days_before(self.given)):
                market.log_day(logging_policy(market.world))
        else:
            served = Served(self._engine(bundle), options.width, options.served)
            starts = starts_of(options.hours, SEAL_MS)
            for _ in range(options.days_per_round):
                market.serve_day(served, self._explored, starts, bundle.name)
        market.close()
        (folder / "market").mkdir()
        market.save(folder / "market")

    @property
    def _explored(self) -> float:
        if self.options.served == "random":
            return 1.0
        return self.market.world.explored if self.options.explore is None else self.options.explore

    def _engine(self, bundle: Path) -> Engine:
        """Knows all that was delivered up to now, and nothing else exists yet."""
        engine = Engine(bundle, config=self.options.config)
        log = Log.open(self.out / "log")
        kinds = {kind: list(COLUMNS[kind]) for kind in ("item", "user", "impression", "feedback")}
        for frames in log.slices(kinds, _AT_ONCE, since=engine.bundle.cutoff):
            engine.learn({kind: frame.sort("time", "event_id") for kind, frame in frames.items()})
        return engine


def _tell(report: Report, share: float, what: str) -> None:
    report(what, share)


def _check(options: LoopOptions) -> None:
    for value, least, name in ((options.rounds, 1, "--rounds"), (options.days_per_round, 1, "--days-per-round")):
        if value < least:
            raise InputError(name, f"at least {least}", received=value)
    if options.explore is not None and not 0 <= options.explore <= 1:
        raise InputError("--explore", "a share of the requests, 0 to 1", received=options.explore)
    if not 1 <= options.width <= DEPTH:
        raise InputError("--explore-width", f"1 to {DEPTH} items of a slate", received=options.width)
    if not 0.25 <= options.hours <= 24:
        raise InputError("--hours", "0.25 to 24 hours between two moments of news", received=options.hours)
    if options.served not in SERVED:
        raise InputError("served", f"one of {', '.join(SERVED)}", received=options.served)


def _asked(options: LoopOptions, given: Bundle | None) -> dict[str, Any]:
    """What must be the same for a loop to go on; it may get more rounds."""
    about = {name: value for name, value in asdict(options).items() if name not in ("rounds", "policy", "config")}
    config = None if options.config is None else options.config.read_text(encoding="utf-8")
    return {**about, "policy": None if given is None else given.id, "config": config}


def _begun(out: Path, asked: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The seconds of the rounds that are there. Raises InputError when the folder is another's."""
    path = out / _ABOUT
    if not path.is_file():
        if others := sorted(one.name for one in out.iterdir() if not one.name.startswith(".")):
            raise InputError("OUT", f"a loop, an empty folder or a new one; `{others[0]}` is there", place=str(out))
        write_json(path, {"asked": asked, "seconds": {}})
    about = json.loads(path.read_bytes())
    if different := [name for name in asked if about["asked"].get(name) != asked[name]]:
        fix = f"the {different[0]} that the loop there began with, or another folder"
        raise InputError("OUT", fix, place=str(out))
    seconds: dict[str, dict[str, float]] = about["seconds"]
    return seconds


def _fitting(bundle: Bundle, market: Running) -> Bundle:
    """Raises InputError for a bundle whose catalogue is not the market's, or that learned nothing of its days."""
    fix = "a bundle trained on the log of this very world: the same --world, --set and --seed"
    ours = market.first_items().select("item_id", "title")
    theirs = Catalogue.open(bundle.part("catalogue")).rows.select("item_id", "title")
    if ours.join(theirs, on=["item_id", "title"], how="anti").height:
        raise InputError("--policy", fix, place=bundle.id)
    if not 0 < _days_before(bundle) <= _LATEST_START:
        raise InputError("--policy", f"{fix}; this one ends outside its days", place=bundle.id)
    return bundle


def _days_before(bundle: Bundle) -> int:
    """The whole days that a bundle has seen something of."""
    return -((START - bundle.cutoff) // DAY)


def _write(out: Path, asked: Mapping[str, Any], rounds: tuple[Mapping[str, Any], ...]) -> None:
    table = pl.DataFrame(list(rounds), infer_schema_length=None)
    table.write_parquet(out / "rounds.parquet")
    write_csv(table, out / "rounds.csv")
    (out / "loop.html").write_text(page(asked, rounds), encoding="utf-8")
