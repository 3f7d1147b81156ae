"""One tiny closed loop for all tests that read what a loop leaves."""

from dataclasses import replace

import pytest

from pipeline.market.world import World, load_world
from serving.loop import Loop, LoopOptions, run_loop

# Small towers and no listwise model: what is tested is the loop.
QUICK = "[retrieval.tower]\nepochs = 1\ndimensions = 8\nbuckets = 64\n[rerank.listwise]\nenabled = false\n"
OPTIONS = LoopOptions(3, days_per_round=2, explore=0.3, width=24, hours=12)


def tiny() -> World:
    """Two rounds of two days of its own; the third round goes past its end."""
    return load_world("tiny", {"days": "4", "impressions": "1000", "new_items_per_day": "0.02"})


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> LoopOptions:
    """`OPTIONS`, quick to train."""
    config = tmp_path_factory.mktemp("config") / "podium.toml"
    config.write_text(QUICK, encoding="utf-8")
    return replace(OPTIONS, config=config)


@pytest.fixture(scope="session")
def loop(options: LoopOptions, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Three rounds without a stop."""
    return run_loop(tiny(), tmp_path_factory.mktemp("loop") / "out", options)
