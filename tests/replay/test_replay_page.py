"""The page says all that the report holds, and nothing that the log holds can become markup."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from serving.replay.page.document import page as drawn
from serving.replay.page.plots import Point, scatter
from serving.replay.page.tables import signed
from serving.replay.run import EvaluateOptions, evaluate
from tests.frames import act, frame, item, page
from tests.replay import market
from tests.replay.building import trained, written

HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
VOID = {"meta", "br"}


class Tags(HTMLParser):
    """Every tag and attribute of a page, and whether the tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID and tag not in ("line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle", "rect", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def render(report: Mapping[str, Any]) -> str:
    """The page of a report of which every part can be drawn."""
    text, failed = drawn(report)
    assert not failed
    return text


def read(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report as JSON, with a baseline and a gate, of a log whose every text wants to be markup."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    items = [item(name, title=HOSTILE, category=[HOSTILE], brand=HOSTILE) for name in "abc"]
    about = {"surface": HOSTILE, "query": HOSTILE, "arm": HOSTILE}
    pages = [page(f"r{i}{HOSTILE}", market.NOW + i, "abc", user_id=f"u{i % 7}{HOSTILE}", **about) for i in range(14)]
    clicks = [act("click", "b", market.NOW + i + 1, user_id=f"u{i % 7}{HOSTILE}") for i in range(14)]
    log = written(tmp_path / "log", {"impression": frame("impression", *pages), "feedback": frame("feedback", *clicks)})
    known = {"item": frame("item", *items)}
    (tmp_path / "gate.toml").write_text("[slices]\nminimum_requests = 5\nminimum_subjects = 6\nallowed_drop = 1.0\n")
    options = EvaluateOptions(baseline=trained(known, quality={"c": 1.0}), gate=tmp_path / "gate.toml", by="arm")
    evaluate(trained(known, quality={"b": 1.0}), log, options, tmp_path / "out")
    return (tmp_path / "out" / "report.json").read_text()


@pytest.fixture
def hostile(told: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(told)
    report["off_policy"] = off_policy(HOSTILE)
    return report


def off_policy(name: str) -> dict[str, Any]:
    good = {"mean": 0.4, "low": 0.3, "high": 0.5, "n": 900, "ess": 412.3, "clipped_share": 0.02, "refused": None}
    better = good | {"mean": 0.6, "low": 0.55, "high": 0.65}
    none = {
        "mean": None,
        "low": None,
        "high": None,
        "n": 9,
        "ess": 4.0,
        "clipped_share": 0.0,
        "refused": f"ESS 4 {name}",
    }
    systems = {
        "podium": {"naive_ndcg@10": good, "snips_dcg@10": better, "explored_ips_dcg@10": none},
        name: {"naive_ndcg@10": better, "snips_dcg@10": good, "explored_ips_dcg@10": none},
    }
    contrast = {"a": "podium", "b": name, "metric": "snips_dcg@10", **better}
    verdict = {"a": "podium", "b": name, "verdict": "undecided", "reason": f"too few {name}"}
    examination = {name: {"source": name, "p": [1.0, 0.5], "refused": None}}
    mode = {"pages": 900, "explored_pages": 3, "systems": systems, "compare": [contrast], "verdicts": [verdict]}
    return {"examination": examination, "modes": {"rank": mode}}


def test_no_text_of_the_log_becomes_markup(hostile: dict[str, Any]) -> None:
    text = render(hostile)
    found = read(text)
    assert not found.tags & {"script", "img", "iframe", "link", "object"}
    assert not {name for name in found.attributes if name.startswith("on")}
    assert not found.attributes & {"src", "href", "srcset", "action"}
    assert HOSTILE in "".join(found.text)  # it is there to be read


def test_the_page_needs_nothing_from_anywhere(hostile: dict[str, Any]) -> None:
    assert not re.findall(r"https?://|@import|url\(", render(hostile))


def test_every_part_of_the_report_has_its_section(hostile: dict[str, Any]) -> None:
    found = set(re.findall(r'<section id="([a-z-]+)"', render(hostile)))
    assert found == {
        "gate", "rank", "funnel", "off-policy", "regression-rank", "regression-funnel", "compare", "losses",
        "parts-rank", "parts-funnel", "diversity-funnel", "requests-rank", "requests-funnel", "protocol",
    }  # fmt: skip


def test_every_table_has_heads_and_every_plot_a_name(hostile: dict[str, Any]) -> None:
    text = render(hostile)
    tables = re.findall(r"<table.*?</table>", text, flags=re.DOTALL)
    assert all('<th scope="col">' in table for table in tables)
    plots = [ET.fromstring(plot) for plot in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)]
    assert len(plots) >= 6
    assert all(plot.get("role") == "img" and plot.get("aria-label") for plot in plots)


def test_a_refused_estimate_shows_its_reason_and_no_number(hostile: dict[str, Any]) -> None:
    hostile["off_policy"] = off_policy("logged")
    text = render(hostile)
    assert "refused: ESS 4 logged" in text
    assert "412" in text
    assert "podium against logged: undecided (too few logged)" in text


def test_where_naive_and_corrected_figures_disagree_is_said(hostile: dict[str, Any]) -> None:
    hostile["off_policy"] = off_policy("logged")
    section = render(hostile).partition('id="off-policy"')[2].partition("</section>")[0]
    assert "above by snips_dcg@10" in section
    assert '<th scope="row">logged</th><td>podium</td>' in section


@pytest.mark.parametrize(("low", "high", "kind"), [(0.1, 0.3, "up"), (-0.3, -0.1, "down"), (-0.1, 0.1, "level")])
def test_a_difference_is_signed_and_coloured_only_beyond_0(low: float, high: float, kind: str) -> None:
    said = signed({"mean": (low + high) / 2, "low": low, "high": high})
    assert f'class="{kind}"' in said
    assert re.search(r"[+-]0\.\d{4}", said)


def test_names_of_points_that_lie_together_do_not_cover_each_other() -> None:
    points = [Point(name, (0.5, 0.4, 0.6), (0.5, 0.4, 0.6)) for name in "abc"]
    plot = ET.fromstring(scatter(points, ("x", "y"), "three at one place"))
    heights = [float(text.get("y", 0)) for text in plot.iter("text") if text.text in {"a", "b", "c"}]
    assert min(b - a for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False)) >= 12


def test_a_report_of_a_replay_through_http_is_shown_without_what_it_lacks() -> None:
    figure = {"mean": 0.5, "low": None, "high": None, "n": 1}
    mode = {"requests": 1, "empty_requests": 0, "systems": {"podium": {"ndcg@10": figure}}}
    protocol = {"hash": "abc", "bundle": "b-1", "state": "rolling"}
    report = {"protocol": protocol, "modes": {"rank": mode}, "funnel": {}, "slices": {}, "compare": []}
    assert "Shown pages, reordered" in "".join(read(render(report)).text)
