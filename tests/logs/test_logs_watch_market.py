"""The watch over a whole simulated market: what it finds against what is true there."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.logs.watch.joins import watch
from pipeline.market import running, simulate
from pipeline.market.rows import user_ids
from pipeline.market.shoppers import Shoppers, make_shoppers
from pipeline.market.world import load_world


@pytest.mark.full
def test_the_programs_of_a_market_are_found_and_its_people_are_not_taken_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Shoppers] = []
    monkeypatch.setattr(running, "make_shoppers", lambda *told: made.append(make_shoppers(*told)) or made[0])
    small = {"users": "4000", "items": "4000", "impressions": "40000", "bots": "0.02", "anonymous": "0"}
    simulate.simulate(load_world("base", small), tmp_path)
    ingest("podium", [tmp_path / "events"], tmp_path / "log")
    log = Log.open(tmp_path / "log")
    found = watch(log)
    assert found.overall.rate("join_rate") >= 0.99
    assert found.overall.rate("attributed") >= 0.99
    # Nothing but the programs is unusual in this market, and two in a hundred of its shoppers are some.
    assert {alarm.what for alarm in found.alarms} <= {"robots"}
    programs = set(user_ids(np.flatnonzero(made[0].bot)))
    pages = log.frame("impression", columns=["user_id"]).group_by("user_id").len()
    theirs = pages.filter(pl.col("user_id").is_in(list(programs)))
    right = theirs.filter(pl.col("user_id").is_in(found.robots["subject"].implode()))
    assert len(right) >= 0.9 * len(found.robots) > 0
    assert right["len"].sum() >= 0.6 * theirs["len"].sum()  # who did little cannot be told
