"""The stage that reranks lists: what it may move, and what must stay."""

import numpy as np
import pytest

from pipeline.catalogue import Catalogue
from rerank.config import ListwiseConfig
from rerank.context import CONTEXT_NAMES
from rerank.listwise import About, Examples, Listwise, fit
from rerank.rules import relevance
from rerank.stages import Diversify, Rearrange, Sort
from tests.rerank.slates import FIVE, names, request


@pytest.fixture(scope="module")
def scatterer() -> Listwise:
    """A reranker that has learned one thing: of two items the one whose brand stands above is not clicked."""
    above = np.tile([0.0, 1.0], 500)
    features = np.zeros((1000, len(CONTEXT_NAMES)), dtype=np.float32)
    features[:, CONTEXT_NAMES.index("brand_above")] = above
    examples = Examples(features, 1.0 - above, np.zeros(1000), np.full(500, 2))
    config = ListwiseConfig(least_rows=10, learning_rate=1.0, trees=20, ridge=0.0, threads=1)
    return Listwise(About(CONTEXT_NAMES, True, 4, 7, 4), fit(examples, config, 0))


NEAR = {"a": 5.0, "b": 4.9, "c": 4.8, "d": 4.7, "e": 4.6}


def rearrange(catalogue: Catalogue, model: Listwise) -> Rearrange:
    return Rearrange(model, catalogue, np.zeros((6, 2), dtype=np.float32))


def test_a_list_is_rearranged_by_the_company_of_each_item(catalogue: Catalogue, scatterer: Listwise) -> None:
    batch = rearrange(catalogue, scatterer).run(request(catalogue, [NEAR]))
    # With nothing above, the share of the list counts: none has d's brand, so it comes first. e is behind the depth.
    assert names(catalogue, Sort(catalogue).run(batch))[0][:2] == "da"
    assert names(catalogue, Sort(catalogue).run(batch))[0][-1] == "e"


def test_rearranging_leaves_scores_alone_and_hands_the_best_one_to_the_first(
    catalogue: Catalogue, scatterer: Listwise
) -> None:
    batch = request(catalogue, [NEAR, {"e": 2.0}, {}])
    after = rearrange(catalogue, scatterer).run(batch)
    assert after["score"].tolist() == batch["score"].tolist()
    assert after.item.tolist() == batch.item.tolist()
    assert np.allclose(np.sort(relevance(after)[0]), np.sort(batch["score"][0]))
    assert relevance(after)[1, 0] == 2.0


def test_equal_scores_keep_the_order_of_the_list(catalogue: Catalogue, scatterer: Listwise) -> None:
    batch = rearrange(catalogue, scatterer).run(request(catalogue, [dict.fromkeys("abcde", 1.0)]))
    stages = (Sort(catalogue), Diversify(catalogue, np.zeros((6, 2), dtype=np.float32)))
    assert {names(catalogue, stage.run(batch))[0][:2] for stage in stages} == {"da"}


def test_an_explicit_sort_is_not_rearranged(catalogue: Catalogue, scatterer: Listwise) -> None:
    batch = request(catalogue, [NEAR, NEAR], sort=["relevance", "newest"])
    after = rearrange(catalogue, scatterer).run(batch)
    assert names(catalogue, Sort(catalogue).run(after))[1] == "edcba"
    assert relevance(after)[1].tolist() == batch["score"][1].tolist()


def test_what_has_no_score_stays_behind_the_list(catalogue: Catalogue, scatterer: Listwise) -> None:
    batch = request(catalogue, [{"a": 1.0, "d": float("nan"), "b": 0.9}])
    assert names(catalogue, Sort(catalogue).run(rearrange(catalogue, scatterer).run(batch))) == ["abd"]


def test_rearranging_many_requests_is_rearranging_each(catalogue: Catalogue, scatterer: Listwise) -> None:
    stage = rearrange(catalogue, scatterer)
    batch = request(catalogue, [NEAR, {"e": 2.0, "a": 1.0}, FIVE, {}])
    together = relevance(stage.run(batch))
    for row in range(batch.size):
        assert np.array_equal(relevance(stage.run(batch.rows(np.array([row]))))[0], together[row])
