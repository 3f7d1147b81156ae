"""Items that came or were described anew are found by what is said of them now, as if the index were of today."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import Catalogue
from pipeline.features.content import item_vectors
from pipeline.filters import NO_FILTERS
from pipeline.state import State
from pipeline.timeline import Timeline
from retrieval.config import FreshConfig, RetrievalConfig
from retrieval.live import LiveItems
from retrieval.nearest import Exact, extended
from retrieval.stages import Fresh, Lexical
from tests.frames import act, frame, item
from tests.retrieval.shop import NOW, ask, catalogue_of, items, lexical_index, prepared, state_of

CONFIG = RetrievalConfig()
DERIVED = ("kind", "brand", "region", "category")


def told(state: State, *rows: dict[str, object]) -> State:
    return state.advance({"item": frame("item", *rows)})


def searched(state: State, index: object, query: str) -> list[str]:
    after = Lexical(state, index, CONFIG.lexical).run(prepared(state, ask({"query": query})))  # type: ignore[arg-type]
    return [state.catalogue.ids[one] for one in after.item[0] if one >= 0]


def test_a_changed_title_is_found_by_its_new_words_and_not_by_the_old_ones(tmp_path: Path) -> None:
    state = state_of(catalogue_of([item("a", title="wicker hamper"), item("b", title="hamper")]), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    changed = told(state, item("a", 5, title="tin bucket"))
    assert searched(state, index, "hamper") == ["b", "a"]
    assert searched(changed, index, "hamper") == ["b"]
    assert searched(changed, index, "bucket") == ["a"]
    back = told(changed, item("a", 6, title="wicker hamper"))
    assert searched(back, index, "hamper") == ["b", "a"]
    assert searched(back, index, "bucket") == []


def test_an_item_that_was_only_mentioned_before_is_found_once_it_is_described(tmp_path: Path) -> None:
    state = state_of(catalogue_of([item("a", title="mug"), item("b")]), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    assert searched(told(state, item("b", 5, title="bucket")), index, "bucket") == ["b"]


def test_a_price_or_stock_that_changes_leaves_the_words_alone(tmp_path: Path) -> None:
    state = state_of(catalogue_of([item("a", title="mug", price=1.0)]), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    before = index.live(state.catalogue)
    cheaper = told(state, item("a", 5, title="mug", price=0.5), item("a", 6, title="mug", available=False))
    assert len(cheaper.catalogue.reworded.item) == 0
    assert index.live(cheaper.catalogue) is before
    allowed = np.ones(len(state.catalogue), dtype=np.bool_)
    assert before.held(allowed) is allowed  # nothing is copied where nothing changed


WORD = st.sampled_from(["red", "mug", "lamp", "steel"])
CHANGE = st.tuples(st.sampled_from(["item-000", "item-003", "x", "y"]), st.lists(WORD, min_size=1, max_size=3))


@given(st.lists(st.lists(CHANGE, min_size=1, max_size=3), min_size=1, max_size=5))
def test_live_items_told_bit_by_bit_are_those_told_at_once(steps: list[list[tuple[str, list[str]]]]) -> None:
    state = state_of(catalogue_of(items(6)), [])
    held = len(state.catalogue)
    grown = LiveItems.of(state.catalogue, held)
    time = 1
    for step in steps:
        rows = [item(name, time + n, title=" ".join(words)) for n, (name, words) in enumerate(step)]
        state, time = told(state, *rows), time + len(rows)
        grown = grown.grown(state.catalogue, held)
    whole = LiveItems.of(state.catalogue, held)
    allowed = np.ones(len(state.catalogue), dtype=np.bool_)
    for live in (grown, whole):
        assert live.held(allowed).tolist() == [n not in state.catalogue.reworded.item for n in range(len(allowed))]
    for term in ("red", "mug", "lamp"):
        found = [_scores(live, [term], allowed) for live in (grown, whole)]
        assert found[0] == found[1]
    fresh = Catalogue(state.catalogue.rows, Timeline.empty(), held)
    for name in DERIVED:
        assert np.array_equal(getattr(state.catalogue, name), getattr(fresh, name))


def _scores(live: LiveItems, terms: list[str], allowed: np.ndarray) -> dict[int, float]:
    from retrieval.live import Statistics

    item, score = live.search(terms, (1.0, 1.0, 1.0), allowed, Statistics(6, (2.0, 2.0, 2.0), lambda *_: 2))
    return dict(zip(item.tolist(), score.tolist(), strict=True))


def test_what_was_read_of_items_is_handed_down_as_if_read_anew() -> None:
    catalogue = catalogue_of(items(20))
    for name in (*DERIVED, "labels"):
        getattr(catalogue, name)
    rows = frame(
        "item",
        item("item-004", 5, title="x", tags=["t1", "t2"], brand="other", attributes='{"size": 3}', category=["far"]),
        item("item-900", 6, tags=["new"], kind="ad", region="eu", category=["home", "attic"]),
        item("item-001", 7),
    )
    grown = catalogue.extend(rows)
    fresh = Catalogue(grown.rows, grown.timeline, grown.bundled)
    assert {*DERIVED, "labels"} <= set(vars(grown))
    for name in DERIVED:
        assert np.array_equal(getattr(grown, name), getattr(fresh, name)), name
    for own, anew in zip(grown.labels, fresh.labels, strict=True):
        assert own.tolist() == anew.tolist()


@pytest.mark.parametrize("everything", [True, False])
def test_replaced_and_later_vectors_are_searched_as_if_they_had_been_there(everything: bool) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    queries = rng.standard_normal((5, 8)).astype(np.float32)
    replaced = np.array([3, 11, 40], dtype=np.int32)
    anew, late = (rng.standard_normal((count, 8)).astype(np.float32) for count in (3, 7))
    index = extended(Exact.of(vectors), np.concatenate([anew, late]), replaced)
    now = np.concatenate([vectors, late])
    now[replaced] = anew
    allowed = None if everything else [rng.random(67) < 0.5] * 5
    found, expected = index.search(queries, 9, allowed), Exact.of(now).search(queries, 9, allowed)
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0], expected[0])
    every = np.arange(67)
    assert np.array_equal(index.reconstruct(every), now[every])
    assert index.size == 67


def fresh(state: State, batch: dict[str, object]) -> list[str]:
    stage = Fresh(state, item_vectors(state.catalogue), FreshConfig())
    after = stage.run(prepared(state, ask(batch)))
    return [state.catalogue.ids[one] for one in after.item[0] if one >= 0]


def test_a_new_item_is_recommended_to_who_acted_on_its_like_and_beside_it() -> None:
    rows = [
        item("lamp", title="red desk lamp", category=["home"]),
        item("shoe", title="blue running shoe", category=["sport"]),
    ]
    state = state_of(catalogue_of(rows), [act("click", "lamp", NOW - 9, user_id="ann")])
    home = {"surface": "recommend", "user": "ann"}
    assert fresh(state, home) == []
    state = told(
        state,
        item("lamp 2", NOW - 5, title="green desk lamp", category=["home"]),
        item("shoe 2", NOW - 4, title="green running shoe", category=["sport"]),
    )
    assert fresh(state, home)[0] == "lamp 2"
    assert fresh(state, {"surface": "similar", "seed": state.catalogue.index["shoe"]})[0] == "shoe 2"
    assert fresh(state, {"surface": "recommend", "user": "nobody"}) == []
    gone = told(state, item("lamp 2", NOW - 3, title="green desk lamp", category=["home"], available=False))
    assert "lamp 2" not in fresh(gone, home)


def test_a_filter_is_met_by_what_an_item_is_now(tmp_path: Path) -> None:
    state = state_of(catalogue_of([item("a", title="mug", brand="acme"), item("b", title="mug", brand="zeta")]), [])
    index = lexical_index(state.catalogue, tmp_path / "l")
    changed = told(state, item("a", 5, title="mug", brand="zeta"))
    allowed = changed.catalogue.at(NOW).available
    found, _ = index.find(["mug"], NO_FILTERS, 5, allowed, changed.catalogue)
    assert sorted(found.tolist()) == [1, 2]
    found, _ = index.find(["acme"], NO_FILTERS, 5, allowed, changed.catalogue)
    assert found.tolist() == []
