"""The index agrees with BM25 by hand, honours the mask, and finds live items at once."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.filters import NO_FILTERS, Filters, matching
from retrieval.bm25 import bm25, rounded_length
from retrieval.config import RetrievalConfig
from retrieval.documents import documents, required
from retrieval.lexical import LexicalIndex
from retrieval.live import LiveItems
from retrieval.stages import Lexical
from tests.frames import frame, item
from tests.retrieval.shop import NOW, Shop, ask, catalogue_of, items, lexical_index, prepared, state_of

CONFIG = RetrievalConfig()


def everything(catalogue: Catalogue) -> np.ndarray:
    return np.ones(len(catalogue), dtype=np.bool_)


def test_a_term_in_one_of_two_documents_of_average_length() -> None:
    score = bm25(np.array([1]), np.array([4]), documents=2, containing=1, average=4.0)
    assert score == pytest.approx([np.log(2) * 2.2 / 2.2])


def test_lengths_are_exact_below_40_and_rounded_down_to_3_bits_above() -> None:
    assert rounded_length(np.array([0, 23, 39, 40, 41, 43, 57, 1000])).tolist() == [0, 23, 39, 40, 40, 42, 56, 984]


@pytest.mark.parametrize("query", [["red"], ["red", "mug"], ["acme", "new", "large", "large"]])
def test_our_own_scores_of_the_bundled_items_are_those_of_the_index(shop: Shop, query: list[str]) -> None:
    index, catalogue = shop.lexical.index, shop.state.catalogue
    allowed = everything(catalogue)
    own = LiveItems.of(catalogue, 0).search(query, index.boosts, allowed, index.statistics)
    item, score = index.search(query, NO_FILTERS, len(catalogue), allowed)
    assert sorted(item) == sorted(own[0])
    expected = dict(zip(own[0].tolist(), own[1].tolist(), strict=True))
    assert score == pytest.approx([expected[one] for one in item.tolist()], rel=1e-5)


def test_equal_scores_come_in_order_of_item_id(tmp_path: Path) -> None:
    catalogue = catalogue_of([item(name, title="red mug") for name in ("c", "a", "d", "b")])
    found, score = lexical_index(catalogue, tmp_path / "l").search(["mug"], NO_FILTERS, 3, everything(catalogue))
    assert [catalogue.ids[one] for one in found] == ["a", "b", "c"]
    assert len(set(score.tolist())) == 1


def test_the_order_of_the_rows_it_is_built_from_does_not_matter(tmp_path: Path) -> None:
    answers = []
    for name, rows in (("one", items()), ("other", items()[::-1])):
        catalogue = catalogue_of(rows)
        found, score = lexical_index(catalogue, tmp_path / name).search(
            ["red", "steel"], NO_FILTERS, 20, everything(catalogue)
        )
        answers.append(([catalogue.ids[one] for one in found], score.tolist()))
    assert answers[0] == answers[1]


def test_the_same_catalogue_gives_the_same_files(tmp_path: Path) -> None:
    built = []
    for name in ("one", "other"):
        lexical_index(catalogue_of(items()), tmp_path / name)
        files = (path for path in (tmp_path / name).iterdir() if path.suffix != ".lock")
        built.append({path.name: path.read_bytes() for path in files})
    assert built[0] == built[1]
    assert {"meta.json", "statistics.json", "0" * 32 + ".term"} <= built[0].keys()


def test_no_terms_and_unknown_terms_find_nothing(shop: Shop) -> None:
    allowed = everything(shop.state.catalogue)
    assert len(shop.lexical.index.search([], NO_FILTERS, 10, allowed)[0]) == 0
    assert len(shop.lexical.index.search(["zyzzyva", "\x00"], NO_FILTERS, 10, allowed)[0]) == 0


def test_it_finds_allowed_items_that_stand_behind_thousands(tmp_path: Path) -> None:
    rows = [item(f"item-{n:05d}", title="red mug") for n in range(3000)]
    rows.append(item("last", title="red lamp with a very long title of many other words"))
    catalogue = catalogue_of(rows)
    index = lexical_index(catalogue, tmp_path / "l")
    allowed = np.zeros(len(catalogue), dtype=np.bool_)
    allowed[catalogue.index["last"]] = True
    assert index.search(["red"], NO_FILTERS, 10, allowed)[0].tolist() == [catalogue.index["last"]]
    lamps = allowed.copy()
    lamps[1::2] = True  # too many to be asked for by name: half of the mugs, and the lamp that comes last
    assert index.search(["red"], NO_FILTERS, 2000, lamps)[0].tolist() == np.flatnonzero(lamps).tolist()


def test_widening_goes_on_until_the_page_is_full(tmp_path: Path) -> None:
    catalogue = catalogue_of([item(f"item-{n:04d}", title="mug" if n < 900 else "mug lamp") for n in range(1300)])
    index = lexical_index(catalogue, tmp_path / "l")
    allowed = np.zeros(len(catalogue), dtype=np.bool_)
    allowed[901:] = True  # 400 of 1,301 allowed, and every one of them scores below the other 900
    assert index.search(["mug"], NO_FILTERS, 5, allowed)[0].tolist() == [901, 902, 903, 904, 905]


def test_labels_never_exclude_what_the_mask_allows(shop: Shop) -> None:
    catalogue = shop.state.catalogue
    labels = [set(own) for _, own in documents(catalogue.rows)]
    for filters in (
        Filters(brand=("acme",)),
        Filters(category=(("home", "hall"), ("garden",)), kind=("product", "ad")),
        Filters(tags=("new",), region=("eu",)),
        Filters(attributes=(("size", ("size=9",)),)),
    ):
        groups = required(filters)
        by_label = [all(own & set(group) for group in groups) for own in labels]
        allowed = matching(filters, catalogue, catalogue.at(NOW))
        assert np.flatnonzero(allowed).tolist() == [n for n in np.flatnonzero(by_label) if n > 0]


def test_a_selective_filter_keeps_every_match(tmp_path: Path) -> None:
    rows = [item(f"item-{n:04d}", title="red mug", brand="rare" if n % 5 == 0 else "common") for n in range(1500)]
    catalogue = catalogue_of(rows)
    filters = Filters(brand=("rare",))
    allowed = matching(filters, catalogue, catalogue.at(NOW))
    found, score = lexical_index(catalogue, tmp_path / "l").search(["mug"], filters, 1000, allowed)
    assert found.tolist() == np.flatnonzero(allowed).tolist()
    assert len(found) == 300
    assert len(set(score.tolist())) == 1


def test_a_live_item_is_found_at_once_and_again_when_it_is_described(tmp_path: Path) -> None:
    state = state_of(catalogue_of(items()), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    named = state.advance(
        {
            "feedback": frame(
                "feedback", {"event_id": "x", "user_id": "u", "item_id": "newcomer", "action": "click", "time": 5}
            )
        }
    )
    described = named.advance({"item": frame("item", item("newcomer", 6, title="a wicker hamper"))})
    assert len(named.catalogue) == len(described.catalogue)
    found = []
    for known in (state, named, described):
        batch = prepared(known, ask({"query": "wicker hampers"}))
        after = Lexical(known, index, CONFIG.lexical).run(batch)
        found.append([known.catalogue.ids[one] for one in after.item[0]])
    assert found == [[], [], ["newcomer"]]


def test_a_live_item_scores_as_its_bundled_twin(tmp_path: Path) -> None:
    state = state_of(catalogue_of(items()), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    row = state.catalogue.rows.row(7, named=True)
    twin = {name: row[name] for name in ("title", "text", "brand", "category", "tags")}
    live = state.advance({"item": frame("item", item("twin", 6, **twin))})
    after = Lexical(live, index, CONFIG.lexical).run(prepared(live, ask({"query": str(row["title"])})))
    places = after.item[0].tolist()
    scores = after["recall_score"][0]
    assert scores[places.index(7)] == pytest.approx(scores[places.index(live.catalogue.index["twin"])], rel=1e-5)


def test_an_empty_catalogue_can_be_indexed(tmp_path: Path) -> None:
    catalogue = catalogue_of([])
    assert len(lexical_index(catalogue, tmp_path / "l").search(["mug"], NO_FILTERS, 5, everything(catalogue))[0]) == 0


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="lexical index"):
        LexicalIndex.open(tmp_path)
