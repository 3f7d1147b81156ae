"""Match of query and title: BM25 by hand, and what every feature means."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue, build_catalogue
from pipeline.errors import ArtifactError
from pipeline.features.content import item_vectors
from pipeline.features.match import MATCH_NAMES, Matcher
from pipeline.features.texts import TextMemory, Texts
from pipeline.features.textstats import TextStats
from pipeline.logs.events import conform

TITLES = ["red shoe", "blue shoe size 12", "garden hose", "red red hat"]


def catalogue(titles: Sequence[str | None], text: str | None = None) -> Catalogue:
    ids = [f"i{place}" for place in range(len(titles))]
    rows = {"event_id": ids, "item_id": ids, "time": [0] * len(ids), "title": titles, "text": [text] * len(ids)}
    items = conform("item", pl.DataFrame(rows, schema_overrides={"title": pl.String, "text": pl.String}))
    return build_catalogue(items, items["item_id"])


def matched(terms: list[str], items: Catalogue) -> dict[str, NDArray[np.float32]]:
    matcher = Matcher(TextStats.of(Texts.of(items)))
    found = matcher.features([terms], items.dense(pl.Series([f"i{n}" for n in range(len(items) - 1)]))[None], items)
    return {name: found[0, :, place] for place, name in enumerate(MATCH_NAMES)}


def test_bm25_is_the_formula_worked_by_hand() -> None:
    # `red` is in 2 of 4 titles, which are 2, 4, 2 and 3 tokens long (mean 2.75).
    idf = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    short = 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 2.75))
    twice = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2.75))
    assert matched(["red"], catalogue(TITLES))["title_bm25"] == pytest.approx([idf * short, 0, 0, idf * twice])


def test_bm25_for_evaluation_weighs_titles_twice_and_is_0_without_a_query() -> None:
    items = catalogue(["hose", "hat"], text="hose")
    matcher = Matcher(TextStats.of(Texts.of(items)))
    hose, hat = items.dense(pl.Series(["i0", "i1"]))
    item = np.array([[hose, hat, -1], [hose, hat, -1]], dtype=np.int32)
    features = matcher.features([["hose"], []], item, items)
    score = matcher.bm25([["hose"], []], item, items)
    assert score[0, 0] == pytest.approx(2 * features[0, 0, 0] + features[0, 0, 1], rel=1e-6)
    assert score[1].tolist() == [0, 0, 0]
    assert score[0, 2] == 0


def test_shares_count_the_terms_found() -> None:
    found = matched(["shoe", "size", "12"], catalogue(TITLES))
    assert found["title_share"] == pytest.approx([1 / 3, 1, 0, 0])
    assert found["all_in_title"].tolist() == [0, 1, 0, 0]
    assert found["last_in_title"].tolist() == [0, 1, 0, 0]
    assert found["numbers_in_title"].tolist() == [0, 1, 0, 0]
    assert found["bigrams_in_title"].tolist() == [0, 1, 0, 0]
    assert found["first_place"][:2] == pytest.approx([1 / 2, 1 / 4])
    assert found["title_covered"] == pytest.approx([1 / 2, 3 / 4, 0, 0])


def test_a_query_without_numbers_has_no_share_of_numbers() -> None:
    assert np.isnan(matched(["shoe"], catalogue(TITLES))["numbers_in_title"]).all()


def test_a_misspelt_word_is_close_to_the_right_one() -> None:
    found = matched(["gardn"], catalogue(TITLES))
    assert found["title_share"].max() == 0
    assert found["close_share"].argmax() == 2
    assert found["letters_dice"].argmax() == 2


def test_an_item_without_a_title_matches_nothing() -> None:
    found = matched(["red"], catalogue([None, "red"]))
    assert found["title_bm25"][0] == 0
    assert found["title_tokens"][1] == 1


def test_items_none_of_which_has_a_title_match_by_their_text_alone() -> None:
    found = matched(["red"], catalogue([None, None], text="red"))
    assert found["title_bm25"].tolist() == [0, 0]
    assert (found["text_bm25"] > 0).all()
    assert np.isnan(found["first_place"]).all()


def test_one_request_has_the_bits_it_has_among_others() -> None:
    items = catalogue([f"{a} {b} shoe {n}" for n in range(5) for a in ("red", "blue") for b in ("big", "old", "new")])
    matcher = Matcher(TextStats.of(Texts.of(items)))
    terms = [["red", "shoe"], [], ["old", "blue", "shoe", "3", "xyz"], ["new"]]
    item = np.random.default_rng(0).integers(-1, len(items), (4, 9)).astype(np.int32)
    together = matcher.features(terms, item, items)
    for row in range(4):
        alone = matcher.features(terms[row : row + 1], item[row : row + 1], items)
        assert alone.tobytes() == together[row].tobytes()


def test_words_of_items_that_came_later_match_as_if_always_there() -> None:
    small, memory = catalogue(TITLES[:2]), TextMemory()
    memory.of(small)
    more = conform(
        "item",
        pl.DataFrame(
            {"event_id": ["n", "c"], "item_id": ["i9", "i0"], "time": [1, 1], "title": ["zygote hat", "green shoe"]}
        ),
    )
    large = small.extend(more)
    grown, fresh = memory.of(large), Texts.of(large)
    item = large.dense(pl.Series(["i0", "i1", "i9"]))
    for part in ("title", "text"):
        for left, right in zip(getattr(grown, part).flat(item), getattr(fresh, part).flat(item), strict=True):
            assert np.array_equal(left, right)
    assert np.array_equal(grown.letters[item], fresh.letters[item])
    matcher = Matcher(TextStats.of(Texts.of(small)), memory)
    assert matcher.features([["zygote"]], item[None], large)[0, :, 0].argmax() == 2


def test_statistics_survive_a_folder_and_refuse_a_broken_one(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    stats = TextStats.of(Texts.of(catalogue(TITLES)))
    stats.save(folder)
    again = TextStats.open(folder)
    assert np.array_equal(again.hashes, stats.hashes)
    assert again.mean_length == stats.mean_length
    (folder / "text.hashes.npy").write_bytes(b"no array")
    with pytest.raises(ArtifactError, match="text statistics"):
        TextStats.open(folder)


def test_content_vectors_are_of_unit_length_and_alike_for_alike_items() -> None:
    items = catalogue(["red shoe", "red shoes", "garden hose", None])
    vectors = item_vectors(items)[items.dense(pl.Series(["i0", "i1", "i2", "i3"]))]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 0])
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-6)
    assert vectors[0] @ vectors[2] < 0.5
