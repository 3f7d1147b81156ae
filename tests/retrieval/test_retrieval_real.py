"""On real sequences the neighbours of what somebody did say more about what is next than what is popular."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retrieval.config import CovisitConfig
from retrieval.covisit import covisit_scores, item_neighbours


@pytest.mark.full
def test_covisits_find_the_next_item_twice_as_often_as_popularity(real_data: Path) -> None:
    rows = pl.read_parquet(real_data / "amazon-beauty" / "interactions.parquet").sort("user_id", "pos")
    rows = rows.filter(pl.int_range(pl.len()).over("user_id") < pl.len().over("user_id") - 1)  # never the reported part
    target = rows.group_by("user_id", maintain_order=True).last()["item_id"].to_numpy()
    known = rows.filter(pl.int_range(pl.len()).over("user_id") < pl.len().over("user_id") - 1)
    item = known["item_id"].to_numpy().astype(np.int32)
    length = known.group_by("user_id", maintain_order=True).len()["len"].cast(pl.Int64).to_numpy()
    start, items, config = np.r_[0, np.cumsum(length)], int(rows["item_id"].max()) + 1, CovisitConfig()  # type: ignore[arg-type]
    damping = (config.damping_from, config.damping_to)
    neighbours = item_neighbours(
        item, start, items, window=config.window, cap=config.cap, most=100, damping=damping, backward=config.backward
    )
    last = item[start[1:] - 1][:, None]
    row, found, score = covisit_scores(neighbours, last, np.ones(last.shape))
    order = np.lexsort((found, -score, row))
    place = np.arange(len(row)) - np.searchsorted(row, row)
    hits = (found[order] == target[row[order]]) & (place < 100)
    popular = np.argsort(-np.bincount(item, minlength=items), kind="stable")[:100]
    assert hits.sum() > 2 * np.isin(target, popular).sum() > 0
