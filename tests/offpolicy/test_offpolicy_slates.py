"""Pages of two places: worked by hand, and by listing every page a logger can make."""

from itertools import permutations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.metrics.offpolicy import slates

TIMES = 200
MASK = np.ones((2 * TIMES, 2), dtype=bool)


def tiled(rows: list[list[float]]) -> np.ndarray:
    return np.tile(np.array(rows), (TIMES, 1))


REWARD = tiled([[1, 0], [0, 1]])
PROPENSITY = tiled([[0.5, 0.5], [0.25, 0.5]])
TARGET = tiled([[1.0, 0.25], [0.5, 1.0]])  # ratios 2, 1/2 and 2, 2


def test_each_estimator_of_two_pages() -> None:
    logs = (REWARD, TARGET, PROPENSITY, MASK)
    assert slates.item_position(*logs).mean == pytest.approx((2 * 1 + 2 * 1) / 2)
    assert slates.cascade_ips(*logs).mean == pytest.approx((2 * 1 + 4 * 1) / 2)
    assert slates.rips(*logs).mean == pytest.approx(2 / (2 + 2) + 4 / (1 + 4))
    assert slates.whole_list(*logs).mean == pytest.approx((1 * 1 + 4 * 1) / 2)
    expected, predicted = tiled([[0.5, 0.3], [0.6, 0.2]]), tiled([[0.8, 0.1], [0.5, 0.7]])
    first = 2 * (1 - 0.8) + 0.5 + 1 * (0 - 0.1) + 2 * 0.3
    second = 2 * (0 - 0.5) + 0.6 + 4 * (1 - 0.7) + 2 * 0.2
    assert slates.cascade_dr(*logs, expected, predicted).mean == pytest.approx((first + second) / 2)


def test_places_without_an_item_count_nothing() -> None:
    mask = tiled([[1, 0], [1, 1]]).astype(bool)
    found = slates.cascade_ips(REWARD, np.where(mask, TARGET, np.nan), np.where(mask, PROPENSITY, 0.0), mask)
    assert found.mean == pytest.approx((2 * 1 + 4 * 1) / 2)


def test_a_perfect_model_of_what_is_to_come_leaves_no_weight_in_cascade_dr() -> None:
    # Two actions a place; what the second earns depends on the first. Every page of a uniform logger, once.
    pages = np.array([[a, b] for a in (0, 1) for b in (0, 1)])
    worth, after = np.array([0.2, 0.6]), np.array([[0.1, 0.5], [0.3, 0.9]])
    policy, later = np.array([0.3, 0.7]), np.array([[0.4, 0.6], [0.8, 0.2]])
    first, second = pages.T
    reward = np.stack([worth[first], after[first, second]], axis=1)
    target = np.stack([policy[first], later[first, second]], axis=1)
    ahead = (later * after).sum(axis=1)
    predicted = np.stack([worth[first] + ahead[first], after[first, second]], axis=1)
    value = float((policy * (worth + ahead)).sum())
    expected = np.stack([np.full(4, value), ahead[first]], axis=1)
    logs = [np.tile(each, (50, 1)) for each in (reward, target, np.full((4, 2), 0.5))]
    mask = np.ones((200, 2), dtype=bool)
    found = slates.cascade_dr(*logs, mask, np.tile(expected, (50, 1)), np.tile(predicted, (50, 1)))
    assert (found.mean, found.low, found.high) == pytest.approx((value, value, value))
    assert slates.cascade_ips(*logs, mask).mean == pytest.approx(value)


def every_page() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each order of two of three actions once: chosen, additive rewards, and the marginals of a policy."""
    chosen = np.array(list(permutations(range(3), 2)))
    worth = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.7]])  # [place, action]
    reward = np.stack([worth[0][chosen[:, 0]], worth[1][chosen[:, 1]]], axis=1)
    # The policy shows (0, 1) with 0.25 and (2, 0) with 0.75.
    target = np.array([[0.25, 0.0, 0.75], [0.75, 0.25, 0.0]])
    return chosen, reward, target


def test_pseudo_inverse_and_item_position_agree_with_the_truth_of_additive_pages() -> None:
    chosen, reward, target = every_page()
    truth = 0.25 * (0.1 + 0.3) + 0.75 * (0.9 + 0.2)
    weight = slates.pseudo_inverse_weights(chosen, target, slates.uniform_gamma(2, 3))
    repeated = np.tile(reward.sum(axis=1), 100), np.tile(weight, 100)
    assert slates.pseudo_inverse(*repeated).mean == pytest.approx(truth)
    wanted = np.stack([target[0][chosen[:, 0]], target[1][chosen[:, 1]]], axis=1)
    logs = [np.tile(each, (100, 1)) for each in (reward, wanted, np.full((6, 2), 1 / 3))]
    assert slates.item_position(*logs, np.ones((600, 2), dtype=bool)).mean == pytest.approx(truth)


def test_gamma_of_uniform_orders_is_that_of_all_of_them() -> None:
    chosen, _, _ = every_page()
    indicator = np.zeros((6, 6))
    for place in (0, 1):
        indicator[np.arange(6), place * 3 + chosen[:, place]] = 1.0
    assert slates.uniform_gamma(2, 3) == pytest.approx(indicator.T @ indicator / 6)


def test_a_logger_that_fills_places_apart_needs_no_matrix() -> None:
    target, logger = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    pages = np.array([[a, b] for a in (0, 1) for b in (0, 1)])
    gamma = np.zeros((4, 4))
    for a, b in pages:
        row = np.zeros(4)
        row[[a, 2 + b]] = 1.0
        gamma += logger[0, a] * logger[1, b] * np.outer(row, row)
    mine = np.stack([target[0][pages[:, 0]], target[1][pages[:, 1]]], axis=1)
    logged = np.stack([logger[0][pages[:, 0]], logger[1][pages[:, 1]]], axis=1)
    weight = slates.independent_weights(mine, logged, np.ones((4, 2), dtype=bool))
    assert weight == pytest.approx(slates.pseudo_inverse_weights(pages, target, gamma))


def test_a_gamma_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="gamma"):
        slates.pseudo_inverse_weights(np.zeros((1, 2), dtype=int), np.ones((2, 3)), np.eye(5))


def test_whole_pages_fall_below_the_floor_where_places_do_not() -> None:
    rng = np.random.default_rng(0)
    shape = (1000, 10)
    target = np.where(rng.random(shape) < 0.5, 0.9, 0.1)
    propensity, reward, mask = np.full(shape, 0.5), rng.random(shape), np.ones(shape, dtype=bool)
    assert slates.item_position(reward, target, propensity, mask).refused is None
    assert slates.whole_list(reward, target, propensity, mask).refused is not None


def test_a_propensity_of_zero_raises() -> None:
    wrong = PROPENSITY.copy()
    wrong[3, 1] = 0.0
    for estimator in (slates.item_position, slates.cascade_ips, slates.rips, slates.whole_list):
        with pytest.raises(InputError, match="row 3, 1"):
            estimator(REWARD, TARGET, wrong, MASK)
