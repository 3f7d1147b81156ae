"""Systems on one log: the logger's self-preference, what is refused, and what an estimated examination adds."""

import numpy as np
import pytest

from benchmarks import offpolicy_worlds as worlds
from pipeline.errors import InputError
from pipeline.metrics.offpolicy.assess import Assessed, Options, assess
from pipeline.metrics.offpolicy.logged import (
    ExaminationTable,
    Logged,
    Ranked,
    examination_table,
    examination_variance,
    follows_positions,
)

PLACES = np.arange(1.0, worlds.ITEMS + 1)
KNOWN = examination_table([(1 / PLACES, None, None)], [""])


def logged_of(world: worlds.World) -> Logged:
    rows = len(world.click)
    surface, groups = np.zeros(rows, dtype=np.int64), np.arange(rows)
    return Logged(world.click, world.logged - 1, world.mask, surface, world.explored, world.explored, groups)


def system(rank: np.ndarray) -> Ranked:
    return Ranked(rank, np.full(len(rank), rank.shape[1]), np.ones(len(rank), dtype=bool))


def assessed(world: worlds.World, table: ExaminationTable = KNOWN, clip: float | None = None) -> Assessed:
    systems = {"B": system(world.ranks["B"]), "A": system(world.ranks["A"]), "logged": system(world.logged)}
    return assess(logged_of(world), table, systems, [("B", "A"), ("B", "logged")], Options(10, clip))


def test_naive_ndcg_prefers_the_logger_and_ips_the_better_ranking() -> None:
    truths = []
    for seed in range(10):
        world = worlds.draw(2000, "1/rank", 0.0, seed)
        found = assessed(world)
        a, b = found.estimates["A"], found.estimates["B"]
        assert a["naive_ndcg"].mean > b["naive_ndcg"].mean
        assert b["ips_dcg"].mean > a["ips_dcg"].mean
        assert b["snips_dcg"].mean > a["snips_dcg"].mean
        each = found.contrasts["B", "A", "ips_dcg"]
        truth = 0.157  # of the world, over 4 million requests
        truths.append(each.low <= truth <= each.high)
    assert sum(truths) >= 8


def test_the_shuffled_requests_alone_claim_the_better_one_without_any_examination() -> None:
    nothing = examination_table([(np.empty(0), None, None)], ["nobody knows"])
    found = assessed(worlds.draw(6000, "1/rank", 0.3, 1), nothing)
    for metric in ("ips_dcg", "snips_dcg", "explored_ips_dcg"):
        assert found.estimates["B"][metric].refused == "nobody knows"
        assert np.isnan(found.estimates["B"][metric].mean)
    assert found.estimates["B"]["explored_dcg"].refused is None
    assert found.verdicts["B", "A"].verdict == "a better"
    assert found.unknown == 6000


def test_an_order_that_saw_the_shuffle_gets_no_plain_click_dcg() -> None:
    world = worlds.draw(3000, "1/rank", 0.3, 2)
    found = assessed(world)
    assert "follows the places" in str(found.estimates["logged"]["explored_dcg"].refused)
    assert found.contrasts["B", "logged", "explored_dcg"].refused is not None
    assert found.contrasts["B", "logged", "explored_ips_dcg"].refused is None
    log = logged_of(world)
    assert follows_positions(log, world.logged, world.explored)
    assert not follows_positions(log, world.ranks["B"], world.explored)


def test_nothing_explored_is_said_so() -> None:
    found = assessed(worlds.draw(500, "1/rank", 0.0, 3))
    assert found.estimates["B"]["explored_ips_dcg"].refused == "no page in a drawn order"
    assert found.estimates["B"]["explored_dcg"].refused == "no page in a uniformly drawn order"


def test_clipping_is_reported_and_claims_nothing() -> None:
    found = assessed(worlds.draw(3000, "1/rank", 0.0, 4), clip=5.0)
    assert found.estimates["B"]["ips_dcg"].max_weight == 5.0
    assert found.estimates["B"]["ips_dcg"].clipped_share > 0.05
    assert "clipping" in found.verdicts["B", "A"].reason


def test_below_the_floor_there_is_no_number() -> None:
    found = assessed(worlds.draw(30, "1/rank", 0.0, 5))
    assert "effective sample size" in str(found.estimates["B"]["ips_dcg"].refused)
    assert np.isnan(found.contrasts["B", "A", "ips_dcg"].mean)


def test_a_click_model_gives_a_doubly_robust_figure_near_the_truth() -> None:
    world = worlds.draw(6000, "1/rank", 0.0, 6)
    rng = np.random.default_rng(0)
    guess = np.clip(3 * world.relevance + 0.1 * rng.random(world.relevance.shape), 0, None)  # right up to a factor
    rank = world.ranks["B"]
    modelled = Ranked(rank, np.full(len(rank), 20), np.ones(len(rank), dtype=bool), guess, np.zeros(len(rank)))
    found = assess(logged_of(world), KNOWN, {"B": modelled}, [], Options(10)).estimates["B"]
    assert found["dr_dcg"].low <= 1.552 <= found["dr_dcg"].high
    assert found["dr_dcg"].high - found["dr_dcg"].low < found["ips_dcg"].high - found["ips_dcg"].low


def test_doubly_robust_that_is_ips_is_no_second_opinion() -> None:
    world = worlds.draw(3000, "1/sqrt(rank)", 0.0, 6)  # no weight above 4.5
    table = examination_table([(1 / np.sqrt(PLACES), None, None)], [""])
    rank, ones = world.ranks["B"], np.ones(3000, dtype=bool)
    modelled = Ranked(rank, np.full(3000, 20), ones, world.relevance, np.zeros(3000))
    found = assess(logged_of(world), table, {"B": modelled}, [], Options(10)).estimates["B"]
    assert "DR is IPS" in str(found["dr_dcg"].refused)
    fresh = Ranked(rank, np.full(3000, 20), ones, world.relevance, np.full(3000, 0.1))
    found = assess(logged_of(world), table, {"B": fresh}, [], Options(10)).estimates["B"]
    assert found["dr_dcg"].mean - found["ips_dcg"].mean == pytest.approx(0.1, rel=0.1)
    guessed = Ranked(rank, np.full(3000, 20), ones, world.relevance, np.full(3000, 2.0))
    found = assess(logged_of(world), table, {"B": guessed}, [], Options(10)).estimates["B"]
    assert "the model's word" in str(found["dr_dcg"].refused)


def test_pages_deeper_than_the_examination_is_known_leave_the_weighed_figures() -> None:
    world = worlds.draw(3000, "1/rank", 0.0, 7)
    short = examination_table([(1 / PLACES[:10], None, None)], [""])
    log = logged_of(world)
    mask = log.mask.copy()
    mask[:1000] &= log.position[:1000] < 10
    cut = Logged(log.gain, log.position, mask, log.surface, log.explored, log.uniform, log.groups)
    found = assess(cut, short, {"B": system(world.ranks["B"])}, [], Options(10))
    assert (found.unknown, found.estimates["B"]["ips_dcg"].n) == (2000, 1000)


def test_an_estimated_examination_adds_its_variance() -> None:
    # Position 1 has p 1/2 with a relative error of 0.1, of which half the square is shared by all positions.
    table = examination_table([(np.array([1.0, 0.5]), np.array([1.0, 0.402]), np.array([1.0, 0.598]))], [""])
    assert table.error[0] == pytest.approx([0.0, 0.1], rel=1e-4)
    cells, cell = np.array([[3.0, 2.0], [0.0, 4.0]]), np.array([[0, 1], [0, 1]])
    assert examination_variance(cells, cell, table) == pytest.approx(6.0**2 * 0.01, rel=1e-3)
    assert examination_variance(cells, cell, KNOWN) == 0.0


def test_an_examination_of_zero_raises() -> None:
    with pytest.raises(InputError, match="examination"):
        examination_table([(np.array([1.0, 0.0]), None, None)], [""])
