"""The feature report: what is said, what is marked, and that nothing in it can break the page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.bundle import Bundle
from pipeline.errors import ArtifactError, InputError
from pipeline.features.audit import audit
from pipeline.features.config import FeaturesConfig
from pipeline.features.report import lines, make_report, page, read_report, write_report

NAMES = ("ctr", "position", "flat", "<b>&", "lost")


def report() -> dict[str, object]:
    values = np.array(
        [[0.1, 0, 5, 1, np.nan], [0.2, 1, 5, np.nan, np.nan], [0.3, 1, 5, 2, np.nan], [0.4, 0, 5, 3, np.nan]],
        dtype=np.float32,
    )
    found = audit(values, np.array([0, 1, 1, 0]), NAMES, np.array([False, False, True, True]))
    importance = {"ctr": 0.75, "<b>&": 0.25, "flat": 0.0, "lost": 0.0}
    return make_report(found, importance, FeaturesConfig(), len(values))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]


def test_features_come_in_order_of_importance_and_those_not_given_to_the_model_last() -> None:
    assert [each["name"] for each in report()["features"]] == ["ctr", "<b>&", "flat", "lost", "position"]
    assert report()["features"][-1]["importance"] is None


def test_what_a_reader_should_look_at_is_marked() -> None:
    marks = {each["name"]: each["marks"] for each in report()["features"]}
    assert marks["position"] == ["forbidden", "tells too much"]
    assert marks["flat"] == ["constant"]
    assert "drifts" in marks["ctr"]  # its latest two values lie above both earlier ones


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    text = page(report())
    tags = Tags()
    tags.feed(text)
    assert tags.addresses == []
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text
    assert tags.seen.count("tr") == 1 + len(NAMES)
    assert tags.seen.count("script") == 1


def test_the_files_are_the_same_bytes_each_time_and_json_as_everybody_reads_it(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        write_report(tmp_path / side, report())
    for name in ("features.json", "features.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a/features.json").read_text()) == report()


def test_the_table_for_a_terminal_has_a_line_a_feature() -> None:
    said = lines(report())
    assert len(said) == 1 + len(NAMES) + 1
    assert said[1].startswith("ctr ")
    assert "75.0%" in said[1]
    assert said[-1] == "5 features of 4 rows"


def test_a_report_is_read_from_the_ranker_of_a_bundle(tmp_path: Path) -> None:
    bare, bundle = (Bundle(tmp_path, "b-1", 0, "", "", parts) for parts in ({}, {"ranker": "0"}))
    with pytest.raises(InputError, match="feature report"):
        read_report(bare)
    (tmp_path / "ranker").mkdir()
    with pytest.raises(InputError, match="feature report"):
        read_report(bundle)
    write_report(tmp_path / "ranker", report())
    assert read_report(bundle) == report()
    (tmp_path / "ranker/features.json").write_text('{"schema": 99}')
    with pytest.raises(ArtifactError, match="schema"):
        read_report(bundle)
