"""What every channel promises, and how they come together."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.batch import Batch
from pipeline.cascade import Cascade, Step
from pipeline.features.ids import key
from pipeline.filters import Filters, parse_filters
from pipeline.prepare import Allow, Analyse, History, NoCorrection, Normalise
from retrieval.config import CHANNELS, PopularConfig, RetrievalConfig
from retrieval.popular import PopularIndex, popular_order
from retrieval.stages import Fuse, Given, Popular, append
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page
from tests.retrieval.shop import NOW, WORDS, Shop, ask, catalogue_of, prepared, state_of

GIVEN = frozenset(
    f"request.{name}" for name in ("id", "time", "query", "surface", "seed", "subject_key", "segment_key", "filters")
)

requests = st.fixed_dictionaries(
    {
        "query": st.lists(st.sampled_from([*WORDS, "zyzzyva"]), max_size=3).map(" ".join),
        "surface": st.sampled_from(["search", "recommend", "similar"]),
        "user": st.sampled_from(["u0", "u1", "u8", "nobody"]),
        "time": st.integers(NOW // 2, NOW),
        "seed": st.integers(-1, 60),
        "filters": st.sampled_from(
            [
                parse_filters(None),
                Filters(brand=("acme",)),
                Filters(price=(50.0, 53.0)),
                Filters(category=(("home", "hall"),)),
                Filters(exclude_items=("item-003", "nothing")),
                Filters(brand=("nobody",)),
            ]
        ),
    }
)
several = st.lists(requests, min_size=1, max_size=4)
quick = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def retrieved(shop: Shop, batch: Batch) -> Batch:
    for stage in shop.channels:
        batch = stage.run(batch)
    return batch


@quick
@given(several)
def test_every_channel_keeps_what_it_was_given_and_adds_only_what_is_allowed(
    shop: Shop, asked: list[dict[str, object]]
) -> None:
    batch = prepared(shop.state, ask(*asked))
    for stage in shop.channels:
        after = stage.run(batch)
        width = batch.item.shape[1]
        assert np.array_equal(after.item[:, :width], batch.item)
        for name, column in batch.columns.items():
            assert np.array_equal(after[name][:, :width], column)
        for row, allowed in enumerate(batch.request("allowed")):
            new = after.item[row, width:]
            new = new[new >= 0]
            assert allowed[new].all()
            assert len(set(new.tolist())) == len(new)
        batch = after


@quick
@given(several)
def test_requests_at_once_are_answered_as_one_at_a_time(shop: Shop, asked: list[dict[str, object]]) -> None:
    whole = shop.fuse.run(retrieved(shop, prepared(shop.state, ask(*asked))))
    for row, one in enumerate(asked):
        alone = shop.fuse.run(retrieved(shop, prepared(shop.state, ask(one))))
        kept = whole.mask[row]
        assert whole.item[row][kept].tolist() == alone.item[0][alone.mask[0]].tolist()
        for name in ("score", "channels", "rank", "recall_score"):
            assert whole[name][row][kept].tolist() == alone[name][0][alone.mask[0]].tolist()


@quick
@given(several)
def test_fusion_invents_nothing_and_names_every_item_once(shop: Shop, asked: list[dict[str, object]]) -> None:
    before = retrieved(shop, prepared(shop.state, ask(*asked)))
    after = shop.fuse.run(before)
    for row in range(after.size):
        kept = after.item[row][after.mask[row]].tolist()
        assert sorted(kept) == sorted(set(before.item[row][before.mask[row]].tolist()))
        assert (np.diff(after["score"][row][after.mask[row]]) <= 0).all()


def test_the_stages_make_a_cascade_that_checks_itself(shop: Shop) -> None:
    state = shop.state
    prepare = (Normalise(state), NoCorrection(), Analyse(), History(state), Allow(state))
    channels = (shop.lexical, shop.covisit, shop.rescue)
    steps = tuple(Step(stage) for stage in prepare) + tuple(Step(stage, may_skip=True) for stage in channels)
    cascade = Cascade("search", (*steps, Step(shop.fuse)), GIVEN)
    assert cascade.run(ask({"query": "red mug"})).batch.mask.any()


def test_fused_scores_are_weighted_reciprocal_ranks(shop: Shop) -> None:
    batch = ask({})
    one, other = np.array([5, 9], np.int32), np.array([9], np.int32)
    batch = append(batch, "lexical", [(one, np.array([3, 2], np.float32))])
    batch = append(batch, "popular", [(other, np.array([40], np.float32))])
    fused = shop.fuse.run(batch)
    assert fused.item.tolist() == [[9, 5]]
    assert fused["score"][0] == pytest.approx([1 / 62 + 0.05 / 61, 1 / 61])
    assert fused["channels"].tolist() == [[0b11, 0b01]]
    assert fused["channel"].tolist() == [[CHANNELS.index("popular"), CHANNELS.index("lexical")]]
    assert fused["recall_score"].tolist() == [[40.0, 3.0]]


def test_fusion_cuts_to_its_depth_ties_by_item_id(shop: Shop) -> None:
    batch = append(ask({}), "lexical", [(np.array([8], np.int32), np.ones(1, np.float32))])
    batch = append(batch, "covisit", [(np.array([4], np.int32), np.ones(1, np.float32))])
    assert Fuse(shop.state, RetrievalConfig(fused=1)).run(batch).item.tolist() == [[4]]


def test_nothing_retrieved_fuses_to_nothing(shop: Shop) -> None:
    fused = shop.fuse.run(ask({}, {}))
    assert fused.item.shape == (2, 0)
    assert fused["score"].shape == (2, 0)


def test_a_search_that_finds_nothing_is_rescued_and_says_so(shop: Shop) -> None:
    batch = shop.lexical.run(prepared(shop.state, ask({"query": "zyzzyva"}, {"query": "mug"})))
    after = shop.rescue.run(batch)
    assert after.request("rescued").tolist() == [True, False]
    assert set(after["channel"][0][after.mask[0]].tolist()) == {CHANNELS.index("popular")}
    assert after.item[1][after.mask[1]].tolist() == batch.item[1][batch.mask[1]].tolist()


def test_where_nothing_is_allowed_nothing_is_rescued(shop: Shop) -> None:
    after = shop.rescue.run(prepared(shop.state, ask({"filters": Filters(brand=("nobody",))})))
    assert after.request("rescued").tolist() == [False]


def test_given_items_stay_as_given_repeats_included() -> None:
    batch = ask({}).with_requests(given=np.array([[7, 0, 0, -1]]))
    after = Given().run(batch)
    assert after.item.tolist() == [[7, 0, 0, -1]]
    assert after["score"][0] == pytest.approx([1 / 61, 1 / 62, 1 / 63, 1 / 64])


def test_the_popular_come_first_then_the_newest() -> None:
    order = popular_order(np.array([0, 2, 5, 0, 2]), np.array([4, 3, 2, 1, 0]), np.array([10, 0, 0, 20, 99]))
    assert order.tolist() == [2, 4, 1, 3, 0]


def test_only_the_last_days_count_as_of_the_request() -> None:
    acts = [act("click", "a", HOUR), act("click", "b", 300 * HOUR), act("click", "b", 301 * HOUR)]
    acts += [act("click", "a", n * HOUR) for n in (2, 3)]
    state = state_of(catalogue_of([item("a"), item("b")]), acts)
    popular = Popular(state, PopularIndex(PopularConfig(days=7)), PopularConfig(days=7))
    batch = popular.run(prepared(state, ask({"time": 20 * HOUR}, {"time": 310 * HOUR})))
    assert [[state.catalogue.ids[one] for one in row] for row in batch.item] == [["a", "b"], ["b", "a"]]
    assert batch["recall_score"].tolist() == [[3.0, 0.0], [2.0, 0.0]]


def test_where_nobody_did_anything_lately_what_was_ever_popular_comes_first() -> None:
    catalogue = catalogue_of([item("a"), item("b"), item("c", time=2 * HOUR)])
    state = state_of(catalogue, [act("click", "b", HOUR)])
    found = PopularIndex(PopularConfig(days=7)).at(state, 1_000, 0)
    assert catalogue.ids[found.order[0]] == "b"


def test_without_clock_time_all_history_counts_and_news_is_not_missed() -> None:
    catalogue = catalogue_of([item("a"), item("b")])
    first = state_of(catalogue, [act("click", "b", 1)], clock="order")
    index = PopularIndex(PopularConfig())
    later = first.advance({"feedback": frame("feedback", act("click", "a", 1, user_id="v"), act("click", "a", 2))})
    found = [
        Popular(state, index, PopularConfig()).run(prepared(state, ask({}))).item[0].tolist()
        for state in (first, later)
    ]
    assert found == [[2, 1], [1, 2]]


def test_a_segment_has_an_order_of_its_own_once_it_has_enough_to_tell() -> None:
    rows = [act("click", "a", HOUR + n, user_id=f"x{n}") for n in range(5)]
    rows += [act("click", "b", HOUR + n, request_id="r", user_id=f"y{n}") for n in range(3)]
    state = state_of(catalogue_of([item("a"), item("b")]), [])
    shown = frame("impression", page("r", HOUR, "ab", context='{"region": "eu"}'))
    state = state.advance({"impression": shown, "feedback": frame("feedback", *rows)})
    asked = prepared(state, ask({"time": 20 * HOUR, "segment": key("eu")}))
    for minimum, expected in ((3, ["b", "a"]), (4, ["a", "b"])):
        config = PopularConfig(segment_minimum=minimum)
        found = Popular(state, PopularIndex(config), config).run(asked)
        assert [state.catalogue.ids[one] for one in found.item[0]] == expected


def test_similar_items_come_from_the_seed_and_not_from_the_history(shop: Shop) -> None:
    table = shop.covisit.neighbours
    seed = int(np.argmax((table.item >= 0).sum(axis=1)))
    batch = shop.covisit.run(prepared(shop.state, ask({"surface": "similar", "seed": seed, "user": "u1"})))
    expected = [one for one in table.item[seed].tolist() if one >= 0]
    assert set(batch.item[0].tolist()) == set(expected)
    assert seed not in batch.item[0]


def test_a_subject_without_history_has_no_covisits(shop: Shop) -> None:
    assert shop.covisit.run(prepared(shop.state, ask({"surface": "recommend", "user": "nobody"}))).item.shape == (1, 0)
