from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.market.policy import best, plackett_luce, shuffle
from pipeline.market.pool import rotation

DRAWS = 60_000


def test_a_uniform_shuffle_states_the_chances_it_draws_with() -> None:
    rng = np.random.default_rng(0)
    order, propensity, marginal = shuffle(np.ones((DRAWS, 4), dtype=bool), rng)
    assert propensity[0] == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])
    assert marginal[0] == pytest.approx([1 / 4] * 4)
    for position in range(4):
        shares = np.bincount(order[:, position], minlength=4) / DRAWS
        assert shares == pytest.approx([0.25] * 4, abs=0.01)


def test_absent_entries_are_shuffled_to_the_end_and_do_not_count() -> None:
    present = np.array([[True, False, True, True, False]])
    order, propensity, marginal = shuffle(present, np.random.default_rng(1))
    assert set(order[0, :3].tolist()) == {0, 2, 3}
    assert propensity[0, :3] == pytest.approx([1 / 3, 1 / 2, 1])
    assert marginal[0, 0] == pytest.approx(1 / 3)


def test_plackett_luce_states_the_chances_it_draws_with() -> None:
    """Weights 1, 2, 3: P(order a, b, c) = w_a / 6 * w_b / (6 - w_a)."""
    weight = np.array([1.0, 2.0, 3.0])
    score = np.broadcast_to(np.log(weight), (DRAWS, 3))
    order, propensity, marginal = plackett_luce(score, np.ones((DRAWS, 3), dtype=bool), np.random.default_rng(2))
    assert np.isnan(marginal).all()
    for perm in permutations(range(3)):
        drawn = (order == perm).all(axis=1)
        chance = weight[perm[0]] / 6 * weight[perm[1]] / (6 - weight[perm[0]])
        assert drawn.mean() == pytest.approx(chance, abs=0.01)
        assert propensity[drawn].prod(axis=1) == pytest.approx(np.full(drawn.sum(), chance))


def test_the_best_stand_first_and_nothing_that_has_no_score() -> None:
    score = np.array([[0.5, -np.inf, 0.9, 0.5], [-np.inf] * 4])
    assert best(score, 4).tolist() == [[2, 0, 3, -1], [-1] * 4]
    assert best(score, 2).tolist() == [[2, 0], [-1, -1]]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 1000))
def test_a_shuffle_never_loses_or_repeats_an_entry(present: list[bool], seed: int) -> None:
    order, propensity, _ = shuffle(np.array([present]), np.random.default_rng(seed))
    assert sorted(order[0].tolist()) == list(range(len(present)))
    assert ((propensity > 0) & (propensity <= 1)).all()


def test_rotation_is_a_fixed_standardised_value_of_item_and_bucket() -> None:
    items = np.arange(50_000)
    values = rotation(items, np.array([3]))
    assert (values == rotation(items, np.array([3]))).all()
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(values, rotation(items, np.array([4])))[0, 1]) < 0.02
