"""Formats that are tables: ids and queries as written, bad rows by themselves, and one event an event."""

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.ingest import IngestReport, ingest
from pipeline.logs.read import Log

T0 = 1_700_000_000  # s


def put(folder: Path, **tables: str) -> Path:
    """A folder of CSV files, one a keyword; rows are separated by blanks."""
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text(rows.replace(" ", "\n") + "\n")
    return folder


def read(source: Path, fmt: str | None = None, **options: str) -> tuple[IngestReport, Log]:
    log = source.parent / f"{source.name}-log"
    report = ingest(fmt, [source], log, options=options)
    return report, Log.open(log)


def refused(log: Log) -> list[tuple[str, int, str]]:
    """File, line and field of each refused row."""
    texts = [text for path in sorted(log.root.glob("quarantine/*")) for text in path.read_text().splitlines()]
    return sorted((Path(row["file"]).name, row["line"], row["field"]) for row in map(json.loads, texts))


@pytest.mark.parametrize("queries", [("00412", "412", "1e3"), ("1.10", "1.1", "1.100"), ("true", "1", "01")])
def test_counted_queries_are_text(queries: tuple[str, ...], tmp_path: Path) -> None:
    rows = [f"{query},2025-03-0{n},{n}" for n, query in enumerate(queries, start=1)]
    report, log = read(put(tmp_path / "counts", daily="query,date,searches " + " ".join(rows)))
    assert report.format == "query-counts"
    told = log.frame("suggest")["query"].value_counts().rows()
    assert sorted(told) == sorted((query, n) for n, query in enumerate(queries, start=1))


def test_counts_that_cannot_be_are_refused_row_by_row(tmp_path: Path) -> None:
    rows = "a,2025-03-01,2 b,2025-03-32,1 c,2025-03-01,some ,2025-03-01,1 d,2025-03-01,-1 e,2025-03-01,99999999999"
    report, log = read(put(tmp_path / "counts", daily=f"query,date,searches {rows}"))
    assert report.accepted == {"suggest": 2}
    fields = ["date", "searches", "query", "searches", "searches"]
    assert refused(log) == [("daily.csv", line, field) for line, field in enumerate(fields, start=3)]


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_counts_of_one_query_and_day_the_larger_holds(reverse: bool, tmp_path: Path) -> None:
    rows = ["a,2025-03-01,2", "a,2025-03-01,3", "a,2025-03-01,3", "a,2025-03-02,1"]
    source = put(tmp_path / "counts", daily="query,date,searches " + " ".join(rows[::-1] if reverse else rows))
    report, log = read(source)
    assert (len(log.frame("suggest")), report.quarantined) == (4, 1)
    assert report.mended == {"row: the same again": 1}


@pytest.mark.parametrize("query", ["007", "1e3", "true", "12"])
def test_judged_queries_and_products_are_text(query: str, tmp_path: Path) -> None:
    rows = f"1,0815,Lamp,{query},2 2,815,Desk,{query},n/a 3,0815,Lamp,{query},1,0 4,0815,Lamp,,1"
    report, log = read(put(tmp_path / "judged", judgments=f"id,product_uid,product_title,search_term,relevance {rows}"))
    assert report.format == "judged"
    assert log.frame("judgment", columns=["query", "item_id", "grade"]).rows() == [(query, "0815", 1.0)]
    expected = [("judgments.csv", 3, "relevance"), ("judgments.csv", 4, "row"), ("judgments.csv", 5, "query")]
    assert refused(log) == expected


def test_taobao_ids_are_text_and_a_bad_row_costs_itself(tmp_path: Path) -> None:
    rows = f"07,1.10,5,pv,{T0} 7,1.1,5,pv,{T0} 7,1.1,5,pv,{T0} 8,2,5,buy,never 9,3,5,buy,{T0},x"
    source = tmp_path / "UserBehavior.csv"
    source.write_text(rows.replace(" ", "\n"))
    report, log = read(source)
    told = log.frame("feedback", columns=["user_id", "item_id", "action"]).rows()
    assert sorted(told) == [("07", "1.10", "view"), ("7", "1.1", "view")]
    assert report.duplicates == {"feedback": 1, "item": 0}
    assert refused(log) == [("UserBehavior.csv", 4, "ts_unix_s"), ("UserBehavior.csv", 5, "row")]


def test_movielens_ids_are_text_and_every_table_has_its_own_lines(tmp_path: Path) -> None:
    source = put(
        tmp_path / "ml",
        ratings=f"userId,movieId,rating,timestamp 1,01,4,{T0} 1,1,4,{T0} 1,1,5,{T0 + 9} 2,1,4,lately",
        movies="movieId,title,genres 01,One(1995),Drama 1,Uno,Comedy|Drama,more 1,Uno,Comedy",
        tags=f"userId,movieId,tag,timestamp 1,01,new,{T0 + 5} 1,1,007,{T0 + 5} 1,1,old,",
    )
    report, log = read(source)
    assert report.format == "movielens"
    assert sorted(log.frame("feedback", columns=["event_id", "item_id"]).rows()) == [
        ("rating:1:01", "01"),
        ("rating:1:1", "1"),
        (f"rating:1:1:{(T0 + 9) * 1000}", "1"),
    ]
    assert {(item, *tags) for item, tags in log.frame("item", columns=["item_id", "tags"]).rows()} == {
        ("01", "Drama"),
        ("01", "Drama", "new"),
        ("1", "Comedy"),
        ("1", "Comedy", "007"),
    }
    assert refused(log) == [("movies.csv", 3, "row"), ("ratings.csv", 5, "timestamp"), ("tags.csv", 4, "timestamp")]


def test_users_of_movielens_keep_zip_codes_as_written(tmp_path: Path) -> None:
    source = put(
        tmp_path / "ml",
        interactions="user_id;pos;movie_id 01;1;7",
        users="user_id;gender;age;zip_code 01;F;25;07030 02;M;old;10115",
    )
    report, log = read(source)
    told = {user: json.loads(text) for user, text in log.frame("user", columns=["user_id", "attributes"]).rows()}
    assert told == {"01": {"gender": "F", "age": 25, "zip_code": "07030"}, "02": {"gender": "M", "zip_code": "10115"}}
    assert report.mended == {"age: must be a whole number": 1}


def test_sequences_keep_ids_and_lose_only_the_place_that_is_none(tmp_path: Path) -> None:
    source = put(
        tmp_path / "s",
        interactions="user_id,pos,item_id 1,1,007 01,1,7 1,second,8 1,3,",
        item_attributes="item_id,attribute_ids 007,1|01",
    )
    report, log = read(source)
    assert report.format == "sequences"
    assert sorted(log.frame("feedback", columns=["user_id", "item_id"]).rows()) == [("01", "7"), ("1", "007")]
    assert log.frame("item", columns=["item_id", "tags"]).rows() == [("007", ["1", "01"])]
    assert refused(log) == [("interactions.csv", 4, "pos"), ("interactions.csv", 5, "item_id")]


FLOATS = {
    "taobao": {"user_id": [1.0], "item_id": [1], "category_id": [1], "behavior": ["pv"], "ts_unix_s": [T0]},
    "ratings": {"userId": [1], "movieId": [1.5], "rating": [4.0], "timestamp": [T0]},
    "interactions": {"user_id": [1], "pos": [1], "item_id": [2.0]},
    "judgments": {"id": [1], "product_title": ["a"], "query": [12.0], "median_relevance": [2]},
    "daily": {"query": [1000.0], "date": ["2025-03-01"], "searches": [1]},
}


@pytest.mark.parametrize("name", FLOATS)
def test_float_ids_and_queries_are_refused_in_every_format(name: str, tmp_path: Path) -> None:
    pl.DataFrame(FLOATS[name]).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"a column of text \(String\) or whole numbers"):
        ingest(None, [tmp_path / f"{name}.parquet"], tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_a_table_beside_that_lacks_its_column_is_an_error_that_lists_those_it_has(tmp_path: Path) -> None:
    source = put(tmp_path / "ml", ratings=f"userId,movieId,rating,timestamp 1,1,4,{T0}", movies="movie,title 1,One")
    with pytest.raises(InputError, match="movieId: a column of that name; there are: movie, title"):
        read(source)
