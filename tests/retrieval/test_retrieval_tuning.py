"""What is held out of a log, which fusion is chosen for it, and what the configuration still decides."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.errors import ArtifactError
from pipeline.features.ids import key
from pipeline.features.sequences import Sequences
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.state import State, initial_state
from retrieval.config import CovisitConfig, Learned, LexicalConfig, PopularConfig, RetrievalConfig, TowerConfig
from retrieval.covisit import half_life, item_neighbours
from retrieval.embedded import RECOMMENDED
from retrieval.heldout import HeldOut, held_out, held_out_searches, only, repeat_rate
from retrieval.lexical import LexicalIndex
from retrieval.train import WEIGHTS, open_fusion, train_fusion, train_lexical
from retrieval.tuning import Found, Trial, choose, gated, search, search_trials, with_tower
from tests.frames import HOUR, act, frame, item, page
from tests.retrieval.shop import catalogue_of
from tests.retrieval.topics import logged as topics
from tests.retrieval.topics import search_rows

DAY = 24 * HOUR
BROKEN = Learned()._asdict() | {"covisit": -1.0}
Rows = Sequence[Mapping[str, object]]


def logged(folder: Path, acts: Rows, pages: Rows = (), clock: str = "exact") -> tuple[Log, State]:
    """A log on disk and the state after all of it."""
    frames = {"feedback": frame("feedback", *acts), "impression": frame("impression", *pages)}
    for kind, rows in frames.items():
        write_days(folder, kind, rows)
    write_manifest(folder, clock)
    shown = frames["impression"].select(pl.col("items").list.eval(pl.element().struct["item_id"])).explode("items")
    ids = {*frames["feedback"]["item_id"], *shown["items"].drop_nulls()}
    catalogue = catalogue_of([item(one) for one in sorted(ids)])
    return Log.open(folder), initial_state(clock, catalogue, {"click": 1.0}).advance(frames)


def walks(subjects: int = 300, steps: int = 6, items: int = 400) -> list[dict[str, object]]:
    """Everybody walks from item to item + 1 from a place of their own: co-visits know what is next."""
    places = [(subject, step, (7 * subject + step) % items) for subject in range(subjects) for step in range(steps)]
    return [
        act("click", f"i{place:03d}", step * 5 * HOUR + subject, user_id=f"u{subject}")
        for subject, step, place in places
    ]


def news(days: int = 20, readers: int = 40, daily: int = 120) -> list[dict[str, object]]:
    """Every day has news of its own and everybody reads a few: only what is new is read."""
    rng = np.random.default_rng(0)
    return [
        act("click", f"d{day:02d}-{piece:03d}", day * DAY + int(rng.integers(0, DAY)), user_id=f"u{reader}")
        for day in range(days)
        for reader in range(readers)
        for piece in np.unique((rng.random(3) ** 3 * daily).astype(int))
    ]


def held(folder: Path, acts: Rows, pages: Rows = (), clock: str = "exact") -> HeldOut:
    found = held_out(*logged(folder, acts, pages, clock))
    assert found is not None
    return found


def test_where_everybody_goes_a_way_of_their_own_covisits_come_first(tmp_path: Path) -> None:
    best = choose(search(held(tmp_path, walks()), RetrievalConfig()))
    assert best.fusion.covisit > best.fusion.popular
    assert best.recall.mean() == 1.0


def test_where_only_what_is_new_is_wanted_popularity_of_the_day_comes_first(tmp_path: Path) -> None:
    best = choose(search(held(tmp_path, news()), RetrievalConfig()))
    assert best.fusion.popular > best.fusion.covisit
    assert best.fusion.days == 1


def test_only_what_the_configuration_leaves_open_is_tried(tmp_path: Path) -> None:
    fixed = RetrievalConfig(popular=PopularConfig(days=3), covisit=CovisitConfig(half_life_days=5.0))
    tried = search(held(tmp_path, news(days=6)), fixed)
    assert {(trial.fusion.days, trial.fusion.half_life_days) for trial in tried} == {(3, 5.0)}


def test_what_is_learned_yields_to_what_is_set() -> None:
    config = RetrievalConfig(popular=PopularConfig(weight=0.3), lexical=LexicalConfig(weight=0.7))
    filled = config.filled(Learned(popular=5.0, covisit=0.5, days=1, half_life_days=2.0))
    assert filled.weights == (0.7, 0.3, 0.5, 1.0, 0.05, 0.0)
    assert (filled.popular.days, filled.covisit.half_life_days) == (1, 2.0)
    learned = Learned(tower=0.4, search_tower=0.6)
    towers = RetrievalConfig().filled(learned)
    assert (towers.weights[-1], towers.for_search.weights[-1]) == (0.4, 0.6)
    fixed = RetrievalConfig(tower=TowerConfig(weight=3.0)).filled(learned)
    assert (fixed.weights[-1], fixed.for_search.weights[-1]) == (3.0, 0.6)
    assert RetrievalConfig().weights == (1.0, 0.05, 1.0, 1.0, 0.05, 0.0)


def test_a_weight_of_zero_is_set_not_open() -> None:
    config = RetrievalConfig(popular=PopularConfig(weight=0.0), covisit=CovisitConfig(half_life_days=0.0))
    filled = config.filled(Learned(popular=5.0, half_life_days=2.0))
    assert (filled.popular.weight, filled.covisit.half_life_days) == (0.0, 0.0)


def test_pages_of_unknown_outcomes_are_not_asked_again(tmp_path: Path) -> None:
    pages = [page(f"r{n}", n * HOUR, "abc", query="thing", outcomes="unknown") for n in range(1, 40)]
    acts = [act("click", "a", n * HOUR + 1, request_id=f"r{n}") for n in range(1, 40)]
    log, state = logged(tmp_path / "log", acts, pages)
    assert held_out_searches(log, state) is None
    found = held_out(log, state)
    assert found is not None  # what they did next, as in a log without pages
    assert set(found.requests.request("query")) == {""}


def test_a_log_where_nobody_did_anything_has_nothing_to_learn_from(tmp_path: Path) -> None:
    log, state = logged(tmp_path / "log", [], [page("r", DAY, "abc", surface="recommend")])
    assert train_fusion(log, state, RetrievalConfig(), seed=0, folder=tmp_path) is None
    assert open_fusion(None) == Learned()


def test_without_clock_time_the_last_action_of_everybody_is_held_out(tmp_path: Path) -> None:
    acts = [act("click", letter, place, user_id="a") for place, letter in enumerate("xyz")]
    found = held(tmp_path, [*acts, act("click", "x", 0, user_id="b")], clock="order")
    ids = found.state.catalogue.ids
    assert [ids[place] for place in found.item] == ["z"]
    assert sorted(ids[place] for place in found.known.item) == ["x", "x", "y"]
    layers = found.state.counters["items"]
    counts = layers.at(np.arange(len(ids)), np.array(2**20 - 1))[:, layers.place("positive")]
    assert {one: int(count) for one, count in zip(ids, counts, strict=True) if one} == {"x": 2, "y": 1, "z": 0}


def test_pages_are_asked_again_without_searches_and_what_covisits_know_lies_before_them(tmp_path: Path) -> None:
    pages = [page(f"r{n}", n * HOUR, "abc", surface="recommend") for n in range(4)]
    search_page = page("s", 4 * HOUR, "abc", query="mug")
    acts = [act("click", "abca"[n], n * HOUR + 1, request_id=f"r{n}") for n in range(4)]
    found = held(tmp_path, [*acts, act("click", "b", 4 * HOUR + 1, request_id="s")], [*pages, search_page])
    ids = found.state.catalogue.ids
    assert found.requests.request("time").tolist() == [2 * HOUR, 3 * HOUR]
    asked = [[ids[place] for place in wanted] for wanted in found.relevant(np.arange(2))]
    assert asked == [["c"], ["a"]]
    assert found.known.time.tolist() == [1, HOUR + 1]


def test_what_was_had_is_left_out_only_where_nobody_repeats(tmp_path: Path) -> None:
    once = [act("click", letter, n, user_id="a") for n, letter in enumerate("abcdefghij")]
    assert held(tmp_path / "once", once, clock="order").unseen
    twice = [act("click", letter, n, user_id="a") for n, letter in enumerate("abcdefghia")]
    assert not held(tmp_path / "twice", twice, clock="order").unseen


def sequences(*items: Sequence[int]) -> Sequences:
    key = np.repeat(np.arange(len(items)), [len(own) for own in items])
    time = np.concatenate([np.arange(len(own)) for own in items])
    flat = np.concatenate([np.asarray(own, dtype=np.int32) for own in items])
    return Sequences.of(key, time, time, flat, np.zeros(len(flat), np.int8))


def test_the_repeat_rate_counts_within_a_subject() -> None:
    assert repeat_rate(sequences([1, 2, 1, 1], [1])) == pytest.approx(2 / 5)


def test_some_actions_of_sequences_stay_with_their_subjects() -> None:
    left = only(sequences([1, 2], [3], [4, 5]), np.array([True, False, False, True, True]))
    assert left.item.tolist() == [1, 4, 5]
    assert left.start.tolist() == [0, 1, 1, 3]


def test_of_fusions_that_find_as_much_the_better_order_is_chosen() -> None:
    half = np.tile([0.0, 1.0], 50)
    one_less = half.copy()
    one_less[1] = 0.0  # mean difference 0.01, standard error sqrt(0.01 * 0.99) / 10 = 0.00995
    a = Trial(Learned(popular=1.0), half, np.full(100, 0.1))
    b = Trial(Learned(popular=2.0), np.roll(half, 1), np.full(100, 0.2))
    far = Trial(Learned(popular=3.0), half * 0.5, np.full(100, 0.9))
    behind = Trial(Learned(popular=4.0), one_less, np.full(100, 0.9))
    assert choose([a, b, far, behind]) is b
    assert choose([a, far]) is a
    assert choose([a, far], final=True) is far


def test_what_is_not_surely_better_is_left_out() -> None:
    half = np.tile([0.0, 1.0], 50)
    better = half.copy()
    better[:8:2] = 1.0  # mean 0.04, standard error sqrt(0.04 * 0.96) / 10 = 0.0196
    without, same = Trial(Learned(), half, half), Trial(Learned(tower=1.0), half, half)
    assert gated(without, same) is without
    assert gated(without, Trial(Learned(tower=1.0), better, half)).fusion.tower == 1.0
    # All four are of two people: sqrt(2 * (2 - 4 * 0.04) ** 2 + 92 * 0.04 ** 2) / 100 = 0.0263.
    subject = np.concatenate([[1] * 4, [2] * 4, np.arange(3, 95)])
    few = Trial(Learned(tower=1.0), better, half, subject)
    assert gated(without, few) is without
    better[0] = 0.0  # mean 0.03, standard error sqrt(0.03 * 0.97) / 10 = 0.0171
    assert gated(without, Trial(Learned(tower=1.0), better, half)) is without


def test_a_half_life_halves() -> None:
    assert half_life(np.array([0, 2, 4]) * DAY, 2.0).tolist() == [0.25, 0.5, 1.0]
    assert half_life(np.array([0, 10_000]) * DAY, 1.0)[0] == 2.0**-40


def test_a_pair_counts_as_much_as_the_action_it_ends_with() -> None:
    item_, start = np.array([0, 1, 0, 2], dtype=np.int32), np.array([0, 2, 4])
    options = {"window": 1, "cap": 9, "most": 2, "damping": (0.0, 0.0), "backward": 1.0}
    plain = item_neighbours(item_, start, 3, **options)  # type: ignore[arg-type]
    aged = item_neighbours(item_, start, 3, **options, strength=np.array([1.0, 0.25, 1.0, 1.0]))  # type: ignore[arg-type]
    assert plain.item[0].tolist() == [1, 2]
    assert aged.item[0].tolist() == [2, 1]
    assert aged.weight[0, 1] == plain.weight[0, 0] / 4


def test_what_is_written_opens_the_same_and_anything_else_is_refused(tmp_path: Path) -> None:
    log, state = logged(tmp_path / "log", news(days=4))
    metrics = train_fusion(log, state, RetrievalConfig(), seed=0, folder=tmp_path)
    assert metrics is not None
    learned = open_fusion(tmp_path)
    assert learned._asdict() == {name: metrics[name] for name in Learned._fields}
    for text in ('{"weights": {"popular": "much"}}', '{"weights": []}', "[]", json.dumps({"weights": BROKEN})):
        (tmp_path / WEIGHTS).write_text(text)
        with pytest.raises(ArtifactError, match=WEIGHTS):
            open_fusion(tmp_path)


def found_by(held_: HeldOut, share: float, depth: int = 20) -> Found:
    """What towers might find: what was relevant first for a share of the requests, and nothing but noise else."""
    rng = np.random.default_rng(0)
    found = rng.integers(1, len(held_.state.catalogue), (held_.requests.size, depth)).astype(np.int32)
    for row, wanted in enumerate(held_.relevant(np.arange(held_.requests.size))):
        if rng.random() < share:
            found[row, 0] = wanted[0]
    return found


def test_towers_weigh_as_much_as_they_find_and_nothing_where_they_find_nothing(tmp_path: Path) -> None:
    known = held(tmp_path, news())
    best = choose(search(known, RetrievalConfig()))
    good = with_tower(known, RetrievalConfig(), best.fusion, found_by(known, 0.9))
    assert gated(best, choose(good)).fusion.tower > 0
    noise = with_tower(known, RetrievalConfig(), best.fusion, found_by(known, 0.0))
    assert gated(best, choose(noise)).fusion.tower == 0


def test_on_searches_towers_that_find_nothing_weigh_nothing(tmp_path: Path) -> None:
    pages, clicks = search_rows(60)
    log, state, catalogue = topics(tmp_path / "log", clicks, pages)
    searches = held_out_searches(log, state)
    assert searches is not None
    assert searches.cutoff is not None
    train_lexical(catalogue, LexicalConfig(), tmp_path)
    index = LexicalIndex.open(tmp_path)
    made = search_trials(searches, RetrievalConfig(), index, Learned(tower=0.5), found_by(searches, 0.0))
    assert [trial.fusion.tower for trial in made] == [0.5] * len(made)
    assert made[0].recall.mean() == 1.0  # twenty items hold the word, and all of them fit
    assert gated(made[0], choose(made)).fusion.search_tower == 0


def test_without_words_searches_are_the_towers_where_these_find_more_than_what_is_popular(tmp_path: Path) -> None:
    acts = [
        act("click", f"i{item_:02d}", n * HOUR, user_id=f"u{n % 7}", query=f"thing {item_}")
        for n, item_ in enumerate((40 * np.random.default_rng(0).random(400) ** 3).astype(int))
    ]
    log, state = logged(tmp_path / "log", acts)
    searches = held_out_searches(log, state)
    assert searches is not None
    for share, weight in ((0.9, 1.0), (0.0, 0.0)):
        made = search_trials(searches, RetrievalConfig(), None, Learned(), found_by(searches, share))
        assert gated(made[0], choose(made, final=True)).fusion.search_tower == weight


def test_what_is_held_out_of_a_log_is_kept_from_those_who_learn(tmp_path: Path) -> None:
    acts = [act("click", letter, place, user_id="a") for place, letter in enumerate("xyz")]
    found = held(tmp_path, [*acts, act("click", "x", 0, user_id="b")], clock="order")
    keys = np.array([key("a"), key("a"), key("a"), key("b"), key("c")])
    assert found.before(keys, np.array([0, 1, 2, 0, 0])).tolist() == [True, True, False, True, False]
    assert found.cutoff is None
    timed = held(tmp_path / "timed", news(days=4))
    assert timed.cutoff is not None
    moments = np.array([timed.cutoff - 1, timed.cutoff])
    assert timed.before(keys[:2], moments).tolist() == [True, False]


def test_what_was_found_for_other_requests_is_refused(tmp_path: Path) -> None:
    log, state = logged(tmp_path / "log", news(days=4))
    np.save(tmp_path / RECOMMENDED, np.zeros((3, 5), np.int32))
    with pytest.raises(ArtifactError, match=RECOMMENDED):
        train_fusion(log, state, RetrievalConfig(), seed=0, folder=tmp_path, towers=tmp_path)
