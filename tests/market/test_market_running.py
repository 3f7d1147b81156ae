"""A market that goes on past its world's days, under any policy, and from where it was saved."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.market.policy import Requests, Slate, logging_policy
from pipeline.market.pool import Pool, admit
from pipeline.market.rows import item_ids, item_numbers
from pipeline.market.running import Running
from pipeline.market.simulate import simulate
from pipeline.market.truth import Truth, shown_dcg
from pipeline.market.world import DAY, START, load_world

WORLD = load_world("tiny", {"days": "3", "impressions": "600", "new_items_per_day": "0.02"})
NOON = np.array([DAY // 2])


class Everything:
    """Shows the first items of the catalogue to everybody, in the pool or not."""

    def hear(self, lines: pl.Series) -> None:
        self.lines = lines

    def rank(self, requests: Requests, depth: int, rng: np.random.Generator) -> Slate:
        item = np.broadcast_to(np.arange(depth), (len(requests.visits), depth))
        return Slate(item, np.ones(item.shape), np.ones(item.shape))


def events(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "events").glob("part-*.jsonl"))}


def pages(folder: Path) -> list[tuple[object, ...]]:
    """What was asked and shown on the first two days, in order."""
    lines = [line for part in sorted(events(folder))[:2] for line in events(folder)[part].splitlines()]
    shown = {event["event_id"]: event for event in map(json.loads, lines) if event["type"] == "impression"}
    asked = [event for event in shown.values() if event["time"] < START + DAY]
    return sorted((event["event_id"], event["time"], event.get("query"), str(event["items"])) for event in asked)


def test_the_pages_of_an_endless_market_are_at_first_those_of_its_world(tmp_path: Path) -> None:
    """Not so what follows from them: a world has no end to what it sees only when it goes on."""
    simulate(WORLD, tmp_path / "whole")
    market = Running(WORLD, endless=True)
    market.open(tmp_path / "endless")
    for _ in range(5):
        market.log_day(logging_policy(WORLD))
    market.close()
    assert list(events(tmp_path / "endless")) == [f"part-{day:03d}.jsonl" for day in range(5)]
    whole, endless = ({page[0]: page for page in pages(tmp_path / name)} for name in ("whole", "endless"))
    both = whole.keys() & endless.keys()  # but the few that were delivered days late
    assert len(both) > 195
    assert all(whole[name] == endless[name] for name in both)


def test_newcomers_and_pages_come_after_the_worlds_days_as_before(tmp_path: Path) -> None:
    market, living, shown = Running(WORLD, endless=True), [], []
    market.open(tmp_path)
    for _ in range(7):
        living.append(market.living)
        market.log_day(logging_policy(WORLD))
        shown.append(market.count["pages"])
    market.close()
    assert living == [400 + 8 * day for day in range(7)]
    assert shown == [200 * (day + 1) for day in range(7)]


def test_a_saved_market_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    def days(market: Running, folder: Path, count: int) -> None:
        market.open(folder)
        for _ in range(count):
            market.serve_day(Everything(), 0.0, NOON)
        market.close()

    (first := Running(WORLD, endless=True, judged=50)).open(tmp_path / "a")
    first.log_day(logging_policy(WORLD))
    first.close()
    first.save(tmp_path)
    days(first, tmp_path / "b", 4)
    second = Running(WORLD, endless=True, judged=50)
    second.resume(tmp_path)
    days(second, tmp_path / "c", 4)
    assert events(tmp_path / "b") == events(tmp_path / "c")
    for name in ("utility", "relevance", "worth", "examination"):
        assert len({(tmp_path / part / "truth" / f"{name}.parquet").read_bytes() for part in "bc"}) == 1


def test_a_policy_may_show_what_the_shop_would_not_and_the_truth_says_what_it_is_worth(tmp_path: Path) -> None:
    market = Running(WORLD, endless=True, judged=1000)
    market.open(tmp_path)
    market.serve_day(Everything(), 0.0, NOON)
    market.close()
    utility = pl.read_parquet(tmp_path / "truth" / "utility.parquet")
    shown = utility.filter(pl.col("item_id").cast(pl.String).is_in(item_ids(np.arange(16)).to_list()))
    worth = pl.read_parquet(tmp_path / "truth" / "worth.parquet")
    assert len(shown) == 16 * len(worth)
    place = item_numbers(shown["item_id"].cast(pl.String))
    dcg = shown.with_columns(
        request_id=pl.col("request_id").cast(pl.String),
        gain=pl.when(pl.Series(place < 8)).then(pl.col("utility") / pl.Series(np.log2(place + 2.0))).otherwise(0.0),
    )
    expected = worth.join(dcg.group_by("request_id").agg(pl.col("gain").sum()), on="request_id")
    one_page = expected.filter((pl.col("dcg") - pl.col("gain")).abs() < 1e-4)
    assert len(one_page) / len(worth) == pytest.approx(0.9, abs=0.06)
    assert (worth["dcg"] < worth["best"]).all()


def test_what_is_shown_beside_the_pool_joins_it_once() -> None:
    pool = Pool(np.array([[7, 3, -1]]), np.array([[True, True, False]]), np.array([[2.0, 1.0, -np.inf]]), np.array([2]))
    wider, column = admit(pool, np.array([[3, 5, -1, 7]]))
    assert column.tolist() == [[1, 4, -1, 0]]
    assert wider.items[wider.valid].tolist() == [7, 3, 5]
    assert wider.items[0, 4] == 5
    same, column = admit(pool, np.array([[3, 7]]))
    assert same is pool
    assert column.tolist() == [[1, 0]]


def test_what_a_page_is_worth_is_its_discounted_utility() -> None:
    """Utilities 3 and 1 at places 0 and 2 (log2 of 2 and 4): 3 + 1/2; only the first page of two: 3."""
    utility = np.array([[1.0, 3.0], [1.0, 3.0]])
    truth = Truth(utility, utility, utility, utility)
    columns = np.array([[1, -1, 0], [1, -1, 0]])
    assert shown_dcg(truth, columns, np.array([3, 1])).tolist() == [3.5, 3.0]


def test_names_of_items_are_read_back_as_numbers() -> None:
    assert item_numbers(pl.Series(["i0000042", "", "x1", None])).tolist() == [42, -1, -1, -1]


def test_a_served_day_is_told_what_was_delivered_before_noon(tmp_path: Path) -> None:
    market, policy = Running(WORLD, endless=True), Everything()
    market.open(tmp_path)
    market.serve_day(policy, 0.0, NOON)
    market.close()
    assert len(policy.lines) > 400
    assert policy.lines.str.extract(r'"received":(\d+)').cast(pl.Int64).max() < START + DAY // 2
