"""A thousand random runs with ties, unjudged, missing and empty queries: value for value what trec_eval finds."""

import numpy as np
import polars as pl
import pytest

from pipeline.metrics.runs import evaluate_run

pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")

RUNS, QUERIES, ITEMS = 1000, 6, 25
SAME = {
    "ndcg": "ndcg",
    "ndcg@5": "ndcg_cut_5",
    "ndcg@10": "ndcg_cut_10",
    "map": "map",
    "map@5": "map_cut_5",
    "mrr": "recip_rank",
    "precision@5": "P_5",
    "precision@30": "P_30",
    "precision": "set_P",
    "recall@5": "recall_5",
    "recall": "set_recall",
    "hit@1": "success_1",
    "hit@5": "success_5",
    "r_precision": "Rprec",
    "bpref": "bpref",
}
MEASURES = {"ndcg", "ndcg_cut.5,10", "map", "map_cut.5", "recip_rank", "P.5,30", "set_P", "recall.5", "set_recall"} | {
    "success.1,5",
    "Rprec",
    "bpref",
}


def random_run(generator: np.random.Generator, number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Six queries of up to 25 items; the run lacks its fourth, the judgments their sixth; few distinct scores."""
    pairs = np.array([(query, item) for query in range(QUERIES) for item in range(ITEMS)])
    run = pairs[(generator.random(len(pairs)) < generator.uniform(0.1, 0.9)) & (pairs[:, 0] != 3)]
    qrels = pairs[(generator.random(len(pairs)) < generator.uniform(0.1, 0.6)) & (pairs[:, 0] != 5)]
    grades = generator.choice([-1, 0, 0, 1, 2, 4], len(qrels)) * (qrels[:, 0] != 1)
    scores = generator.integers(0, generator.integers(2, 12), len(run)) / 7
    query = pl.format("{}/{}", pl.lit(number), pl.col("query"))
    run_frame = pl.DataFrame({"query": run[:, 0], "docno": run[:, 1], "score": scores})
    qrels_frame = pl.DataFrame({"query": qrels[:, 0], "docno": qrels[:, 1], "grade": grades})
    return tuple(  # type: ignore[return-value]
        frame.select(query.alias("qid"), pl.col("docno").cast(pl.String), pl.last())
        for frame in (run_frame, qrels_frame)
    )


def nested(frame: pl.DataFrame, value: str) -> dict[str, dict[str, float]]:
    return {
        key: dict(zip(part["docno"], part[value], strict=True))
        for (key,), part in frame.group_by("qid", maintain_order=True)
    }


def test_with_ties_as_trec_every_value_of_a_thousand_runs_equals_trec_eval() -> None:
    generator = np.random.default_rng(11)
    runs, qrels = (pl.concat(frames) for frames in zip(*(random_run(generator, n) for n in range(RUNS)), strict=True))
    theirs = pytrec_eval.RelevanceEvaluator(nested(qrels, "grade"), MEASURES).evaluate(nested(runs, "score"))
    ours = evaluate_run(runs, qrels, list(SAME), ties="trec", draws=0)
    assert ours.queries.judged > 4.9 * RUNS
    assert ours.queries.missing > 0.9 * RUNS
    assert ours.queries.empty > 0.9 * RUNS
    for name, measure in SAME.items():
        # A query that the run lacks is none of trec_eval's, and 0 of ours.
        expected = [theirs.get(query, {}).get(measure, 0.0) for query in ours.per_query["query_id"]]
        assert np.abs(ours.per_query[name].to_numpy() - expected).max() < 1e-9, name
