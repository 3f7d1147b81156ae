"""The evaluated engine is the served engine: replay and HTTP give the same items in the same order."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.logs.read import Log
from serving.replay.command import evaluate_bundle
from serving.replay.http import HttpOptions, replay_http
from tests.e2e.conftest import service
from tests.shop import Shop

PLACES = 40  # pages 0 and 1 of 20
SAMPLE = 500  # pages; each is asked as a search or recommendation and as a ranking of its own items


@pytest.mark.full
def test_a_thousand_held_out_requests_get_the_same_pages_over_http_and_in_evaluation(
    shop: Shop, tmp_path: Path
) -> None:
    evaluate_bundle(shop.bundles, shop.test, tmp_path / "offline", sample=SAMPLE)
    with service("--bundle", str(shop.bundles), "--root", str(tmp_path / "root"), "--replay") as url:
        replay_http(url, Log.open(shop.test), HttpOptions(sample=SAMPLE), tmp_path / "online")
    offline, online = (_slates(tmp_path / side / "run.parquet") for side in ("offline", "online"))
    both = offline.join(online, on=["mode", "request_id", "page", "position"], how="full", suffix="_online")
    assert offline.select("mode", "request_id", "page").n_unique() >= 1_000
    assert set(offline["mode"]) == {"rank", "funnel"}
    assert both.select(pl.col("item_id").is_null() | pl.col("item_id_online").is_null()).sum().item() == 0
    differ = both.filter(pl.col("item_id") != pl.col("item_id_online"))
    gap = np.abs(differ["score"].to_numpy() - differ["score_online"].to_numpy())
    assert (gap < 1e-5).all(), differ


def _slates(run: Path) -> pl.DataFrame:
    frame = pl.read_parquet(run)
    return frame.filter((pl.col("position") < PLACES) | (pl.col("mode") == "rank"))
