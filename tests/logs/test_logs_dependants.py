"""What depends on a row follows it: clicks their page, candidates their labels, positions what the file counts from."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.decode import decode_events
from pipeline.logs.ingest import IngestReport, ingest
from pipeline.logs.read import Log

T0 = 1_573_804_800_000  # 2019-11-15 08:00 UTC
MORNING = "11/15/2019 8:00:00 AM"
BANDIT = "timestamp,item_id,position,click,propensity_score"
AT = "2019-11-24 00:00:01.500000+00:00"


class Read:
    """What came of ingesting one folder."""

    def __init__(self, folder: Path, fmt: str, files: dict[str, bytes | str], **options: str) -> None:
        source = folder / "source"
        source.mkdir(parents=True)
        for name, data in files.items():
            (source / name).write_bytes(data.encode() if isinstance(data, str) else data)
        self.log = folder / "log"
        self.report: IngestReport = ingest(fmt, [source], self.log, options=options)

    def rows(self, kind: str, *names: str) -> list[tuple[Any, ...]]:
        return Log.open(self.log).frame(kind, columns=[*names]).rows()

    @property
    def refused(self) -> list[tuple[str, int, str, str]]:
        """File, line, field and reason of each refused row."""
        found = [json.loads(text) for path in self.log.glob("quarantine/*") for text in path.read_text().splitlines()]
        return [(Path(row["file"]).name, row["line"], row["field"], row["reason"]) for row in found]

    def shown(self) -> list[list[tuple[str, int]]]:
        pages = Log.open(self.log).frame("impression")["items"].to_list()
        return [[(cell["item_id"], cell["position"]) for cell in page] for page in pages]


def mind(folder: Path, *rows: str, **others: bytes | str) -> Read:
    files = {"behaviors.tsv": "\n".join(rows) + "\n"} | {f"{name}.tsv": data for name, data in others.items()}
    return Read(folder, "mind", files)


def bandit(folder: Path, *rows: str, header: str = BANDIT, name: str = "men.csv", **options: str) -> Read:
    return Read(folder, "openbandit", {name: "\n".join([header, *rows]) + "\n"}, **options)


def lines(*events: dict[str, Any]) -> dict[str, bytes | str]:
    return {"events.jsonl": "\n".join(map(json.dumps, events))}


def page(request: str, *items: str, **changes: object) -> dict[str, Any]:
    shown = [{"item_id": item, "position": place} for place, item in enumerate(items)]
    told = {"type": "impression", "event_id": f"{request}:0", "time": T0, "request_id": request, "surface": "search"}
    return told | {"user_id": "u", "items": shown} | changes


def click(request: str | None, item: str, **changes: object) -> dict[str, Any]:
    told = {"type": "feedback", "event_id": f"c:{request}:{item}", "time": T0 + 5, "user_id": "u", "item_id": item}
    return told | {"action": "click", "request_id": request} | changes


# MIND


@pytest.mark.parametrize(
    ("candidates", "outcomes", "clicked"),
    [
        ("N1-0 N2-1", "known", ["N2"]),
        ("N1-0 N2-0", "known", []),
        ("N1 N2", "unknown", []),
        ("N1-1 N2", "unknown", ["N1"]),
        ("N-1 N-2", "unknown", ["N"]),
        ("a-b-0 a-c-1", "known", ["a-c"]),
    ],
)
def test_outcomes_are_known_where_every_candidate_has_its_label(
    candidates: str, outcomes: str, clicked: list[str], tmp_path: Path
) -> None:
    read = mind(tmp_path, f"1\tU1\t{MORNING}\t\t{candidates}")
    assert read.rows("impression", "outcomes") == [(outcomes,)]
    assert [item for (item,) in read.rows("feedback", "item_id")] == clicked


def test_a_table_without_labels_or_with_some_is_one_of_unknown_outcomes(tmp_path: Path) -> None:
    rows = {"impression_id": ["07", "7", "8"], "user_id": ["U"] * 3, "time": [T0] * 3, "candidates": [["a", "b"]] * 3}
    for number, (labels, wanted) in enumerate(
        (
            (None, ["unknown"] * 3),
            ([[0, 1], [None, 1], None], ["known", "unknown", "unknown"]),
            ([[0, 1], [2, 0], []], ["known", "unknown"]),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        columns = rows if labels is None else rows | {"clicked": labels}
        pl.DataFrame(columns).write_parquet(folder / "impressions.parquet")
        report = ingest("mind", [folder], folder / "log")
        pages = Log.open(folder / "log").frame("impression").sort("request_id")
        assert pages["outcomes"].to_list() == wanted
        assert pages["request_id"].to_list() == ["07", "7", "8"][: len(wanted)]
        assert report.quarantined == 3 - len(wanted)


def test_a_row_that_is_refused_takes_its_clicks_and_its_history_with_it(tmp_path: Path) -> None:
    read = mind(
        tmp_path,
        f"1\tU1\t{MORNING}\tN8\tN1-0 N2-1",
        "2\tU2\tnever\tN8 N9\tN1-1 N2-1",
        f"3\tU3\t{MORNING}\tN8\t",
        f"4\t\t{MORNING}\tN8\tN1-1 N2-1",
        f"5\tU5\t{MORNING}\tN8\t{'x' * 129}-0 N2-1",
        "6\tU6\t11/15/2019",
    )
    assert read.rows("impression", "request_id") == [("1",)]
    assert read.rows("feedback", "event_id") == [("history:U1:N8",), ("click:1:N2",)]
    told = [(line, field) for _, line, field, _ in read.refused]
    assert sorted(set(told)) == [
        (2, "time"), (3, "impressions"), (4, "request_id"), (4, "user_id"), (5, "items[].item_id"), (5, "request_id"),
        (6, "row"),
    ]  # fmt: skip
    reasons = {line: reason for _, line, field, reason in read.refused if field == "request_id"}
    assert reasons[4] == "its page was refused: user_id is required, or a session_id"
    assert reasons[5].startswith("its page was refused: items[].item_id must have 1 to 128 characters")
    assert read.report.read == 1 + 2 + 3 + 3 + 2  # sound page and its feedback; rows; page 4 and 2, page 5 and 1


def test_a_candidate_named_twice_is_mended_and_clicked_once(tmp_path: Path) -> None:
    read = mind(tmp_path, f"1\tU1\t{MORNING}\t\tN1-0 N2-1 N1-0 N2-1 N3-0")
    assert read.shown() == [[("N1", 0), ("N2", 1), ("N3", 4)]]
    assert read.rows("feedback", "item_id") == [("N2",)]
    assert read.report.mended == {"items: an item twice on one page": 2}
    assert (read.report.quarantined, read.report.duplicates["feedback"]) == (0, 0)


def test_a_time_of_another_form_is_read_where_it_is_one_moment(tmp_path: Path) -> None:
    forms = [MORNING, "2019-11-15 08:00", "2019-11-15T09:00:00+01:00", str(T0), "11/15/2019 08:00:00"]
    read = mind(tmp_path, *(f"{n}\tU{n}\t{form}\t\tN1-0" for n, form in enumerate(forms)))
    assert read.rows("impression", "time") == [(T0,)] * len(forms)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["BOM", "CRLF", "UTF-16", "no last line end"],
)
def test_mind_is_read_however_it_was_saved(spoil: Callable[[str], bytes], tmp_path: Path) -> None:
    text = f'001\tU"1\t{MORNING}\tN8\tN1-0 N2-1\n1\tU1\t{MORNING}\t\tN1-0\n'
    read = Read(tmp_path, "mind", {"behaviors.tsv": spoil(text), "news.tsv": spoil('N1\t\tus\tA "b\tW\tu\t[]\t[]\n')})
    assert sorted(read.rows("impression", "request_id", "user_id")) == [("001", 'U"1'), ("1", "U1")]
    assert read.rows("item", "title", "category") == [('A "b', ["us"])]
    assert read.report.quarantined == 0


def test_news_of_another_width_or_letter_costs_itself(tmp_path: Path) -> None:
    news = b"N1\tn\tw\tOne\tt\tu\t[]\t[]\nN2\tn\nN3\tn\tw\tCaf\xe9\tt\tu\t[]\t[]\nN4\tn\tw\tFour\t\tu\t[]\t[]\n"
    read = mind(tmp_path, f"1\tU1\t{MORNING}\t\tN1-0", news=news)
    assert ("N4", "Four", None) in read.rows("item", "item_id", "title", "text")
    assert [(file, line) for file, line, *_ in read.refused if line == 2] == [("news.tsv", 2)]


def test_without_a_page_the_news_hold_since_before_everything(tmp_path: Path) -> None:
    read = mind(tmp_path, "1\tU1\tnever\t\tN1-0", news="N1\tn\tw\tOne\tt\tu\t[]\t[]\n")
    assert read.rows("item", "time") == [(0,)]


# Open Bandit


def bandit_rows(*positions: object) -> list[str]:
    return [f"{AT},{number},{place},0,0.25" for number, place in enumerate(positions)]


@pytest.mark.parametrize(
    ("positions", "wanted", "noted"),
    [
        ([1, 2, 3], [0, 1, 2], False),
        ([0, 1, 2], [0, 1, 2], False),
        ([3, 1, 1, 0], [3, 1, 1, 0], False),
        ([2, 3], [1, 2], True),
        ([1], [0], False),
        (["1.0", "2"], [0, 1], False),
    ],
)
def test_positions_count_from_what_the_file_as_a_whole_counts_from(
    positions: list[object], wanted: list[int], noted: bool, tmp_path: Path
) -> None:
    read = bandit(tmp_path, *bandit_rows(*positions))
    assert sorted(place for ((_, place),) in read.shown()) == sorted(wanted)
    assert any(reason.startswith("position") for reason in read.report.mended) == noted


def test_an_option_settles_from_where_positions_count(tmp_path: Path) -> None:
    read = bandit(tmp_path / "one", *bandit_rows(2, 3), positions="0")
    assert (sorted(place for ((_, place),) in read.shown()), read.report.mended) == ([2, 3], {})
    read = bandit(tmp_path / "two", *bandit_rows(0, 1), positions="1")
    assert ([place for ((_, place),) in read.shown()], [line for _, line, *_ in read.refused]) == ([0], [2])
    with pytest.raises(InputError, match="--option positions: 0 or 1"):
        bandit(tmp_path / "three", *bandit_rows(1), positions="2")


def test_each_file_counts_by_itself(tmp_path: Path) -> None:
    files = {f"{name}.csv": "\n".join([BANDIT, *bandit_rows(*places)]) for name, places in (("a", [0]), ("b", [1]))}
    read = Read(tmp_path, "openbandit", dict(files))
    assert read.shown() == [[("a:0", 0)], [("b:0", 0)]]


def test_a_bad_row_costs_itself_and_its_click_and_a_bad_field_itself(tmp_path: Path) -> None:
    read = bandit(
        tmp_path,
        f"{AT},007,1,1,0.25",
        "soon,1,2,1,0.25",
        f"{AT},2,first,1,0.25",
        f"{AT},3,-1,1,0.25",
        f"{AT},4,3,,0.25",
        f"{AT},5,3,maybe,1.5",
        f"{AT},,3,1,0.25",
        f"{AT},{'9' * 130},3,1,0.25",
        f"{AT},6,3,1",
    )
    assert sorted(read.rows("impression", "outcomes")) == [("known",), ("unknown",), ("unknown",)]
    assert [item for ((item, _),) in read.shown()] == ["men:007", "men:4", "men:5"]
    assert read.rows("feedback", "item_id") == [("men:007",)]
    assert read.report.mended == {
        "click: must be true or false": 1,
        "propensity_score: must be above 0 and at most 1": 1,
    }
    fields = {line: [field for _, found, field, _ in read.refused if found == line] for line in range(2, 11)}
    assert [fields[line][:1] for line in (3, 4, 5)] == [["timestamp"], ["position"], ["position"]]
    assert (
        fields[8] == ["items[].item_id", "request_id"] == fields[9][:2]
    )  # the page, and the click that it takes along
    assert fields[10] == ["row"]


def test_ids_of_open_bandit_are_text_and_times_are_utc_where_they_do_not_say(tmp_path: Path) -> None:
    read = bandit(tmp_path, "2019-11-24 00:00:01,1.10,1,1,0.5", "2019-11-24T01:00:02+01:00,1.1,2,0,0.5")
    assert [item for ((item, _),) in read.shown()] == ["men:1.10", "men:1.1"]
    assert read.rows("impression", "time") == [(1_574_553_601_000,), (1_574_553_602_000,)]
    rows = {"timestamp": [AT], "item_id": [1.5], "position": [1], "click": [0], "propensity_score": [0.5]}
    pl.DataFrame(rows).write_parquet(tmp_path / "men.parquet")
    with pytest.raises(InputError, match="item_id: a column of text"):
        ingest("openbandit", [tmp_path / "men.parquet"], tmp_path / "floats")


# what names a page that was refused


def test_clicks_on_a_refused_page_stay_as_history_and_are_counted(tmp_path: Path) -> None:
    long = page("long", "a", user_id="x" * 200)
    early = page("early", "a", time=5)
    told = [click(name, "a") for name in ("good", "empty", "long", "early", "twice", "elsewhere", None)]
    again = page("twice", "a"), page("twice", "b", event_id="twice:1", page=-1)
    read = Read(tmp_path, "podium", lines(*told, page("good", "a"), page("empty"), long, early, *again))
    assert read.report.accepted == {"feedback": 7, "impression": 2}
    assert (read.report.quarantined, read.report.orphans) == (4, 3)


def test_a_page_that_comes_whole_later_takes_its_clicks_back(tmp_path: Path) -> None:
    first = Read(tmp_path / "first", "podium", lines(page("r", "a", surface=""), click("r", "a")))
    assert first.report.orphans == 1
    (tmp_path / "second.jsonl").write_text(json.dumps(page("r", "a")))
    ingest("podium", [tmp_path / "second.jsonl"], first.log)
    (tmp_path / "third.jsonl").write_text(json.dumps(page("r", "a", surface="", event_id="r:9")) + "\n")
    with (tmp_path / "third.jsonl").open("a") as file:
        file.write(json.dumps(click("r", "a", event_id="later")))
    assert ingest("podium", [tmp_path / "third.jsonl"], first.log).orphans == 0  # the log knows its page


def test_an_ingest_that_refuses_no_page_has_no_orphans(tmp_path: Path) -> None:
    assert Read(tmp_path, "podium", lines(click("elsewhere", "a"), click(None, "", event_id="x"))).report.orphans == 0


# an item twice on one page


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_a_file_with_an_item_twice_on_a_page_keeps_the_page(name: str, tmp_path: Path) -> None:
    text = json.dumps(page("r", "a", "b", "a", "c", "b")).encode()
    read = Read(tmp_path, "podium", {name: gzip.compress(text) if name.endswith("gz") else text})
    assert read.shown() == [[("a", 0), ("b", 1), ("c", 3)]]
    assert read.report.mended == {"items: an item twice on one page": 2}


def test_of_an_item_twice_the_first_place_counts_whatever_the_order_of_the_list(tmp_path: Path) -> None:
    cells = [{"item_id": item, "position": place} for item, place in (("a", 5), ("b", 2), ("a", 0))]
    read = Read(tmp_path, "podium", lines(page("r", items=cells), page("s", "a", "b")))
    assert sorted(read.shown()) == [[("a", 0), ("b", 1)], [("a", 0), ("b", 2)]]


def test_another_systems_page_with_an_item_twice_is_kept(tmp_path: Path) -> None:
    ranking = {"event": "ranking", "id": "r", "timestamp": T0, "user": "u", "fields": []}
    ranking |= {"items": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}
    read = Read(tmp_path, "metarank", {"events.jsonl": json.dumps(ranking)})
    assert read.shown() == [[("a", 0), ("b", 1)]]
    assert read.report.mended == {"items: an item twice on one page": 1}


def test_whoever_posts_an_item_twice_is_told() -> None:
    (reject,) = decode_events(json.dumps(page("r", "a", "a")).encode()).rejects
    assert (reject.field, reject.reason) == ("items", "must not show an item twice on one page")


# pages of several rows


def shown_table(folder: Path, *rows: str, header: str = "request_id,item_id,user_id,time,position") -> Read:
    return Read(folder, "csv", {"pages.csv": "\n".join([header, *rows]) + "\n"}, type="impression")


def test_a_file_that_counts_from_0_shifts_no_page_that_begins_with_1(tmp_path: Path) -> None:
    read = shown_table(tmp_path, f"r,a,u,{T0},0", f"r,b,u,{T0},1", f"s,c,u,{T0},1", f"s,d,u,{T0},2")
    assert sorted(read.shown()) == [[("a", 0), ("b", 1)], [("c", 1), ("d", 2)]]
    note = "position: counted from 0, on a page that begins with 1 (--option positions=1 if not)"
    assert read.report.mended == {note: 2}


def test_a_column_of_clicks_follows_its_refused_page(tmp_path: Path) -> None:
    header = "request_id,item_id,user_id,time,position,clicked"
    rows = [f"r,a,u,{T0},1,1", f"s,b,{'v' * 200},{T0},1,1", f"s,c,{'v' * 200},{T0},2,1"]
    read = shown_table(tmp_path, *rows, header=header)
    assert read.rows("feedback", "item_id") == [("a",)]
    assert {field for _, _, field, _ in read.refused} >= {"user_id", "request_id"}
    assert all("its page was refused" in reason for *_, field, reason in read.refused if field == "request_id")


# other systems' pages


def metarank(kind: str, name: str, **changes: object) -> dict[str, Any]:
    return {"event": kind, "id": name, "timestamp": T0, "user": "u", "fields": []} | changes


def test_what_metarank_tells_of_a_ranking_that_is_refused_is_counted(tmp_path: Path) -> None:
    events = [
        metarank("ranking", "late", timestamp="never", items=[{"id": "a"}]),
        metarank("ranking", "empty", items=[]),
        metarank("ranking", "good", items=[{"id": "a"}]),
        *(metarank("interaction", f"i{n}", item="a", type="click", ranking=n) for n in ("late", "empty", "good", "x")),
    ]
    read = Read(tmp_path, "metarank", {"events.jsonl": "\n".join(map(json.dumps, events))})
    assert read.report.accepted == {"impression": 1, "feedback": 4}
    assert (read.report.quarantined, read.report.orphans) == (2, 2)


def ubi(number: int, item: str, ordinal: int, **changes: object) -> dict[str, Any]:
    about = {"object": {"object_id": item}, "position": {"ordinal": ordinal}}
    told = {"action_name": "impression", "query_id": "q", "client_id": "c", "timestamp": T0 + number}
    return told | {"event_attributes": about} | changes


def test_what_ubi_tells_of_a_query_that_is_refused_is_counted(tmp_path: Path) -> None:
    query = {"query_id": "q1", "timestamp": "never", "user_query": "tea", "query_response_hit_ids": ["a"]}
    told = ubi(1, "a", 1, action_name="click", query_id="q1"), ubi(2, "a", 1, action_name="click", query_id="q2")
    read = Read(tmp_path, "ubi", {"ubi.jsonl": "\n".join(map(json.dumps, [query, *told]))})
    assert (read.report.accepted, read.report.orphans) == ({"feedback": 2}, 1)


@pytest.mark.parametrize(
    ("ordinals", "options", "wanted", "noted"),
    [
        ([1, 2], {}, [0, 1], 0),
        ([0, 1], {}, [0, 1], 0),
        ([3, 4], {}, [2, 3], 2),
        ([3, 4], {"positions": "0"}, [3, 4], 0),
        ([0, 2], {"positions": "1"}, [1], 1),
    ],
)
def test_ordinals_of_ubi_count_from_what_the_file_counts_from(
    ordinals: list[int], options: dict[str, str], wanted: list[int], noted: int, tmp_path: Path
) -> None:
    seen = [ubi(n, f"i{n}", ordinal) for n, ordinal in enumerate(ordinals)]
    read = Read(tmp_path, "ubi", {"ubi.jsonl": "\n".join(map(json.dumps, seen))}, **options)
    assert [place for page in read.shown() for _, place in page] == wanted
    assert sum(read.report.mended.values()) == noted


def test_the_place_of_an_item_on_an_answered_page_says_it_for_the_file_as_well(tmp_path: Path) -> None:
    query = {"query_id": "q1", "timestamp": T0, "client_id": "c", "user_query": "t", "query_response_hit_ids": ["a"]}
    seen = [ubi(1, "a", 0, query_id="q1"), ubi(2, "b", 1), ubi(3, "c", 2)]
    read = Read(tmp_path, "ubi", {"ubi.jsonl": "\n".join(map(json.dumps, [query, *seen]))})
    assert sorted(read.shown()) == [[("a", 0)], [("b", 1), ("c", 2)]]
