"""Delimited text: whatever was written is read back, with its lines; whatever is damaged costs no other row."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.logs.importers import rows as rows_module
from pipeline.logs.importers.delimited import SEPARATORS, Dialect, read_delimited
from pipeline.logs.importers.rows import SOUND, _walked, cut
from tests.examples import examples

CELL = st.text(alphabet=st.sampled_from('ab7 ,;|\t"\n.é€\u2028'), max_size=6)
TABLE = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=8))


def written(table: list[list[str]], separator: str, end: str) -> bytes:
    text = io.StringIO(newline="")
    width = len(table[0]) if table else 2
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerows([[f"c{n}" for n in range(width)], *table])
    return text.getvalue().encode()


def read(data: bytes, **dialect: str) -> tuple[list[tuple[str | None, ...]], list[int], list[int]]:
    """Rows, their lines, and the lines refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(data)
        frame, lines, rejects = read_delimited(path, Dialect(**dialect))
    return frame.rows(), lines.to_list(), [reject.line for reject in rejects]


@given(TABLE, st.sampled_from(SEPARATORS), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=examples(150), deadline=None)
def test_what_a_writer_wrote_is_read_back_with_its_lines(table: list[list[str]], separator: str, end: str) -> None:
    data = written(table, separator, end)
    found, lines, refused = read(data, separator=separator)
    expected, at = [], 2
    for row in table:
        expected.append((tuple(cell or None for cell in row), at))
        at += 1 + sum(cell.count("\n") for cell in row)
    assert (list(zip(found, lines, strict=True)), refused) == (expected, [])


@given(st.binary(max_size=80))
@settings(max_examples=examples(150), deadline=None)
def test_no_bytes_end_in_anything_but_rows_or_an_input_error(noise: bytes) -> None:
    try:
        found, lines, refused = read(b"a,b\n1,2\n" + noise)
    except InputError:
        return
    assert len(found) == len(lines)
    assert sorted(lines + refused)[:1] == [2]
    assert not set(lines) & set(refused)


@given(st.lists(st.sampled_from(["x,y", 'x,"y"', 'x,"y', 'x,"y"z', "x", 'x,y"', '"x\n,y', 'x,"a""b"', ""]), max_size=8))
@settings(max_examples=examples(150), deadline=None)
def test_a_sound_row_is_kept_whatever_stands_around_it(around: list[str]) -> None:
    """A row without quotes and the number of all lines survive, unless an open cell that ends soundly takes it in."""
    text = "\n".join(["a,b", *around, "last,row"]) + "\n"
    found, lines, _ = read(text.encode())
    assert found[-1] == ("last", "row")
    assert lines[-1] == text.count("\n")


@given(TABLE, st.integers(1, 40))
@settings(max_examples=examples(100), deadline=None)
def test_blocks_of_any_size_and_the_walk_cut_alike(table: list[list[str]], size: int) -> None:
    data = written(table, ",", "\n")
    width = len(table[0]) if table else 2
    whole = cut(data, 0, b",", width, quoted=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_BLOCK", size)
        parts = cut(data, 0, b",", width, quoted=True)
    walked = _walked(data, 0, b",", width)
    for other in (parts, walked):
        assert [other.start.tolist(), other.end.tolist(), other.line.tolist()] == [
            whole.start.tolist(),
            whole.end.tolist(),
            whole.line.tolist(),
        ]
        assert ((other.fault == SOUND) == (whole.fault == SOUND)).all()
