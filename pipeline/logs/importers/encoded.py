"""A text file's bytes as UTF-8, whatever it was written in: gzip, byte-order marks, UTF-16, another named encoding."""

import gzip
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE, lookup
from pathlib import Path
from typing import Final

from pipeline.errors import InputError

_BOMS: Final = {  # the longer ones first: UTF-32's begins with UTF-16's
    BOM_UTF32_LE: "utf-32",
    BOM_UTF32_BE: "utf-32",
    BOM_UTF16_LE: "utf-16",
    BOM_UTF16_BE: "utf-16",
}
_NOT_TEXT: Final = {
    b"PK\x03\x04": "a workbook or an archive: export it as text",
    b"\xd0\xcf\x11\xe0": "a workbook: export it as text",
    b"PAR1": "Parquet: name it .parquet",
    b"%PDF": "a PDF",
}


def utf8_text(path: Path, encoding: str | None = None, limit: int = -1) -> bytes:
    """The file's text, lines ending in `\\n` or `\\r\\n`, of no more than `limit` bytes of it.

    What is no UTF-8 in a file without a mark stays as it is. Raises InputError for a file that is no text, or not in
    the encoding named.
    """
    if encoding is not None:
        _check(encoding)
    data = _unpacked(path, limit)
    for mark, what in _NOT_TEXT.items():
        if data.startswith(mark):
            raise InputError("file", f"delimited text; this is {what}", place=str(path))
    if encoding is None:
        encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None) or _by_zeros(data)
    data = data.removeprefix(BOM_UTF8) if encoding is None else _recoded(data, encoding, path, whole=limit < 0)
    return data.replace(b"\r", b"\n") if b"\r" in data and b"\n" not in data else data


def _check(encoding: str) -> None:
    try:
        "a".encode(encoding)
    except LookupError as error:
        raise InputError("--option encoding", "an encoding, such as cp1252 or utf-16", received=encoding) from error


def _unpacked(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            with gzip.open(path, "rb") as file:
                return file.read(limit)
        with path.open("rb") as file:
            return file.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("file", "a file that can be read whole; it is cut off or closed", place=str(path)) from error


def _by_zeros(data: bytes) -> str | None:
    """UTF-16 without a mark: of the first two letters of what should be a header one byte each is zero."""
    zeros = [byte == 0 for byte in data[:4]]
    if zeros == [False, True] * 2:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False] * 2 else None


def _recoded(data: bytes, encoding: str, path: Path, *, whole: bool) -> bytes:
    if lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return data.removeprefix(BOM_UTF8)
    wide = lookup(encoding).name.startswith("utf-16")
    try:
        # A surrogate without its other half becomes what is no UTF-8, so that its row alone is refused.
        text = data[: len(data) // 2 * 2].decode(encoding, "surrogatepass") if wide else data.decode(encoding)
    except UnicodeDecodeError as error:
        if not whole and error.start >= len(data) - 4:
            return _recoded(data[: error.start], encoding, path, whole=whole)
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("encoding", f"text in {encoding} throughout", place=f"{path}, line {line}") from error
    return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
