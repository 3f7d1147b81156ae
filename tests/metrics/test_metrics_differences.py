"""Where libraries differ: each row of docs/metrics.md, executed with ours and, where it is quick, with theirs."""

import re
from math import log, log2
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import ndcg_score

from pipeline.metrics.runs import evaluate_frame, evaluate_run

pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")

Nested = dict[str, dict[str, float]]
TIED: Nested = {"q": {"a": 1.0, "b": 1.0, "c": 1.0}}
FIRST: Nested = {"q": {"a": 1, "b": 0, "c": 0}}
GRADED = ({"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "b": 3}})
CLOSE = ({"q": {"a": 1 + 1e-12, "b": 1.0}}, {"q": {"a": 1}})
MISSING = ({"q1": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"a": 1}})
EMPTY = ({"q1": {"a": 1.0}, "q2": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"a": 0}})
UNSEEN = ({"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "b": 0, "z": 3}})
FOUR = ({"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": 1, "c": 1, "y": 1, "z": 1}})
BELOW_ZERO = ({"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": -1, "b": 1, "c": 2}})
NDCG_LINEAR = (1 + 3 / log2(3)) / (3 + 1 / log2(3))
NDCG_EXPONENTIAL = (1 + 7 / log2(3)) / (7 + 1 / log2(3))
NDCG_UNSEEN = 1 / (3 + 1 / log2(3))


def long(nested: Nested, value: str) -> pl.DataFrame:
    rows = [(query, item, float(number)) for query, items in nested.items() for item, number in items.items()]
    return pl.DataFrame(rows, schema=["query_id", "item_id", value], orient="row")


def ours(case: tuple[Nested, Nested], name: str, **rules: Any) -> float:
    return evaluate_run(long(case[0], "score"), long(case[1], "grade"), [name], draws=0, **rules).metrics[name].mean


def trec(case: tuple[Nested, Nested], measure: str) -> float:
    """The mean over the queries trec_eval has a value for."""
    name = measure.replace(".", "_")
    values = pytrec_eval.RelevanceEvaluator(case[1], {measure}).evaluate(case[0]).values()
    return sum(value[name] for value in values) / len(values)


@pytest.mark.parametrize(
    ("case", "name", "rules", "expected"),
    [
        ((TIED, FIRST), "mrr", {}, 1.0),
        ((TIED, FIRST), "mrr", {"ties": "trec"}, 1 / 3),
        ((TIED, FIRST), "mrr", {"ties": "expected"}, (1 + 1 / 2 + 1 / 3) / 3),
        ((TIED, FIRST), "ndcg", {"ties": "expected"}, (1 + 1 / log2(3) + 1 / 2) / 3),
        (CLOSE, "mrr", {}, 1.0),
        (CLOSE, "mrr", {"ties": "trec"}, 1 / 2),
        (MISSING, "mrr", {}, 1 / 2),
        (EMPTY, "ndcg", {}, 1 / 2),
        (EMPTY, "ndcg", {"empty": "skip"}, 1.0),
        (UNSEEN, "ndcg@10", {}, NDCG_UNSEEN),
        (UNSEEN, "precision@5", {}, 1 / 5),
        (GRADED, "ndcg", {}, NDCG_LINEAR),
        (GRADED, "ndcg_exp", {}, NDCG_EXPONENTIAL),
        (FOUR, "map@2", {}, 1 / 4),
        (GRADED, "err@10", {}, 1 / 8 + (7 / 8) * (7 / 8) / 2),
        (GRADED, "err(max=4)@10", {}, 1 / 16 + (15 / 16) * (7 / 16) / 2),
        (GRADED, "rbp(p=0.5)", {}, 1 / 2 + 1 / 4),
        (BELOW_ZERO, "bpref", {}, 1.0),
    ],
)
def test_podium_has_the_value_of_the_table(
    case: tuple[Nested, Nested], name: str, rules: dict[str, Any], expected: float
) -> None:
    assert ours(case, name, **rules) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("case", "measure", "expected"),
    [
        ((TIED, FIRST), "recip_rank", 1 / 3),
        (CLOSE, "recip_rank", 1 / 2),
        (MISSING, "recip_rank", 1.0),
        (EMPTY, "ndcg", 1 / 2),
        (UNSEEN, "ndcg_cut.10", NDCG_UNSEEN),
        (UNSEEN, "P.5", 1 / 5),
        (GRADED, "ndcg", NDCG_LINEAR),
        (FOUR, "map_cut.2", 1 / 4),
        (BELOW_ZERO, "bpref", 1.0),
    ],
)
def test_trec_eval_has_the_value_of_the_table(case: tuple[Nested, Nested], measure: str, expected: float) -> None:
    assert trec(case, measure) == pytest.approx(expected, abs=1e-12)


def test_scikit_learn_has_the_values_of_the_table() -> None:
    assert ndcg_score([[1, 0, 0]], [[1, 1, 1]]) == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 3)
    assert ndcg_score([[1, 0], [0, 0]], [[1, 0], [1, 0]]) == pytest.approx(1 / 2)
    assert ndcg_score([[1, 0]], [[2, 1]]) == 1.0
    assert ndcg_score([[1, 3]], [[2, 1]]) == pytest.approx(NDCG_LINEAR)
    with pytest.raises(ValueError, match="negative y_true"):
        ndcg_score([[-1, 1, 2]], [[3, 2, 1]])
    sure = pl.DataFrame({"qid": [1, 1], "docno": ["a", "b"], "score": [0.0, 0.5], "grade": [1, 0]})
    assert evaluate_frame(sure, ["log_loss"]).metrics["log_loss"].mean == pytest.approx(-(log(1e-15) + log(0.5)) / 2)
    assert sklearn_log_loss([1, 0], [0.0, 0.5]) == pytest.approx(18.37, abs=0.005)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_ranx_and_ir_measures_have_the_values_of_the_table() -> None:
    ir_measures, ranx = pytest.importorskip("ir_measures"), pytest.importorskip("ranx")

    def by_ranx(case: tuple[Nested, Nested], name: str) -> float:
        return float(ranx.evaluate(ranx.Qrels(case[1]), ranx.Run(case[0]), name, make_comparable=True))

    reciprocal = ir_measures.RR
    for case, expected in (((TIED, FIRST), 1 / 3), (MISSING, 1 / 2)):
        assert ir_measures.calc_aggregate([reciprocal], case[1], case[0])[reciprocal] == pytest.approx(expected)
    for case, name, expected in (
        ((TIED, FIRST), "mrr", 1.0),
        (CLOSE, "mrr", 1.0),
        (MISSING, "mrr", 1 / 2),
        (EMPTY, "ndcg", 1 / 2),
        (UNSEEN, "ndcg@10", NDCG_UNSEEN),
        (UNSEEN, "precision@5", 1 / 5),
        (GRADED, "ndcg", NDCG_LINEAR),
        (GRADED, "ndcg_burges", NDCG_EXPONENTIAL),
        (FOUR, "map@2", 1 / 4),
        (GRADED, "rbp.50", 1.25),
    ):
        assert by_ranx(case, name) == pytest.approx(expected), name


def test_the_example_of_the_document_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(example, "docs/metrics.md", "exec"), {})
    said = re.findall(r"^# (.*)$", example, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == said
    assert len(said) == 3


def test_the_document_names_every_metric() -> None:
    from pipeline.metrics import names, pooled

    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert [name for name in [*names.METRICS, *pooled.METRICS] if f"`{name}`" not in text] == []
