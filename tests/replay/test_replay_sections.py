"""A part of a report that fails costs that part and is told; the report stands."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.logs.read import Log
from serving.replay import requests, run
from serving.replay.page import document
from serving.replay.page.diversity import diversity_section
from serving.replay.sections import Sections
from tests.frames import act, frame, page
from tests.replay import market
from tests.replay.fake_engine import FakeEngine

Engines = Callable[..., FakeEngine]
NOTHING = {"mean": None, "low": None, "high": None, "n": 0}


def broken(*_: object, **__: object) -> object:
    raise ValueError("operands could not be broadcast together")


def test_a_part_that_cannot_be_made_is_named_and_the_others_are_there(
    engine_of: Engines, write_log: Callable[..., Log], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "off_policy", broken)
    monkeypatch.setattr(document, "funnel_section", broken)
    run.evaluate(engine_of({"item": market.items()}), write_log(market.log()), run.EvaluateOptions(), tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(report["failed"]) == {"off-policy", "page: funnel"}
    assert all("(ValueError)" in why and "broadcast" not in why for why in report["failed"].values())
    assert report["modes"]["rank"]["systems"]["podium"]["ndcg@10"]["mean"] is not None
    shown = (tmp_path / "out/report.html").read_text()
    assert "Parts that are not here" in shown
    assert "off-policy: a fault of Podium" in shown
    assert 'id="parts-rank"' in shown


def test_the_reason_is_podiums_own_sentence_or_the_place_of_its_fault() -> None:
    parts = Sections()

    def refuse() -> str:
        raise InputError("field", "something else")

    assert parts.attempt("own", refuse, "instead") == "instead"
    assert parts.attempt("whole", lambda: "made", "instead") == "made"
    assert parts.failed == {"own": "field: something else"}


def test_points_of_nothing_are_said_and_not_drawn() -> None:
    row = {"ndcg@10": NOTHING, "ild@10": NOTHING, "entropy@10": NOTHING}
    found = {"k": 10, "systems": {"podium": row}, "curve": [{"diversity": 0.1, **row}], "sample": 0}
    assert "Nothing to draw: no request has both ndcg@10 and ild@10" in diversity_section("rank", found)


@pytest.mark.parametrize("items", ["a", "aa", "aaa"])
def test_pages_of_one_item_have_no_order_and_are_counted(
    engine_of: Engines, write_log: Callable[..., Log], tmp_path: Path, items: str
) -> None:
    pages = [page("r0", market.NOW, "ab"), page("r1", market.NOW + 1, items), page("r2", market.NOW + 2, items)]
    feedback = frame("feedback", *(act("click", "a", market.NOW + 10 + n, request_id=f"r{n}") for n in range(3)))
    log = write_log({"impression": frame("impression", *pages), "feedback": feedback})
    found = run.evaluate(engine_of({"item": market.items()}), log, run.EvaluateOptions(), tmp_path / "out")
    assert found.left_out == {"one_item_pages": 2}
    assert (found.modes["rank"]["requests"], found.modes["funnel"]["requests"]) == (1, 3)
    assert "2 pages of one item have no order" in (tmp_path / "out/report.html").read_text()


def test_where_all_pages_show_one_item_the_whole_catalogue_is_still_asked(
    engine_of: Engines, write_log: Callable[..., Log], tmp_path: Path
) -> None:
    log = write_log({"impression": frame("impression", page("r", market.NOW, "a")), "feedback": frame("feedback")})
    found = run.evaluate(engine_of({"item": market.items()}), log, run.EvaluateOptions(), tmp_path / "out")
    assert set(found.modes) == {"funnel"}
    assert found.left_out == {"one_item_pages": 1}


def test_more_lists_than_memory_holds_are_refused_with_the_sample_that_fits(
    engine_of: Engines, write_log: Callable[..., Log], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST_CELLS", 100)
    log, engine = write_log(market.log()), engine_of({"item": market.items()})
    with pytest.raises(InputError, match="--sample: at most 33 requests: these 240 bring up to 3 items each"):
        run.evaluate(engine, log, run.EvaluateOptions(), tmp_path / "out")
    run.evaluate(engine, log, run.EvaluateOptions(sample=33), tmp_path / "out")
