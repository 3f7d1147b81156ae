"""A page with nothing on it is an answer: found by the histories, whose clients ask for what is gone."""

import pytest

from pipeline.filters import parse_filters
from serving.engine import Engine
from serving.ports import Ask
from tests.shop import Shop


@pytest.mark.parametrize("subject", ["", "somebody"])
@pytest.mark.parametrize(("query", "surface"), [("shirt", "search"), ("", "recommend"), ("", "similar")])
def test_a_request_whose_filters_nothing_meets_gets_an_empty_page(
    tiny_shop: Shop, subject: str, query: str, surface: str
) -> None:
    engine = Engine(tiny_shop.bundles)
    filters = parse_filters({"tags": ["nothing has this"]})
    ask = Ask("r", engine.bundle.cutoff, subject, query, surface, filters=filters)
    slate = engine.answer(ask)
    assert (list(slate.item_ids), slate.total) == ([], 0)
