"""Importers, on tiny files shaped as the public sources are."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.ingest import ingest
from pipeline.logs.read import Log

SECOND = 1_000
T0 = 1_700_000_000  # s, 2023-11-14T22:13:20Z


def imported(folder: Path, fmt: str | None = None, **options: str) -> Log:
    report = ingest(fmt, [folder], folder.parent / "log", options=options)
    assert report.quarantined == 0
    return Log.open(folder.parent / "log")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "anything"
    folder.mkdir()
    return folder


def movies() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "movieId": [1, 2],
            "title": ["Toy Story (1995)", "Untitled"],
            "genres": ["Animation|Comedy", "(no genres listed)"],
        }
    )


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_movielens_ratings_are_clicks_and_tags_change_the_item_when_given(source: Path, ending: str) -> None:
    ratings = {"userId": [7, 8], "movieId": [1, 1], "rating": [4.0, 0.5], "timestamp": [T0, T0 + 100]}
    tags = {"userId": [7, 8], "movieId": [1, 1], "tag": ["Pixar", "pixar "], "timestamp": [T0 + 50, T0 + 60]}
    for name, frame in (("ratings", pl.DataFrame(ratings)), ("movies", movies()), ("tags", pl.DataFrame(tags))):
        path = source / f"{name}.{ending}"
        if ending == "csv":
            frame.write_csv(path)
        else:
            frame.write_parquet(path)
    log = imported(source)
    assert log.clock == "exact"
    clicks = log.frame("feedback", columns=["event_id", "time", "user_id", "item_id", "action"])
    assert clicks.rows() == [
        ("rating:7:1", T0 * SECOND, "7", "1", "click"),
        ("rating:8:1", (T0 + 100) * SECOND, "8", "1", "click"),
    ]
    items = log.frame("item", columns=["time", "item_id", "category", "tags", "attributes", "kind"])
    assert items.rows() == [
        (T0 * SECOND, "1", ["Animation"], ["Animation", "Comedy"], '{"year":1995}', "content"),
        (T0 * SECOND, "2", [], [], "{}", "content"),
        ((T0 + 50) * SECOND, "1", ["Animation"], ["Animation", "Comedy", "pixar"], '{"year":1995}', "content"),
    ]


def test_movielens_sequences_have_an_order_for_a_clock(source: Path) -> None:
    taken = {"user_id": [5, 5], "pos": [1, 2], "movie_id": [20, 10]}
    pl.DataFrame(taken).write_parquet(source / "interactions.parquet")
    movies().rename({"movieId": "movie_id"}).write_parquet(source / "movies.parquet")
    users = {"user_id": [5], "gender": ["F"], "age": [25], "last_rating_unix_s": [9]}
    pl.DataFrame(users).write_parquet(source / "users.parquet")
    log = imported(source)
    assert log.clock == "order"
    assert log.frame("feedback", columns=["time", "item_id"]).rows() == [(1, "20"), (2, "10")]
    assert log.frame("user", columns=["time", "user_id", "attributes"]).rows() == [(0, "5", '{"gender":"F","age":25}')]
    assert len(log.frame("item")) == 2


def test_sequences_keep_repeats_and_attributes_become_tags(source: Path) -> None:
    taken = {"user_id": [1, 1, 1], "pos": [1, 2, 3], "item_id": [4, 5, 4]}
    pl.DataFrame(taken).write_parquet(source / "interactions.parquet")
    pl.DataFrame({"item_id": [4], "attribute_ids": [[3, 1]]}).write_parquet(source / "item_attributes.parquet")
    log = imported(source)
    assert log.clock == "order"
    assert log.frame("feedback")["item_id"].to_list() == ["4", "5", "4"]
    assert log.frame("item")["tags"].to_list() == [["3", "1"]]


def check_mind(log: Log) -> None:
    pages = log.frame("impression")
    assert pages["request_id"].to_list() == ["1", "2"]
    assert set(pages["order"]) == {"unknown"}
    assert pages["time"][0] == 1_573_463_158_000
    assert [cell["item_id"] for cell in pages["items"][0]] == ["N1", "N2"]
    told = log.frame("feedback")
    clicks = told.filter(pl.col("request_id").is_not_null())
    assert clicks.select("event_id", "user_id", "item_id").rows() == [
        ("click:1:N2", "U1", "N2"),
        ("click:2:N3", "U1", "N3"),
    ]
    history = told.filter(pl.col("request_id").is_null())
    assert history.select("event_id", "item_id").rows() == [("history:U1:N8", "N8"), ("history:U1:N9", "N9")]
    assert history["time"].max() < pages["time"].min()
    assert log.frame("item", columns=["item_id", "category", "text"]).rows() == [("N1", ["news", "us"], "Words")]
    assert log.frame("item")["time"].max() <= history["time"].min()


def test_mind_tables(source: Path) -> None:
    pages = {
        "impression_id": [1, 2],
        "user_id": ["U1", "U1"],
        "time": [datetime(2019, 11, 11, 9, 5, 58), datetime(2019, 11, 11, 21, 0, 0)],
        "history": [["N8", "N9"], ["N8", "N9"]],
        "candidates": [["N1", "N2"], ["N3"]],
        "clicked": [[0, 1], [1]],
    }
    pl.DataFrame(pages).write_parquet(source / "impressions.parquet")
    news = {"news_id": ["N1"], "category": ["news"], "subcategory": ["us"], "title": ["T"], "abstract": ["Words"]}
    pl.DataFrame(news).write_parquet(source / "news.parquet")
    check_mind(imported(source))


def test_mind_as_published(source: Path) -> None:
    rows = ["1\tU1\t11/11/2019 9:05:58 AM\tN8 N9\tN1-0 N2-1", "2\tU1\t11/11/2019 9:00:00 PM\tN8 N9\tN3-1"]
    (source / "behaviors.tsv").write_text("\n".join(rows) + "\n")
    (source / "news.tsv").write_text('N1\tnews\tus\tA "quoted\tWords\thttps://x\t[]\t[]\n')
    check_mind(imported(source))


def test_judged_grades_start_at_zero_and_keep_their_fractions(source: Path) -> None:
    rows = {
        "id": [2, 3, 9],
        "product_uid": [100, 100, 200],
        "product_title": ["Angle", "Angle", "Saw"],
        "search_term": ["bracket", "l bracket", "saw"],
        "relevance": [3.0, 2.33, 1.0],
    }
    pl.DataFrame(rows).write_parquet(source / "judgments.parquet")
    log = imported(source)
    assert log.clock == "order"
    assert log.frame("judgment", columns=["query", "item_id", "grade"]).rows() == [
        ("bracket", "100", 2.0),
        ("l bracket", "100", 1.33),
        ("saw", "200", 0.0),
    ]
    assert log.frame("item", columns=["item_id", "title"]).rows() == [("100", "Angle"), ("200", "Saw")]
    assert log.frame("item")["time"].max() < log.frame("judgment")["time"].min()


def test_judged_rows_without_a_product_are_items_themselves_and_lose_their_markup(source: Path) -> None:
    rows = {
        "id": [1],
        "query": ["lamp"],
        "product_title": ["Lamp"],
        "product_description": ["<style>p {a}</style><p>Bright&nbsp;&amp; <b>5 < 6</b></p>"],
        "median_relevance": [4],
    }
    pl.DataFrame(rows).write_parquet(source / "judgments.parquet")
    log = imported(source)
    assert log.frame("judgment", columns=["item_id", "grade"]).rows() == [("1", 3.0)]
    assert log.frame("item")["text"].to_list() == ["Bright & 5 < 6"]


def test_taobao_behaviours_are_named_as_actions(source: Path) -> None:
    bought = f"1,10,7,buy,{T0 + 60}\n"
    text = f"1,10,7,pv,{T0}\n" + bought + bought + f"2,11,8,fav,{T0 + 30}\n2,11,8,cart,{T0 + 40}\n"
    (source / "UserBehavior.csv").write_text(text)
    log = imported(source)
    assert log.frame("feedback", columns=["action", "time"]).rows() == [
        ("view", T0 * SECOND),
        ("like", (T0 + 30) * SECOND),
        ("cart", (T0 + 40) * SECOND),
        ("purchase", (T0 + 60) * SECOND),
    ]
    assert log.frame("item", columns=["item_id", "category"]).rows() == [("10", ["7"]), ("11", ["8"])]


def test_open_bandit_rows_are_pages_of_one_item_with_a_marginal(source: Path) -> None:
    rows = {
        "behavior_policy": ["bts", "random"],
        "timestamp": ["2019-11-24 00:00:01+00:00", "2019-11-24 00:00:02.5+00:00"],
        "item_id": [3, 4],
        "position": [3, 1],
        "click": [1, 0],
        "propensity_score": [0.25, 0.0125],
        "user_feature_0": ["x", "y"],
    }
    pl.DataFrame(rows).write_csv(source / "men.csv")
    log = imported(source)
    pages = log.frame("impression")
    assert pages["time"].to_list() == [1_574_553_601_000, 1_574_553_602_500]
    assert [page[0]["item_id"] for page in pages["items"]] == ["men:3", "men:4"]
    assert [(page[0]["position"], page[0]["marginal"], page[0]["propensity"]) for page in pages["items"]] == [
        (2, 0.25, None),
        (0, 0.0125, None),
    ]
    assert pages["arm"].to_list() == ["bts", "random"]
    assert pages["context"][0] == '{"user_feature_0":"x"}'
    assert log.frame("feedback", columns=["request_id", "item_id"]).rows() == [("men:1", "men:3")]


def test_query_counts_become_one_search_a_count(source: Path) -> None:
    rows = {"query": ["ebay", "aol"], "date": [date(2006, 3, 1)] * 2, "searches": [2, 1]}
    pl.DataFrame(rows).write_parquet(source / "daily.parquet")
    log = imported(source)
    searches = log.frame("suggest")
    assert searches["chosen"].to_list() == ["aol", "ebay", "ebay"]
    assert {str(datetime.fromtimestamp(t / 1000).date()) for t in searches["time"]} <= {"2006-03-01", "2006-03-02"}
    assert searches["shown"].to_list() == [[], [], []]


def test_any_table_is_read_when_its_columns_are_mapped(source: Path) -> None:
    (source / "clicks.csv").write_text("uid,sku,ts\nu1,a,1700000000\nu2,b,1700000001\n")
    options = {"user_id": "uid", "item_id": "sku", "time": "ts", "unit": "s", "constant.action": "click"}
    log = imported(source, "csv", **options)
    assert log.frame("feedback", columns=["event_id", "time", "user_id", "item_id", "action"]).rows() == [
        ("feedback:u1:a:click:1700000000000", 1_700_000_000_000, "u1", "a", "click"),
        ("feedback:u2:b:click:1700000001000", 1_700_000_001_000, "u2", "b", "click"),
    ]


def test_a_value_that_does_not_fit_costs_its_row_or_where_the_row_can_do_without_it_the_field(source: Path) -> None:
    rows = ["u1,a,2024-01-01T00:00:00Z,1", "u2,b,yesterday,1", "u3,c,2024-01-01T00:00:00Z,many"]
    (source / "clicks.csv").write_text("user_id,item_id,time,quantity\n" + "\n".join(rows) + "\n")
    report = ingest("csv", [source], source.parent / "log", options={"constant.action": "cart"})
    assert (report.read, report.accepted, report.quarantined) == (3, {"feedback": 2}, 1)
    assert report.mended == {"quantity: must be a whole number": 1}
    (path,) = (source.parent / "log" / "quarantine").iterdir()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["line"], row["field"]) for row in found] == [(3, "time")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "tap"}, "--option type"),
        ({"unit": "days"}, "--option unit"),
        ({"colour": "c"}, "--option: fields of `feedback`"),
        ({"time": "when"}, "time: a column of the file, which has `user_id`, `item_id`, `ts`"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(source: Path, options: dict[str, str], message: str) -> None:
    (source / "clicks.csv").write_text("user_id,item_id,ts\nu1,a,100\n")
    with pytest.raises(InputError, match=message):
        ingest("csv", [source], source.parent / "log", options=options)
    assert not (source.parent / "log").exists()


METARANK: list[dict[str, Any]] = [
    {
        "event": "item",
        "id": "1",
        "timestamp": "1700000000000",
        "item": "a",
        "fields": [{"name": "title", "value": "Shoe"}, {"name": "colour", "value": "red"}],
    },
    {"event": "user", "id": "2", "timestamp": 1_700_000_000_000, "user": "u", "fields": [{"name": "age", "value": 3}]},
    {
        "event": "ranking",
        "id": "3",
        "timestamp": "1700000001000",
        "user": "u",
        "session": "s",
        "fields": [{"name": "query", "value": "shoe"}],
        "items": [{"id": "a", "relevancy": 2.5}, {"id": "b"}],
    },
    {
        "event": "interaction",
        "id": "4",
        "timestamp": "2023-11-14T22:13:23Z",
        "user": "u",
        "session": "s",
        "ranking": "3",
        "type": "purchase",
        "item": "b",
        "fields": [],
    },
]


def test_metarank_events_become_ours(source: Path) -> None:
    (source / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in METARANK))
    log = imported(source)
    assert log.frame("item", columns=["item_id", "title", "attributes"]).rows() == [("a", "Shoe", '{"colour":"red"}')]
    assert log.frame("user", columns=["user_id", "attributes"]).rows() == [("u", '{"age":3}')]
    page = log.frame("impression").row(0, named=True)
    assert (page["request_id"], page["query"], page["surface"]) == ("3", "shoe", "search")
    assert [(cell["item_id"], cell["position"], cell["score"]) for cell in page["items"]] == [
        ("a", 0, 2.5),
        ("b", 1, None),
    ]
    assert log.frame("feedback", columns=["action", "request_id", "time"]).rows() == [
        ("purchase", "3", 1_700_000_003_000)
    ]


def test_a_bad_metarank_line_is_quarantined_with_its_own_text(source: Path) -> None:
    bad = METARANK[3] | {"user": None, "session": None}
    lines = [json.dumps(METARANK[0]), '{"event":"item"}', json.dumps(bad)]
    (source / "events.jsonl").write_text("\n".join(lines) + "\n")
    report = ingest(None, [source], source.parent / "log")
    assert (report.read, report.quarantined) == (3, 2)
    (path,) = (source.parent / "log" / "quarantine").iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["line"], row["field"], row["raw"]) for row in rows] == [
        (2, "id", lines[1]),
        (3, "user_id", lines[2]),
    ]


def test_a_row_of_the_wrong_type_is_refused_by_itself(source: Path) -> None:
    rows = {"user_id": [1, 1], "pos": ["first", "2"], "item_id": [2, 3]}
    pl.DataFrame(rows).write_parquet(source / "interactions.parquet")
    report = ingest(None, [source], source.parent / "log")
    assert (report.accepted, report.reasons) == ({"feedback": 1}, {"pos: must be a whole number": 1})


def test_a_file_that_is_not_what_its_name_says_is_an_input_error(source: Path) -> None:
    (source / "events.parquet").write_bytes(b"PAR0")
    with pytest.raises(InputError, match="files of a known format"):
        ingest(None, [source], source.parent / "log")
    (source / "events.parquet").unlink()
    (source / "events.jsonl.gz").write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(InputError, match="a whole gzip file"):
        ingest(None, [source], source.parent / "log")
    assert not (source.parent / "log").exists()
