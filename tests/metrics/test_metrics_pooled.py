"""Metrics of all rows together, by hand, and their intervals against a bootstrap that draws whole requests."""

from collections.abc import Callable
from math import isnan, log

import numpy as np
import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.metrics.binary import auc, expected_calibration_error, grouped_auc, win_shares
from pipeline.metrics.runs import evaluate_frame, evaluate_run
from pipeline.metrics.statistics.compare import Interval

FRAME = pl.DataFrame(
    {
        "qid": [1, 1, 1, 2, 2, 3],
        "docno": ["a", "b", "c", "a", "b", "a"],
        "score": [0.8, 0.4, 0.1, 0.6, 0.5, 0.9],
        "grade": [1, 0, None, 0, 2, None],
    }
)


def value(name: str, frame: pl.DataFrame = FRAME) -> Interval:
    return evaluate_frame(frame, [name]).metrics[name]


def test_probability_metrics_read_the_judged_rows_only() -> None:
    assert value("log_loss").mean == pytest.approx(-(log(0.8) + log(0.6) + log(0.4) + log(0.5)) / 4)
    assert value("brier").mean == pytest.approx((0.2**2 + 0.4**2 + 0.6**2 + 0.5**2) / 4)
    assert value("pcoc").mean == pytest.approx((0.8 + 0.4 + 0.6 + 0.5) / 2)
    # One bin: mean prediction .575 against a share of .5. Two: .45 against .5 and .7 against .5.
    assert value("ece(bins=1)").mean == pytest.approx(0.075)
    assert value("ece(bins=2)").mean == pytest.approx((0.05 + 0.2) / 2)
    assert value("brier").n == 4


def test_pooled_auc_counts_rows_without_judgment_as_not_relevant() -> None:
    # Of judged queries: relevant .8 and .5, others .4, .1 and .6: five of six pairs are right.
    assert value("auc_pooled").mean == pytest.approx(5 / 6)


def test_gauc_weighs_the_requests_by_their_rows() -> None:
    assert value("gauc").mean == pytest.approx((3 * 1.0 + 2 * 0.0) / 5)
    assert value("gauc").n == 5


def test_gauc_may_go_by_a_group_of_the_run() -> None:
    # Query 2 belongs to the subject of query 1: over both, positives .8 and .5 against .4, .1 and .6.
    grouped = FRAME.with_columns(group=pl.Series(["u", "u", "u", "u", "u", "v"]))
    assert value("gauc", grouped).mean == pytest.approx(5 / 6)
    run, qrels = grouped.drop("grade"), FRAME.drop("score").drop_nulls()
    assert evaluate_run(run, qrels, ["gauc"]).metrics["gauc"].mean == pytest.approx(5 / 6)


def test_what_counts_as_relevant_may_be_set() -> None:
    assert value("pcoc(rel=2)").mean == pytest.approx(2.3 / 1)


def test_without_both_labels_there_is_no_auc() -> None:
    alone = FRAME.filter(pl.col("qid") == 2).with_columns(grade=1)
    for name in ("auc_pooled", "gauc"):
        assert isnan(value(name, alone).mean)
        assert value(name, alone).n == 0


def test_a_score_that_is_no_probability_is_refused_by_the_metrics_of_probabilities_only() -> None:
    wide = FRAME.with_columns(score=pl.col("score") * 2)
    for name in ("log_loss", "brier", "ece", "pcoc"):
        with pytest.raises(InputError, match=r"judged run, row 0: score: a probability, .*received 1\.6"):
            value(name, wide)
    assert value("auc_pooled", wide) == value("auc_pooled")


def test_a_win_share_is_the_part_of_the_other_label_on_the_right_side() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.8, 0.4, 0.4, 0.1])
    assert win_shares(labels, scores).tolist() == [1.0, 0.75, 0.75, 1.0]


def clustered(requests: int) -> pl.DataFrame:
    """Requests of one to nine rows whose labels agree more within a request than across."""
    generator = np.random.default_rng(5)
    request = np.repeat(np.arange(requests), generator.integers(1, 10, requests))
    chance = 1 / (1 + np.exp(-generator.normal(0, 1.2, requests)[request] - generator.normal(0, 1, len(request))))
    return pl.DataFrame(
        {
            "qid": request,
            "docno": np.arange(len(request)),
            "score": chance,
            "grade": (generator.random(len(request)) < chance).astype(int),
        }
    )


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("auc_pooled", lambda y, p, _: auc(y, p)),
        ("gauc", grouped_auc),
        ("brier", lambda y, p, _: float(np.mean((p - y) ** 2))),
        ("pcoc", lambda y, p, _: float(p.sum() / y.sum())),
        ("ece(bins=4)", lambda y, p, _: expected_calibration_error(y, p, 4)),
    ],
)
def test_the_interval_is_that_of_a_bootstrap_over_requests(
    name: str, metric: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
) -> None:
    frame = clustered(150)
    labels, scores, request = (frame[column].to_numpy() for column in ("grade", "score", "qid"))
    rows = [np.flatnonzero(request == one) for one in range(150)]
    generator, found = np.random.default_rng(0), []
    for _ in range(400):
        drawn = generator.integers(0, 150, 150)
        picked = np.concatenate([rows[one] for one in drawn])
        again = np.repeat(np.arange(150), [len(rows[one]) for one in drawn])
        found.append(metric(labels[picked], scores[picked], again))
    low, high = np.quantile(found, [0.025, 0.975])
    interval = value(name, frame)
    assert interval.mean == pytest.approx(metric(labels, scores, request), abs=1e-12)
    # Both ends are themselves drawn: within a fifth of the interval's width.
    assert interval.low == pytest.approx(low, abs=0.2 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.2 * (high - low))


def test_without_draws_there_is_no_interval() -> None:
    interval = evaluate_frame(FRAME, ["brier"], draws=0).metrics["brier"]
    assert interval.mean == value("brier").mean
    assert isnan(interval.low)
    assert isnan(interval.high)


def test_asking_for_more_metrics_changes_no_interval() -> None:
    frame = clustered(40)
    alone, together = evaluate_frame(frame, ["mrr"]), evaluate_frame(frame, ["ndcg", "mrr"])
    assert alone.metrics["mrr"].mean == pytest.approx(together.metrics["mrr"].mean, abs=1e-12)
    assert evaluate_frame(frame, ["mrr"]).metrics == alone.metrics
