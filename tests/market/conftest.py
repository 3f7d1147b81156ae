"""One tiny market for all tests that read what a market writes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.market.simulate import simulate
from pipeline.market.world import load_world

Event = dict[str, object]


def read_events(out: Path) -> list[Event]:
    """All events in the order of the files."""
    parts = sorted((out / "events").glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Where the tiny world with some keys replaced was written; each variant is simulated once."""
    made: dict[tuple[tuple[str, str], ...], Path] = {}

    def make(keys: Mapping[str, str] | None = None) -> Path:
        name = tuple(sorted((keys or {}).items()))
        if name not in made:
            made[name] = tmp_path_factory.mktemp("market") / "out"
            simulate(load_world("tiny", keys), made[name])
        return made[name]

    return make


@pytest.fixture(scope="session")
def events(market: Callable[..., Path]) -> list[Event]:
    """The events of the tiny world."""
    return read_events(market())
