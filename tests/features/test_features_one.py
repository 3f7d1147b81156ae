"""A request alone, which takes short cuts, has the bits it has in a batch; tokens are counted from their postings."""

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.features.fitted import fit_features
from pipeline.features.plain import FeatureSet
from pipeline.features.postings import Postings
from pipeline.features.texts import Texts, word
from pipeline.logs.events import conform
from pipeline.state import State, initial_state
from ranking.dataset import plain_preparation, request_columns
from tests.examples import examples
from tests.frames import HOUR, act, frame, item, page

LETTERS = "abcdefgh"
GAINS = {"click": 1.0, "purchase": 3.0}
QUERIES = ("red a", "red", "blue unknown", None)


def region(number: int) -> str:
    return f'{{"region":"g{number}"}}'


def events(seed: int, first: int, count: int) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(seed + first)
    shown, clicks = [], []
    for number in range(first, first + count):
        time, letters = HOUR + number * 20 * 60_000, "".join(rng.permutation(list(LETTERS))[:4])
        who = {"user_id": f"u{rng.integers(3)}", "context": region(int(rng.integers(2)))}
        shown.append(page(f"r{number}", time, letters, query=QUERIES[rng.integers(4)], **who))
        if rng.random() < 0.6:
            clicks.append(act("click", letters[rng.integers(4)], time + 1_000, request_id=f"r{number}", **who))
    return {"impression": frame("impression", *shown), "feedback": frame("feedback", *clicks)}


def shop(seed: int, *, layers: bool) -> State:
    about = [
        item(x, title=f"red {x}", category=["k", x], brand=f"b{n % 3}", price=3.0 + n, time=0)
        for n, x in enumerate(LETTERS)
    ]
    state = initial_state("exact", build_catalogue(frame("item", *about), pl.Series(list(LETTERS))), GAINS)
    state = state.advance(events(seed, 0, 40))
    if not layers:
        return state
    whole = {name: type(at).of(at.whole()) for name, at in state.counters.items()}
    pairs = {name: type(at).of(at.whole()) for name, at in state.pairs.items()}
    history = type(state.history)(state.history.whole())
    return replace(state, counters=whole, pairs=pairs, history=history).advance(events(seed, 40, 20))


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 1_000), st.booleans())
def test_a_request_alone_has_the_bits_it_has_among_others(seed: int, layers: bool) -> None:
    state, rng = shop(seed, layers=layers), np.random.default_rng(seed)
    rows = []
    for number in range(6):
        user = None if number == 3 else f"u{rng.integers(5)}"
        who = {"user_id": user, "context": region(int(rng.integers(3)))}
        at = int(rng.integers(HOUR, 30 * HOUR))
        rows.append(page(f"q{number}", at, LETTERS, query=QUERIES[rng.integers(4)], **who))
    batch = Batch.of(request_columns(frame("impression", *rows), state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    candidates = rng.integers(-1, len(state.catalogue), (6, 9)).astype(np.int32)
    features = FeatureSet.of(fit_features(state))
    together = features.values(Batch(batch.requests, candidates, {}), state)
    for row in range(6):
        own = {name: column[row : row + 1] for name, column in batch.requests.items()}
        alone = features.values(Batch(own, candidates[row : row + 1], {}), state)
        assert np.array_equal(alone[0], together[row], equal_nan=True)


def test_postings_count_each_token_of_each_item() -> None:
    words, owner = np.array([7, 3, 7, 7, 9], dtype=np.int32), np.array([1, 1, 1, 2, 5])
    postings = Postings.of(words, owner, 5)
    found = postings.times_in(np.array([7, 8, 9, 3], dtype=np.int32), np.array([5, 2, 1, 0], dtype=np.int32))
    assert found.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]


def test_texts_that_changed_after_the_postings_were_made_count_as_they_are_now() -> None:
    ids = [f"i{n}" for n in range(40)]
    rows = {"event_id": ids, "item_id": ids, "time": [0] * 40, "text": ["red red shoe"] * 40}
    items = build_catalogue(conform("item", pl.DataFrame(rows)), pl.Series(ids))
    texts = Texts.of(items)
    more = pl.DataFrame({"event_id": ["n", "o"], "item_id": ["i3", "new"], "time": [1, 1], "text": ["blue", "red hat"]})
    large = items.extend(conform("item", more))
    grown = texts.grown(large)
    assert grown.postings is texts.postings
    hashes = np.array([word("red").hash, word("blue").hash], dtype=np.int32)
    found = grown.times_in_text(hashes, large.dense(pl.Series(["i2", "i3", "new"])))
    assert found.tolist() == [[2, 0, 1], [0, 1, 0]]
