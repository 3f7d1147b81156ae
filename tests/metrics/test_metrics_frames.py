"""One table with score and grade side by side says what the same run and judgments say apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.metrics.runs import evaluate_frame, evaluate_run
from pipeline.metrics.tables.lists import LongLists, blocks, repeated
from podium import cli
from tests.examples import examples

NAMES = ["ndcg@3", "ndcg", "dcg_exp@2", "mrr", "map@3", "recall", "precision@2", "hit@1", "r_precision", "bpref"]
NAMES += ["rbp@4", "rbp_residual", "err@3", "auc", "judged@2", "gauc", "auc_pooled"]
FRAME = pl.DataFrame({"qid": [7, 7, 8], "docno": ["a", "b", "a"], "score": [0.5, 0.25, 1.0], "grade": [0, 1, 2]})


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Queries of up to nine items; null scores (not retrieved) and null grades (not judged) among them."""
    keys = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=40, unique=True))
    score = st.none() | st.integers(0, 4).map(lambda value: value / 4)
    grade = st.none() | st.integers(-1, 3)
    values = draw(st.lists(st.tuples(score, grade), min_size=len(keys), max_size=len(keys)))
    rows = [(*key, *value) for key, value in zip(keys, values, strict=True)]
    schema = {"qid": pl.Int64, "docno": pl.Int64, "score": pl.Float64, "grade": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(tables(), st.sampled_from(["id", "trec", "expected"]), st.sampled_from(["zero", "skip"]))
@settings(max_examples=examples(60), deadline=None)
def test_a_table_and_its_two_halves_have_the_same_values(table: pl.DataFrame, ties: Any, empty: Any) -> None:
    run, qrels = table.drop("grade").drop_nulls("score"), table.drop("score").drop_nulls("grade")
    if not set(run["qid"]) & set(qrels["qid"]):
        return
    apart = evaluate_run(run, qrels, NAMES, ties, empty, draws=20)
    whole = evaluate_frame(table, NAMES, ties, empty, draws=20)
    ordered = whole.per_query.with_columns(pl.col("query_id").cast(pl.String)).sort("query_id")
    for name in apart.per_query.columns[1:]:
        assert np.allclose(apart.per_query[name], ordered[name], atol=1e-12, equal_nan=True), name
    assert (apart.queries.judged, apart.queries.empty) == (whole.queries.judged, whole.queries.empty)
    for name, interval in apart.metrics.items():
        same = [whole.metrics[name].mean, whole.metrics[name].low, whole.metrics[name].high]
        assert same == pytest.approx([interval.mean, interval.low, interval.high], abs=1e-9, nan_ok=True), name
        assert whole.metrics[name].n == interval.n


@pytest.mark.parametrize("ties", ["id", "trec", "expected"])
def test_the_order_of_rows_changes_nothing(ties: Any) -> None:
    generator = np.random.default_rng(2)
    request = np.repeat(np.arange(60), generator.integers(1, 40, 60))
    table = pl.DataFrame(
        {
            "qid": request,
            "docno": generator.permutation(len(request)),
            "score": generator.integers(0, 9, len(request)) / 8,
            "grade": generator.integers(0, 3, len(request)),
        }
    )
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    before, after = evaluate_frame(table, NAMES, ties), evaluate_frame(shuffled, NAMES, ties)
    for name, interval in before.metrics.items():
        assert after.metrics[name].mean == pytest.approx(interval.mean, abs=1e-12)
    values = after.per_query.sort("query_id")
    assert np.allclose(before.per_query.drop("query_id"), values.drop("query_id"), atol=1e-12, equal_nan=True)


def test_queries_stand_in_the_order_of_their_first_rows() -> None:
    scattered = FRAME[[2, 0, 1]]
    assert evaluate_frame(scattered).per_query["query_id"].to_list() == [8, 7]


def test_queries_without_judgment_are_left_out_and_counted() -> None:
    report = evaluate_frame(FRAME.with_columns(grade=pl.Series([None, None, 2])))
    assert (report.queries.judged, report.queries.unjudged) == (1, 1)
    with pytest.raises(InputError, match="grade: at least one; nothing is judged"):
        evaluate_frame(FRAME.with_columns(grade=pl.lit(None, pl.Int64)))


@pytest.mark.parametrize("frame", [FRAME, FRAME[[0, 2, 1]], FRAME.with_columns(pl.col("docno").cast(pl.Categorical))])
def test_an_item_twice_in_a_request_is_refused_with_its_row(frame: pl.DataFrame) -> None:
    double = pl.concat([frame, frame.filter(pl.col("docno") == "b")])
    with pytest.raises(InputError, match=r"judged run, row 3: item: each item once .*received \(7, 'b'\)"):
        evaluate_frame(double)


def test_without_item_ids_only_expected_ties_are_taken() -> None:
    bare = FRAME.drop("docno")
    assert evaluate_frame(bare, ["mrr"], ties="expected").metrics["mrr"].mean == pytest.approx((1 / 2 + 1) / 2)
    with pytest.raises(InputError, match="ties: expected in a table without item ids"):
        evaluate_frame(bare, ["mrr"])


def test_whole_number_ids_break_ties_as_text_as_in_files() -> None:
    tied = pl.DataFrame({"qid": [1, 1], "docno": [9, 10], "score": [1, 1], "grade": [1, 0]})
    assert evaluate_frame(tied, ["mrr"]).metrics["mrr"].mean == 1 / 2
    assert evaluate_frame(tied, ["mrr"], ties="trec").metrics["mrr"].mean == 1.0


@given(st.lists(st.integers(1, 70), min_size=1, max_size=60))
def test_blocks_hold_every_list_once_and_lay_its_rows_in_order(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes[:-1]])
    rows = np.arange(sum(sizes))
    lists = LongLists(starts, np.array(sizes), rows / 1.0, rows)
    seen: dict[int, list[int]] = {}
    for block in blocks(lists):
        for place, cells, inside in zip(block.lists, block.lay(rows), block.inside, strict=True):
            assert int(place) not in seen
            seen[int(place)] = cells[inside].tolist()
    assert [seen[place] for place in range(len(sizes))] == [
        list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)
    ]


def test_repeated_keys_are_found_in_lists_of_any_length() -> None:
    sizes = np.array([3, 2, 3])
    keys = np.array([1, 2, 1, 1, 2, 0, 1, 2], dtype=np.uint64)
    lists = LongLists(np.cumsum(sizes) - sizes, sizes, keys / 1.0, keys)
    assert repeated(lists, keys).tolist() == [0]


def test_the_command_reads_one_file_and_writes_the_values_of_each_query(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "run.csv")
    FRAME.write_parquet(tmp_path / "run.parquet")
    for name, read in (("run.csv", pl.read_parquet), ("run.parquet", pl.read_csv)):
        out = tmp_path / ("values.parquet" if read is pl.read_parquet else "values.csv")
        given_ = ["metrics", "--run", str(tmp_path / name), "-m", "mrr", "-m", "gauc", "--out", str(out), "--json"]
        done = CliRunner().invoke(cli, given_)
        assert done.exit_code == 0, done.output
        found = json.loads(done.output)["metrics"]
        assert (found["mrr"]["mean"], found["gauc"]["n"]) == (0.75, 2)
        assert read(out)["mrr"].to_list() == [0.5, 1.0]
    wrong = CliRunner().invoke(cli, ["metrics", "--run", str(tmp_path / "run.csv"), "-m", "mrr", "--out", "values.txt"])
    assert wrong.exit_code == 2
    assert "--out: a file ending in .parquet or .csv" in wrong.output
