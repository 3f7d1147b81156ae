"""Slate metrics of run files: tables of items, pages, and what is refused."""

import json
from math import isnan, log, log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.errors import InputError
from pipeline.metrics.slates.items import read_items
from pipeline.metrics.slates.run import is_slate_metric, slate_values
from pipeline.metrics.tables.listings import read_qrels, read_run
from podium import cli

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "category": [["home", "pans"], ["home", "pans"], ["garden", "pans"], None],
        "popularity": [7, 3, 0, 2],
    }
)
RUN = read_run(
    pl.DataFrame(
        {
            "query_id": ["q1", "q1", "q1", "q2", "q9"],
            "item_id": ["a", "c", "b", "x", "a"],
            "score": [1.0, 3.0, 2.0, 1.0, 1.0],
        }
    )
)
QRELS = read_qrels(
    pl.DataFrame({"query_id": ["q1", "q1", "q2", "q3"], "item_id": ["a", "c", "a", "b"], "grade": [1, 1, 0, 2]})
)


def test_pages_are_the_best_by_score_and_without_judgments_every_query_counts() -> None:
    found = slate_values(RUN, read_items(ITEMS), ["entropy@2", "novelty@2", "ild@3", "coverage@3", "gini@3"])
    assert found.per_query["query_id"].to_list() == ["q1", "q2", "q9"]
    # q1 shows c, b: garden and home; and a, which is as b.
    assert found.per_query["entropy@2"][0] == pytest.approx(log(2))
    assert found.per_query["novelty@2"][0] == pytest.approx((4 + 2) / 2)
    assert found.per_query["ild@3"][0] == pytest.approx(2 / 3)
    assert isnan(found.per_query["entropy@2"][1])
    assert found.metrics["coverage@3"].mean == 3 / 4
    assert found.metrics["entropy@2"].n == 2
    assert found.notes == {"catalogue": 4, "unknown_slots": 1, "ild": "paths"}


def test_with_judgments_the_judged_queries_count_and_a_missing_one_gains_0() -> None:
    found = slate_values(RUN, read_items(ITEMS), ["alpha_ndcg@3", "srecall@1"], QRELS)
    assert found.per_query["query_id"].to_list() == ["q1", "q2", "q3"]
    # q1: c, b, a; a and c are relevant, of two topics; the ideal has both at once.
    expected = (1 + 1 / 2) / (1 + 1 / log2(3))
    assert found.per_query["alpha_ndcg@3"].to_list() == pytest.approx([expected, 0.0, 0.0])
    assert found.per_query["srecall@1"].to_list() == [0.5, 0.0, 0.0]
    skipped = slate_values(RUN, read_items(ITEMS), ["alpha_ndcg@3"], QRELS, empty="skip")
    assert isnan(skipped.per_query["alpha_ndcg@3"][1])
    assert skipped.metrics["alpha_ndcg@3"].n == 2


def test_exposure_is_spread_over_the_catalogue() -> None:
    found = slate_values(RUN, read_items(ITEMS), ["gini@1", "gini_discounted@3"]).metrics
    # First slots: c, x (unknown), a: two of four items once.
    assert found["gini@1"].mean == pytest.approx(0.5)
    assert found["gini@1"].refused == "too few queries: 3 of 30 needed"
    assert 0 <= found["gini_discounted@3"].mean < 1


def test_coverage_has_no_interval_and_no_draws_means_none_at_all() -> None:
    found = slate_values(RUN, read_items(ITEMS), ["coverage@3", "novelty@1"], draws=0).metrics
    assert isnan(found["coverage@3"].low)
    assert isnan(found["novelty@1"].low)
    assert found["novelty@1"].mean == pytest.approx((4 + 1) / 2)


def test_vectors_are_used_where_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,vector,topics\na,1|0,x|y\nb,0|1,y|x|x\nc,,\n")
    table = read_items(path)
    assert table.vectors is not None
    assert table.vectors.tolist() == [[1, 0], [0, 1], [0, 0]]
    run = read_run(pl.DataFrame({"query_id": ["q"] * 3, "item_id": ["a", "b", "c"], "score": [3, 2, 1]}))
    found = slate_values(run, table, ["ild", "ild_topics@2"])
    assert found.per_query.row(0)[1:] == pytest.approx((1.0, 0.0))
    assert found.notes["ild"] == "vectors"


def test_two_leaves_of_one_name_below_two_parents_are_two_categories() -> None:
    table = read_items(pl.DataFrame({"item_id": ["a", "b", "c"], "category": [["x", "pans"], ["y", "pans"], ["x"]]}))
    assert table.paths is not None
    assert len(set(table.paths[:2, 1].tolist())) == 2
    assert table.paths[0, 0] == table.paths[2, 0]
    assert table.paths[2, 1] == 0
    assert table.topics is not None
    assert len(set(table.topics[:, 0].tolist())) == 3


def test_an_array_column_is_a_list_column() -> None:
    frame = pl.DataFrame({"item_id": [1, 2], "vector": np.eye(2)})
    vectors = read_items(frame).vectors
    assert vectors is not None
    assert vectors.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"name": ["a"]}, "item_id"),
        ({"item_id": ["a", "a"]}, "item_id"),
        ({"item_id": ["a", None]}, "item_id"),
        ({"item_id": ["a"], "popularity": [-1]}, "popularity"),
        ({"item_id": ["a"], "vector": [["x"]]}, "vector"),
        ({"item_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "vector"),
        ({"item_id": ["a"], "vector": [1.0]}, "vector"),
        ({"item_id": ["a"], "category": [1.5]}, "category"),
    ],
)
def test_a_table_of_another_kind_is_refused(columns: dict[str, list[object]], field: str) -> None:
    with pytest.raises(InputError) as refused:
        read_items(pl.DataFrame(columns, strict=False))
    assert refused.value.field == field


@pytest.mark.parametrize("label", ["ild@10", "novelty@10", "entropy@10", "srecall@10", "alpha_ndcg@10"])
def test_a_metric_whose_column_or_judgments_lack_says_which(label: str) -> None:
    bare = read_items(ITEMS.select("item_id"))
    with pytest.raises(InputError, match="the column"):
        slate_values(RUN, bare, [label], QRELS)


def test_alpha_ndcg_needs_judgments_and_names_are_checked() -> None:
    with pytest.raises(InputError, match="--qrels"):
        slate_values(RUN, read_items(ITEMS), ["alpha_ndcg@10"])
    for wrong in ("ndcg@10", "ild@0", "gini@x"):
        with pytest.raises(InputError, match="metric"):
            slate_values(RUN, read_items(ITEMS), [wrong])
    assert is_slate_metric("gini@10")
    assert not is_slate_metric("ndcg@10")


def test_an_item_twice_under_a_query_is_refused() -> None:
    twice = read_run(pl.DataFrame({"query_id": ["q", "q"], "item_id": ["a", "a"], "score": [1, 2]}))
    with pytest.raises(InputError, match="each item once"):
        slate_values(twice, read_items(ITEMS), ["ild"])


def test_the_names_of_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        read_items(tmp_path / "items.txt")


def test_the_command_reports_ranking_and_slate_metrics_side_by_side(tmp_path: Path) -> None:
    for name, frame in (("items", ITEMS), ("run", RUN.frame), ("qrels", QRELS.frame)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = [f"--{name}={tmp_path / name}.parquet" for name in ("items", "run", "qrels")]
    asked = ["-m", "gini@3", "-m", "ndcg@3", "-m", "ild@3"]
    told = CliRunner().invoke(cli, ["metrics", *files, *asked, "--json", "--per-query"])
    report = json.loads(told.output)
    assert list(report["metrics"]) == ["gini@3", "ndcg@3", "ild@3"]
    assert report["queries"] == {"judged": 3, "missing": 1, "empty": 1, "unjudged": 1}
    assert report["slates"] == {"catalogue": 4, "unknown_slots": 1, "ild": "paths"}
    assert list(report["per_query"]["q1"]) == ["ndcg@3", "ild@3"]
    alone = json.loads(CliRunner().invoke(cli, ["metrics", *files, "-m", "ild@3", "--json"]).output)
    assert alone["queries"] == report["queries"]
    assert alone["metrics"]["ild@3"] == report["metrics"]["ild@3"]
    words = CliRunner().invoke(cli, ["metrics", *files[:2], "-m", "coverage@3"]).output
    assert "slates: catalogue 4, unknown_slots 1" in words
    assert "0 judged" in words


def test_a_slate_metric_without_a_table_asks_for_one(tmp_path: Path) -> None:
    RUN.frame.write_parquet(tmp_path / "run.parquet")
    told = CliRunner().invoke(cli, ["metrics", f"--run={tmp_path}/run.parquet", "-m", "gini@3"])
    assert told.exit_code == 2
    assert "--items: a table of items for gini@3" in told.output
