"""What is known of a request before anything is retrieved."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.exclusions import DAY_MS, USUAL, Exclusions
from pipeline.features.ids import key
from pipeline.filters import NO_FILTERS, Filters
from pipeline.prepare import Allow, Analyse, History, NoCorrection, Normalise
from pipeline.state import ACTIONS, State, initial_state
from tests.frames import HOUR, act, frame, item

NOW = 100 * DAY_MS


def shop(*acts: dict[str, object]) -> State:
    rows = frame("item", *(item(letter, price=float(n)) for n, letter in enumerate("abcd")))
    state = initial_state(
        "exact", build_catalogue(rows, pl.Series([], dtype=pl.String)), {"click": 1.0, "purchase": 3.0}
    )
    return state.advance({"feedback": frame("feedback", *acts)})


def column(*values: object) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def ask(
    surface: str = "search", query: str = "", seed: int = -1, filters: Filters = NO_FILTERS, rows: int = 1
) -> Batch:
    return Batch.of(
        {
            "time": np.full(rows, NOW),
            "query": column(*[query] * rows),
            "surface": column(*[surface] * rows),
            "seed": np.full(rows, seed, dtype=np.int32),
            "subject_key": np.full(rows, key("u")),
            "filters": column(*[filters] * rows),
        }
    )


def allowed(state: State, batch: Batch, exclude: Exclusions = USUAL) -> str:
    mask = Allow(state, exclude).run(batch).request("allowed")[0]
    return "".join(state.catalogue.ids[place] for place in np.flatnonzero(mask))


def test_a_query_is_normalised_and_keyed_and_no_query_has_key_0() -> None:
    batch = Normalise(shop()).run(ask(query="  Red\tSHOES "))
    assert batch.request("normalised").tolist() == ["red shoes"]
    assert batch.request("query_key").tolist() == [key("red shoes")]
    assert Normalise(shop()).run(ask(query=" ")).request("query_key").tolist() == [0]


def test_the_tick_is_the_last_sealed_hour() -> None:
    assert Normalise(shop()).run(ask()).request("tick").tolist() == [NOW // HOUR - 1]


@pytest.mark.parametrize(
    ("corrected", "expected"),
    [("", ["rad", "shoe", "sneaker", "running", "shoe", "boot"]), ("red mugs", ["red", "mug"])],
)
def test_terms_are_of_the_corrected_query_with_synonyms_of_the_whole_and_of_each_term(
    corrected: str, expected: list[str]
) -> None:
    stage = Analyse({"shoe": ("boots",), "rad shoe": ("sneakers", "running shoes")})
    batch = Normalise(shop()).run(ask(query="Rad shoes")).with_requests(corrected=column(corrected))
    assert stage.run(batch).request("terms")[0] == expected


def test_without_a_corrector_queries_stay_as_typed() -> None:
    batch = NoCorrection().run(Normalise(shop()).run(ask(query="Rad shoes", rows=2)))
    assert batch.request("corrected").tolist() == ["", ""]
    assert Analyse().run(batch).request("terms").tolist() == [["rad", "shoe"]] * 2


def test_history_is_the_latest_positive_actions_oldest_first() -> None:
    state = shop(act("click", "b", 5), act("purchase", "c", 6), act("hide", "d", 7), act("click", "a", NOW))
    batch = History(state, length=3).run(ask())
    assert batch.request("history").tolist() == [[-1, state.catalogue.index["b"], state.catalogue.index["c"]]]
    assert batch.request("history_action")[0, 1:].tolist() == [ACTIONS.index("click"), ACTIONS.index("purchase")]
    assert batch.request("history_time")[0, 1:].tolist() == [5, 6]


def test_a_hidden_item_is_gone_everywhere_from_the_next_request_on() -> None:
    state = shop(act("hide", "b", NOW - 1), act("hide", "c", NOW))
    assert [allowed(state, ask(surface)) for surface in ("search", "recommend", "similar")] == ["acd"] * 3


def test_what_was_bought_lately_is_not_recommended_but_can_be_searched() -> None:
    state = shop(act("purchase", "a", NOW - 30 * DAY_MS), act("purchase", "b", NOW - 30 * DAY_MS + 1))
    assert allowed(state, ask("recommend")) == "acd"
    assert allowed(state, ask("similar")) == "acd"
    assert allowed(state, ask("home")) == "acd"
    assert allowed(state, ask("search")) == "abcd"


# what the configuration says, and what is left on the pages of `home`, `similar` and `search` of who hid b 40 days ago,
# bought c 20 days ago and d 40 days ago
EXCLUDED: dict[str, tuple[dict[str, object], list[str]]] = {
    "nothing said": ({}, ["ad", "ad", "acd"]),
    "another number of days": ({"purchase": {"days": 50}}, ["a", "a", "acd"]),
    "less than a day": ({"purchase": {"days": 0.5}}, ["acd", "acd", "acd"]),
    "purchases for ever and everywhere": ({"purchase": {"days": 0, "surfaces": ["*"]}}, ["a", "a", "a"]),
    "one surface by name": ({"purchase": {"surfaces": ["home"]}}, ["ad", "acd", "acd"]),
    "a pattern of surfaces": ({"purchase": {"surfaces": ["s*"]}}, ["acd", "ad", "ad"]),
    "all but one": ({"purchase": {"surfaces": ["*", "!home"]}}, ["acd", "ad", "ad"]),
    "the last that fits": ({"purchase": {"surfaces": ["*", "!s*", "similar"]}}, ["ad", "ad", "acd"]),
    "nowhere": ({"purchase": {"surfaces": []}, "hide": {"surfaces": []}}, ["abcd", "abcd", "abcd"]),
    "hides that end": ({"hide": {"days": 39}, "purchase": {"surfaces": []}}, ["abcd", "abcd", "abcd"]),
    "hides on one surface": ({"hide": {"surfaces": ["search"]}}, ["abd", "abd", "acd"]),
}


@pytest.mark.parametrize(("said", "expected"), EXCLUDED.values(), ids=EXCLUDED)
def test_configuration_says_where_and_for_how_long_an_act_takes_an_item_away(
    said: dict[str, object], expected: list[str]
) -> None:
    acts = [("hide", "b", 40), ("purchase", "c", 20), ("purchase", "d", 40)]
    state = shop(*(act(action, item_, NOW - days * DAY_MS) for action, item_, days in acts))
    exclude = Exclusions.model_validate(said)
    assert [allowed(state, ask(surface), exclude) for surface in ("home", "similar", "search")] == expected
    several = ask("home", rows=3)
    assert len({mask.tobytes() for mask in Allow(state, exclude).run(several).request("allowed")}) == 1


def test_many_later_purchases_do_not_bring_a_hidden_item_back() -> None:
    bought = [act("purchase", "c", NOW - 2_000 + n) for n in range(1_000)]
    state = shop(act("hide", "b", NOW - 3_000), *bought)
    for more in range(3):  # also over several layers
        state = state.advance({"feedback": frame("feedback", act("purchase", "d", NOW - 900 + more))})
    assert allowed(state, ask("search")) == "acd"
    assert allowed(state, ask("search", rows=2)) == "acd"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"cart": {"days": 3}}, "cart"),
        ({"purchase": {"days": -1}}, "days"),
        ({"purchase": {"surfaces": "home"}}, "surfaces"),
        ({"purchase": {"surfaces": [""]}}, "surfaces"),
        ({"hide": {"surfaces": ["!"]}}, "surfaces"),
        ({"hide": {"surface": ["home"]}}, "surface"),
    ],
)
def test_exclusions_that_say_nothing_are_refused(said: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Exclusions.model_validate(said)


def test_what_is_similar_to_an_item_is_another_item() -> None:
    state = shop()
    seed = state.catalogue.index["c"]
    assert allowed(state, ask("similar", seed=seed)) == "abd"
    assert allowed(state, ask("search", seed=seed)) == "abcd"


def test_filters_and_prices_hold_as_of_the_request() -> None:
    later = frame("item", item("d", NOW - 1, price=0.5), item("a", NOW + 1, available=False))
    state = shop().advance({"item": later})
    assert allowed(state, ask(filters=Filters(price=(0.0, 1.0)))) == "abd"
    price = Allow(state).run(ask()).request("price")[0]
    assert price[state.catalogue.index["d"]] == 0.5


def test_equal_requests_share_one_mask_and_a_private_one_leaves_it_alone() -> None:
    state = shop(act("hide", "b", 5))
    batch = ask(rows=3, filters=Filters(brand=()))
    other = np.array([key("u"), key("v"), key("w")])
    masks = Allow(state).run(batch.with_requests(subject_key=other)).request("allowed")
    assert masks[1] is masks[2]
    assert [int(mask.sum()) for mask in masks] == [3, 4, 4]


def test_requests_out_of_order_get_the_catalogue_of_their_own_time() -> None:
    state = shop().advance({"item": frame("item", item("a", NOW, available=False))})
    batch = ask(rows=3).with_requests(time=np.array([NOW + 1, NOW - 1, NOW + 2]))
    assert [int(mask.sum()) for mask in Allow(state).run(batch).request("allowed")] == [3, 4, 3]
