"""What the service used is what training would compute: over a live stream with late events, bit for bit."""

import json
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.skew import Told, live
from pipeline.bundle import open_bundle
from pipeline.errors import InputError
from pipeline.features import context, personal
from pipeline.logs.read import Log
from podium import cli
from serving.run import export
from serving.skew import REPORT, near, skew, unequal
from tests.shop import Shop

REQUESTS = 200
NAN = np.float32("nan")


@dataclass(frozen=True)
class Stream:
    """A service's snapshots, and the training log grown by the events it took."""

    shop: Shop
    told: Told
    snapshots: Path
    log: Path

    def compared(self, out: Path) -> Result:
        paths = {"bundle": self.shop.bundles, "logs": self.log, "snapshots": self.snapshots, "out": out}
        return CliRunner().invoke(cli, ["skew", *(text for k, v in paths.items() for text in (f"--{k}", str(v)))])


@pytest.fixture(scope="module")
def stream(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    root = tmp_path_factory.mktemp("skew")
    told = live(shop.bundles, Log.open(shop.test), root, REQUESTS)
    copytree(shop.root / "split/train", root / "log")
    export(root / "root", root / "log")
    return Stream(shop, told, root / "root/snapshots", root / "log")


@pytest.mark.full
def test_the_service_uses_the_features_that_training_computes_bit_for_bit(stream: Stream, tmp_path: Path) -> None:
    assert stream.told.late > 100
    assert stream.told.sealed > 100
    done = stream.compared(tmp_path)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["requests"] == REQUESTS
    assert report["compared"] == report["rows"] * report["features"] > 1_000_000
    assert report["mismatches"] == report["rounded"] == 0
    assert set(report["surfaces"]) == {"search", "recommend", "similar"}


@pytest.mark.full
@pytest.mark.parametrize(
    ("module", "default", "mutated", "feature"),
    [(context, "QUERY_STRENGTH", 9.0, "query_ctr"), (personal, "STRENGTH", 2.0, "past_likeness_shrunk")],
)
def test_one_mutated_default_makes_the_job_end_with_3_and_name_the_feature(
    stream: Stream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    default: str,
    mutated: float,
    feature: str,
) -> None:
    monkeypatch.setattr(module, default, mutated)
    done = stream.compared(tmp_path)
    assert done.exit_code == 3
    assert feature in done.output
    report = json.loads((tmp_path / REPORT).read_text())
    about = report["by_feature"][feature]
    assert about["mismatches"] > 0
    assert about["largest"] == abs(about["example"]["online"] - about["example"]["offline"])
    assert "ctr" not in report["by_feature"]


@pytest.mark.full
def test_a_log_that_lacks_what_the_bundle_learned_from_is_refused(stream: Stream, tmp_path: Path) -> None:
    export(stream.snapshots.parent, tmp_path / "log")
    with pytest.raises(InputError, match="reaches back"):
        skew(stream.shop.bundles, tmp_path / "log", stream.snapshots, tmp_path)


@pytest.mark.full
def test_without_snapshots_there_is_nothing_to_compare(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--snapshots"):
        skew(shop.bundles, shop.test, tmp_path, tmp_path)


@pytest.mark.full
def test_training_leaves_a_report_on_the_features_which_the_command_prints(shop: Shop) -> None:
    told = CliRunner().invoke(cli, ["features", "--bundle", str(shop.bundles), "--json"])
    assert told.exit_code == 0, told.output
    features = {each["name"]: each for each in json.loads(told.output)["features"]}
    ranker = open_bundle(shop.bundles).part("ranker")
    about = json.loads((ranker / "ranker.json").read_text())
    assert set(features) == set(about["all"])
    assert all(0.5 <= each["auc"] <= 0.9 for each in features.values())
    gained = sum(each["importance"] or 0.0 for each in features.values())
    assert gained == pytest.approx(1.0 if about["used"] else 0.0, abs=1e-5)
    assert (ranker / "features.html").read_text().count("<tr>") == 1 + len(features)


def test_every_nan_is_the_same_and_every_other_bit_counts() -> None:
    odd = np.array([0x7FC00001], dtype=np.uint32).view(np.float32)[0]
    online = np.array([1.0, NAN, NAN, 0.0, 1.0, np.inf], dtype=np.float32)
    offline = np.array([1.0, odd, 1.0, -0.0, np.nextafter(np.float32(1), np.float32(2)), np.inf], dtype=np.float32)
    assert unequal(online, offline).tolist() == [False, False, True, True, True, False]


def test_last_bits_are_rounding_and_anything_more_is_skew() -> None:
    one = np.float32(1)
    online = np.array([1, 0.3, 1e6, 0, 1, 2, 1e6, NAN, 0, np.inf], dtype=np.float32)
    offline = np.array([np.nextafter(one, one + 1), 0.300001, 1e6 + 1, 1e-6, 1.001, 3, 1.01e6, 1, 1e-3, 5], np.float32)
    assert near(online, offline).tolist() == [True] * 4 + [False] * 6
