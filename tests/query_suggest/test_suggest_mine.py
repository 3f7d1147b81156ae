"""What is mined from a log: what several people typed, and nothing that harms."""

from math import exp

import polars as pl
import pytest

from query_suggest.config import SuggestConfig
from query_suggest.mine import DAY_MS, mine
from query_suggest.safety import BlockList, personal

CUTOFF = 10 * DAY_MS


def typed(*searches: tuple[str, str, int]) -> pl.DataFrame:
    """Searches as (subject, query, age in days)."""
    rows = [(CUTOFF - age * DAY_MS, subject, query) for subject, query, age in searches]
    shape = {"time": pl.Int64(), "subject": pl.String(), "query": pl.String()}
    return pl.DataFrame(rows, schema=shape, orient="row")


def mined(rows: pl.DataFrame, **config: object) -> pl.DataFrame:
    return mine(rows, SuggestConfig.model_validate(config), CUTOFF)[0]


def test_ten_thousand_queries_of_one_person_are_no_suggestion() -> None:
    rows = typed(*[("bot", "buy this", 1)] * 10_000, *[(f"u{i}", "shoes", 1) for i in range(3)])
    assert mined(rows)["query"].to_list() == ["shoes"]


def test_a_person_counts_once_a_day_and_less_the_longer_ago() -> None:
    rows = typed(("a", "shoes", 1), ("a", "shoes", 1), ("a", "shoes", 3), ("b", "shoes", 1), ("c", "shoes", 2))
    row = mined(rows, tau_days=2).row(0, named=True)
    assert (row["subjects"], row["count"]) == (3, 4)
    assert row["score"] == pytest.approx(2 * exp(-0.5) + exp(-1.0) + exp(-1.5))


def test_shows_the_form_most_people_type() -> None:
    rows = typed(("a", "Red  Shoes", 1), ("b", "Red Shoes", 1), ("c", "red shoes", 1))
    assert mined(rows).select("query", "display").row(0) == ("red shoes", "Red Shoes")


def test_nothing_after_the_cutoff_is_learned() -> None:
    rows = typed(*[(f"u{i}", "tomorrow", 0) for i in range(5)])
    assert not len(mined(rows))


def test_a_log_added_up_before_counts_each_search() -> None:
    rows = typed(*[("", "shoes", 1)] * 3).with_columns(subject=pl.lit(None, dtype=pl.String))
    assert mined(rows)["subjects"].to_list() == [3]


@pytest.mark.parametrize(
    "query", ["mail bob@example.com", "call 555 123 4567", "card 12345", "www.shop", "shop.com", "https://x"]
)
def test_personal_data_and_addresses_are_no_suggestions(query: str) -> None:
    assert personal(query)
    assert not len(mined(typed(*[(f"u{i}", query, 1) for i in range(19)])))


@pytest.mark.parametrize("query", ["iphone 14", "size 42 shoes", "tv 4k 1080p", "learning to rank"])
def test_ordinary_numbers_are_no_personal_data(query: str) -> None:
    assert not personal(query)


@pytest.mark.parametrize(
    "query", ["cheap slander", "SLANDER", "ｓｌａｎｄｅｒ", "s l a n d e r", "s.l.a.n.d.e.r", "slаnder", "sl4nd3r",
              "slan\u200bder", "slánder", "slanders", "foul word", "foulword", "FOUL-WORD"]
)  # fmt: skip
def test_the_block_list_survives_case_width_spacing_and_lookalikes(query: str) -> None:
    assert BlockList(["Slander", "foul word"]).blocks(query)
    assert not len(mined(typed(*[(f"u{i}", query, 1) for i in range(9)]), blocked=("Slander", "foul word")))


@pytest.mark.parametrize("query", ["islander", "word foul", "sword", "foul"])
def test_the_block_list_spares_words_that_only_contain_a_blocked_one(query: str) -> None:
    assert not BlockList(["slander", "foul word"]).blocks(query)
