"""The table of a tick holds the very numbers that direct look-ups give."""

from dataclasses import replace
from mmap import mmap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.errors import ArtifactError
from pipeline.features.fitted import Fitted, fit_features
from pipeline.features.plain import FeatureSet, names
from pipeline.features.rates import decay_weights
from pipeline.features.ticks import SEAL_MS
from pipeline.state import State, initial_state
from ranking.dataset import plain_preparation, request_columns
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page

LETTERS = "abcdefgh"
GAINS = {"click": 1.0, "purchase": 3.0}


def pages(seed: int, first: int, count: int) -> dict[str, pl.DataFrame]:
    """Pages of four items, one in each 20 minutes from page `first` on, with a click on every other one."""
    rng = np.random.default_rng(seed + first)
    shown, clicks = [], []
    for number in range(first, first + count):
        time = HOUR + number * 20 * 60_000
        letters = "".join(rng.permutation(list(LETTERS))[:4])
        query = "red a" if number % 3 else None
        shown.append(page(f"r{number}", time, letters, query=query, user_id=f"u{number % 3}"))
        if number % 2:
            about = {"request_id": f"r{number}", "user_id": f"u{number % 3}"}
            clicks.append(act("click", letters[number % 4], time + 1_000, **about))
    return {"impression": frame("impression", *shown), "feedback": frame("feedback", *clicks)}


def shop(seed: int, *, described: bool = True) -> State:
    about = [
        item(x, title=f"red {x}", category=["k", x], price=3.0, time=0 if described else 2 * HOUR) for x in LETTERS
    ]
    items = frame("item", *about)
    catalogue = build_catalogue(items, pl.Series(list(LETTERS)))
    return initial_state("exact", catalogue, GAINS).advance(pages(seed, 0, 60))


def batch_of(state: State, time: int, size: int = 1) -> Batch:
    """Requests for all items, each some minutes after the last one, within one hour."""
    rows = [page(f"q{n}", time + n * 60_000, LETTERS, query="red a", user_id="u1") for n in range(size)]
    batch = Batch.of(request_columns(frame("impression", *rows), state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    everything = state.catalogue.dense(pl.Series([*LETTERS, "a"]))
    everything[-1] = -1
    return Batch(batch.requests, np.repeat(everything[None], size, axis=0), {})


def direct(fitted: Fitted, batch: Batch, state: State) -> NDArray[np.float32]:
    """A feature set without a table that is asked for the first time looks everything up."""
    return FeatureSet.of(replace(fitted, sheet=None)).values(batch, state)


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(0, 100), st.integers(1, 4))
def test_a_tick_asked_for_again_has_the_bits_of_direct_look_ups(seed: int, size: int) -> None:
    state = shop(seed)
    fitted, batch = fit_features(state), batch_of(state, 15 * HOUR + 16 * 60_000, size)
    features = FeatureSet.of(fitted)
    asked = [features.values(batch, state).tobytes() for _ in range(3)]
    assert features.memory.table.ready
    assert set(asked) == {direct(fitted, batch, state).tobytes()}


def test_what_is_learned_in_between_shows_in_the_table() -> None:
    state = shop(3)
    fitted = fit_features(state)
    features = FeatureSet.of(fitted)
    batch = batch_of(state, 40 * HOUR)
    before = [features.values(batch, state) for _ in range(2)][-1]
    grown = state.advance(pages(3, 60, 9))
    assert grown.counters["items"].recent
    again = batch_of(grown, 40 * HOUR)
    after = features.values(again, grown)
    assert after.tobytes() == direct(fitted, again, grown).tobytes()
    assert (after != before)[..., names("exact").index("log_shown")][0, :-1].any()


def test_another_hour_has_another_table() -> None:
    state = shop(4)
    fitted = fit_features(state)
    features = FeatureSet.of(fitted)
    for time in (10 * HOUR, 10 * HOUR, 12 * HOUR, 12 * HOUR, 10 * HOUR):
        batch = batch_of(state, time)
        assert features.values(batch, state).tobytes() == direct(fitted, batch, state).tobytes()


def test_an_item_not_yet_described_takes_the_prior_of_all_items() -> None:
    state = shop(5, described=False)
    fitted = fit_features(state)
    features = FeatureSet.of(fitted)
    batch = batch_of(state, HOUR + 50 * 60_000)
    for _ in range(3):
        assert features.values(batch, state).tobytes() == direct(fitted, batch, state).tobytes()


def test_rates_count_clicks_of_known_pages_alone() -> None:
    state = shop(6)
    more = [act("click", "a", 2 * HOUR + n, user_id="u9") for n in range(500)]
    crowded = state.advance({"feedback": frame("feedback", *more)})
    fitted = fit_features(state)
    batch = batch_of(state, 9 * HOUR)
    columns = [names("exact").index(name) for name in ("ctr", "ctr_6h", "ctr_1d", "ctr_7d", "query_ctr")]
    quiet, loud = (direct(fitted, batch, known)[..., columns] for known in (state, crowded))
    assert np.array_equal(quiet, loud, equal_nan=True)
    volume = names("exact").index("log_clicks_1d")
    assert direct(fitted, batch, crowded)[0, 0, volume] > np.log1p(499)


def test_a_request_of_unknown_items_alone_has_rates_and_no_description() -> None:
    state = shop(7)
    batch = batch_of(state, 9 * HOUR)
    unknown = replace(batch, item=np.zeros((1, 2), dtype=np.int32))
    fitted = fit_features(state)
    values = FeatureSet.of(fitted).values(unknown, state)
    usual = fitted.priors["click"].mean[0]
    assert values[0, :, names("exact").index("ctr")] == pytest.approx([usual, usual])
    assert np.isnan(values[0, :, names("exact").index("title_bm25")]).all()


def test_a_bundle_brings_its_last_table_as_a_mapped_file(tmp_path: Path) -> None:
    state = shop(8)
    fitted = fit_features(state)
    state.save(tmp_path)
    fitted.save(tmp_path)
    opened, known = Fitted.open(tmp_path), State.open(tmp_path, state.catalogue)
    assert opened.sheet is not None
    assert isinstance(opened.sheet.values.base, mmap)
    features = FeatureSet.of(opened)
    for hours in (0, 1, 2, 5, 1):
        batch = batch_of(known, (opened.sheet.tick + hours) * HOUR + SEAL_MS)
        assert features.values(batch, known).tobytes() == direct(fitted, batch, known).tobytes()
    assert features.memory.table.ready


@pytest.mark.parametrize(("hours", "used"), [(59, False), (60, True), (66, True)])
def test_a_table_is_used_where_the_state_knows_as_much_up_to_its_tick(hours: int, used: bool) -> None:
    state = shop(9)
    fitted = fit_features(state)
    other = initial_state("exact", state.catalogue, GAINS).advance(pages(9, 0, min(hours, 60)))
    other = other.advance(pages(9, 60, hours - 60)) if hours > 60 else other
    other = replace(other, counters={name: type(at).of(at.whole()) for name, at in other.counters.items()})
    features, batch = FeatureSet.of(fitted), batch_of(other, 60 * HOUR)
    assert features.values(batch, other).tobytes() == direct(fitted, batch, other).tobytes()
    assert features.memory.table.ready == used


def test_a_table_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    fitted = fit_features(shop(10))
    fitted.save(tmp_path)
    np.save(tmp_path / "table.values.npy", np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(ArtifactError, match="columns that table"):
        Fitted.open(tmp_path)


def test_a_decayed_count_weighs_each_step_by_its_mean_age() -> None:
    near, far = decay_weights((6, 24), 6.0)
    assert near == pytest.approx((1 - 1 / 2) / np.log(2))
    assert far == pytest.approx((1 / 2 - 1 / 16) * 6 / np.log(2) / 18)
