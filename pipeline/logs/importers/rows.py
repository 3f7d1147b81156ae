"""Where the rows of delimited text begin and end, on which line, and which of them are wrong.

Cells are as in RFC 4180: one that begins with a quote ends with one, may hold line ends, and doubles the quotes inside.
Arrays tell the rows of a whole file at once. Only where a quote stands elsewhere is the file walked row by row: a
quote inside a cell that does not begin with one is a letter, and a row whose quotes do not match costs its line alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.logs.decode import raw_text
from pipeline.logs.validate import Reject

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SOUND, BLANK, CELLS, QUOTES, ENCODING = range(5)

_BLOCK: Final = 2**24  # bytes that are cut at a time
_NEWLINE, _QUOTE = b'\n"'
_ENDS: Final = b'\r\n"'
_SPACES: Final = np.frombuffer(b" \t\r\n\v\f", dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows `[R]` of `data`: bytes from `start` to `end`, the line each begins on (from 1), its fault or `SOUND`.

    spelled: a sound row's number and its text, quoted as it should have been.
    """

    data: bytes
    start: Ints
    end: Ints
    line: Ints
    fault: NDArray[np.int8]
    spelled: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def regular(self) -> bool:
        """Whether the text from the first row on is nothing but sound rows."""
        return not self.fault.any() and not self.spelled

    def sound_text(self) -> bytes:
        """The sound rows alone."""
        kept = self.fault == SOUND
        kept[list(self.spelled)] = False
        edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0))
        parts = {int(a): self.data[self.start[a] : self.end[b - 1]] for a, b in edges.reshape(-1, 2)}
        parts |= self.spelled
        return b"".join(_ended(parts[row]) for row in sorted(parts))

    def rejects(self, place: str, width: int) -> list[Reject]:
        """The rows refused."""
        why = {
            CELLS: f"must have as many cells as there are columns: {width}",
            QUOTES: "must have quotes that match: a cell that begins with one ends with one, and doubles those inside",
            ENCODING: "must be UTF-8; name another encoding with --option encoding=...",
        }
        return [
            Reject(place, int(self.line[row]), "row", why[int(self.fault[row])], raw_text(self._text(int(row))))
            for row in np.flatnonzero(self.fault > BLANK)
        ]

    def _text(self, row: int) -> bytes:
        return self.data[self.start[row] : self.end[row]].rstrip(b"\r\n")


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


def cut(data: bytes, begin: int, separator: bytes, width: int, *, quoted: bool) -> Rows:
    """The rows of `data` from byte `begin` on, of which the sound ones have `width` cells."""
    quoted = quoted and data.find(b'"', begin) >= 0
    parts: list[tuple[Ints, Ints, Ints, NDArray[np.int8]]] = []
    at, size, line = begin, _BLOCK, data.count(b"\n", 0, begin) + 1
    while at < len(data):
        last = at + size >= len(data)
        block = np.frombuffer(data, np.uint8, count=min(size, len(data) - at), offset=at)
        inside = _inside(block, separator[0], last=last) if quoted else None
        if quoted and inside is None:
            return _walked(data, begin, separator, width)
        newline = block == _NEWLINE
        ends = np.flatnonzero(newline if inside is None else newline & ~inside) + 1
        if last and (not len(ends) or ends[-1] < len(block)):
            ends = np.append(ends, len(block))
        if not len(ends):
            size *= 2  # one row is longer than a block
            continue
        block, newline = block[: ends[-1]], newline[: ends[-1]]
        starts = np.concatenate([[0], ends[:-1]])
        between = block == separator[0]
        cells = np.add.reduceat(between if inside is None else between & ~inside[: len(block)], starts, dtype=np.int64)
        rows = line + (np.arange(len(starts)) if inside is None else np.searchsorted(np.flatnonzero(newline), starts))
        parts.append((starts + at, ends + at, rows, _faults(block, starts, ends, cells + 1, width)))
        line += int(np.count_nonzero(newline))
        at, size = at + len(block), _BLOCK
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Rows(data, nothing, nothing, nothing, nothing.astype(np.int8))
    start, end, lines, fault = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Rows(data, start, end, lines, fault)


def _inside(block: Bytes, separator: int, *, last: bool) -> NDArray[np.bool_] | None:
    """Of each byte whether quotes are open after it; None where a quote neither begins nor ends a cell."""
    quote = block == _QUOTE
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(quote)
    places = np.flatnonzero(quote)
    opens = inside[places]
    edges = np.frombuffer(_ENDS + bytes([separator]), dtype=np.uint8)
    before = block[places[opens] - 1]  # of the first byte this is the last: a row begins here, whatever that is
    after = block[np.minimum(places[~opens] + 1, len(block) - 1)]
    sound_before = np.isin(before, edges) | (places[opens] == 0)
    sound_after = np.isin(after, edges) | (places[~opens] == len(block) - 1)
    return inside if sound_before.all() and sound_after.all() and not (last and inside[-1]) else None


def _faults(block: Bytes, starts: Ints, ends: Ints, cells: Ints, width: int) -> NDArray[np.int8]:
    fault = np.where(cells == width, SOUND, CELLS).astype(np.int8)
    for row in np.flatnonzero((cells == 1) & np.isin(block[starts], _SPACES)):
        if not block[starts[row] : ends[row]].tobytes().strip():
            fault[row] = BLANK
    if len(block) and block.max() >= 128 and not _is_utf8(block.tobytes()):
        for row in np.flatnonzero(np.maximum.reduceat(block, starts) >= 128):
            if not _is_utf8(block[starts[row] : ends[row]].tobytes()):
                fault[row] = ENCODING
    return fault


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _walked(data: bytes, begin: int, separator: bytes, width: int) -> Rows:
    """As `cut`, of text in which quotes stand anywhere."""
    cells_of = _reader(separator)
    found: list[tuple[int, int, int, int]] = []
    spelled: dict[int, bytes] = {}
    at, line = begin, data.count(b"\n", 0, begin) + 1
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        text = data[at:end]
        fault = SOUND
        if b'"' not in text:
            fault = BLANK if not text.strip(b" \r\n") else CELLS * (text.count(separator) + 1 != width)
        elif (read := cells_of(data, at)) is None:
            fault = QUOTES
        else:
            cells, end = read
            fault = CELLS * (len(cells) != width)
            spelled[len(found)] = separator.join(cells) + b"\n"
        if fault in (SOUND, CELLS) and not _is_utf8(data[at:end]):
            fault = ENCODING
        if fault != SOUND:
            spelled.pop(len(found), None)
        found.append((at, end, line, fault))
        line += data.count(b"\n", at, end)
        at = end
    start, ends, lines, faults = np.array(found, dtype=np.int64).reshape(-1, 4).T
    return Rows(data, start, ends, lines, faults.astype(np.int8), spelled)


def _reader(separator: bytes) -> Callable[[bytes, int], tuple[list[bytes], int] | None]:
    """Reads one row from a place: its cells, each in quotes, and where it ends; None where quotes do not match."""
    mark = re.escape(separator)
    cell = re.compile(rb'(?:"((?:[^"]++|"")*+)"|(?!")([^%b\n]*+))(%b|\r?\n|\Z)' % (mark, mark))

    def read(data: bytes, at: int) -> tuple[list[bytes], int] | None:
        cells: list[bytes] = []
        while True:
            if (found := cell.match(data, at)) is None:
                return None
            quoted, plain, after = found.groups()
            if quoted is None:
                plain = plain if after == separator else plain.removesuffix(b"\r")
                quoted = plain.replace(b'"', b'""')
            cells.append(b'"%b"' % quoted)
            at = found.end()
            if after != separator:
                return cells, at

    return read
