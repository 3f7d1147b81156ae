"""Files and frames that are no run or no judgments: each error says where, which field, what is right and what came."""

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.metrics.runs import evaluate_frame, evaluate_run

RUN = "q1 Q0 a 1 3.0 x\nq1 Q0 b 2 2.0 x\n"
QRELS = "q1 0 a 1\nq1 0 b 0\n"
CSV = "qid,docno,score\nq1,a,3\nq1,b,2\n"
LONG = "q1 Q0 " + "z" * 1_000_000

# name of the run's file, what it holds, what the error says of it
RUNS: list[tuple[str, str | bytes, str]] = [
    ("run", "", ": file: at least one row"),
    ("run", " \n\t\n", ": file: at least one row"),
    (
        "run",
        "q1 Q0 a 1 3.0\n",
        ", line 1: line: 6 fields: query_id Q0 item_id rank score tag; received 'q1 Q0 a 1 3.0'",
    ),
    ("run", RUN + "q1 Q0 c 3 1.0 x y\n", ", line 3: line: 6 fields: query_id"),
    ("run", RUN + "q1,Q0,c,3,1.0,x\n", ", line 3: line: 6 fields: query_id"),
    ("run", RUN + "q1 Q0 c 3 nan x\n", ", line 3: score: a number, not nan; received 'nan'"),
    ("run", RUN + "q1 Q0 c 3 NaN x\n", ", line 3: score: a number, not nan; received 'NaN'"),
    ("run", RUN + "q1 Q0 c 3 high x\n", ", line 3: score: a number in every row; received 'high'"),
    ("run", RUN + "q1 Q0 c 3 1,5 x\n", ", line 3: score: a number in every row; received '1,5'"),
    ("run", RUN + "q1 Q0 c 3 1_000 x\n", ", line 3: score: a number in every row; received '1_000'"),
    ("run", RUN + "q1 Q0 c 3 0x1F x\n", ", line 3: score: a number in every row; received '0x1F'"),
    ("run", RUN + "\n\nq1 Q0 b 3 1.0 x\n", ", line 5: item: each item once a query; remove one; received ('q1', 'b')"),
    ("run", "q9 Q0 a 1 3.0 x\n", ": query: at least one that is both in the run and judged; received 'q9 in "),
    ("run", RUN.replace("\n", "\r"), ", line 1: line: 6 fields"),
    ("run", RUN.encode("utf-16"), ", line 1: encoding: UTF-8 text; convert the file; received b'\\xff'"),
    ("run", RUN.encode("utf-16-le"), ", line 1: encoding: UTF-8 text; convert the file; received b'\\x00'"),
    ("run", RUN.encode("utf-32"), ", line 1: encoding: UTF-8 text; convert the file"),
    ("run", RUN.encode() + "q1 Q0 é 3 1 x\n".encode("latin-1"), ", line 3: encoding: UTF-8 text; convert the file"),
    (
        "run",
        RUN.encode() + b"q1 Q0 \x00 3 1 x\n",
        ", line 3: encoding: UTF-8 text; convert the file; received b'\\x00'",
    ),
    ("run", RUN + LONG, ", line 3: line: 6 fields"),
    ("run", RUN.replace("q1 Q0 b 2 2.0 x", "q1 Q0 b 2 2.0"), ", line 2: line: 6 fields"),
    ("run", b"PAR1" + bytes(60), ": file: a name ending in .parquet for Parquet"),
    ("run", '{"qid": "q1"}\n', ", line 1: line: 6 fields"),
    ("run.gz", RUN, ": file: gzip (Not a gzipped file"),
    ("run.gz", gzip.compress(RUN.encode() * 50, mtime=0)[:-20], ": file: gzip (Compressed file ended before"),
    ("run", gzip.compress(RUN.encode(), mtime=0)[:-5], ": file: gzip (Compressed file ended before"),
    ("run.gz", gzip.compress(RUN.encode(), mtime=0)[:-8] + bytes(8), ": file: gzip (CRC check failed"),
    (
        "run.gz",
        gzip.compress(RUN.encode() + b"q1 Q0 c 3 ? x\n", mtime=0),
        ", line 3: score: a number in every row; received '?'",
    ),
    ("run.csv", "qid,docno,score\n", ": run: at least one row"),
    ("run.csv", "q1,a,3\nq1,b,2\n", ": columns: one named request_id or query_id or qid; received 'q1, a, 3'"),
    (
        "run.csv",
        CSV.replace(",", ";"),
        ": columns: one named request_id or query_id or qid; received 'qid;docno;score'",
    ),
    ("run.csv", "qid,docno\nq1,a\n", ": columns: one named score; received 'qid, docno'"),
    ("run.csv", "qid,docno,score,score\nq1,a,3,4\n", ", line 1: columns: each name once; received 'score'"),
    ("run.csv", CSV + "q1,c,one\n", ", line 4: score: a number in every row; received 'one'"),
    ("run.csv", CSV + "q1,c,\n", ", line 4: score: a number in every row"),
    ("run.csv", CSV + ",c,1\n", ", line 4: qid: an id in every row"),
    ("run.csv", CSV + "q1,,1\n", ", line 4: docno: an id in every row"),
    ("run.csv", CSV + "q1,c,1,9\n", ", line 4: file: CSV with a header and as many fields in each row"),
    ("run.csv", CSV + "q1\n", ", line 4: docno: an id in every row"),
    ("run.csv", CSV + "q1,a,1\n", ", line 4: item: each item once a query; remove one; received ('q1', 'a')"),
    (
        "run.csv.gz",
        gzip.compress(CSV.encode() + b"q1,c,x\n", mtime=0),
        ", line 4: score: a number in every row; received 'x'",
    ),
    ("run.csv", CSV.encode("utf-16"), ", line 1: encoding: UTF-8 text; convert the file"),
    ("run.parquet", "no Parquet", ": file: Parquet ("),
    ("run.parquet", b"PAR1" + bytes(40) + b"PAR1", ": file: Parquet ("),
]


@pytest.mark.parametrize(("name", "content", "says"), RUNS, ids=[f"{n} {name}" for n, (name, _, _) in enumerate(RUNS)])
def test_a_run_that_is_none_is_refused_by_file_and_line(
    name: str, content: str | bytes, says: str, tmp_path: Path
) -> None:
    path, qrels = tmp_path / name, tmp_path / "qrels"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    qrels.write_text(QRELS)
    with pytest.raises(InputError) as error:
        evaluate_run(path, qrels)
    assert str(error.value).startswith(f"{path}{says}")
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("q1 0 a\n", ", line 1: line: 4 fields: query_id iteration item_id grade; received 'q1 0 a'"),
        ("q1 a 1\nq1 b 0\n", ", line 1: line: 4 fields"),
        (QRELS + "q1 0 c good\n", ", line 3: grade: a number in every row; received 'good'"),
        (QRELS + "q1 0 c nan\n", ", line 3: grade: a finite number; received 'nan'"),
        (QRELS + "q1 0 c inf\n", ", line 3: grade: a finite number; received 'inf'"),
        (QRELS + "q1 0 c 1e999\n", ", line 3: grade: a finite number; received '1e999'"),
        (QRELS + "q2 0 b 0\nq1 0 b 1\n", ", line 4: item: each item once a query; remove one; received ('q1', 'b')"),
    ],
)
def test_judgments_that_are_none_are_refused_by_file_and_line(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(RUN)
    (tmp_path / "qrels").write_text(content)
    with pytest.raises(InputError) as error:
        evaluate_run(tmp_path / "run", tmp_path / "qrels")
    assert str(error.value).startswith(f"{tmp_path / 'qrels'}{says}")


FRAME = pl.DataFrame({"qid": ["q1", "q1"], "docno": ["a", "b"], "score": [2.0, 1.0], "grade": [0, 1]})


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("qid", [1.0, 1.0], "qid: strings or whole numbers; nothing else names an item; received 'Float64'"),
        ("qid", [["q"], ["q"]], "qid: strings or whole numbers"),
        ("qid", ["q1", None], "row 1: qid: an id in every row"),
        ("docno", [b"a", b"b"], "docno: strings or whole numbers; nothing else names an item; received 'Binary'"),
        ("docno", [True, False], "docno: strings or whole numbers; nothing else names an item; received 'Boolean'"),
        ("docno", [None, "b"], "row 0: docno: an id in every row"),
        ("docno", ["a", "a"], "row 1: item: each item once a query; remove one; received ('q1', 'a')"),
        ("score", [[1.0], [2.0]], "score: a column of numbers; received 'List(Float64)'"),
        ("score", [date(2024, 1, 1), date(2024, 1, 2)], "score: a column of numbers; received 'Date'"),
        ("score", [1.0, float("nan")], "row 1: score: a number, not nan; received nan"),
        ("score", ["1", "up"], "row 1: score: a number in every row; received 'up'"),
        ("grade", [1.0, float("nan")], "row 1: grade: a finite number; received nan"),
        ("grade", [float("-inf"), 1.0], "row 0: grade: a finite number; received -inf"),
        ("grade", ["good", "bad"], "row 0: grade: a number in every row; received 'good'"),
        ("grade", [{"a": 1}, {"a": 2}], 'grade: a column of numbers; received "Struct'),
    ],
)
@pytest.mark.parametrize("kind", ["frame", "parquet", "two"])
def test_a_column_of_the_wrong_kind_is_refused(
    kind: str, column: str, values: list[Any], says: str, tmp_path: Path
) -> None:
    frame = FRAME.with_columns(pl.Series(column, values))
    frame.write_parquet(tmp_path / "run.parquet")
    evaluate: dict[str, Callable[[], object]] = {
        "frame": lambda: evaluate_frame(frame),
        "parquet": lambda: evaluate_frame(tmp_path / "run.parquet"),
        "two": lambda: evaluate_run(frame.drop("grade"), frame.drop("score")),
    }
    with pytest.raises(InputError) as error:
        evaluate[kind]()
    assert says in str(error.value)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    mixed = pd.DataFrame({"qid": ["q1", 2], "docno": [{1}, "b"], "score": [1, 2]})
    for source in (mixed, [1, 2], None, FRAME.lazy()):
        with pytest.raises(InputError, match="run: a path, or a Polars or pandas frame of text and numbers"):
            evaluate_run(source, FRAME)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="file: an existing file"):
        evaluate_run(tmp_path, FRAME)
    with pytest.raises(InputError, match="run: at least one row"):
        evaluate_run(FRAME.clear(), FRAME)
    with pytest.raises(InputError, match="judged run: at least one row"):
        evaluate_frame(FRAME.clear())


def test_what_is_unusual_but_clear_is_read(tmp_path: Path) -> None:
    usual = evaluate_run(FRAME.drop("grade"), FRAME.drop("score")).metrics
    for odd in (
        FRAME.with_columns(pl.col("score").cast(pl.Float32), pl.col("grade").cast(pl.Boolean)),
        FRAME.with_columns(pl.col("score").cast(pl.Decimal(10, 2)), pl.col("grade").cast(pl.UInt8)),
        FRAME.with_columns(pl.col("qid", "docno").cast(pl.Categorical), pl.col("grade").cast(pl.String)),
        FRAME.to_pandas(),
        FRAME.with_columns(score=pl.Series([float("inf"), float("-inf")])),
        pl.concat([FRAME, FRAME.clear(1)]),
    ):
        assert evaluate_frame(odd).metrics == usual
    marked = tmp_path / "run.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + FRAME.write_csv().replace("\n", "\r\n").encode() + b"\r\n")
    assert evaluate_frame(marked).metrics == usual
    # gzip is known by its first bytes, whatever the name.
    (tmp_path / "run").write_bytes(gzip.compress(b"q1 Q0 a 1 2 x\nq1\tQ0  b 2 1 x"))
    assert evaluate_run(tmp_path / "run", FRAME).metrics == usual
