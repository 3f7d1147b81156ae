"""Five items: a, b, c of brand x, d of y, e of none."""

import polars as pl
import pytest

from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.logs.events import conform


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    names = ["a", "b", "c", "d", "e"]
    rows = pl.DataFrame(
        {
            "event_id": names,
            "time": [1, 2, 3, 4, 5],
            "item_id": names,
            "brand": ["x", "x", "x", "y", None],
            "category": [["s", "t"], ["s", "t"], ["s", "u"], ["s", "u"], ["w"]],
        }
    )
    return build_catalogue(conform("item", rows), pl.Series([], dtype=pl.String))
