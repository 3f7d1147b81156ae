"""Events at the door: posted JSON to rows of the store, stored rows to the engine's frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import msgspec
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import decode_each
from pipeline.logs.events import KNOWN
from pipeline.logs.forget import SEPARATOR, stranger
from pipeline.logs.moments import Plausible
from pipeline.logs.store import Forgotten, Row, Stored
from pipeline.logs.taken import decode_stored
from pipeline.logs.validate import Reject
from serving.given import completed
from serving.joins import Named, Told, named

__all__ = ["Posted", "read_posted", "read_posts", "stranger", "to_frames"]

_POSTED = msgspec.json.Decoder(list[msgspec.Raw])
_LONGEST: Final = 300  # characters of a field or a reason
_ONE = msgspec.json.Decoder(msgspec.Raw)
_VALUES: Final = 250_000  # of a post, counted by its commas
_EVENT_BYTES: Final = 256_000  # a page of a thousand items is smaller
_TOO_LARGE: Final = Reject("post", 0, "line", f"must have at most {_EVENT_BYTES} bytes", "")


@dataclass(frozen=True, slots=True)
class Posted:
    """What one post holds: rows to keep, what is refused as {index, field, reason}, what is watched of it, and what the
    kept ones left out and were given, as {index, event_id, time}."""

    rows: list[Row]
    rejected: list[dict[str, object]]
    told: Told
    assigned: list[dict[str, object]]


def read_posted(body: bytes, most: int, received: int | None, plausible: Plausible | None = None) -> Posted:
    """Rows of one posted event or an array of at most `most`.

    received: ms, when they came; None (replay) believes the events, whose default is their own time.
    plausible: which times are believed; None believes all.
    Raises InputError when the body is neither or too long.
    """
    (posted,) = read_posts([(body, received)], most, plausible)
    if isinstance(posted, InputError):
        raise posted
    return posted


def read_posts(
    posts: Sequence[tuple[bytes, int | None]], most: int, plausible: Plausible | None = None
) -> list[Posted | InputError]:
    """Of each body and when it came what `read_posted` says, or would raise: a hundred cost little more than one."""
    split = [_raw(body, most) for body, _ in posts]
    sizes = [0 if isinstance(raw, InputError) else len(raw) for raw in split]
    came = [received for (_, received), size in zip(posts, sizes, strict=True) for _ in range(size)]
    whole = _read([event for raw in split if not isinstance(raw, InputError) for event in raw], came, plausible)
    starts = accumulate(sizes, initial=0)
    return [
        raw if isinstance(raw, InputError) else whole.post(start, start + len(raw))
        for raw, start in zip(split, starts, strict=False)
    ]


def warm_up() -> None:
    """Read an event for the first time, which brings libraries that take a second, before somebody waits for it."""
    page = {"event_id": "w", "type": "impression", "time": 0, "request_id": "w", "surface": "w", "user_id": "w"}
    read_posted(msgspec.json.encode({**page, "items": [{"item_id": "w", "position": 0}]}), 1, None)


@dataclass(frozen=True, slots=True)
class _Read:
    """Events one after another, of several posts. By place: rows to keep, what views and clicks name, and why others
    are refused."""

    rows: list[Row | None]
    named: dict[int, Named]
    refused: dict[int, Reject]
    given: list[int]

    def post(self, start: int, end: int) -> Posted:
        rows = [row for row in self.rows[start:end] if row is not None]
        bad = [(at - start, self.refused[at]) for at in range(start, end) if at in self.refused] if self.refused else []
        rejected = [{"index": index, "field": _field(why.field), "reason": _short(why.reason)} for index, why in bad]
        named = [self.named[at] for at in range(start, end) if at in self.named] if self.named else []
        given = [(at - start, self.rows[at]) for at in self.given if start <= at < end]
        assigned = [{"index": index, "event_id": row.event_id, "time": row.time} for index, row in given if row]
        return Posted(rows, rejected, Told.of(named, [row.time for row in rows]), assigned)


def _read(raw: list[bytes], came: list[int | None], plausible: Plausible | None) -> _Read:
    large = {at: _TOO_LARGE for at, event in enumerate(raw) if len(event) > _EVENT_BYTES}
    raw, given = completed([b"null" if at in large else event for at, event in enumerate(raw)] if large else raw, came)
    chunk = decode_each(raw, "events")
    refused = {reject.line: reject for reject in chunk.rejects} | large
    rows: list[Row | None] = [None] * len(raw)
    for kind, frame in chunk.frames.items():
        users = frame["user_id"].to_list() if "user_id" in frame.columns else [None] * len(frame)
        columns = (frame[name].to_list() for name in ("event_id", "time", "received", "line"))
        for user, event_id, time, own, line in zip(users, *columns, strict=True):
            received = own if came[line] is None else came[line]
            if plausible is not None and (why := plausible.doubt(time, received)) and (time or kind not in KNOWN):
                refused[line] = Reject("events", line, "time", why, "")
            else:
                rows[line] = Row(event_id, kind, user, time, received, raw[line].decode())
    feedback = chunk.frames.get("feedback")
    lines = [] if feedback is None else zip(feedback["line"].to_list(), named(feedback), strict=True)
    told = {line: name for line, name in lines if name and line not in refused}
    return _Read(rows, told, refused, given)


def _raw(body: bytes, most: int) -> list[bytes] | InputError:
    if body.count(b",") > _VALUES:  # each of which might be an event to the parser, which holds everybody up
        return InputError("body", f"at most {_VALUES} values in one post", received=body.count(b","))
    try:
        raw = _POSTED.decode(body) if body.lstrip()[:1] == b"[" else [_ONE.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return InputError("body", f"one event, or a JSON array of events ({error})")
    if len(raw) > most:
        return InputError("body", f"at most {most} events a post", received=len(raw))
    return [bytes(event) for event in raw]


def _field(field: str) -> str:
    return "event" if field == "line" else _short(field)


def _short(text: str) -> str:
    """What a caller sent comes back at a length that can be read."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def to_frames(stored: Sequence[Stored], forgotten: Forgotten) -> tuple[dict[str, pl.DataFrame], int]:
    """Stored events as frames by type, and how many could not be read any more. forgotten: as it was after they were
    read; those of somebody forgotten in between are left out."""
    chunk = decode_stored(stored, forgotten)
    seq = pl.Series([row.seq for row in stored], dtype=pl.Int64)
    frames = {kind: _known(_present(frame, seq, forgotten)) for kind, frame in chunk.frames.items()}
    return {kind: frame for kind, frame in frames.items() if len(frame)}, len(chunk.rejects)


def _known(frame: pl.DataFrame) -> pl.DataFrame:
    """Without `line`."""
    return pl.DataFrame([column for column in frame if column.name != "line"])  # `drop` would plan a query


def _present(frame: pl.DataFrame, seq: pl.Series, forgotten: Forgotten) -> pl.DataFrame:
    """Without what a user did before being forgotten: it is not the newcomer's."""
    if not forgotten or "user_id" not in frame.columns:
        return frame
    names = {name: name.rpartition(SEPARATOR)[0] for name in frame["user_id"].unique() if SEPARATOR in (name or "")}
    last = {name: mark.seq for name, user in names.items() if (mark := forgotten.mark(user))}
    if not last:
        return frame
    known = frame["user_id"].replace_strict(last, default=-1, return_dtype=pl.Int64).fill_null(-1)
    return frame.filter(seq.gather(frame["line"]) > known)
