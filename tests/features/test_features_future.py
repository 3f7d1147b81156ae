"""Over every feature: nothing of the future shows, delivery does not matter, one request is many."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.features.described import DESCRIBED
from pipeline.features.described import page as page_of_features
from pipeline.features.fitted import Fitted, fit_features
from pipeline.features.plain import EVERY, FeatureSet, left_out, names
from pipeline.features.ticks import SEAL_MS
from pipeline.state import Frames, State, initial_state
from ranking.dataset import plain_preparation, request_columns
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page

LETTERS = "abcdefgh"
GAINS = {"click": 1.0, "purchase": 3.0}
SPAN = 60 * HOUR
Rows = list[tuple[str, dict[str, object]]]
QUERIES = ("red shoe", "blue", None)


@cache
def happenings(seed: int) -> Rows:
    """Items with new prices now and then, pages and actions at any time, some of which arrive late; `h` is described
    only towards the end."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for place, letter in enumerate(LETTERS):
        about = {"title": f"{'red' if place % 2 else 'blue'} shoe {letter}", "category": ["k", f"k{place % 3}", letter]}
        for time in (50 * HOUR,) if letter == "h" else (0, *map(int, rng.integers(1, SPAN, 2))):
            price = float(rng.integers(1, 50))
            rows.append(("item", item(letter, time, brand=f"b{place % 2}", price=price, region="eu", **about)))
    for number in range(40):
        time, user = int(rng.integers(1, SPAN)), f"u{number % 3}"
        letters = "".join(rng.permutation(list("abcdefg"))[:4])
        about = {"query": QUERIES[number % 3], "user_id": user, "context": '{"region": "eu"}'}
        late = int(rng.choice([0, 0, SEAL_MS, 2 * HOUR]))
        rows.append(("impression", page(f"r{number}", time, letters, received=time + late, **about)))
        for place, action in enumerate(rng.choice(["click", "purchase", "hide", "cart", "none"], 4)):
            if action != "none":
                at = time + 1_000 * (place + 1)
                fields = {"request_id": f"r{number}", "user_id": user, "received": at + late}
                rows.append(("feedback", act(str(action), letters[place], at, **fields)))
    return rows


def frames(rows: Rows) -> Frames:
    return {kind: frame(kind, *(row for of, row in rows if of == kind)) for kind in ("item", "impression", "feedback")}


def blank(clock: str = "exact") -> State:
    return initial_state(clock, build_catalogue(frame("item"), pl.Series(list(LETTERS))), GAINS)


def grown(rows: Rows, clock: str = "exact", parts: int = 1) -> State:
    state = blank(clock)
    for part in range(parts):
        ordered = sorted(rows[part::parts], key=lambda row: row[0] == "item" and int(str(row[1]["time"])))
        state = state.advance(frames(ordered))
    return state


@cache
def fitted() -> Fitted:
    return fit_features(grown(happenings(0)))


@dataclass(frozen=True)
class Request:
    time: int
    user: str = "u1"
    query: str | None = "red shoe"
    seed: str | None = None

    def row(self, name: str) -> dict[str, object]:
        context = '{"region": "eu"}' if self.seed is None else f'{{"region": "eu", "item_id": "{self.seed}"}}'
        surface = "search" if self.seed is None else "similar"
        fields = {"user_id": self.user, "query": self.query, "surface": surface, "context": context}
        return page(name, self.time, LETTERS, **fields)


def values(state: State, *requests: Request, features: FeatureSet | None = None) -> NDArray[np.float32]:
    rows = [request.row(f"q{number}") for number, request in enumerate(requests)]
    batch = Batch.of(request_columns(frame("impression", *rows), state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    everything = state.catalogue.dense(pl.Series(list(LETTERS)))
    batch = Batch(batch.requests, np.repeat(everything[None], len(requests), axis=0), {})
    features = features or FeatureSet.of(replace(fitted(), sheet=None))
    return features.values(batch, state)


requests = st.builds(
    Request,
    st.integers(HOUR, SPAN + 5 * HOUR),
    st.sampled_from(["u0", "u1", "u2", "stranger"]),
    st.sampled_from(QUERIES),
    st.sampled_from([None, None, "a", "h"]),
)


def differing(left: NDArray[np.float32], right: NDArray[np.float32], clock: str = "exact") -> list[str]:
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    return [name for place, name in enumerate(names(clock)) if not same[..., place].all()]


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(0, 20), requests)
def test_what_happens_or_arrives_later_changes_no_feature(seed: int, request: Request) -> None:
    rows = happenings(seed)
    known = [
        row
        for row in rows
        if max(int(str(row[1][name])) for name in ("time", "received") if name in row[1]) < request.time
    ]
    assert differing(values(grown(rows), request), values(grown(known), request)) == []


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 20), requests, st.integers(0, 99), st.integers(1, 4))
def test_delivery_in_any_order_within_the_hour_and_any_parts_changes_no_feature(
    seed: int, request: Request, order: int, parts: int
) -> None:
    rows = happenings(seed)
    whole = values(grown(rows), request)
    chance = np.random.default_rng(order).random(len(rows))
    hours = [int(str(row["received" if "received" in row else "time"])) // HOUR for _, row in rows]
    delivered = [rows[place] for place in np.lexsort((chance, hours))]
    state = blank().advance(frames([row for row in delivered if row[0] == "item"]))
    others = [row for row in delivered if row[0] != "item"]
    for part in np.array_split(np.arange(len(others)), parts):
        state = state.advance(frames([others[place] for place in part]))
    assert differing(whole, values(state, request)) == []


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 20), st.lists(requests, min_size=2, max_size=5), st.sampled_from(["exact", "order"]))
def test_one_request_has_the_bits_it_has_among_others(seed: int, asked: list[Request], clock: str) -> None:
    state = grown(happenings(seed), clock)
    together = values(state, *asked)
    for row, request in enumerate(asked):
        assert differing(together[row], values(state, request)[0], clock) == []


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 20), st.lists(requests, min_size=2, max_size=6))
def test_tables_kept_from_tick_to_tick_have_the_bits_of_direct_look_ups(seed: int, asked: list[Request]) -> None:
    rows = happenings(seed)
    features = FeatureSet.of(fit_features(grown(rows[:60])))
    bare = replace(features.fitted, sheet=None)
    states = [grown(rows[:60]), grown(rows[:60]).advance(frames(rows[60:]))]
    for turn, request in enumerate([each for each in asked for _ in range(2)]):
        state = states[turn * 2 // (2 * len(asked))]
        direct = values(state, request, features=FeatureSet.of(bare))
        assert differing(values(state, request, features=features), direct) == []


@pytest.mark.parametrize("clock", ["exact", "order"])
def test_a_feature_that_is_never_missing_is_a_number_for_every_candidate(clock: str) -> None:
    found = values(grown(happenings(1), clock), Request(40 * HOUR), Request(40 * HOUR, "stranger", None))
    for place, name in enumerate(names(clock)):
        if not DESCRIBED[name].missing:
            assert np.isfinite(found[..., place]).all(), name


def test_every_feature_but_those_of_a_seed_is_known_of_something() -> None:
    found = values(grown(happenings(1)), Request(59 * HOUR, "u1"), Request(59 * HOUR, "u1", "blue 3", "a"))
    known = {name for place, name in enumerate(names("exact")) if np.isfinite(found[..., place]).any()}
    # Eight items are too few for a category to have a usual price, and one query has no number.
    prices = {"relative_price", "price_place", "dearness_distance", "price_place_distance", "taste_category_4"}
    assert set(names("exact")) - known <= prices | {"numbers_in_title"}


def test_every_feature_is_described_once_and_windows_need_a_clock() -> None:
    assert len(set(EVERY)) == len(EVERY)
    assert DESCRIBED.keys() == set(EVERY)
    assert (Path(__file__).parents[2] / "docs/features.md").read_text(encoding="utf-8") == page_of_features()
    assert {"ctr_1d", "trend_6h", "ctr_decayed_3d", "log_age_hours", "hour_of_day"} <= set(left_out("order"))
