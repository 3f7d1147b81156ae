"""Features a user declares, from the configuration to the service."""

from pathlib import Path

import pytest

from benchmarks.skew import live, offline
from pipeline.bundle import open_bundle
from pipeline.errors import ConfigError
from pipeline.logs.read import Log
from serving.assembly import open_parts
from tests.shop import make_shop

REQUESTS = 100
DECLARED = """
[[features.declared]]
name = "kind_rate_by_age"
kind = "rate"
item = "category.2"
by = "user.attributes.age"

[[features.declared]]
name = "color_rate_by_device"
kind = "rate"
item = "attributes.color"
by = "context.device"
window = "7d"

[[features.declared]]
name = "color_recency"
kind = "recency"
item = "attributes.color"

[[features.declared]]
name = "material_affinity"
kind = "affinity"
item = "attributes.material"
missing = 0

[[features.declared]]
name = "material_asked_for"
kind = "match"
item = "attributes.material"
by = "query"
"""


@pytest.mark.full
def test_declared_features_are_learned_and_served_with_the_bits_that_training_computes(tmp_path: Path) -> None:
    config = tmp_path / "podium.toml"
    config.write_text(DECLARED, encoding="utf-8")
    shop = make_shop(tmp_path / "shop", "small", config)
    parts = open_parts(open_bundle(shop.bundles), config)
    assert parts.feature_names[-5:-3] == ("kind_rate_by_age", "color_rate_by_device")
    assert parts.ranker is not None
    assert parts.ranker.about.all == parts.feature_names
    told = live(shop.bundles, Log.open(shop.test), tmp_path / "live", REQUESTS)
    assert told.late > 100
    found = offline(shop.bundles, shop.root / "split/train", tmp_path / "live")  # refuses a single different bit
    assert (found.requests, found.features) == (REQUESTS, len(parts.feature_names))
    config.write_text(DECLARED.replace("category.2", "category.1"), encoding="utf-8")
    with pytest.raises(ConfigError, match="train again"):
        open_parts(open_bundle(shop.bundles), config)
