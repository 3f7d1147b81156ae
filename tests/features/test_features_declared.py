"""Features a user declares: what each kind says of a small shop, and that nothing of the future shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.errors import ArtifactError
from pipeline.features.declared import Declarations, Declared
from pipeline.features.declared_fit import FittedDeclared, RatePrior, within_strength
from pipeline.features.fitted import Fitted, fit_features
from pipeline.features.plain import FeatureSet, names
from pipeline.features.rates import USUAL
from pipeline.features.ticks import SEAL_MS
from pipeline.state import Frames, State, initial_state
from ranking.dataset import plain_preparation, request_columns
from serving.engine import _request_columns
from serving.replay.requests import Asking, asks_of
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page

GAINS = {"click": 1.0, "purchase": 3.0}
LETTERS = "abcd"
NAN = float("nan")
COLORS = {"a": '"red"', "b": '"red"', "c": '["blue", "green"]', "d": '{"no": "value"}'}


def declare(kind: str, field: str, **more: Any) -> Declared:
    return Declared.model_validate({"name": f"my_{kind}", "kind": kind, "item": field, **more})


def user(name: str, time: int, attributes: str, **fields: object) -> dict[str, object]:
    return {"event_id": f"user:{name}:{time}", "user_id": name, "time": time, "attributes": attributes} | fields


def items() -> pl.DataFrame:
    rows = []
    for place, (letter, color) in enumerate(COLORS.items()):
        about = f'{{"color": {color}, "rating": {place + 0.5}, "made of": "Red Wool"}}'
        rows.append(item(letter, category=["Shoes", "Boots" if letter in "ab" else "Clogs"], attributes=about))
    return frame("item", *rows)


def small_shop(*declared: Declared) -> State:
    """Pages show all four. The old user `u1` clicks a and b on one page, the young `u2` c on another."""
    catalogue = build_catalogue(items(), pl.Series(list(LETTERS)))
    pages = [
        page("r1", 10 * HOUR, LETTERS, user_id="u1", query="Red Boots", context='{"device": "phone"}'),
        page("r2", 10 * HOUR, LETTERS, user_id="u2", query="clogs", context='{"device": 7}'),
    ]
    acts = [
        act("click", "a", 10 * HOUR + 1, request_id="r1", user_id="u1"),
        act("click", "b", 10 * HOUR + 2, request_id="r1", user_id="u1"),
        act("click", "c", 10 * HOUR + 3, request_id="r2", user_id="u2"),
        act("purchase", "a", 10 * HOUR + 4, user_id="u1"),
    ]
    users = frame("user", user("u1", HOUR, '{"age": "old"}'), user("u2", HOUR, '{"age": "young"}'))
    events = {"user": users, "impression": frame("impression", *pages), "feedback": frame("feedback", *acts)}
    return initial_state("exact", catalogue, GAINS, declared=declared).advance(events)


def asked(time: int = 20 * HOUR, **fields: object) -> pl.DataFrame:
    return frame("impression", page("q", time, LETTERS, **{"user_id": "u1", "query": "red boots", **fields}))


def values(state: State, requests: pl.DataFrame, fitted: FittedDeclared | None = None) -> NDArray[np.float32]:
    """The declared columns, `[R, K, D]`."""
    batch = Batch.of(request_columns(requests, state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    everything = state.catalogue.dense(pl.Series(list(LETTERS)))
    batch = Batch(batch.requests, np.repeat(everything[None], len(requests), axis=0), {})
    frozen = fit_features(state)
    if fitted is not None:
        frozen = replace(frozen, declared=fitted)
    return FeatureSet.of(frozen).values(batch, state)[..., len(names(state.clock)) :]


def one(declared: Declared, requests: pl.DataFrame | None = None, fitted: FittedDeclared | None = None) -> list[float]:
    found: list[float] = values(small_shop(declared), asked() if requests is None else requests, fitted)[
        0, :, 0
    ].tolist()
    return found


def same(found: list[float], expected: list[float]) -> None:
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_a_number_is_read_and_text_that_is_none_is_missing() -> None:
    same(one(declare("numeric", "attributes.rating")), [0.5, 1.5, 2.5, 3.5])
    same(one(declare("numeric", "attributes.color")), [NAN] * 4)
    same(one(declare("numeric", "attributes.color", missing=-1)), [-1] * 4)


def test_a_category_has_a_code_by_how_many_items_have_it() -> None:
    same(one(declare("categorical", "attributes.color")), [2, 2, 3, 0])  # red twice, blue once, none
    same(one(declare("categorical", "attributes.color", cardinality=1)), [2, 2, 1, 0])


def test_a_rate_is_drawn_towards_what_is_usual() -> None:
    prior = FittedDeclared({"my_rate": RatePrior(0.25, 4.0, 2.0)}, {})
    # Red was shown 4 times and clicked 2 times, blue shown 2 times and clicked once; d has no colour.
    expected = [(2 + 4 * 0.25) / (4 + 4), (2 + 4 * 0.25) / (4 + 4), (1 + 4 * 0.25) / (2 + 4), NAN]
    same(one(declare("rate", "attributes.color"), fitted=prior), expected)


@pytest.mark.parametrize(
    ("by", "about"),
    [
        ("user.attributes.age", {"user_id": "u1"}),
        ("context.device", {"context": '{"device": "phone"}'}),
        ("query", {"query": "RED  boots"}),
    ],
)
def test_a_rate_by_who_asks_is_drawn_towards_that_of_everybody(by: str, about: dict[str, object]) -> None:
    prior = FittedDeclared({"my_rate": RatePrior(0.25, 4.0, 2.0)}, {})
    # On r1 red was shown and clicked 2 times; blue was shown once and not clicked.
    red, blue = (2 + 2 * 3 / 8) / (2 + 2), (0 + 2 * 2 / 6) / (1 + 2)
    requests = asked(20 * HOUR, **({"user_id": "u9", "query": None} | about))
    same(one(declare("rate", "attributes.color", by=by), requests, prior), [red, red, blue, NAN])


def test_a_rate_by_what_the_asker_does_not_tell_is_missing() -> None:
    rate = declare("rate", "attributes.color", by="context.device", missing=0)
    same(one(rate), [0, 0, 0, 0])


def test_a_count_is_of_all_actions_and_by_who_asks_of_those_on_pages() -> None:
    same(one(declare("count", "attributes.color", action="purchase")), [np.log1p(1), np.log1p(1), 0, NAN])
    by = declare("count", "category.2", by="context.device")
    same(one(by, asked(context='{"device": 7}')), [0, 0, np.log1p(1), np.log1p(1)])  # clogs: c and d


def test_a_window_forgets() -> None:
    count = declare("count", "attributes.color", window="12h")
    same(one(count, asked(20 * HOUR)), [np.log1p(2), np.log1p(2), np.log1p(1), NAN])
    same(one(count, asked(40 * HOUR)), [0, 0, 0, NAN])


def test_recency_is_since_the_last_positive_on_an_item_of_the_value() -> None:
    hours = np.log1p((10 * HOUR - 4) / HOUR)  # of the purchase of a, which is red
    same(one(declare("recency", "attributes.color")), [hours, hours, NAN, NAN])
    same(one(declare("recency", "attributes.color", missing=9), asked(user_id="u9")), [9, 9, 9, 9])


def test_affinity_is_the_share_of_the_subjects_positives() -> None:
    same(one(declare("affinity", "attributes.color")), [3 / (3 + 5), 3 / (3 + 5), 0, NAN])
    same(one(declare("affinity", "item_id")), [2 / (3 + 5), 1 / (3 + 5), 0, 0])


def test_a_match_compares_with_any_value_of_the_item() -> None:
    match = declare("match", "attributes.color", by="context.color")
    same(one(match, asked(context='{"color": "green"}')), [0, 0, 1, NAN])
    same(one(match), [NAN] * 4)
    same(one(declare("match", "category.2", by="context.kind"), asked(context='{"kind": "Boots"}')), [1, 1, 0, 0])


def test_a_match_with_the_query_is_the_share_of_its_words() -> None:
    same(one(declare("match", "attributes.made of", by="query")), [0.5] * 4)  # "red" of "red boots" in "Red Wool"
    same(one(declare("match", "attributes.made of", by="query"), asked(query=None)), [NAN] * 4)


def test_a_strength_within_a_value_is_what_the_scatter_says() -> None:
    # One value, rate 1/2, asked by two groups of 10: 9 and 1 clicks. Scatter 2 * 10 * 0.4^2 = 3.2; expected without any
    # difference 1/4 * 1; room 1/4 * (20 - 200 / 20 - 1): rho = (3.2 - 0.25) / 2.25 > 1, the weakest prior.
    assert within_strength(np.array([[9], [1]]), np.array([[10], [10]])) == 2.0
    # 6 and 4: scatter 0.2, less than expected without any difference: the strongest.
    assert within_strength(np.array([[6], [4]]), np.array([[10], [10]])) == 500.0
    # 8 and 2: rho = (1.8 - 0.25) / 2.25, strength 1 / rho - 1, below the weakest; 7 and 3: rho = (0.8 - 0.25) / 2.25.
    assert within_strength(np.array([[7], [3]]), np.array([[10], [10]])) == pytest.approx(2.25 / 0.55 - 1)
    assert within_strength(np.array([[1]]), np.array([[2]])) == USUAL


def test_a_user_is_known_as_of_an_hour_before_the_tick_and_by_the_latest_row() -> None:
    state = initial_state("exact", build_catalogue(items(), pl.Series(list(LETTERS))), GAINS)
    state = replace(state, declared=(), users=replace(state.users, names=("age",)).empty(("age",)))
    late = user("u", 2 * HOUR, '{"age": "second"}', received=9 * HOUR)
    rows = [user("u", HOUR, '{"age": "first"}'), late, user("u", 4 * HOUR, '{"age": "third"}')]
    whole = state.users.add(frame("user", *rows))
    parts = state.users.add(frame("user", *rows[2:])).add(frame("user", *rows[:2]))
    who = np.full(12, whole.add(frame("user", user("u", 1, "{}"))).recent[0].subject[0])
    ticks = np.arange(12)
    found = whole.at(who, ticks)[:, 0]
    assert (found == parts.at(who, ticks)[:, 0]).all()
    # first_tick of `first` is 2, of `third` 5, of `second` 9; each shows a tick later, and `third` is the latest.
    assert len(np.unique(found)) == 3
    assert (np.flatnonzero(np.diff(found)) + 1).tolist() == [3, 6]


def test_a_page_delivered_before_a_user_row_of_the_same_hour_is_counted_as_if_after_it() -> None:
    counted = declare("count", "attributes.color", by="user.attributes.age")
    blank = initial_state("exact", build_catalogue(items(), pl.Series(list(LETTERS))), GAINS, declared=(counted,))
    minute = HOUR // 60
    row = {"user": frame("user", user("u", 10 * HOUR - 1, '{"age": "old"}', received=10 * HOUR + minute))}
    shown = {"impression": frame("impression", page("r", 10 * HOUR + 20 * minute, "ab"))}
    clicked = {"feedback": frame("feedback", act("click", "a", 10 * HOUR + 21 * minute, request_id="r"))}
    states = (blank.advance(row | shown | clicked), blank.advance(shown).advance(clicked).advance(row))
    found = [values(state, asked(20 * HOUR, user_id="u")) for state in states]
    assert np.array_equal(*found, equal_nan=True)
    assert found[0][0, 0, 0] == 0  # the page did not know the age yet


TOLD: list[dict[str, object]] = [
    {"kind": "rate", "item": "attributes.color"},
    {"kind": "rate", "item": "category.2", "by": "user.attributes.age", "window": "12h"},
    {"kind": "rate", "item": "item_id", "by": "context.device", "action": "purchase", "missing": 0.5},
    {"kind": "rate", "item": "brand", "by": "query"},
    {"kind": "count", "item": "attributes.color", "action": "purchase"},
    {"kind": "count", "item": "category.1", "by": "user.attributes.age"},
    {"kind": "recency", "item": "attributes.color"},
    {"kind": "affinity", "item": "attributes.color", "missing": -1},
    {"kind": "match", "item": "attributes.color", "by": "user.attributes.color"},
    {"kind": "match", "item": "tags", "by": "context.device"},
    {"kind": "match", "item": "title", "by": "query"},
    {"kind": "numeric", "item": "attributes.rating"},
    {"kind": "numeric", "item": "price"},
    {"kind": "categorical", "item": "attributes.color", "cardinality": 1},
]
WHOLE: Declarations = tuple(Declared.model_validate({"name": f"d{place}", **told}) for place, told in enumerate(TOLD))
Rows = list[tuple[str, dict[str, object]]]
SPAN = 40 * HOUR


def happenings(seed: int) -> Rows:
    """The items first, then users whose rows change, pages and actions at any time, some of which arrive late."""
    rng = np.random.default_rng(seed)
    rows: Rows = [("item", dict(row)) for row in items().iter_rows(named=True)]
    for number in range(30):
        time, who = int(rng.integers(1, SPAN)), f"u{rng.integers(3)}"
        late = int(rng.choice([0, 0, SEAL_MS, 2 * HOUR]))
        age, color = rng.choice(["old", "young"]), rng.choice(["red", "blue"])
        before = max(time - HOUR // 5, 0)
        told = user(who, before, f'{{"age": "{age}", "color": "{color}"}}', received=before + late)
        rows.append(("user", told))
        device = rng.choice(["phone", "desk"])
        about = {"user_id": who, "query": ["red", None][number % 2], "context": f'{{"device": "{device}"}}'}
        rows.append(("impression", page(f"r{number}", time, "abcd", received=time + late, **about)))
        for place, action in enumerate(rng.choice(["click", "purchase", "none"], 4)):
            if action != "none":
                fields = {"request_id": f"r{number}", "user_id": who, "received": time + place + late}
                rows.append(("feedback", act(str(action), LETTERS[place], time + place, **fields)))
    return rows


def frames(rows: Rows) -> Frames:
    kinds = ("item", "user", "impression", "feedback")
    return {kind: frame(kind, *(row for of, row in rows if of == kind)) for kind in kinds}


def grown(rows: Rows, parts: int = 1) -> State:
    state = initial_state("exact", build_catalogue(items(), pl.Series(list(LETTERS))), GAINS, declared=WHOLE)
    for part in np.array_split(np.arange(len(rows)), parts):
        state = state.advance(frames([rows[place] for place in part]))
    return state


PRIORS = FittedDeclared(
    {each.name: RatePrior(0.25, 4.0, 2.0) for each in WHOLE if each.kind == "rate"},
    {each.name: ("red",) for each in WHOLE if each.kind == "categorical"},
)
moments = st.integers(HOUR, SPAN + 5 * HOUR)
people = st.sampled_from(["u0", "u1", "u2", "stranger"])


def ask_at(time: int, who: str) -> pl.DataFrame:
    return asked(time, user_id=who, query="red", context='{"device": "phone"}')


def differing(left: NDArray[np.float32], right: NDArray[np.float32]) -> list[str]:
    equal = (left == right) | (np.isnan(left) & np.isnan(right))
    return [each.kind + each.by for place, each in enumerate(WHOLE) if not equal[..., place].all()]


@settings(max_examples=examples(8), deadline=None)
@given(st.integers(0, 20), moments, people)
def test_what_happens_or_arrives_later_changes_no_declared_feature(seed: int, time: int, who: str) -> None:
    rows = happenings(seed)
    known = [row for row in rows if max(int(str(row[1].get(name) or 0)) for name in ("time", "received")) < time]
    found = [values(grown(each), ask_at(time, who), PRIORS) for each in (rows, known)]
    assert differing(*found) == []


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 20), moments, people, st.integers(0, 99), st.integers(1, 4))
def test_delivery_in_any_order_within_the_hour_changes_no_declared_feature(
    seed: int, time: int, who: str, order: int, parts: int
) -> None:
    rows = happenings(seed)
    chance = np.random.default_rng(order).random(len(rows))
    hours = np.array([int(str(row.get("received") or 0)) // HOUR for _, row in rows])
    delivered = [rows[place] for place in np.lexsort((chance, hours))]
    found = [values(state, ask_at(time, who), PRIORS) for state in (grown(rows), grown(delivered, parts))]
    assert differing(*found) == []


def test_every_declared_feature_is_known_of_something_and_one_request_has_the_bits_it_has_among_others() -> None:
    state = grown(happenings(3))
    requests = [ask_at(time * HOUR, who) for time, who in ((39, "u0"), (41, "u1"), (30, "stranger"))]
    together = values(state, pl.concat(requests), PRIORS)
    for row, request in enumerate(requests):
        assert differing(together[row], values(state, request, PRIORS)[0]) == []
    known = np.isfinite(together).reshape(-1, len(WHOLE)).any(axis=0).tolist()
    unknown = {each.name for place, each in enumerate(WHOLE) if not known[place]}
    assert unknown == {"d3", "d9", "d10", "d12"}  # no item has such a field


def test_the_engine_asks_with_the_bits_of_the_log() -> None:
    state = grown(happenings(1))
    requests = pl.concat(
        [ask_at(39 * HOUR, "u0"), asked(context='{"device": 1.50, "region": ["x"]}'), asked(context="{}")]
    )
    requests = requests.with_columns(subject=pl.col("user_id"))
    asks = asks_of(requests, Asking(state.catalogue, state.segment))
    online, offline = _request_columns(asks, state), request_columns(requests, state)
    assert online["context_keys"].tolist() == offline["context_keys"].tolist()
    assert (offline["context_keys"][:2] != 0).all()


def test_a_saved_state_and_what_was_fitted_answer_the_same(tmp_path: Path) -> None:
    state = grown(happenings(2))
    fitted = fit_features(state)
    state.save(tmp_path)
    fitted.save(tmp_path)
    opened, frozen = State.open(tmp_path, state.catalogue), Fitted.open(tmp_path)
    assert opened.declared == WHOLE
    assert frozen.declared == fitted.declared
    request = ask_at(41 * HOUR, "u1")
    assert differing(values(state, request, fitted.declared), values(opened, request, frozen.declared)) == []
    later = frames([("user", user("u1", 41 * HOUR, '{"age": "old"}')), ("feedback", act("click", "a", 41 * HOUR))])
    found = [values(each.advance(later), ask_at(45 * HOUR, "u1"), fitted.declared) for each in (state, opened)]
    assert differing(*found) == []


def test_what_was_fitted_for_others_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"my_rate.*train again"):
        one(declare("rate", "brand"), fitted=FittedDeclared())


def test_without_clock_time_windows_and_recency_are_left_out() -> None:
    assert [name for name in names("order", WHOLE) if name in {each.name for each in WHOLE}] == [
        each.name for each in WHOLE if each.name not in ("d1", "d6")
    ]
