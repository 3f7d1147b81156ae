"""`podium metrics`: conventions by hand, reading of files, and errors that say where."""

import gzip
import json
import subprocess
import sys
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import pytrec_eval

from pipeline.errors import InputError
from pipeline.metrics.runs import evaluate_run, metrics_report

RUN = pl.DataFrame(
    {
        "request_id": ["q1", "q1", "q1", "q2", "q9"],
        "item_id": ["a", "b", "c", "a", "a"],
        "score": [3.0, 2.0, 1.0, 1.0, 1.0],
    }
)
QRELS = pl.DataFrame(
    {
        "request_id": ["q1", "q1", "q1", "q2", "q3"],
        "item_id": ["b", "c", "z", "a", "a"],
        "grade": [1, 2, 3, 0, 1],
    }
)
TREC_RUN = "q1 Q0 a 1 3.0 x\nq1 Q0 b 2 2.0 x\nq1 Q0 c 3 1.0 x\nq2 Q0 a 1 1.0 x\nq9 Q0 a 1 1.0 x\n"
TREC_QRELS = "q1 0 b 1\nq1 0 c 2\nq1 0 z 3\nq2 0 a 0\nq3 0 a 1\n"


def mean(name: str, run: pl.DataFrame = RUN, qrels: pl.DataFrame = QRELS, **rules: str) -> float:
    return evaluate_run(run, qrels, [name], **rules).metrics[name].mean


@pytest.mark.parametrize(
    ("name", "q1"),
    [
        ("ndcg@10", (1 / log2(3) + 2 / log2(4)) / (3 + 2 / log2(3) + 1 / log2(4))),
        ("ndcg_exp@2", (1 / log2(3)) / (7 + 3 / log2(3))),
        ("dcg", 1 / log2(3) + 2 / log2(4)),
        ("mrr", 1 / 2),
        ("map", (1 / 2 + 2 / 3) / 3),
        ("recall@2", 1 / 3),
        ("precision@2", 1 / 2),
        ("precision", 2 / 3),
        ("hit@1", 0.0),
        ("hit_rate@2", 1.0),
    ],
)
def test_judged_queries_count_also_when_missing_or_empty(name: str, q1: float) -> None:
    # Three judged queries: q1 has a value, q2 nothing relevant, q3 is missing from the run; q9 is not judged.
    assert mean(name) == pytest.approx(q1 / 3)


def test_empty_queries_may_be_left_out() -> None:
    report = evaluate_run(RUN, QRELS, ["mrr"], empty="skip")
    assert report.metrics["mrr"].mean == pytest.approx((1 / 2 + 0) / 2)
    assert report.metrics["mrr"].n == 2


def test_what_was_left_out_or_counted_zero_is_counted() -> None:
    counts = evaluate_run(RUN, QRELS).queries
    assert (counts.judged, counts.missing, counts.empty, counts.unjudged) == (3, 1, 1, 1)


def test_per_query_values_stand_under_the_query_id() -> None:
    report = evaluate_run(RUN, QRELS, ["mrr", "auc"])
    assert report.per_query["query_id"].to_list() == ["q1", "q2", "q3"]
    assert report.per_query["mrr"].to_list() == [0.5, 0.0, 0.0]
    # An undefined AUC never counts 0, which would mean that all pairs are the wrong way round.
    assert report.metrics["auc"].n == 1


def test_auc_and_judged_share_by_hand() -> None:
    # q1 ranks a (not relevant), b, c (relevant): both pairs wrong; of its first two one is judged.
    assert mean("auc") == 0.0
    values = evaluate_run(RUN, QRELS, ["judged@2", "judged"]).per_query
    assert values["judged@2"].to_list() == [1 / 2, 1.0, 0.0]
    assert values["judged"].to_list() == [2 / 3, 1.0, 0.0]


def test_ties_stand_by_id_or_as_trec_eval_or_by_expectation() -> None:
    run = pl.DataFrame({"qid": ["1"] * 2, "docno": ["b", "a"], "score": [1.0, 1.0]})
    qrels = pl.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    assert mean("mrr", run, qrels, ties="id") == 1 / 2
    assert mean("mrr", run, qrels, ties="trec") == 1.0
    assert mean("mrr", run, qrels, ties="expected") == (1 + 1 / 2) / 2


def test_a_grade_below_zero_is_no_gain() -> None:
    qrels = QRELS.with_columns(grade=pl.when(pl.col("item_id") == "b").then(-2).otherwise("grade"))
    assert mean("dcg", qrels=qrels) == pytest.approx(2 / log2(4) / 3)


def random_case(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Some 12 queries with ties, unjudged, missing and empty ones, and judged items that were not retrieved."""
    generator = np.random.default_rng(seed)
    pairs = np.array([(q, d) for q in range(12) for d in range(25)])
    run = pairs[generator.random(len(pairs)) < generator.uniform(0.1, 0.9)]
    qrels = pairs[generator.random(len(pairs)) < generator.uniform(0.1, 0.6)]
    levels = generator.integers(2, 12)
    return (
        pl.DataFrame({"qid": run[:, 0], "docno": run[:, 1], "score": generator.integers(0, levels, len(run)) / 7})
        .filter(pl.col("qid") != 3)
        .cast({"qid": pl.String, "docno": pl.String}),
        pl.DataFrame(
            {"qid": qrels[:, 0], "docno": qrels[:, 1], "grade": generator.choice([-1, 0, 0, 1, 2, 4], len(qrels))}
        )
        .filter(pl.col("qid") != 5)
        .cast({"qid": pl.String, "docno": pl.String}),
    )


def nested(frame: pl.DataFrame, value: str) -> dict[str, dict[str, float]]:
    return {
        key: dict(zip(part["docno"], part[value], strict=True))
        for (key,), part in frame.group_by("qid", maintain_order=True)
    }


def test_scores_alike_in_single_precision_tie_as_in_trec_eval() -> None:
    run = pl.DataFrame({"qid": ["1"] * 2, "docno": ["a", "b"], "score": [1.0 + 1e-12, 1.0]})
    qrels = pl.DataFrame({"qid": ["1"], "docno": ["a"], "grade": [1]})
    theirs = pytrec_eval.RelevanceEvaluator(nested(qrels, "grade"), {"recip_rank"}).evaluate(nested(run, "score"))
    assert mean("mrr", run, qrels, ties="trec") == theirs["1"]["recip_rank"]
    assert mean("mrr", run, qrels, ties="id") == 1.0


def test_the_order_of_rows_changes_nothing() -> None:
    for ties in ("id", "trec", "expected"):
        run, qrels = random_case(1)
        names = ["ndcg@10", "map", "mrr"]
        before = evaluate_run(run, qrels, names, ties)
        shuffled = evaluate_run(
            run.sample(fraction=1, shuffle=True, seed=1), qrels.sample(fraction=1, shuffle=True, seed=2), names, ties
        )
        assert before.per_query.equals(shuffled.per_query)
        assert before.metrics == shuffled.metrics


def write(folder: Path, kind: str) -> tuple[Path, Path]:
    run, qrels = folder / f"run.{kind}", folder / f"qrels.{kind}"
    if kind == "parquet":
        RUN.write_parquet(run)
        QRELS.write_parquet(qrels)
    elif kind == "csv":
        RUN.select("score", "item_id", "request_id").write_csv(run)
        QRELS.write_csv(qrels)
    elif kind == "txt":
        run.write_text(TREC_RUN)
        qrels.write_text(TREC_QRELS)
    elif kind == "odd":
        run.write_text("\ufeff" + TREC_RUN.replace(" ", "\t ").replace("\n", " \r\n"), encoding="utf-8")
        qrels.write_text("\n" + TREC_QRELS.replace(" 0 ", "  0\t") + "\n\n")
    else:
        run.write_bytes(gzip.compress(TREC_RUN.encode()))
        qrels.write_bytes(gzip.compress(TREC_QRELS.encode()))
    return run, qrels


@pytest.mark.parametrize("kind", ["parquet", "csv", "txt", "odd", "gz"])
def test_every_format_says_the_same_as_the_frames(kind: str, tmp_path: Path) -> None:
    read, given = metrics_report(*write(tmp_path, kind), ["map"]), evaluate_run(RUN, QRELS, ["map"])
    assert read.per_query.equals(given.per_query)
    assert read.as_json() == given.as_json()


def test_pandas_frames_and_whole_number_ids_are_taken() -> None:
    numbered = {"q1": 1, "q2": 2, "q3": 3, "q9": 9}
    run = RUN.with_columns(pl.col("request_id").replace_strict(numbered)).to_pandas()
    qrels = QRELS.with_columns(pl.col("request_id").replace_strict(numbered)).to_pandas()
    assert evaluate_run(run, qrels, ["map"]).metrics == evaluate_run(RUN, QRELS, ["map"]).metrics


@pytest.mark.parametrize(
    ("name", "run", "says"),
    [
        ("run.txt", "q1 Q0 a 1 3.0 x\nq1 Q0 b 2 high x\n", "run.txt, line 2: score: a number"),
        ("run.txt", "q1 Q0 a 1 3.0 x\n\nq1 Q0 b 2 nan x\n", "run.txt, line 3: score: a number, not nan"),
        ("run.txt", "\n\nq1 Q0 a 1 up x\n", "run.txt, line 3: score: a number"),
        ("run.txt", "q1 Q0 a 1 3.0 x\nq1 Q0 b 2\n", "run.txt, line 2: line: 6 fields: query_id Q0 item_id rank"),
        ("run.txt", "q1 Q0 a 1 3.0 x y\n", "run.txt, line 1: line: 6 fields"),
        ("run.txt", "q1 Q0 a 1 3 x\nq2 Q0 a 1 3 x\nq1 Q0 a 2 2 x\n", "run.txt, line 3: item: each item once"),
        ("run.txt", "q8 Q0 a 1 3 x\nq8 Q0 a 2 2 x\n", "run.txt, line 2: item: each item once"),
        ("run.txt", "  \n", "run.txt: file: at least one row"),
        ("run.csv", "request_id,item_id,score\n", "run.csv: run: at least one row"),
        ("run.csv", "request_id,item,score\nq,a,1\n", "columns: one named item_id or docno or doc_id"),
        (
            "run.csv",
            "qid,docno,score\nq1,a,1\nq1,b,one\n",
            "run.csv, line 3: score: a number in every row; received 'one'",
        ),
        ("run.csv", "qid,docno,score\nq1,a,1\nq1,,2\n", "run.csv, line 3: docno: an id in every row"),
        ("run.csv", "qid,docno,score\nq1,a,1,2\n", "run.csv, line 2: file: CSV with"),
        ("run.parquet", "not parquet", "run.parquet: file: Parquet"),
        ("run.gz", "not gzip", "run.gz: file: gzip"),
    ],
)
def test_an_error_names_file_line_and_column(name: str, run: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(run)
    (tmp_path / "qrels").write_text(TREC_QRELS)
    with pytest.raises(InputError) as error:
        metrics_report(tmp_path / name, tmp_path / "qrels", ["map"])
    assert says in str(error.value)


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(TREC_RUN.encode() + "q1 Q0 é 4 0.5 x\n".encode("latin-1"))
    (tmp_path / "qrels").write_text(TREC_QRELS)
    with pytest.raises(InputError, match=r"run, line 6: encoding: UTF-8 text"):
        metrics_report(tmp_path / "run", tmp_path / "qrels", ["map"])
    with pytest.raises(InputError, match="file: an existing file"):
        metrics_report(tmp_path / "none", tmp_path / "qrels", ["map"])


def test_bad_judgments_and_frames_are_refused(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 a 1\nq1 0 b inf\n")
    with pytest.raises(InputError, match=r"qrels, line 2: grade: a finite number"):
        evaluate_run(RUN, tmp_path / "qrels")
    with pytest.raises(InputError, match=r"qrels, row 5: item: each item once"):
        evaluate_run(RUN, pl.concat([QRELS, QRELS.head(1)]))
    with pytest.raises(InputError, match=r"run, row 1: score: a number, not nan"):
        evaluate_run(RUN.with_columns(score=pl.Series([1.0, np.nan, 1, 1, 1])).to_pandas(), QRELS)
    with pytest.raises(InputError, match="request_id: strings or whole numbers"):
        evaluate_run(RUN.with_columns(request_id=pl.Series(np.arange(5) / 2)), QRELS)


def test_unknown_names_and_rules_are_refused_with_the_known_ones() -> None:
    for name in ("ndgc@10", "ndcg@0", "ndcg@ten", "auc@5", "NDCG"):
        with pytest.raises(InputError, match=r"metric: .*auc"):
            evaluate_run(RUN, QRELS, [name])
    with pytest.raises(InputError, match="ties: one of expected, id, trec; received 'none'"):
        evaluate_run(RUN, QRELS, ties="none")
    with pytest.raises(InputError, match="empty: one of zero, skip"):
        evaluate_run(RUN, QRELS, empty="one")
    with pytest.raises(InputError, match="at least one"):
        evaluate_run(RUN, QRELS, [])


def test_the_report_is_json_with_null_for_what_is_undefined() -> None:
    one_sided = evaluate_run(RUN.head(1), QRELS, ["mrr", "auc"]).as_json(per_query=True)
    report = json.loads(json.dumps(one_sided, allow_nan=False))
    nothing = dict.fromkeys(("low", "high", "refused", "needed"))
    assert report["metrics"]["auc"] == nothing | {"mean": None, "n": 0}
    assert report["metrics"]["mrr"]["n"] == 3
    assert report["per_query"]["q1"] == {"mrr": 0.0, "auc": None}
    assert report["queries"] == {"judged": 3, "missing": 2, "empty": 1, "unjudged": 0}


def test_importing_the_metrics_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, pipeline.metrics.runs; print([m for m in ('torch', 'pandas', 'scipy') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
