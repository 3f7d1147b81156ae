"""Tables as they stand in files: Parquet, CSV, TREC text; nothing is interpreted but where a row ends.

Text is UTF-8, with or without byte-order mark, and may be gzip (told by its first bytes). Every error is an
InputError which names the file and, where there is one, the line.
"""

import csv
import gzip
import io
import re
import zlib
from pathlib import Path

import polars as pl

from pipeline.errors import InputError

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
SHOWN = 120  # characters of a wrong line that an error quotes


def read_table(path: Path, trec: tuple[str, ...]) -> tuple[pl.DataFrame, str, int]:
    """The file's table, how to call a row of it (`row`, `line`), and the number of the first one.

    `.parquet` and `.csv` (also `.csv.gz`) are what they say; anything else is TREC text with the fields `trec`.
    """
    if not path.is_file():
        raise InputError("file", "an existing file (Parquet, CSV or TREC text)", place=str(path))
    if path.suffix == ".parquet":
        try:
            return pl.read_parquet(path, glob=False), "row", 0
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError("file", f"Parquet ({error})", place=str(path)) from error
    data = _text(path)
    if not data.strip():
        raise InputError("file", "at least one row", place=str(path))
    if Path(path.name.removesuffix(".gz")).suffix == ".csv":
        return _csv(data, path), "line", 2
    return _trec(data, path, trec)


def _text(path: Path) -> bytes:
    """The file's bytes, proved to be UTF-8, without byte-order mark and carriage returns."""
    data = path.read_bytes()
    if data[:2] == GZIP or path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError("file", f"gzip ({error})", place=str(path)) from error
    if data[:4] == PARQUET:
        raise InputError("file", "a name ending in .parquet for Parquet", place=str(path))
    odd = data.find(b"\0")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        odd = error.start
    if odd >= 0:
        line, byte = data.count(b"\n", 0, odd) + 1, data[odd : odd + 1]
        raise InputError("encoding", "UTF-8 text; convert the file", place=f"{path}, line {line}", received=byte)
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")


def _csv(data: bytes, path: Path) -> pl.DataFrame:
    header = next(csv.reader(io.StringIO(data.partition(b"\n")[0].decode())), [])
    if double := sorted({name for name in header if header.count(name) > 1}):
        raise InputError("columns", "each name once", place=f"{path}, line 1", received=", ".join(double))
    try:
        return pl.read_csv(data, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        place = f"{path}{_long_row(data, len(header))}"
        expected = f"CSV with a header and as many fields in each row ({reason})"
        raise InputError("file", expected, place=place) from error


def _long_row(data: bytes, fields: int) -> str:
    """`, line 7`: the first row with more fields than the header, if that is what is wrong."""
    rows = csv.reader(io.StringIO(data.decode()))
    try:
        return next((f", line {rows.line_num}" for row in rows if len(row) > fields), "")
    except csv.Error:
        return f", line {rows.line_num}"


def _trec(data: bytes, path: Path, columns: tuple[str, ...]) -> tuple[pl.DataFrame, str, int]:
    if any(odd in data for odd in (b"\t", b"  ", b" \n", b"\n ")) or data[:1] == b" " or data[-1:] == b" ":
        data = re.sub(rb"(?m)^ | $", b"", re.sub(rb"[ \t]+", b" ", data))
    lines = data.lstrip(b"\n")
    try:
        schema = dict.fromkeys(columns, pl.String())
        frame = pl.read_csv(lines, separator=" ", has_header=False, quote_char=None, schema=schema)
    except pl.exceptions.PolarsError:
        # Which line it was Polars does not say; the file is known to be wrong, so reading it slowly is fine.
        raise _odd_line(data, path, columns) from None
    if frame.filter(pl.col(columns[-1]).is_null() & pl.col(columns[0]).is_not_null()).height:
        raise _odd_line(data, path, columns)
    return frame, "line", 1 + len(data) - len(lines)


def _odd_line(data: bytes, path: Path, columns: tuple[str, ...]) -> InputError:
    """The error for the first line which has too few or too many fields."""
    expected = f"{len(columns)} fields: {' '.join(columns)}"
    for number, line in enumerate(data.decode("utf-8").split("\n"), start=1):
        if line and len(line.split(" ")) != len(columns):
            return InputError("line", expected, place=f"{path}, line {number}", received=line[:SHOWN])
    return InputError("file", f"lines of {expected}", place=str(path))
