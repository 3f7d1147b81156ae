"""`podium compare`: the pairs, the families, the words, and what is refused."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.errors import InputError
from pipeline.metrics.statistics.comparison import Rules, compare_runs, read_groups
from podium import cli

N, K = 120, 6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Judgments and three runs: good, good with other noise, and bad."""
    folder, generator = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    ids = {"query_id": np.repeat([f"q{i:03}" for i in range(N)], K), "item_id": np.tile(list("abcdef"), N)}
    grade = generator.choice(3, p=[0.6, 0.25, 0.15], size=N * K)
    tables = {"qrels": {"grade": grade}}
    for name, noise in (("good", 1.0), ("alike", 1.0), ("bad", 5.0)):
        tables[name] = {"score": grade + generator.normal(0.0, noise, N * K)}
    for name, column in tables.items():
        pl.DataFrame(ids | column).write_parquet(folder / f"{name}.parquet")
    pairs = {"query_id": [f"q{i:03}" for i in range(N)], "user_id": [f"u{i // 4}" for i in range(N)]}
    pl.DataFrame(pairs).write_csv(folder / "users.csv")
    return {path.stem: path for path in folder.iterdir()}


def run(files: dict[str, Path], *names: str) -> dict[str, Path]:
    return {name: files[name] for name in names}


def test_a_worse_run_is_said_to_be_worse_and_an_alike_one_is_not(files: dict[str, Path]) -> None:
    found = compare_runs(run(files, "good", "alike", "bad"), files["qrels"], ["ndcg@5"])
    said = found.lines()
    assert [(v.a, v.b) for v in found.verdicts] == [("good", "alike"), ("good", "bad"), ("alike", "bad")]
    assert "ndcg@5: bad is worse than good: -" in "\n".join(said)
    assert "between good and alike no difference could be shown" in "\n".join(said)
    assert all(v.family == 3 for v in found.verdicts)
    assert "after Holm over 3" in said[-2]
    assert said[-1].startswith("permutation test, 120 queries")


def test_against_the_first_there_is_one_comparison_fewer(files: dict[str, Path]) -> None:
    rules = Rules(baseline="first", correction="bonferroni")
    found = compare_runs(run(files, "good", "alike", "bad"), files["qrels"], ["ndcg@5", "mrr"], rules)
    assert [(v.metric, v.b) for v in found.verdicts] == [
        ("ndcg@5", "alike"),
        ("ndcg@5", "bad"),
        ("mrr", "alike"),
        ("mrr", "bad"),
    ]
    for verdict in found.verdicts:
        assert verdict.p_corrected == pytest.approx(min(1.0, 4 * verdict.difference.p_value))


@pytest.mark.parametrize("test", ["permutation", "t", "bootstrap"])
def test_the_tests_agree_on_what_is_clear(files: dict[str, Path], test: str) -> None:
    found = compare_runs(run(files, "good", "bad"), files["qrels"], ["ndcg@5"], Rules(test=test))  # type: ignore[arg-type]
    verdict = found.verdicts[0]
    assert verdict.p_corrected < 0.001
    assert verdict.difference.high < 0
    assert verdict.difference.mean == pytest.approx(
        found.systems["bad"]["ndcg@5"].mean - found.systems["good"]["ndcg@5"].mean
    )


def test_tukey_is_over_the_pairs_of_a_metric(files: dict[str, Path]) -> None:
    rules = Rules(correction="tukey")
    found = compare_runs(run(files, "good", "alike", "bad"), files["qrels"], ["ndcg@5", "mrr"], rules)
    assert {v.family for v in found.verdicts} == {3}
    assert "randomised Tukey over 3" in "\n".join(found.lines())
    one_by_one = [v.difference.p_value for v in found.verdicts]
    assert np.all(np.array([v.p_corrected for v in found.verdicts]) >= np.array(one_by_one) - 0.01)


def test_users_as_groups_are_counted_and_change_the_interval(files: dict[str, Path]) -> None:
    plain = compare_runs(run(files, "good", "alike"), files["qrels"], ["ndcg@5"])
    by_user = compare_runs(run(files, "good", "alike"), files["qrels"], ["ndcg@5"], group=files["users"])
    assert (plain.groups, by_user.groups) == (None, 30)
    assert by_user.verdicts[0].difference.mean == plain.verdicts[0].difference.mean
    assert by_user.verdicts[0].difference.low != plain.verdicts[0].difference.low
    assert "120 queries in 30 groups" in by_user.lines()[-1]


def test_the_smallest_difference_shrinks_with_fewer_comparisons_and_less_power(files: dict[str, Path]) -> None:
    def least(names: tuple[str, ...], **rules: float) -> float:
        return compare_runs(run(files, *names), files["qrels"], ["ndcg@5"], Rules(**rules)).verdicts[0].detectable  # type: ignore[arg-type]

    assert least(("good", "alike")) < least(("good", "alike", "bad"))
    assert least(("good", "alike"), power=0.5) < least(("good", "alike"), power=0.8)


def test_a_query_without_a_group_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("qid,group\nq1,x\nq2,\nq3,\nq4,x\n")
    groups = read_groups(path, pl.Series(["q1", "q2", "q3", "q4"]))
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("qid,group\nq1,x\n", "every judged query"),
        ("qid,group\nq1,x\nq1,y\nq2,x\n", "one group a query"),
        ("qid,colour\nq1,x\n", "a column of"),
    ],
)
def test_a_table_of_groups_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "g.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_groups(path, pl.Series(["q1", "q2"]))


@pytest.mark.parametrize(
    "rules", [{"test": "guess"}, {"correction": "hope"}, {"baseline": "last"}, {"power": 1.0}, {"power": 0.01}]
)
def test_unknown_rules_are_refused(files: dict[str, Path], rules: dict[str, object]) -> None:
    with pytest.raises(InputError):
        compare_runs(run(files, "good", "bad"), files["qrels"], ["ndcg@5"], Rules(**rules))  # type: ignore[arg-type]


def test_one_run_is_no_comparison_and_a_pooled_metric_has_no_pairs(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="two runs"):
        compare_runs(run(files, "good"), files["qrels"], ["ndcg@5"])
    with pytest.raises(InputError, match="a value for each query"):
        compare_runs(run(files, "good", "bad"), files["qrels"], ["auc_pooled"])


def test_the_command_prints_words_or_json_and_writes_a_file(files: dict[str, Path], tmp_path: Path) -> None:
    given = ["compare", "--run", files["good"], "--run", files["bad"], "--qrels", files["qrels"], "-m", "ndcg@5"]
    words = CliRunner().invoke(cli, [str(word) for word in given])
    assert words.exit_code == 0, words.output
    assert "bad is worse than good" in words.output
    out = tmp_path / "deep" / "compare.json"
    told = CliRunner().invoke(cli, [*(str(word) for word in given), "--json", "--out", str(out)])
    report = json.loads(told.output)
    assert report == json.loads(out.read_text())
    assert report["comparisons"][0]["p_corrected"] < 0.001
    assert report["protocol"]["queries"] == N
    assert set(report["systems"]) == {"good", "bad"}


def test_the_command_refuses_one_file_twice(files: dict[str, Path]) -> None:
    twice = ["compare", "--run", str(files["good"]), "--run", str(files["good"]), "--qrels", str(files["qrels"])]
    told = CliRunner().invoke(cli, twice)
    assert told.exit_code == 2
    assert "each file once" in told.output
