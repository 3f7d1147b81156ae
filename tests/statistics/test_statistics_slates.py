"""Diversity, novelty and exposure: values by hand, brute force where the clever way is unlike the plain one."""

from itertools import combinations
from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.slates import kernels
from tests.examples import examples

# Six items: 0 and 1 of topic 0; 2 of topic 1; 3 of both; 4 of topic 2; 5 of none.
TOPICS = np.array([[0, -1], [0, -1], [1, -1], [0, 1], [2, -1], [-1, -1]])
CATEGORY = TOPICS[:, 0]


def page(*items: int) -> np.ndarray:
    return np.array([items])


def all_relevant(items: np.ndarray) -> np.ndarray:
    return items >= 0


def test_ild_is_the_mean_over_pairs() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    # 0 and 1 at right angles; each at 45 degrees to 2.
    expected = (1 + 2 * (1 - 1 / np.sqrt(2))) / 3
    assert kernels.intra_list_distance(page(0, 1, 2), vectors, 10) == pytest.approx([expected], abs=1e-6)
    assert kernels.intra_list_distance(page(0, 1, 2), vectors, 2) == pytest.approx([1.0])


def test_an_item_without_a_vector_is_in_no_pair() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [np.nan, 1.0]])
    assert kernels.intra_list_distance(page(0, 2, 1, 3, -1), vectors, 5) == pytest.approx([1.0])
    assert np.isnan(kernels.intra_list_distance(np.array([[0, 2], [0, -1], [-1, -1]]), vectors, 2)).all()


def test_ild_of_topics_is_one_less_jaccard() -> None:
    # Pairs 0-1 alike, 0-3 and 1-3 share one of two.
    assert kernels.intra_list_difference(page(0, 1, 3), TOPICS, 3) == pytest.approx([(0 + 0.5 + 0.5) / 3])
    assert kernels.intra_list_difference(page(0, 2, 5), TOPICS, 3) == pytest.approx([1.0])
    assert np.isnan(kernels.intra_list_difference(page(0, 5), TOPICS, 2)).all()


def test_ild_of_paths_is_the_share_of_levels_that_differ() -> None:
    # home > pans, home > pots, home, garden > pans, and one without a path.
    paths = np.array([[1, 1], [1, 2], [1, 0], [2, 3], [0, 0]])
    # 0-1 share 1 of 2, 0-2 and 1-2 share 1 of 2, nothing with 3.
    assert kernels.path_distance(page(0, 1, 2, 4), paths, 4) == pytest.approx([0.5])
    assert kernels.path_distance(page(0, 3, -1), paths, 3) == pytest.approx([1.0])
    assert kernels.path_distance(page(0, 0), paths, 2) == pytest.approx([0.0])
    assert np.isnan(kernels.path_distance(page(0, 4), paths, 2)).all()


def test_entropy_of_two_to_one() -> None:
    expected = -(2 / 3 * log(2 / 3) + 1 / 3 * log(1 / 3))
    assert kernels.entropy(page(0, 2, 1, -1), CATEGORY, 4) == pytest.approx([expected])
    assert kernels.entropy(page(0, 2, 4), CATEGORY, 3) == pytest.approx([log(3)])
    assert kernels.entropy(page(0, 1, 5), CATEGORY, 3).tolist() == [0.0]
    assert np.isnan(kernels.entropy(page(5, -1), CATEGORY, 2)).all()


def test_novelty_is_in_bits_with_one_added_to_each_count() -> None:
    # Counts 7, 3, 0, 2 become 8, 4, 1, 3 of 16.
    information = kernels.self_information(np.array([7, 3, 0, 2]))
    assert information == pytest.approx([1.0, 2.0, 4.0, log2(16 / 3)])
    assert kernels.novelty(page(0, 1, 2, -1), information, 4) == pytest.approx([7 / 3])
    assert np.isnan(kernels.novelty(page(-1), information, 1)).all()


def test_subtopic_recall_counts_topics_of_relevant_items_only() -> None:
    items, pool = page(0, 1, 4), page(0, 2, 3, 4)
    assert kernels.subtopic_recall(items, np.array([[True, False, True]]), pool, TOPICS, 3) == pytest.approx([2 / 3])
    assert kernels.subtopic_recall(items, np.array([[True, False, False]]), pool, TOPICS, 3) == pytest.approx([1 / 3])
    assert np.isnan(kernels.subtopic_recall(items, all_relevant(items), page(5, -1), TOPICS, 3)).all()


def test_alpha_ndcg_by_hand() -> None:
    # Page: item 0 gains 1; item 1, topic 0 again, gains 1/2; item 2 gains 1.
    # Ideal of 0, 1, 2, 3: item 3 gains 2; then each other 1/2: 0, then 2 (topic 1 seen once).
    gained = 1 + 0.5 / log2(3) + 1 / 2
    ideal = 2 + 0.5 / log2(3) + 0.5 / 2
    items = page(0, 1, 2)
    value = kernels.alpha_ndcg(items, all_relevant(items), page(0, 1, 2, 3), TOPICS, 3)
    assert value == pytest.approx([gained / ideal])


def test_an_irrelevant_item_neither_gains_nor_uses_up_its_topic() -> None:
    items = page(1, 0)
    value = kernels.alpha_ndcg(items, np.array([[False, True]]), page(0, -1), TOPICS, 2)
    assert value == pytest.approx([1 / log2(3)])
    assert np.isnan(kernels.alpha_ndcg(items, np.array([[False, False]]), page(-1), TOPICS, 2)).all()


def test_with_alpha_0_a_topic_never_tires() -> None:
    items = page(0, 1)
    assert kernels.alpha_ndcg(items, all_relevant(items), page(0, 1, 2), TOPICS, 2, alpha=0.0) == pytest.approx([1.0])


def brute_force(items: list[int], pool: list[int], topics: dict[int, set[int]], k: int) -> float:
    """alpha-NDCG as one would say it, one item at a time."""

    def gain(item: int, above: list[int]) -> float:
        return sum(0.5 ** sum(topic in topics[other] for other in above) for topic in sorted(topics[item]))

    def dcg(order: list[int]) -> float:
        return sum(gain(item, order[:i]) / log2(i + 2) for i, item in enumerate(order[:k]) if item in pool)

    left, ideal = list(pool), []
    while left and len(ideal) < k:
        best = max(range(len(left)), key=lambda i: (gain(left[i], ideal), -i))
        ideal.append(left.pop(best))
    judged = [item if item in pool else -1 for item in items]
    topics = topics | {-1: set()}
    return dcg(judged) / dcg(ideal) if dcg(ideal) else float("nan")


@settings(max_examples=examples(80), deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_alpha_ndcg_is_what_brute_force_says(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    has = generator.random((9, 4)) < 0.4
    topics = np.where(has, np.arange(4), -1)
    items = generator.permutation(9)[:7]
    pool = np.flatnonzero(generator.random(9) < 0.5)
    # Beside another request, so that rows cannot mix.
    both = np.stack([items, np.arange(7)])
    pools = np.full((2, 9), -1)
    pools[0, : len(pool)], pools[1] = pool, np.arange(9)
    relevant = (both[:, :, None] == pools[:, None, :]).any(axis=2)
    value = kernels.alpha_ndcg(both, relevant, pools, topics, k)[0]
    named = {i: set(np.flatnonzero(has[i]).tolist()) for i in range(9)}
    assert value == pytest.approx(brute_force(items.tolist(), pool.tolist(), named, k), nan_ok=True)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 10_000))
def test_ild_is_what_the_pairs_say_in_any_order_of_the_page(seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors, items = generator.normal(size=(12, 5)), generator.permutation(12)[None, :6]
    topics = np.where(generator.random((12, 3)) < 0.5, np.arange(3), -1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = np.mean([1 - unit[i] @ unit[j] for i, j in combinations(items[0], 2)])
    assert kernels.intra_list_distance(items, vectors, 6) == pytest.approx([plain], abs=1e-5)
    shuffled = generator.permuted(items, axis=1)
    for value in (kernels.intra_list_difference, lambda page, _, k: kernels.entropy(page, topics[:, 0], k)):
        assert value(items, topics, 6) == pytest.approx(value(shuffled, topics, 6), nan_ok=True)


def test_exposure_counts_never_shown_items_and_discounts_by_slot() -> None:
    items = np.array([[0, 1], [0, -1]])
    assert kernels.exposure(items, 3, 2).tolist() == [2.0, 1.0, 0.0]
    assert kernels.exposure(items, 3, 2, discounted=True) == pytest.approx([2.0, 1 / log2(3), 0.0])
    assert kernels.exposure(items, 3, 1).tolist() == [2.0, 0.0, 0.0]


def test_gini_of_all_alike_is_0_and_of_one_for_all_is_near_1() -> None:
    assert kernels.gini(np.full(4, 5.0)) == pytest.approx(0.0)
    assert kernels.gini(np.array([0.0, 9.0, 0.0, 0.0])) == pytest.approx(1 - 1 / 4)
    # Of 1, 2, 3: pairs apart by 1, 1, 2; mean 2: 2 * 4 / (2 * 9 * 2).
    assert kernels.gini(np.array([3.0, 1.0, 2.0])) == pytest.approx(8 / 36)
    assert np.isnan(kernels.gini(np.zeros(3)))


def test_coverage_is_the_share_of_the_catalogue_shown() -> None:
    assert kernels.coverage(np.array([2.0, 0.0, 1.0, 0.0])) == 0.5
    assert np.isnan(kernels.coverage(np.zeros(0)))
