"""Tables of any origin: what is read as written, what costs a row, what a field, and what is refused with its fix."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.logs.config import LogsConfig
from pipeline.logs.importers.mapped import CSV
from pipeline.logs.ingest import IngestReport, ingest
from pipeline.logs.moments import Moments
from pipeline.logs.read import Log

MS = 1_740_823_200_000  # 2025-03-01T10:00:00Z
CLICKS = {"user_id": "u", "item_id": "i", "time": "t", "constant.action": "click"}
SHOP = {"type": "item", "item_id": "sku"}


class Read:
    """What came of ingesting one file."""

    def __init__(
        self, folder: Path, data: bytes | pl.DataFrame, options: dict[str, str], name: str = "table.csv"
    ) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / (name if isinstance(data, bytes) else "table.parquet")
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            data.write_parquet(path)
        self.log = folder / "log"
        self.report: IngestReport = ingest("csv", [path], self.log, options=options)

    def rows(self, kind: str, *names: str) -> list[tuple[Any, ...]]:
        return Log.open(self.log).frame(kind, columns=[*names]).rows()

    @property
    def refused(self) -> list[tuple[int, str]]:
        """Line and field of each refused row."""
        found = [json.loads(text) for path in self.log.glob("quarantine/*") for text in path.read_text().splitlines()]
        return [(row["line"], row["field"]) for row in found]


def clicks(*rows: str, header: str = "u,i,t", end: str = "\n") -> bytes:
    return end.join([header, *rows, ""]).encode()


# ids and queries are text


@pytest.mark.parametrize(
    "odd", ["007", "1.10", "1e3", "true", "NaN", "null", "-0", "0x1F", " 5", "1_000", "2025-03-01"]
)
def test_an_id_or_a_query_is_what_stands_in_the_cell(odd: str, tmp_path: Path) -> None:
    read = Read(tmp_path, clicks(f"{odd},{odd},{MS},{odd}", f"7,8,{MS},9", header="u,i,t,query"), CLICKS)
    assert set(read.rows("feedback", "user_id", "item_id", "query")) == {("7", "8", "9"), (odd, odd, odd)}
    assert (read.report.quarantined, read.report.duplicates) == (0, {"feedback": 0})


def test_events_whose_ids_differ_only_as_text_are_all_kept(tmp_path: Path) -> None:
    rows = [f"{user},{item},{MS}" for user in ("7", "07", "7.0") for item in ("1.1", "1.10", "01.1")]
    assert Read(tmp_path, clicks(*rows), CLICKS).report.accepted == {"feedback": 9}


@pytest.mark.parametrize(
    ("one", "other"),
    [("a:b,c", "a,b:c"), ("a%3A,b", "a:,b"), (f"{'u' * 100},{'i' * 100}", f"{'u' * 100},{'i' * 99}j")],
)
def test_the_event_ids_of_different_rows_differ_and_of_same_rows_do_not(one: str, other: str, tmp_path: Path) -> None:
    read = Read(tmp_path, clicks(f"{one},{MS}", f"{other},{MS}", f"{one},{MS}"), CLICKS)
    assert (read.report.accepted, read.report.duplicates) == ({"feedback": 2}, {"feedback": 1})


def test_rows_that_differ_in_what_was_bought_are_two_events(tmp_path: Path) -> None:
    data = clicks(f"a,b,{MS},1", f"a,b,{MS},2", f"a,b,{MS},2", header="u,i,t,quantity")
    read = Read(tmp_path, data, CLICKS)
    assert (read.report.accepted, read.report.duplicates) == ({"feedback": 2}, {"feedback": 1})


@pytest.mark.parametrize("column", [[10.0, 1.5], [10.0, float("nan")], [True, False]], ids=["float", "nan", "bool"])
@pytest.mark.parametrize("field", ["u", "i", "query"])
def test_ids_and_queries_that_a_parquet_file_has_as_floats_are_refused(
    field: str, column: list[Any], tmp_path: Path
) -> None:
    frame = pl.DataFrame({"u": ["a", "b"], "i": ["x", "y"], "query": ["q", "r"], "t": [MS, MS], field: column})
    with pytest.raises(InputError, match=r"a column of text \(String\) or whole numbers"):
        Read(tmp_path, frame, CLICKS)


def test_whole_numbers_and_categories_of_a_parquet_file_are_ids(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": [7, 8], "i": pl.Series(["07", "7"], dtype=pl.Categorical), "t": [MS, MS + 1]})
    assert Read(tmp_path, frame, CLICKS).rows("feedback", "user_id", "item_id") == [("7", "07"), ("8", "7")]


def test_float_ids_of_podiums_own_parquet_are_refused(tmp_path: Path) -> None:
    row = {
        "type": ["feedback"],
        "event_id": ["e"],
        "time": [MS],
        "user_id": ["u"],
        "item_id": [10.0],
        "action": ["click"],
    }
    pl.DataFrame(row).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(InputError, match="item_id: a column of text"):
        ingest("podium", [tmp_path / "events.parquet"], tmp_path / "log")


# what is told from other formats

GOOD = [("a", "x"), ("b", "y")]
AS_WRITTEN = f"u,i,t\na,x,{MS}\nb,y,{MS + 1}\n"


@pytest.mark.parametrize(
    "data",
    [
        AS_WRITTEN.encode(),
        AS_WRITTEN.encode("utf-8-sig"),
        AS_WRITTEN.encode("utf-16"),
        AS_WRITTEN.encode("utf-16-le"),
        AS_WRITTEN.encode("utf-16-be"),
        AS_WRITTEN.encode("utf-32"),
        gzip.compress(AS_WRITTEN.encode()),
        AS_WRITTEN.replace(",", ";").encode(),
        AS_WRITTEN.replace(",", "\t").encode("utf-16"),
        AS_WRITTEN.replace(",", "|").encode(),
        b"sep=;\r\n" + AS_WRITTEN.replace(",", ";").encode(),
        AS_WRITTEN.replace("\n", "\r\n").encode(),
        AS_WRITTEN.replace("\n", "\r").encode(),
        b"\n\n" + AS_WRITTEN.encode().strip(),
        AS_WRITTEN.replace("u,i,t", ' u , "i",t ').encode(),
    ],
    ids=[
        "utf-8",
        "bom",
        "utf-16",
        "le",
        "be",
        "utf-32",
        "gz",
        ";",
        "tab",
        "|",
        "sep=",
        "crlf",
        "cr",
        "blank",
        "spaces",
    ],
)
def test_encodings_separators_and_line_ends_are_recognised(data: bytes, tmp_path: Path) -> None:
    read = Read(tmp_path, data, CLICKS)
    assert (read.rows("feedback", "user_id", "item_id"), read.report.quarantined) == (GOOD, 0)


def test_other_encodings_and_separators_are_named_by_options(tmp_path: Path) -> None:
    data = f"u~i~t\nJosé~x~{MS}\n".encode("cp1252")
    read = Read(tmp_path, data, CLICKS | {"encoding": "cp1252", "separator": "~"})
    assert read.rows("feedback", "user_id") == [("José",)]


def test_a_file_without_a_header_or_with_quotes_for_letters_is_read_as_options_say(tmp_path: Path) -> None:
    data = f'a\t"x" y\t{MS}\nb\t"z\t{MS}\nc\tw\n'.encode()
    read = Read(tmp_path, data, CLICKS | {"columns": "u,i,t", "quotes": "none", "separator": "tab"})
    assert (sorted(read.rows("feedback", "user_id", "item_id")), read.refused) == (
        [("a", '"x" y'), ("b", '"z')],
        [(3, "row")],
    )


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"a,b\n", {"columns": "u,,t"}, "--option columns: the names of the columns, each once"),
        (b"a,b\n", {"quotes": "double"}, "--option quotes: `none`"),
        (b"", {}, "a line of column names, and rows; it is empty"),
        (b"\n \n", {}, "it is empty"),
        (b"PK\x03\x04etc", {}, "this is a workbook or an archive: export it as text"),
        (b"PAR1etc", {}, "this is Parquet"),
        (b"u,i,i\na,b,c\n", {}, "line 1: columns: each name once; received 'i'"),
        ("ü,i,t\na,b,1\n".encode("latin-1"), {}, "column names in UTF-8; name another encoding with --option encoding"),
        (b"u,i,t\n\n", {"encoding": "klingon"}, "--option encoding: an encoding, such as cp1252"),
        (b"u,i,t\na,\x81,1\n", {"encoding": "cp1252"}, "line 2: encoding: text in cp1252 throughout"),
        (b"u,i,t\n", {"separator": "::"}, "--option separator: one character"),
        (b"u,i,t\n", {"decimal": "point"}, "--option decimal: `.` or `,`"),
        (b"\x1f\x8b broken", {}, "a file that can be read whole"),
    ],
)
def test_what_is_no_table_is_refused_with_its_fix(
    data: bytes, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        Read(tmp_path, data, CLICKS | options)


# a bad row costs itself, with its line


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ("b,y", "row"),
        (f"b,y,{MS},more", "row"),
        (f'b,"y"y,{MS}', "row"),
        (f'b,"y,{MS}', "row"),
        ("b,y,soon", "t"),
        ("b,y,", "t"),
        (f",y,{MS}", "user_id"),
        (f"b,{'y' * 129},{MS}", "item_id"),
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_a_bad_row_is_refused_by_itself_with_its_line(bad: str, field: str, quoted: bool, tmp_path: Path) -> None:
    """Before it stand a blank line and, `quoted`, a cell of three lines."""
    first = f'a,x,"{MS}\n\n"' if quoted else f"a,x,{MS}"
    read = Read(tmp_path, clicks(first, "", bad, f"c,z,{MS}"), CLICKS)
    names = {"t": "time"}
    assert read.refused == [(6 if quoted else 4, names.get(field, field))]
    assert [item for (item,) in read.rows("feedback", "item_id")] == ["x", "z"]


def test_a_row_that_is_not_utf8_costs_itself(tmp_path: Path) -> None:
    data = clicks(f"a,x,{MS}") + f"José,y,{MS}\n".encode("latin-1") + f"Zoë,z,{MS}\n".encode()
    read = Read(tmp_path, data, CLICKS)
    assert (read.refused, read.rows("feedback", "user_id")) == ([(3, "row")], [("Zoë",), ("a",)])


def test_rows_with_a_stray_quote_are_read_and_counted_right(tmp_path: Path) -> None:
    data = b'sku,title\na,Screen 24" wide\nb,"of ""two""\nlines"\nc,"unclosed\nd,last\n'
    read = Read(tmp_path, data, SHOP)
    assert read.rows("item", "item_id", "title") == [
        ("a", 'Screen 24" wide'),
        ("b", 'of "two"\nlines'),
        ("d", "last"),
    ]
    assert read.refused == [(5, "row")]


def test_rows_of_nothing_but_separators_are_blank_lines(tmp_path: Path) -> None:
    read = Read(tmp_path, clicks(",,", f"a,x,{MS}", '"",,', ",,y", ",,"), CLICKS)
    assert (read.report.accepted, read.refused) == ({"feedback": 1}, [(5, "time")])


def test_the_refused_row_is_kept_as_it_stood(tmp_path: Path) -> None:
    read = Read(tmp_path, clicks(f"a,x,{MS}", "b,y;z,1,2"), CLICKS)
    (path,) = (read.log / "quarantine").iterdir()
    assert json.loads(path.read_text())["raw"] == "b,y;z,1,2"


def test_times_of_several_forms_are_read_row_by_row_in_any_order(tmp_path: Path) -> None:
    forms = [
        "2025-03-01T10:00:00Z",
        "2025-03-01T12:00:00+02:00",
        str(MS),
        "1740823200",
        "1740823200.0",
        "2025-03-01 10:00",
    ]
    bad = ["03/04/2025", "", "never"]
    rows = [f"u{n},x,{form}" for n, form in enumerate([*forms, *bad])]
    options = CLICKS | {"zone": "UTC"}
    one, other = Read(tmp_path / "a", clicks(*rows), options), Read(tmp_path / "b", clicks(*rows[::-1]), options)
    assert one.rows("feedback", "user_id", "time") == other.rows("feedback", "user_id", "time")
    assert {time for (time,) in one.rows("feedback", "time")} == {MS}
    assert (one.report.accepted, one.report.quarantined, other.report.quarantined) == ({"feedback": 6}, 3, 3)


# a bad cell of an optional field costs the field


@pytest.mark.parametrize(
    ("cell", "price"),
    [
        *(("12.50", 12.5), ("1e3", 1000.0), ('"1,299.00"', 1299.0), ('"1.299,00"', 1299.0), ('"12,50"', 12.5)),
        *(('"1,299,000"', 1_299_000.0), ("1 299.5", 1299.5), ("1'299", 1299.0), (" 7 ", 7.0), ("", None)),
    ],
)
def test_prices_are_read_as_people_write_them(cell: str, price: float | None, tmp_path: Path) -> None:
    read = Read(tmp_path, f"sku,price\na,{cell}\nb,1\n".encode(), SHOP)
    assert (read.rows("item", "price"), read.report.mended) == ([(price,), (1.0,)], {})


@pytest.mark.parametrize("cell", ["-", "n/a", "—", "free", "nan", "inf", '"1,299"', '"1,29,000"', "$5"])
def test_a_price_that_cannot_be_read_keeps_the_item_and_is_counted(cell: str, tmp_path: Path) -> None:
    read = Read(tmp_path, f"sku,price\na,{cell}\nb,1\n".encode(), SHOP)
    assert read.rows("item", "item_id", "price") == [("a", None), ("b", 1.0)]
    assert (read.report.quarantined, read.report.mended) == (0, {"price: must be a number": 1})


@pytest.mark.parametrize(("decimal", "price"), [(".", 1299.0), (",", 1.299)])
def test_what_one_comma_means_is_settled_by_an_option(decimal: str, price: float, tmp_path: Path) -> None:
    read = Read(tmp_path, b'sku,price\na,"1,299"\n', SHOP | {"decimal": decimal})
    assert read.rows("item", "price") == [(price,)]


def test_truth_values_lists_and_objects_are_cast_by_their_field(tmp_path: Path) -> None:
    rows = ["a,True,x| y,{}", "b,no,,nonsense", "c,1,z,[1]", 'd,maybe,|,"{""k"":1}"']
    data = "\n".join(["sku,available,tags,attributes", *rows]).encode()
    read = Read(tmp_path, data, SHOP)
    assert read.rows("item", "available", "tags", "attributes") == [
        (True, ["x", "y"], "{}"),
        (False, None, "{}"),
        (True, ["z"], "{}"),
        (True, [], '{"k":1}'),
    ]
    assert read.report.mended == {"attributes: must be an object": 2, "available: must be true or false": 1}


def test_missing_numbers_of_a_parquet_file_are_no_fault_and_fractions_no_counts(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": ["a", "b", "c"], "i": ["x"] * 3, "t": [MS] * 3, "quantity": [2.0, float("nan"), 2.5]})
    read = Read(tmp_path, frame, CLICKS)
    assert read.rows("feedback", "user_id", "quantity") == [("a", 2), ("b", 1), ("c", 1)]
    assert read.report.mended == {"quantity: must be a whole number": 1}


def test_a_text_column_without_any_value_may_be_of_any_kind_in_parquet(tmp_path: Path) -> None:
    nothing = pl.Series([float("nan"), None], dtype=pl.Float64)
    frame = pl.DataFrame({"sku": ["a", "b"], "brand": nothing, "title": pl.Series([None, None], dtype=pl.Null)})
    assert Read(tmp_path, frame, SHOP).rows("item", "item_id", "brand", "title") == [
        ("a", None, None),
        ("b", None, None),
    ]


# columns


@pytest.mark.parametrize("form", [bytes, pl.DataFrame])
def test_a_column_called_line_and_columns_without_a_name_are_columns(form: type, tmp_path: Path) -> None:
    text = b"sku,line,,\na,garden,x,\nb,,,\n"
    frame = pl.DataFrame({"sku": ["a", "b"], "line": ["garden", None]})
    read = Read(tmp_path, text if form is bytes else frame, SHOP | {"brand": "line"})
    assert read.rows("item", "item_id", "brand") == [("a", "garden"), ("b", None)]


def test_a_file_that_is_named_is_a_table_whatever_its_ending(tmp_path: Path) -> None:
    data = f"u\ti\tt\na\tx\t{MS}\n".encode("utf-16")
    assert Read(tmp_path, data, CLICKS, name="export.txt").rows("feedback", "user_id", "item_id") == [("a", "x")]


@pytest.mark.parametrize("kind", ["item", "user", "feedback", "impression", "suggest", "judgment"])
def test_a_table_without_rows_brings_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"item_id,user_id,request_id,placement,action,query,grade,time,price,clicked\n")
    made = list(CSV.chunks([path], {"type": kind}, Moments.of({}, LogsConfig())))
    assert sum(chunk.events for chunk in made) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item_id": "itm"}, "item_id: a column of the file, which has `u`, `i`, `t`"),
        ({"action": "click"}, "or give all rows one value with --option constant.action=VALUE; received 'click'"),
        ({"user_id": "U"}, "user_id: a column of the file"),
        ({"colour": "c"}, "--option: fields of `feedback`"),
        ({"action": "t", "constant.action": "click"}, "not both"),
        ({"constant.kolour": "red"}, "--option: fields of `feedback`.*received 'kolour'"),
    ],
)
def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        Read(tmp_path, clicks(f"a,x,{MS}"), {"user_id": "u", "item_id": "i", "time": "t"} | options)


@pytest.mark.parametrize("missing", ["user_id", "item_id", "time", "constant.action"])
def test_a_field_no_event_is_without_must_have_a_column(missing: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a column of the file, which has `u`, `i`, `t`"):
        Read(tmp_path, clicks(f"a,x,{MS}"), {name: value for name, value in CLICKS.items() if name != missing})


def test_that_nobody_is_known_is_said_by_an_option(tmp_path: Path) -> None:
    data = f"query,item_id,time\n007,a,{MS}\ntea,b,{MS}\n007,a,{MS}\n".encode()
    with pytest.raises(InputError, match="or say that nobody is known with --option subject=none"):
        Read(tmp_path / "not", data, {"constant.action": "click"})
    read = Read(tmp_path / "told", data, {"constant.action": "click", "subject": "none"})
    rows = read.rows("feedback", "query", "item_id", "user_id")
    assert (sorted(rows), read.report.duplicates) == ([("007", "a", None), ("tea", "b", None)], {"feedback": 1})
    assert len({session for (session,) in read.rows("feedback", "session_id")}) == 2
    shown = clicks(f"r,a,{MS},1", f"s,b,{MS},0", f"r,c,{MS},0", header="r,i,t,clicked")
    read = Read(tmp_path / "shown", shown, {n: v for n, v in PAGES.items() if n != "user_id"} | {"subject": "none"})
    assert sorted(read.rows("impression", "session_id")) == [("r",), ("s",)]
    assert read.rows("feedback", "session_id", "request_id") == [("r", "r")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "nobody"}, "--option subject: `none`"),
        ({"subject": "none"}, "none where the table tells user_id"),
        ({"type": "item", "subject": "none"}, "--option subject: `none`, of feedback and impression"),
    ],
)
def test_a_subject_that_is_told_is_not_none(options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Read(tmp_path, clicks(f"a,x,{MS}"), CLICKS | options)


def test_what_holds_needs_no_time_and_holds_since_before_everything(tmp_path: Path) -> None:
    assert Read(tmp_path, b"sku\na\n", SHOP).rows("item", "time") == [(0,)]
    assert Read(tmp_path, b"user_id\na\n", {"type": "user"}).rows("user", "time") == [(0,)]
    grades = b"query,item_id,grade\n007,a,2\n"
    read = Read(tmp_path, grades, {"type": "judgment"})
    assert read.rows("judgment", "time", "query", "grade") == [(0, "007", 2.0)]


def test_suggestions_come_with_the_queries_shown(tmp_path: Path) -> None:
    data = f"request_id,time,prefix,shown\nr,{MS},lam,lamp|lambda\ns,{MS},,\n".encode()
    read = Read(tmp_path, data, {"type": "suggest", "constant.placement": "complete"})
    shown = [{"query": "lamp", "position": 0}, {"query": "lambda", "position": 1}]
    assert read.rows("suggest", "prefix", "shown") == [("lam", shown), (None, [])]


# pages, one shown item a row

PAGES = {"type": "impression", "request_id": "r", "item_id": "i", "user_id": "u", "time": "t"}


def page_rows(read: Read) -> dict[str, list[tuple[str, int]]]:
    found = read.rows("impression", "request_id", "items")
    return {request: [(cell["item_id"], cell["position"]) for cell in items] for request, items in found}


def test_rows_of_a_request_become_its_page_wherever_they_stand(tmp_path: Path) -> None:
    rows = [f"r1,a,u,{MS + 5},lamp", f"r2,c,u,{MS},", f"r1,b,u,{MS},lamp", f"r2,a,u,{MS},"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t,query"), PAGES)
    assert page_rows(read) == {"r1": [("a", 0), ("b", 1)], "r2": [("c", 0), ("a", 1)]}
    pages = read.rows("impression", "request_id", "event_id", "time", "surface", "query")
    assert sorted(pages) == [("r1", "r1:0", MS, "search", "lamp"), ("r2", "r2:0", MS, "recommend", None)]
    assert read.report.accepted == {"impression": 2}


@pytest.mark.parametrize("first", [0, 1])
def test_positions_count_from_what_the_file_counts_from(first: int, tmp_path: Path) -> None:
    rows = [f"r1,b,u,{MS},{first + 2}", f"r2,c,u,{MS},{first + 1}", f"r1,a,u,{MS},{first}"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t,position"), PAGES)
    assert page_rows(read) == {"r1": [("a", 0), ("b", 2)], "r2": [("c", 1)]}


def test_a_bad_row_of_a_page_costs_itself_and_shifts_nothing(tmp_path: Path) -> None:
    rows = [f"r,a,u,{MS}", "r,b,u,soon", f"r,,u,{MS}", f"r,d,u,{MS}"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t"), PAGES)
    assert page_rows(read) == {"r": [("a", 0), ("d", 3)]}
    assert sorted(read.refused) == [(3, "time"), (4, "item_id")]


def test_an_item_twice_on_a_page_is_mended_and_the_page_kept(tmp_path: Path) -> None:
    rows = [f"r,a,u,{MS}", f"r,b,u,{MS}", f"r,a,u,{MS}", f"r,c,u,{MS}"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t"), PAGES)
    assert page_rows(read) == {"r": [("a", 0), ("b", 1), ("c", 3)]}
    assert read.report.mended == {"items: an item twice on one page": 1}


def test_rows_that_say_different_things_of_their_page_are_refused(tmp_path: Path) -> None:
    rows = [f"r,a,u,{MS}", f"r,b,v,{MS}", f"s,a,u,{MS}"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t"), PAGES)
    assert (page_rows(read), read.refused) == ({"s": [("a", 0)]}, [(2, "user_id"), (3, "user_id")])


def test_a_column_of_clicks_makes_feedback_of_its_page(tmp_path: Path) -> None:
    rows = [f"r,a,u,{MS},0,1.5", f"r,b,u,{MS},yes,0.5", f"s,c,u,{MS},,x", f"s,d,u,{MS},1,"]
    read = Read(tmp_path, clicks(*rows, header="r,i,u,t,clicked,propensity"), PAGES)
    told = read.rows("feedback", "request_id", "item_id", "action")
    assert sorted(told) == [("r", "b", "click"), ("s", "d", "click")]
    assert sorted(read.rows("impression", "request_id", "outcomes")) == [("r", "known"), ("s", "unknown")]
    assert read.report.mended == {"propensity: must be a number": 1, "propensity: must be above 0 and at most 1": 1}
