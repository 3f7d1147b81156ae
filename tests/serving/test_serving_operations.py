"""The commands that keep a tenant running, as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from podium import cli
from tests.shop import Shop


def said(*words: object) -> dict[str, object]:
    outcome = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    found: dict[str, object] = json.loads(outcome.stdout)
    return found


@pytest.fixture
def root(tiny_shop: Shop, tmp_path: Path) -> Path:
    """A data root of its own: a backup of the shop's, brought back."""
    copied = said("backup", "--root", tiny_shop.bundles, "--out", tmp_path / "backup", "--json")
    restored = said("restore", tmp_path / "backup", "--root", tmp_path / "root", "--json")
    assert copied == restored
    return tmp_path / "root"


def test_a_root_that_was_restored_serves_the_same_bundle(root: Path, tiny_shop: Shop) -> None:
    listed = said("bundle", "list", root, "--json")
    assert listed == said("bundle", "list", tiny_shop.bundles, "--json")
    assert said("bundle", "verify", root, "--json")["bundle"] == listed["current"]


def test_pruning_keeps_the_bundle_that_serves(root: Path) -> None:
    assert said("bundle", "prune", root, "--keep", 1, "--json")["bundles"] == []
    assert said("bundle", "verify", root, "--json")["verified"]


def test_a_log_of_this_version_needs_no_migration(tiny_shop: Shop) -> None:
    done = said("migrate", tiny_shop.root / "log", "--json")
    assert (done["schema"], done["rewritten"]) == (1, 0)
