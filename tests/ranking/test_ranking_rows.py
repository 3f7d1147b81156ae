"""Training rows: the future never shows, delivery does not matter, noise teaches nothing, one request is as many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch import Batch
from pipeline.catalogue import build_catalogue
from pipeline.features.fitted import Fitted, fit_features
from pipeline.features.plain import EVERY, FeatureSet, left_out, names
from pipeline.logs.events import conform, empty
from pipeline.metrics.binary import auc
from pipeline.state import State, initial_state
from ranking.config import RankingConfig
from ranking.dataset import judged_rows, plain_preparation, request_columns, shown_rows
from ranking.rows import Rows
from ranking.train import fit_clicks, train_ranker
from tests.examples import examples

HOUR = 3_600_000
GAINS = {"click": 1.0, "purchase": 3.0}
Frames = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Memory:
    """A log that lies in memory; duplicates are dropped, as a store drops them."""

    frames: Frames
    clock: str = "exact"

    def frame(
        self, kind: str, since: int = 0, before: int = 2**60, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        rows = self.frames.get(kind, empty(kind)).unique("event_id", keep="first")
        rows = rows.filter((pl.col("time") >= since) & (pl.col("time") < before)).sort("time", "event_id")
        return rows if columns is None else rows.select(columns)

    def scan(self, kind: str) -> pl.LazyFrame:
        return self.frame(kind).lazy()

    def days(self, kind: str) -> list[int]:
        return (self.frame(kind)["time"] // (24 * HOUR)).unique().sort().to_list()

    def has(self, kind: str) -> bool:
        return bool(len(self.frame(kind)))


def market(seed: int, pages: int = 40, items: int = 8, late_ms: int = 0, taste: float = 0.0) -> Frames:
    """A small log, in which every item changes its price once; with taste, item 0 draws most clicks."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(HOUR, 60 * HOUR, pages))
    shown = np.array([rng.permutation(items)[:4] for _ in range(pages)])
    clicked = rng.random(shown.shape) < np.where(shown == 0, 0.2 + taste, 0.2)
    row, column = np.nonzero(clicked)
    after = time[row] + rng.integers(1, 20 * 60_000, len(row))
    described = pl.DataFrame(
        {
            "event_id": [f"i{i}:{n}" for n in (0, 1) for i in range(items)],
            "item_id": [f"i{i}" for i in range(items)] * 2,
            "time": np.concatenate([np.zeros(items, int), rng.integers(1, 60 * HOUR, items)]),
            "title": [f"red thing {i}" for i in range(items)] * 2,
            "category": [["a", f"b{i % 3}"] for i in range(items)] * 2,
            "brand": [f"brand{i % 2}" for i in range(items)] * 2,
            "price": rng.integers(1, 50, 2 * items).astype(float),
            "region": ["north" if i % 2 else None for i in range(items)] * 2,
        }
    )
    impressions = pl.DataFrame(
        {
            "event_id": [f"r{i}:0" for i in range(pages)],
            "request_id": [f"r{i}" for i in range(pages)],
            "time": time,
            "received": time + rng.integers(0, late_ms + 1, pages),
            "surface": ["search" if i % 2 else "recommend" for i in range(pages)],
            "user_id": [f"u{i % 5}" for i in range(pages)],
            "query": ["Red  thing" if i % 2 else None for i in range(pages)],
            "context": ['{"region": "north"}'] * pages,
            "items": [[{"item_id": f"i{i}", "position": p} for p, i in enumerate(page)] for page in shown],
        }
    )
    feedback = pl.DataFrame(
        {
            "event_id": [f"f{i}" for i in range(len(row))],
            "time": after,
            "received": after + rng.integers(0, late_ms + 1, len(row)),
            "user_id": [f"u{i % 5}" for i in row],
            "item_id": [f"i{i}" for i in shown[row, column]],
            "request_id": [f"r{i}" for i in row],
            "action": ["purchase" if i % 7 == 0 else "click" for i in range(len(row))],
        }
    )
    frames = {"item": described, "impression": impressions, "feedback": feedback}
    return {kind: conform(kind, frame) for kind, frame in frames.items()}


def state_of(log: Memory, before: int = 2**60) -> State:
    items = log.frame("item")
    every = pl.Series([f"i{i}" for i in range(8)])
    frames = {kind: log.frame(kind).filter(pl.col("time") < before) for kind in ("impression", "feedback")}
    catalogue = build_catalogue(items.filter(pl.col("time") < before), every)
    return initial_state(log.clock, catalogue, GAINS).advance(frames)


def rows_of(log: Memory, fitted: Fitted | None = None) -> Rows:
    state = state_of(log)
    return shown_rows(log, state, FeatureSet.of(fitted or fit_features(state)), gains=GAINS)  # type: ignore[arg-type]


def batch_of(log: Memory, state: State) -> Batch:
    impressions = log.frame("impression")
    batch = Batch.of(request_columns(impressions, state))
    for stage in plain_preparation(state):
        batch = stage.run(batch)
    ids = impressions["items"].list.eval(pl.element().struct["item_id"]).explode()
    return Batch(batch.requests, state.catalogue.dense(ids).reshape(len(impressions), -1), {})


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 1_000), st.integers(0, 39))
def test_deleting_what_happens_later_changes_no_feature(seed: int, place: int) -> None:
    log = Memory(market(seed, late_ms=HOUR))
    everything = state_of(log)
    fitted = fit_features(everything)
    now = int(log.frame("impression")["time"][place])
    earlier = state_of(log, before=now)
    only = Memory(log.frames | {"impression": log.frame("impression")[place : place + 1]})
    found = [FeatureSet.of(fitted).values(batch_of(only, state), state) for state in (everything, earlier)]
    assert found[0].tobytes() == found[1].tobytes()


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(0, 1_000), st.randoms(use_true_random=False))
def test_delivery_before_the_seal_does_not_change_a_byte_of_the_training_rows(seed: int, random: object) -> None:
    prompt = market(seed)
    late = market(seed, late_ms=0)
    delayed: Frames = {}
    rng = np.random.default_rng(seed)
    for kind, frame in late.items():
        again = pl.concat([frame, frame.sample(min(5, len(frame)), seed=seed)]).sample(
            fraction=1.0, shuffle=True, seed=seed + 1
        )
        jitter = pl.Series(rng.integers(0, 15 * 60_000, len(again)))
        delayed[kind] = again if kind == "item" else again.with_columns(received=pl.col("time") + jitter)
    fitted = fit_features(state_of(Memory(prompt)))
    left, right = rows_of(Memory(prompt), fitted), rows_of(Memory(delayed), fitted)
    assert left.features.tobytes() == right.features.tobytes()
    assert left.grade.tobytes() == right.grade.tobytes()


def test_one_request_has_the_features_it_has_among_many() -> None:
    log = Memory(market(3))
    state = state_of(log)
    features = FeatureSet.of(fit_features(state))
    batch = batch_of(log, state)
    whole = features.values(batch, state)
    for row in (0, 17, 39):
        alone = features.values(batch.rows(np.array([row])), state)
        assert alone[0].tobytes() == whole[row].tobytes()


def test_what_came_in_small_pieces_counts_as_what_came_at_once() -> None:
    log = Memory(market(4))
    whole = state_of(log)
    growing = state_of(log, before=30 * HOUR)
    for kind in ("impression", "feedback"):
        growing = growing.advance({kind: log.frame(kind).filter(pl.col("time") >= 30 * HOUR)})
    last = Memory(log.frames | {"impression": log.frame("impression").tail(1), "item": log.frame("item")})
    fitted = fit_features(whole)
    growing = growing.advance({"item": log.frame("item").filter(pl.col("time") >= 30 * HOUR)})
    left, right = (FeatureSet.of(fitted).values(batch_of(last, state), state) for state in (whole, growing))
    assert np.array_equal(left, right, equal_nan=True)


def test_values_are_what_a_reader_counts() -> None:
    log = Memory(market(5))
    state = state_of(log)
    fitted = fit_features(state)
    batch = batch_of(log, state)
    values = FeatureSet.of(fitted).values(batch, state)
    column = {name: values[-1, 0, place] for place, name in enumerate(names("exact"))}
    page = log.frame("impression").tail(1)
    item, limit = page["items"][0][0]["item_id"], int(batch.request("tick")[-1]) * HOUR
    shown = log.frame("impression").filter(pl.col("time") < limit).explode("items")["items"].struct["item_id"]
    clicks = log.frame("feedback").filter((pl.col("time") < limit) & (pl.col("item_id") == item))
    assert column["log_shown"] == pytest.approx(np.log1p((shown == item).sum()))
    assert column["log_positive"] == pytest.approx(np.log1p(len(clicks)))
    assert column["query_letters"] == len("redthing")
    described = log.frame("item").filter(pl.col("item_id") == item)
    priced = described.filter(pl.col("time") <= page["time"][0])
    assert column["log_price"] == pytest.approx(np.log(priced["price"][-1]))
    assert column["log_age_hours"] == pytest.approx(np.log1p(page["time"][0] / HOUR))


def test_a_description_that_comes_later_does_not_show_before() -> None:
    log = Memory(market(9))
    page = log.frame("impression").head(1)
    later = log.frame("item").with_columns(time=pl.lit(page["time"][0] + 1, dtype=pl.Int64))
    log = Memory(log.frames | {"impression": page, "item": later})
    state = state_of(log)
    values = FeatureSet.of(fit_features(state)).values(batch_of(log, state), state)
    unknown = [names("exact").index(name) for name in ("log_price", "has_text", "kind", "log_age_hours")]
    assert np.isnan(values[..., unknown]).all()


def test_a_log_without_clock_time_leaves_out_what_needs_it() -> None:
    assert {"ctr_7d", "trend", "log_age_hours"} <= set(left_out("order"))
    assert not left_out("exact")
    assert names("exact") == EVERY


def test_fitted_features_survive_a_folder(tmp_path: Path) -> None:
    log = Memory(market(6))
    fitted = fit_features(state_of(log))
    fitted.save(tmp_path)
    assert rows_of(log, Fitted.open(tmp_path)).features.tobytes() == rows_of(log, fitted).features.tobytes()


def test_a_real_taste_is_learned_and_shuffled_labels_teach_nothing(tmp_path: Path) -> None:
    config = RankingConfig(trees=40, least_rows=20, threads=1)
    log = Memory(market(7, pages=1_500, taste=0.6))
    state = state_of(log)
    known = (state, FeatureSet.of(fit_features(state)))
    metrics = train_ranker(log, known, config, seed=0, folder=tmp_path)  # type: ignore[arg-type]
    assert metrics is not None
    assert metrics["auc"] > 0.6
    assert metrics["pcoc"] == pytest.approx(1.0, abs=0.25)
    rows = rows_of(log)
    shuffled = replace(rows, grade=np.random.default_rng(1).permutation(rows.grade))
    fitted = fit_clicks(shuffled, names("exact"), config, 0)
    assert fitted is not None
    late = shuffled.between(1_200, 1_500)
    assert auc(late.grade > 0, fitted[0].predict(late.inputs)[0]) == pytest.approx(0.5, abs=0.07)


def test_pages_of_unknown_outcomes_teach_nothing_and_change_nothing(tmp_path: Path) -> None:
    plain = market(1)
    pages = plain["impression"]
    doubted = pages.with_columns(
        event_id="u" + pl.col("event_id"), request_id="u" + pl.col("request_id"), outcomes=pl.lit("unknown")
    )
    both = Memory(plain | {"impression": pl.concat([pages, doubted]).sort("time", "event_id")})
    found, wanted = rows_of(both), rows_of(Memory(plain))
    assert found.grade.tolist() == wanted.grade.tolist()
    where = [names("exact").index(name) for name in ("ctr", "ctr_7d", "query_ctr", "query_log_shown", "log_shown")]
    assert np.array_equal(found.features[:, where], wanted.features[:, where], equal_nan=True)
    nothing = Memory(plain | {"impression": doubted})
    assert len(rows_of(nothing).grade) == 0
    state = state_of(nothing)
    known = state, FeatureSet.of(fit_features(state))
    assert train_ranker(nothing, known, RankingConfig(), seed=0, folder=tmp_path) is None  # type: ignore[arg-type]


def test_a_log_with_too_little_trains_nothing(tmp_path: Path) -> None:
    log = Memory(market(8))
    state = state_of(log)
    known = (state, FeatureSet.of(fit_features(state)))
    assert train_ranker(log, known, RankingConfig(), seed=0, folder=tmp_path) is None  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_judgments_train_an_order_by_title(tmp_path: Path) -> None:
    grade = {f"i{i}": float(i == 3) * 3 for i in range(8)}
    pairs = [(query, item) for query in range(120) for item in range(8)]
    judged = pl.DataFrame(
        {
            "event_id": [f"j{q}:{i}" for q, i in pairs],
            "time": [1] * len(pairs),
            "query": [f"thing 3 q{q}" for q, _ in pairs],
            "item_id": [f"i{i}" for _, i in pairs],
            "grade": [grade[f"i{i}"] for _, i in pairs],
        }
    )
    items = market(0)["item"].head(8)
    log = Memory({"item": items, "judgment": conform("judgment", judged)}, clock="order")
    state = state_of(log)
    features = FeatureSet.of(fit_features(state))
    rows = judged_rows(log, state, features)  # type: ignore[arg-type]
    assert rows.requests == 120
    metrics = train_ranker(log, (state, features), RankingConfig(least_rows=5), seed=0, folder=tmp_path)  # type: ignore[arg-type]
    assert metrics is not None
    assert metrics["ndcg_exp@10"] == pytest.approx(1.0)
