"""JSON records however they were dumped, and how another system's record becomes an event of ours.

A file may hold one record a line, an array, the answer of an OpenSearch search (`hits.hits`), or pages of an API that
names its list (`{"Cursor": ..., "Items": [...]}`), one page a line or one a file.
"""

import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import Chunk, decode_lines, explain, raw_text
from pipeline.logs.importers import cells
from pipeline.logs.importers.base import Sources, files
from pipeline.logs.moments import Moments
from pipeline.logs.validate import Reject

Record = tuple[int, bytes]  # line (or place in the array) from 1, JSON text
Stamp = int | float | str | None
Id = str | int | float  # as another system spells one
Mended = list[str]  # of one record: why a field was left out that it can do without
Translate = Callable[[bytes, Mended], dict[str, Any]]
PageOf = Callable[[bytes], str | None]

_BATCH: Final = 50_000
_ENDINGS: Final = tuple(name + gz for name in (".json", ".jsonl", ".ndjson") for gz in ("", ".gz"))
_PAGES: Final = ("Feedback", "Items", "Users")
_BAD: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_UNREADABLE: Final = (OSError, EOFError, zlib.error)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def dumps(sources: Sources) -> list[Path]:
    """The JSON files among the sources and directly in folders named."""
    return [path for path in files(sources) if path.name.endswith(_ENDINGS)]


def first_record(path: Path) -> dict[str, msgspec.Raw]:
    """The fields of the file's first record; none when there is no record or no JSON."""
    with suppress(*_BAD, *_UNREADABLE), _open(path) as file:
        line = _first_line(file)
        try:
            found = _unfold(line)
        except msgspec.DecodeError:
            found = _unfold(line + file.read())
        return _OBJECT.decode(found[0]) if found else {}
    return {}


def batches(path: Path) -> Iterator[tuple[list[Record], int]]:
    """The records, some at a time, their lines counted from 1 in each batch, and how many lines the batch spans.

    Raises InputError for a file that is neither gzip nor JSON as its name and its beginning say.
    """
    try:
        with _open(path) as file:
            line = _first_line(file)
            try:
                paged = len(_OBJECT.decode(line)) > 0 and _unfold(line) != [line]
            except msgspec.DecodeError:
                yield from _of_document(line + file.read())
                return
        with _open(path) as file:
            yield from _of_lines(file, paged=paged)
    except (*_UNREADABLE, msgspec.DecodeError) as error:
        raise InputError("file", f"JSON lines, or a whole JSON document ({error})", place=str(path)) from error


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _first_line(file: IO[bytes]) -> bytes:
    return next((line for line in file if line.strip()), b"").removeprefix(b"\xef\xbb\xbf").strip()


def _of_document(document: bytes) -> Iterator[tuple[list[Record], int]]:
    whole = [bytes(raw) for raw in _unfold(document)] if document.strip() else []
    for start in range(0, len(whole), _BATCH):
        part = whole[start : start + _BATCH]
        yield list(enumerate(part, start=1)), len(part)


def _of_lines(file: IO[bytes], *, paged: bool) -> Iterator[tuple[list[Record], int]]:
    while batch := [line.removeprefix(b"\xef\xbb\xbf").strip() for line in islice(file, _BATCH)]:
        numbered = [(number, line) for number, line in enumerate(batch, start=1) if line]
        if paged:
            numbered = [(number, bytes(raw)) for number, line in numbered for raw in _unfolded(line)]
        yield numbered, len(batch)


def _unfolded(line: bytes) -> list[bytes]:
    try:
        return _unfold(line)
    except _BAD:
        return [line]  # refused later, with its line


def _unfold(text: bytes) -> list[bytes]:
    """The records of a document: of an array, a search answer or an API's page; any other object is one itself."""
    if text.lstrip()[:1] == b"[":
        return list(map(bytes, _LIST.decode(text)))
    fields = _OBJECT.decode(text)
    if "hits" in fields:
        fields = _OBJECT.decode(fields["hits"])
        return list(map(bytes, _LIST.decode(fields.get("hits", msgspec.Raw(b"[]")))))
    name = next((name for name in _PAGES if name in fields), None)
    return [text] if name is None else list(map(bytes, _LIST.decode(fields[name])))


def no_page(_: bytes) -> str | None:
    """The system logs no pages."""
    return None


def translated(records: list[Record], lines: int, place: str, translate: Translate, page_of: PageOf = no_page) -> Chunk:
    """Each record in our words, then decoded and checked as our own; refused ones keep their own line and text.

    translate: raises msgspec.ValidationError for a record that cannot be an event, and tells what it left out.
    page_of: the request of a record that is a page, as far as it can be read.
    """
    ours: list[bytes] = []
    rejects: list[Reject] = []
    mended: list[Mended] = [[] for _ in records]
    for (number, raw), left_out in zip(records, mended, strict=True):
        try:
            ours.append(msgspec.json.encode(translate(raw, left_out)))
        except _BAD as error:
            left_out.clear()
            page = None
            with suppress(*_BAD):
                page = page_of(raw)
            rejects.append(Reject(place, number, *explain(error), raw_text(raw), page))
            ours.append(b"")
    chunk = decode_lines(b"\n".join(ours) + b"\n", place)
    numbers = pl.Series([number for number, _ in records], dtype=pl.Int64)
    frames = {k: frame.with_columns(line=numbers.gather(frame["line"] - 1)) for k, frame in chunk.frames.items()}
    for reject in chunk.rejects:
        number, raw = records[reject.line - 1]
        mended[reject.line - 1].clear()
        rejects.append(replace(reject, line=number, raw=raw_text(raw)))

    def text(wanted: Sequence[int]) -> list[bytes]:
        by_line = dict(records)
        return [by_line[line] for line in wanted]

    counts = Counter(chain.from_iterable(mended)) + Counter(chunk.mended)
    return Chunk(place, frames, sorted(rejects, key=lambda reject: reject.line), lines, text, counts)


def refuse(field: str, reason: str) -> msgspec.ValidationError:
    """The error of a record whose `field` will not do, worded as the decoder's own."""
    return msgspec.ValidationError(f"{reason} - at `$.{field}`")


def moment(moments: Moments, stamp: Stamp, field: str) -> int:
    """Epoch milliseconds. Raises msgspec.ValidationError for what is no moment."""
    try:
        return moments.one(stamp)
    except ValueError as error:
        raise refuse(field, str(error)) from None


def ident(name: Id, field: str) -> str:
    """An id as it is spelled. Raises msgspec.ValidationError for a number that may be spelled otherwise elsewhere."""
    if isinstance(name, float):
        raise refuse(field, "must be a text or a whole number: 10.0 may be 10 elsewhere")
    return str(name)


def perhaps(name: Id | None, field: str) -> str | None:
    """An id, where there is one."""
    return None if name is None else ident(name, field) or None


def price(value: object, mended: Mended) -> float | None:
    """A price as a number or as text; None, which is told, for what is none."""
    read = value
    if isinstance(value, str):
        read = float(value) if _PLAIN.fullmatch(value) else cells.numbers(pl.Series([value])).item()
    if isinstance(read, int | float) and not isinstance(read, bool) and 0 <= read < math.inf:
        return float(read)
    if value is not None:
        mended.append("price: must be a number of at least 0")
    return None


def short(kind: str, *parts: object) -> str:
    """An event_id of fixed length, the same for the same parts."""
    return f"{kind}:{blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()}"


_PLAIN: Final = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_COMPARE: Final = {">=": ge, "<=": le, "==": eq, ">": gt, "<": lt}
_RULE: Final = re.compile(r"([^<>=]+)(?:(>=|<=|==|>|<)(-?\d+(?:\.\d+)?))?")
_USUAL: Final = {
    "view": "view,read,impression,item_view,product_view",
    "click": "click,click_through,item_click,product_click",
    "like": "like,star,favorite,favourite,upvote,thumbs_up",
    "cart": "cart,add_to_cart",
    "purchase": "purchase,buy,order",
    "hide": "hide,dislike,not_interested",
}


@dataclass(frozen=True, slots=True)
class Actions:
    """Which of another system's names means which action: rules (name, compare, bound, action), the first that fits."""

    rules: tuple[tuple[str, Callable[[float, float], bool], float, str], ...]

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "Actions":
        """`--option like=star,read>=3`: ahead of the usual names. Raises InputError for what is no such rule."""
        rules = []
        for action, names in [*options.items(), *_USUAL.items()]:
            for text in names.split(","):
                if (found := _RULE.fullmatch(text.strip())) is None:
                    raise InputError("--option", "ACTION=NAME,NAME>=NUMBER", received=f"{action}={names}")
                name, sign, bound = found.groups()
                rules.append((name, _COMPARE.get(sign, _always), float(bound or 0), action))
        return cls(tuple(rules))

    def action(self, name: str, value: float = 0.0) -> str:
        """The action of this name; a name no rule knows is an action itself."""
        fitting = (action for known, fits, bound, action in self.rules if known == name and fits(value, bound))
        return next(fitting, name)


def _always(_: float, __: float) -> bool:
    return True
