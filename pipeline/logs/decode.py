"""JSON to columns: a chunk of lines, or the body of one post, becomes one frame a type and the refused rest.

A chunk decodes in one call; only when that fails is each of its lines tried alone, to name the bad ones.
"""

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import attrgetter, itemgetter

import msgspec
import polars as pl
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.logs.events import COLUMNS, SHOWN, SUGGESTED, whole
from pipeline.logs.items import NAMED
from pipeline.logs.moments import Plausible, Unit
from pipeline.logs.validate import TWICE, Reject, problems
from pipeline.logs.wire import KINDS, AnyEvent, Feedback, Impression, Shown, Suggest, Suggested

MAX_RAW = 2_048  # characters of a refused row that are kept
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_EVENT = msgspec.json.Decoder(AnyEvent)
_POSTED = msgspec.json.Decoder(list[msgspec.Raw])
Raw = Callable[[Sequence[int]], list[bytes]]
_FEW = 128  # events; of more, asking `validate` costs less than looking at each
_OBJECTS = frozenset({"attributes", "filters", "context"})


def _nothing(wanted: Sequence[int]) -> list[bytes]:
    return [b""] * len(wanted)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a source: frames by type (stored columns and `line`), what was refused, and lines it spans.

    raw: the text of lines asked for, as it stood in the source.
    mended: reason -> how much was left out of rows which are kept.
    """

    place: str
    frames: dict[str, pl.DataFrame]
    rejects: list[Reject]
    lines: int = 0
    raw: Raw = field(default=_nothing, repr=False, compare=False)
    mended: Mapping[str, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(map(len, self.frames.values())) + len(self.rejects)


def decode_lines(data: bytes, place: str, unit: Unit | None = None) -> Chunk:
    """Decode JSON lines. `line` in frames and rejects counts from 1 at the start of `data`; blank lines pass.

    unit: `s` where numbers are seconds, not milliseconds.
    """
    data = data.removeprefix(BOM_UTF8)
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    try:
        data.decode()  # free-form objects are not decoded further on, so their text is proved sound here
        events = _EVENT.decode_lines(data)
    except _BAD:
        events = []
    rows: Sequence[int] = range(1, lines + 1)
    rejects: list[Reject] = []

    def raw(wanted: Sequence[int]) -> list[bytes]:
        text = data.split(b"\n")
        return [text[line - 1] for line in wanted]

    if len(events) != lines:
        rows, events, rejects = _one_by_one(data.split(b"\n"), place)
    frames = _named(_frames(events, rows, 1_000 if unit == "s" else 1), raw)
    return sound(place, frames, rejects, raw, lines, mend=True)


def decode_events(body: bytes, place: str = "events") -> Chunk:
    """One posted event, or an array of them. `line` is the index in the array, from 0.

    Raises InputError when the body is neither.
    """
    try:
        raw = [bytes(r) for r in _POSTED.decode(body)] if body.lstrip()[:1] == b"[" else [body]
    except _BAD as error:
        raise InputError("body", f"one event, or a JSON array of events ({error})", place=place) from error
    return decode_each(raw, place)


def decode_each(raw: Sequence[bytes], place: str) -> Chunk:
    """Events of which each is a text of its own. `line` is the index, from 0."""
    rows, events, rejects = _one_by_one(raw, place, first=0)

    def text(wanted: Sequence[int]) -> list[bytes]:
        return [raw[i] for i in wanted]

    if len(events) <= _FEW and all(map(_proved, events)):
        return Chunk(place, _named(_frames(events, rows), text), rejects, len(raw), text)
    return sound(place, _named(_frames(events, rows), text), rejects, text, len(raw))


def _proved(event: AnyEvent) -> bool:
    """Whether an event is feedback that the decoder alone has proved sound: of `validate` what it cannot know."""
    if not isinstance(event, Feedback) or event.time.__class__ is not int or isinstance(event.received, datetime):
        return False
    ids = (event.event_id, event.item_id, event.action, event.user_id, event.session_id, event.request_id)
    subject = event.user_id is not None or event.session_id is not None
    return subject and all(name.isprintable() for name in ids if name is not None)  # no control character is


def _one_by_one(raw: Sequence[bytes], place: str, first: int = 1) -> tuple[list[int], list[AnyEvent], list[Reject]]:
    rows: list[int] = []
    events: list[AnyEvent] = []
    rejects: list[Reject] = []
    for number, line in enumerate(raw, start=first):
        if not line.strip() and first:
            continue
        try:
            line.decode()
            events.append(_EVENT.decode(line))
            rows.append(number)
        except _BAD as error:
            field, reason = explain(error)
            rejects.append(Reject(place, number, field, reason, raw_text(line), _page_of(line)))
    return rows, events, rejects


class _Page(msgspec.Struct):
    type: str
    request_id: str


_PAGE = msgspec.json.Decoder(_Page)


def _page_of(line: bytes) -> str | None:
    """The request of a page that could not be read, where that much of it can."""
    try:
        found = _PAGE.decode(line)
    except _BAD:
        return None
    return found.request_id if found.type == KINDS[Impression] else None


def explain(error: Exception) -> tuple[str, str]:
    """Field and reason of the decoder's message: `$.items[1].position` names the field, backquotes a key."""
    if isinstance(error, UnicodeDecodeError):
        return "line", "must be UTF-8"
    if isinstance(error, RecursionError):
        return "line", "is nested too deeply"
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if reason.startswith(("Object missing required field", "Object contains unknown field")):
        field = ".".join(filter(None, (field, reason.split("`")[1])))
    return field or "line", reason


def sound(
    place: str,
    frames: dict[str, pl.DataFrame],
    rejects: list[Reject],
    raw: Raw,
    lines: int,
    *,
    mend: bool = False,
) -> Chunk:
    """The chunk without what `validate` refuses, which joins the rejects. `raw` gives the text of lines asked for.

    mend: a page that shows an item twice is kept without the second time; whoever can be told so is refused it instead.
    """
    chunk = Chunk(place, frames, rejects, lines, raw)
    found = {kind: problems(kind, frame) for kind, frame in frames.items()}
    if (
        mend
        and "impression" in found
        and (twice := (found["impression"]["reason"] == TWICE).fill_null(value=False)).any()
    ):
        chunk = _undoubled(chunk, twice)
        found["impression"] = found["impression"].with_columns(pl.when(~twice).then(pl.all()))
    return _without(chunk, lambda kind, _: found[kind])


def _undoubled(chunk: Chunk, twice: pl.Series) -> Chunk:
    """With each item of these pages where it stands first. The others stay where they stood: a place was taken up."""
    pages = chunk.frames["impression"]
    shown = pages["items"].to_list()
    for row in twice.arg_true():
        first: dict[str, dict[str, object]] = {}
        for cell in sorted(shown[row], key=itemgetter("position")):
            first.setdefault(cell["item_id"], cell)
        shown[row] = list(first.values())
    lost = int((pages["items"].list.len() - pl.Series(map(len, shown), dtype=pl.UInt32)).sum())
    pages = pages.with_columns(pl.Series("items", shown, dtype=COLUMNS["impression"]["items"]))
    mended = {**chunk.mended, "items: an item twice on one page": lost}
    return replace(chunk, frames=chunk.frames | {"impression": pages}, mended=mended)


def within(chunk: Chunk, plausible: Plausible) -> Chunk:
    """The chunk without the moments that are not believed, which join the rejects."""
    if all(map(plausible.believes, chunk.frames.values())):
        return chunk

    def doubted(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
        reason = plausible.doubts(kind, frame)
        return pl.select(field=pl.when(reason.is_not_null()).then(pl.lit("time")), reason=reason)

    return _without(chunk, doubted)


def _without(chunk: Chunk, judge: Callable[[str, pl.DataFrame], pl.DataFrame]) -> Chunk:
    """Without the rows for which `judge` has a field and a reason, which join the rejects."""
    kept: dict[str, pl.DataFrame] = {}
    refused = list(chunk.rejects)
    for kind, frame in chunk.frames.items():
        found = judge(kind, frame)
        bad = found["field"].is_not_null()
        if bad.any():
            page = pl.col("request_id") if kind == "impression" else pl.lit(None, dtype=pl.String)
            rows = frame.select("line", page=page).hstack(found).filter(bad)
            texts = chunk.raw(rows["line"].to_list())
            refused += [
                Reject(chunk.place, line, field, reason, raw_text(text), page)
                for (line, page, field, reason), text in zip(rows.rows(), texts, strict=True)
            ]
        if not bad.all():
            kept[kind] = frame.filter(~bad) if bad.any() else frame
    return replace(chunk, frames=kept, rejects=sorted(refused, key=lambda r: r.line))


def _frames(events: Sequence[AnyEvent], rows: Sequence[int], unit: int = 1) -> dict[str, pl.DataFrame]:
    groups: dict[type, tuple[list[AnyEvent], list[int]]] = {}
    for event, row in zip(events, rows, strict=True):
        group = groups.get(event.__class__)
        if group is None:
            group = groups[event.__class__] = ([], [])
        group[0].append(event)
        group[1].append(row)
    return {KINDS[kind]: _frame(KINDS[kind], *group, unit) for kind, group in groups.items()}


def _named(frames: dict[str, pl.DataFrame], raw: Raw) -> dict[str, pl.DataFrame]:
    """With the fields that partial rows of items name as null, which the decoder does not tell from those left out."""
    rows = frames.get("item")
    if rows is None or not rows["partial"].any():
        return frames
    lines = rows.filter("partial")["line"].to_list()
    told = [[name for name, value in msgspec.json.decode(text).items() if value is None] for text in raw(lines)]
    nulls = {line: [name for name in NAMED if name in names] or None for line, names in zip(lines, told, strict=True)}
    cleared = pl.Series("cleared", [nulls.get(line) for line in rows["line"]], dtype=COLUMNS["item"]["cleared"])
    none = pl.col("cleared").list.contains("attributes").fill_null(value=False)
    attributes = pl.when(none).then(pl.lit("{}")).otherwise("attributes").alias("attributes")
    return {**frames, "item": rows.with_columns(cleared).with_columns(attributes)}


def _frame(kind: str, events: Sequence[AnyEvent], rows: Sequence[int], unit: int) -> pl.DataFrame:
    columns = [_column(name, dtype, events, unit) for name, dtype in COLUMNS[kind].items()]
    return whole(kind, pl.DataFrame([*columns, pl.Series("line", rows, dtype=pl.Int64)]))


def _column(name: str, dtype: pl.DataType, events: Sequence[AnyEvent], unit: int) -> pl.Series:
    if name == "cleared":
        return pl.Series(name, [None], dtype=dtype).new_from_index(0, len(events))
    if name == "items":
        return _lists(name, SHOWN, [e.items for e in events if isinstance(e, Impression)])
    if name == "shown":
        return _lists(name, SUGGESTED, [e.shown for e in events if isinstance(e, Suggest)])
    values: list[object] = list(map(attrgetter(name), events))
    if name == "received":
        values = [e.time if v is None else v for e, v in zip(events, values, strict=True)]
    if name in ("time", "received"):
        values = [t if unit == 1 and t.__class__ is int else _to_ms(t, unit) for t in values]
    elif name in _OBJECTS:
        values = [bytes(v).decode() for v in values if isinstance(v, msgspec.Raw)]
    return pl.Series(name, values, dtype=dtype)


def _to_ms(time: object, unit: int) -> int:
    assert isinstance(time, datetime | int | float)
    return (time - _EPOCH) // _MILLISECOND if isinstance(time, datetime) else round(time * unit * 1_000) // 1_000


_ARROW = {pl.String(): pa.large_string(), pl.Int32(): pa.int32(), pl.Float64(): pa.float64()}


def _lists(name: str, fields: dict[str, pl.DataType], lists: Sequence[Sequence[Shown | Suggested]]) -> pl.Series:
    """A list-of-struct column, built field by field: many times faster than from dicts."""
    flat = [cell for cells in lists for cell in cells]
    offsets = pa.array([0, *accumulate(map(len, lists))], type=pa.int64())
    parts = [pa.array(list(map(attrgetter(f), flat)), type=_ARROW[dtype]) for f, dtype in fields.items()]
    struct = pa.StructArray.from_arrays(parts, names=list(fields))
    return pl.Series(name, pa.LargeListArray.from_arrays(offsets, struct))


def raw_text(line: bytes) -> str:
    """What of a refused row is kept."""
    return line[: 4 * MAX_RAW].decode(errors="replace")[:MAX_RAW]
