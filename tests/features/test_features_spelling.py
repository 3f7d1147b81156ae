"""Spellings of one query are one query wherever queries are counted, looked up or compared."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.features.ids import key
from pipeline.features.text import normalise, one_spelling, spelt, tidy
from pipeline.filters import NO_FILTERS
from pipeline.logs.holdout import by_query
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log
from pipeline.metrics.clicks.pages import read_pages
from pipeline.observed import Shown
from pipeline.prepare import Analyse
from pipeline.rules import parse_rules, synonyms
from query_suggest.config import SuggestConfig
from query_suggest.index import build_index
from query_suggest.mine import DAY_MS, mine
from query_suggest.stages import Completions, MostPopular, TopK, answers
from query_suggest.train import train_speller
from serving.replay.heldout import judged_task
from serving.replay.requests import Asking
from tests.frames import frame, page

WOMEN = (
    "Women’s  Café",
    "women's cafe",
    "WOMEN`S café",
    "women´s cafe\u0301",
    "ｗｏｍｅｎ＇ｓ　ｃａｆｅ",
    "“womens” cafe",
)
ALIKE = (
    WOMEN,
    ("t-shirt", "T‑Shirt", "t–shirt", "ｔ－ｓｈｉｒｔ", "t\u00ad-shirt"),
    ("L'Oréal", "l’oreal", "L`ORÉAL", "lʼoréal"),
    ("rock 'n' roll", "Rock ‘n’ Roll", "rock n roll"),
    ('12" tv', "12″ tv", "12 tv", "１２ tv"),
    ("girls' coat", "girls’ coat", "girls coat"),
    ("ёлка", "Елка"),
    ("Ångström", "angstrom", "A\u030angstro\u0308m"),
)
APART = (
    ("01", "1"),
    ("1.0", "1"),
    ("か", "が"),
    ("t-shirt", "tshirt"),
    ("l'oreal", "loreal"),
    ("दिन", "दान"),
    ("c++", "c"),
)


@pytest.mark.parametrize("texts", ALIKE)
def test_spellings_of_one_query_are_one(texts: tuple[str, ...]) -> None:
    assert len({normalise(text) for text in texts}) == 1
    assert spelt(pl.Series([*texts, None])).to_list() == [*[normalise(texts[0])] * len(texts), None]


@pytest.mark.parametrize(("left", "right"), APART)
def test_other_queries_stay_others(left: str, right: str) -> None:
    assert normalise(left) != normalise(right)


@given(st.text(max_size=30))
@example("\u0345\u1fb3")
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert normalise(tidy(text)) == normalise(text)


def test_their_counts_are_shared() -> None:
    pages = frame("impression", *(page(f"r{n}", n, "a", query=query) for n, query in enumerate(WOMEN)))
    catalogue = build_catalogue(frame("item"), pl.Series(["a"]))
    assert set(Shown.of(pages, catalogue, "region").query.tolist()) == {key("womens cafe")}


def test_their_pages_are_of_one_pair_and_of_one_side(tmp_path: Path) -> None:
    day = 20_000 * DAY_MS
    pages = frame("impression", *(page(f"r{n}", day + n, "a", query=query) for n, query in enumerate(WOMEN)))
    pages.with_columns(type=pl.lit("impression")).write_parquet(tmp_path / "pages.parquet")
    ingest("podium", [tmp_path / "pages.parquet"], tmp_path / "log")
    assert read_pages(Log.open(tmp_path / "log")).pairs == 1
    for seed in range(8):
        assert by_query({"impression": pages}, 0.3, 0.3, seed)["impression"].n_unique() == 1


def test_their_judgments_are_of_one_query() -> None:
    assert one_spelling(pl.Series(["b’s", "x", "b's", None])).to_list() == ["b's", "x", "b's", None]


@pytest.mark.parametrize("typed", WOMEN)
def test_a_rule_and_a_synonym_of_one_hold_for_all(typed: str) -> None:
    rules = [{"id": "p", "action": "pin", "query": WOMEN[0], "item_ids": ["a"], "position": 0}]
    rules += [{"id": "s", "action": "synonym", "query": "running shoes", "synonyms": ["sneakers"]}]
    pin, synonym = parse_rules(rules)
    assert pin.holds(normalise(typed), NO_FILTERS)
    assert Analyse(synonyms([synonym])).terms(normalise("Running  “Shoes”"))[-1] == "sneaker"


def completed(prefix: str) -> list[dict[str, object]]:
    searches = [("Women’s Café", 3), ("women's cafe", 2), ("WOMENS CAFE", 1), ("Straße", 3)]
    rows = [(9 * DAY_MS, f"u{n}", query) for query, times in searches for n in range(times)]
    shape = {"time": pl.Int64(), "subject": pl.String(), "query": pl.String()}
    config = SuggestConfig(min_subjects=1)
    table, _ = mine(pl.DataFrame(rows, schema=shape, orient="row"), config, 10 * DAY_MS)
    index = build_index(table, train_speller(table, config))
    columns = {"placement": ["complete"], "prefix": [prefix], "query": [""], "limit": [5]}
    batch = Batch.of(
        {name: np.array(value, dtype=object) for name, value in columns.items()} | {"limit": np.array([5])}
    )
    for stage in (Completions(index), MostPopular(), TopK()):
        batch = stage.run(batch)
    return answers(batch, index)[0]


@pytest.mark.parametrize(
    ("prefix", "typed"), [("women", "Women"), ("WOMEN’", "Women"), ("womens", "Women’s"), ("women's c", "Women’s C"),
                          ("café", "Café"), ("stras", "Straß"), ("straß", "Straß")]
)  # fmt: skip
def test_the_suggestion_shows_the_most_typed_spelling_and_what_of_it_was_typed(prefix: str, typed: str) -> None:
    (found,) = completed(prefix)
    assert found["display"] in ("Women’s Café", "Straße")
    (span,) = found["highlight"]  # type: ignore[misc]
    assert str(found["display"])[slice(*span)] == typed


def test_judged_spellings_make_one_request() -> None:
    rows = [{"event_id": f"j{n}", "time": 1, "query": q, "item_id": f"i{n}", "grade": 1.0} for n, q in enumerate(WOMEN)]
    catalogue = build_catalogue(frame("item"), pl.Series([f"i{n}" for n in range(9)]))
    task = judged_task(frame("judgment", *rows), None, Asking(catalogue, "region"))
    (ask,) = task.asks
    assert len(ask.items or ()) == len(WOMEN)
