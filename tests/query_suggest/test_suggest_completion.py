"""Completion, spelling and the suggestion cascade over a handful of queries."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts import Draft, open_artifact, publish
from pipeline.batch import Batch
from pipeline.cascade import Cascade, Step
from pipeline.errors import ArtifactError
from query_suggest.config import SuggestConfig
from query_suggest.index import SuggestIndex, build_index
from query_suggest.mine import DAY_MS
from query_suggest.prefix import HEAVY, heads
from query_suggest.spelling import Speller, build_speller, edits, speller_of
from query_suggest.stages import (
    Completions,
    Correct,
    FuzzyCompletions,
    MostPopular,
    Popular,
    Rescue,
    TopK,
    answers,
    typed,
)
from query_suggest.train import suggest_index
from tests.examples import examples

SCORES = {
    "learning to rank": 8.0,
    "rank": 4.0,
    "ranking metrics": 2.0,
    "red dress": 5.0,
    "red shoes": 9.0,
    "running shoes": 7.0,
    "straße": 1.0,
}


def table(scores: dict[str, float]) -> pl.DataFrame:
    names = sorted(scores, key=str.encode)
    values = [scores[name] for name in names]
    shape = {"query": pl.String(), "display": pl.String(), "subjects": pl.Int64(), "count": pl.Int64()}
    frame = pl.DataFrame([(n, n.title() if n.isascii() else n, 3, 3) for n in names], schema=shape, orient="row")
    return frame.with_columns(score=pl.Series(values, dtype=pl.Float64))


def index_of(scores: dict[str, float]) -> SuggestIndex:
    words = {word: 3 for query in scores for word in query.split()}
    return build_index(table(scores), build_speller({}, words))


@pytest.fixture(scope="module")
def index() -> SuggestIndex:
    return index_of(SCORES)


def cascade(index: SuggestIndex) -> Cascade:
    stages = (Completions(index), FuzzyCompletions(index), Popular(index), Rescue(index), MostPopular(), TopK())
    given = frozenset({"request.placement", "request.prefix", "request.query", "request.limit"})
    return Cascade("suggest", tuple(Step(stage) for stage in stages), given)


def asked(*requests: tuple[str, str], limit: int = 10) -> Batch:
    """Requests as (placement, text): a prefix, or the query to rescue."""
    places, texts = (np.array(column, dtype=object) for column in zip(*requests, strict=True))
    return Batch.of(
        {"placement": places, "prefix": texts, "query": texts, "limit": np.full(len(requests), limit, np.int64)}
    )


def suggest(index: SuggestIndex, placement: str, text: str, limit: int = 10) -> list[tuple[object, object]]:
    found = answers(cascade(index).run(asked((placement, text), limit=limit)).batch, index)[0]
    return [(each["query"], each["source"]) for each in found]


def test_completes_the_start_first_and_later_words_weighted_down(index: SuggestIndex) -> None:
    # log(1 + score): learning to rank 0.7 * log 9 = 1.54, rank log 5 = 1.61, ranking metrics log 3 = 1.10.
    assert suggest(index, "complete", "rank", limit=3) == [
        ("rank", "prefix"),
        ("learning to rank", "phrase"),
        ("ranking metrics", "prefix"),
    ]


def test_highlights_what_was_typed_in_what_is_shown(index: SuggestIndex) -> None:
    found = answers(cascade(index).run(asked(("complete", "RAN"), limit=2)).batch, index)[0]
    assert [(s["display"], s["highlight"]) for s in found] == [
        ("Rank", [[0, 3]]),
        ("Learning To Rank", [[12, 15]]),
    ]


def test_a_blank_at_the_end_finishes_the_word(index: SuggestIndex) -> None:
    assert suggest(index, "complete", "red ", limit=2) == [("red shoes", "prefix"), ("red dress", "prefix")]
    assert typed(" Red\t") == "red "


def test_completions_with_a_slip_come_after_those_without(index: SuggestIndex) -> None:
    assert suggest(index, "complete", "red shoos") == [("red shoes", "fuzzy")]
    assert suggest(index, "complete", "runing sh") == [("running shoes", "fuzzy")]
    assert suggest(index, "complete", "ran")[0][1] == "prefix"


def test_nothing_typed_is_completed_by_what_is_popular(index: SuggestIndex) -> None:
    assert suggest(index, "complete", "", limit=2) == [("red shoes", "popular"), ("learning to rank", "popular")]


def test_a_hint_is_one_query_and_a_discovery_has_no_first_word_twice(index: SuggestIndex) -> None:
    assert suggest(index, "hint", "") == [("red shoes", "popular")]
    found = [query for query, _ in suggest(index, "discover", "")]
    assert found == ["red shoes", "learning to rank", "running shoes", "rank", "ranking metrics", "straße"]


def test_rescues_by_correction_and_then_by_words_in_common(index: SuggestIndex) -> None:
    assert suggest(index, "rescue", "red shose")[0] == ("red shoes", "rescue")
    assert [query for query, _ in suggest(index, "rescue", "purple shoes")] == ["red shoes", "running shoes"]
    assert suggest(index, "rescue", "zzz") == []


def test_many_requests_at_once_equal_one_at_a_time(index: SuggestIndex) -> None:
    wanted = [("complete", "r"), ("hint", ""), ("rescue", "red zzz"), ("complete", "zz"), ("complete", "rnning")]
    together = answers(cascade(index).run(asked(*wanted)).batch, index)
    assert together == [answers(cascade(index).run(asked(one)).batch, index)[0] for one in wanted]


words = st.text("ab ", min_size=1, max_size=6).map(lambda text: " ".join(text.split())).filter(bool)


@settings(max_examples=examples(40), deadline=None)
@given(st.sets(words, min_size=1, max_size=20), st.text("ab", min_size=1, max_size=4))
def test_completions_are_closed_under_prefix_and_come_once(queries: set[str], prefix: str) -> None:
    index = index_of({query: float(place) for place, query in enumerate(sorted(queries))})
    stages = (Completions(index), MostPopular(), TopK())
    found = []
    for text in (prefix, prefix[:-1] or prefix):
        batch = asked(("complete", text), limit=60)
        for stage in stages:
            batch = stage.run(batch)
        found.append([each["query"] for each in answers(batch, index)[0]])
    assert set(found[0]) <= set(found[1])
    assert len(found[0]) == len(set(found[0]))
    assert set(found[0]) == {q for q in queries if any(q[at:].startswith(prefix) for at in _starts(q))}


def _starts(query: str) -> list[int]:
    return [0, *(place + 1 for place, letter in enumerate(query) if letter == " ")]


def test_a_heavy_prefix_gives_what_sorting_all_of_it_gives() -> None:
    rng = np.random.default_rng(0)
    texts = [f"{'ab'[i % 2]}é{i:05d}" for i in range(3 * HEAVY)]
    texts.sort(key=str.encode)
    rank = rng.permutation(len(texts)).astype(np.int32)
    index = heads(texts, rank)
    for prefix in ("a", "aé", "aé0", "b"):
        places = [i for i, text in enumerate(texts) if text.startswith(prefix)]
        assert index.top(prefix, 10).tolist() == sorted(places, key=lambda i: rank[i])[:10]
    assert not len(index.top("zzz" * 50, 10))


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("shoes", "shose", 1), ("shoes", "shoe", 1), ("kitten", "sitting", 3), ("", "ab", 2), ("ca", "abc", 3)],
)
def test_counts_edits_with_swaps_of_neighbours(left: str, right: str, distance: int) -> None:
    assert edits(left, right) == edits(right, left) == distance


@pytest.fixture(scope="module")
def speller() -> Speller:
    return speller_of({"shoes": 90, "dress": 50, "headphones": 20, "boots": 10, "boats": 9, "jeans": 5}, 4, 4.0)


@pytest.mark.parametrize(
    ("query", "corrected"),
    [
        ("red shose", "red shoes"),  # a swap
        ("hedphons", "headphones"),  # two edits in a long word
        ("dreess shoes", "dress shoes"),
        ("boits", ""),  # boots or boats: disputed
        ("shoe", ""),  # the singular of a known word
        ("jean 501", ""),
        ("sho3s", ""),  # digits are never touched
        ("jxxns", ""),  # two edits in a short word
        ("dres", "dress"),
        ("", ""),
    ],
)
def test_corrects_only_what_nobody_would_dispute(speller: Speller, query: str, corrected: str) -> None:
    assert speller.correct(query) == corrected


def test_the_stage_writes_the_correction_of_each_query(speller: Speller) -> None:
    batch = Batch.of({"normalised": np.array(["shose", "", "dress"], dtype=object)})
    assert Correct(speller).run(batch).request("corrected").tolist() == ["shoes", "", ""]


def test_a_misspelling_many_make_is_still_one() -> None:
    speller = build_speller({"headphones": 200}, {"headphnes": 5, "earbuds": 5})
    assert speller.correct("headphnes") == "headphones"
    assert speller.correct("earbuds") == ""


def searches(*queries: str) -> pl.DataFrame:
    rows = [(DAY_MS, f"u{i}", query) for query in queries for i in range(4)]
    return pl.DataFrame(rows, schema={"time": pl.Int64(), "subject": pl.String(), "query": pl.String()}, orient="row")


def test_queries_that_find_nothing_are_dropped_and_counted() -> None:
    rows = searches("shoes", "unicorn")
    index = suggest_index(
        rows, SuggestConfig(), 2 * DAY_MS, has_results=lambda queries: np.array([q == "shoes" for q in queries])
    )
    assert index.query == ("shoes",)
    assert (index.metrics["dropped_no_results"], index.metrics["queries"]) == (1, 1)


def test_an_index_of_nothing_suggests_nothing() -> None:
    index = index_of({})
    for placement in ("complete", "hint", "discover", "rescue"):
        assert suggest(index, placement, "red shoes") == []


def test_what_is_saved_answers_as_what_was_built(index: SuggestIndex, tmp_path: Path) -> None:
    publish(tmp_path / "index", Draft("query_suggest.index", {}, {}), index.save)
    opened = SuggestIndex.open(tmp_path / "index")
    for text in ("r", "rank", "runing", "red shose"):
        assert suggest(opened, "complete", text) == suggest(index, "complete", text)
        assert suggest(opened, "rescue", text) == suggest(index, "rescue", text)


@pytest.mark.parametrize("name", ["queries.parquet", "words.parquet", "heads.keys.npy", "tails.rank.npy", "size.npy"])
def test_a_damaged_artifact_is_refused(index: SuggestIndex, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "index"
    publish(folder, Draft("query_suggest.index", {}, {}), index.save)
    (folder / name).write_bytes(b"not what was published")
    with pytest.raises(ArtifactError):
        open_artifact(folder, "query_suggest.index")
    with pytest.raises(ArtifactError):
        SuggestIndex.open(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError):
        SuggestIndex.open(folder)
