"""A small engine that does what the contract says and nothing else, and the ways to call an app around it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.bundle import open_bundle, promote
from pipeline.logs.events import subject
from pipeline.rules import Rule
from serving.app import create_app
from serving.ports import DEPTH, Ahead, Ask, Slate, Still, SuggestAsk, Suggestion, Used
from serving.settings import Settings
from tests.bundles import make_bundle

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have a client that is not packaged yet
    from starlette.testclient import TestClient

AT_THE_MACHINE = {
    "base_url": "http://127.0.0.1:8000",
    "client": ("127.0.0.1", 50_000),
    "raise_server_exceptions": False,
}
PATIENT = {"deadline_ms": 600_000, "explored_seconds": 60.0}
CATALOGUE = [f"i{n:03d}" for n in range(250)]


class FakeEngine:
    """Items in the order of their names; what a subject hid is gone; a pinned item comes first."""

    def __init__(self, bundle_id: str = "b-one") -> None:
        self.bundle_id = bundle_id
        self.hidden: set[tuple[str, str]] = set()
        self.pinned: list[str] = []
        self.absorbed: list[str] = []
        self.asks: list[Ask] = []
        self.deadlines: list[float | None] = []
        self.rules: Sequence[Rule] = ()
        self.fails: Exception | None = None
        self.ticks: list[tuple[int, bool]] = []
        self.explores = False

    def answer(self, ask: Ask, deadline: float | None = None, used: Callable[[Used], None] | None = None) -> Slate:
        if self.fails is not None:
            raise self.fails
        if used is not None:
            values = np.array([[0.5, np.nan], [1.5, 2.5]], dtype=np.float32)
            used(Used(ask, self.bundle_id, 7, "", ["red"], ("ctr", "age"), ["i001", "i000"], values))
        self.asks.append(ask)
        self.deadlines.append(deadline)
        items = [item for item in ask.items or CATALOGUE if (ask.subject, item) not in self.hidden]
        items = [*self.pinned, *(item for item in items if item not in self.pinned)]
        items = items if ask.items else items[:DEPTH]
        size = len(items)
        explored = self.explores and ask.explore
        lost = ["unknown_item"] if ask.item_id and ask.item_id not in CATALOGUE else []
        return Slate(
            request_id=ask.id,
            bundle=self.bundle_id,
            tick=7,
            cascade="search",
            item_ids=items,
            score=[1.0 - place / 1000 for place in range(size)],
            p_click=[0.5] * size,
            p_convert=[None] * size,
            kind=["product"] * size,
            sponsored=[False] * size,
            channels=[["lexical", "popular"]] * size,
            reason=[None if item in CATALOGUE else "unknown_item" for item in items],
            total=250,
            facets={"brand": {"acme": 3}},
            degraded=lost,
            explored=explored,
            propensity=[0.25] * size if explored else [],
            marginal=[0.5] * size if explored else [],
            trace=[{"stage": "rank", "rows_in": 250, "rows_out": 200, "ms": 1.5, "fallback": "", "reason": ""}],
        )

    def still(self, slate: Slate, ask: Ask) -> Still:
        gone = {item for item in slate.item_ids if (ask.subject, item) in self.hidden}
        return Still(frozenset(gone), slate.total - len(gone), slate.facets)

    def ahead(self, tick: int, *, final: bool) -> Ahead | None:
        def compute() -> Callable[[], None]:
            return lambda: self.ticks.append((tick, final))

        return compute

    def suggest(self, ask: SuggestAsk) -> list[Suggestion]:
        return [Suggestion(f"{ask.prefix}{n}", f"{ask.prefix}{n}", 1.0, "log", [[0, 1]]) for n in range(ask.limit)]

    def explain(self, ask: Ask, item_id: str) -> dict[str, object]:
        return {"shown": True, "position": 0, "found_by": ["lexical"], "lost_by": "", "margin": None}

    def absorb(self, frames: Mapping[str, pl.DataFrame]) -> None:
        for frame in frames.values():
            self.absorbed += frame["event_id"].to_list()
        feedback = frames.get("feedback")
        if feedback is not None:
            hides = feedback.filter(pl.col("action") == "hide").select(subject(), "item_id")
            self.hidden |= {(str(who), str(what)) for who, what in hides.rows()}

    def learned_to(self, store: str) -> int:
        return 0

    def learn(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self.absorb(frames)

    def use_rules(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.pinned = [item for rule in rules if rule.action == "pin" for item in rule.item_ids]

    def describe(self) -> dict[str, object]:
        return {"id": self.bundle_id, "items": len(CATALOGUE)}

    def opened(self, bundle: Path) -> Callable[[], None]:
        bundle_id = open_bundle(bundle).id

        def serve() -> None:
            self.bundle_id = bundle_id
            self.hidden, self.absorbed = set(), []

        return serve

    def item(self, item_id: str) -> dict[str, object] | None:
        return {"item_id": item_id, "time": 0, "removed": False} if item_id in CATALOGUE else None

    def told(self, ids: Sequence[str], names: Sequence[str], time: int) -> list[dict[str, object]]:
        return [{name: f"{name} of {item}" for name in names} for item in ids]

    def census(self) -> dict[str, int]:
        return {"described": len(CATALOGUE), "unknown": 0, "removed": 0}

    def items(self, ids: Sequence[str]) -> list[dict[str, object]]:
        return [{"item_id": item, "title": item.upper()} for item in ids if item in CATALOGUE]

    def sample_users(self, limit: int) -> list[str]:
        return ["ann", "bob"][:limit]


def settings(root: Path, serving: Mapping[str, object] | None = None, **given: object) -> Settings:
    """Of a service that a crowded machine does not make turn anybody away."""
    return Settings.model_validate({"root": root, "serving": PATIENT | dict(serving or {}), **given})


@contextmanager
def calling(engine: FakeEngine, chosen: Settings) -> AbstractContextManager[TestClient]:
    with TestClient(create_app(lambda: engine, chosen), **AT_THE_MACHINE) as client:
        yield client


def feedback(event_id: str = "e1", **fields: object) -> dict[str, object]:
    event = {"event_id": event_id, "type": "feedback", "time": 1_700_000_000_000, "user_id": "ann"}
    return event | {"item_id": "i000", "action": "click"} | fields


def bundles_root(root: Path, count: int) -> list[str]:
    """The ids of that many bundles of a new root; the first is current."""
    names = [make_bundle(root, cutoff).id for cutoff in range(count)]
    promote(root, names[0])
    return names
