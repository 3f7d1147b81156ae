"""Events at the door: posted JSON to rows of the store, stored rows to the engine's frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import decode_events
from pipeline.logs.forget import stranger
from pipeline.logs.store import Forgotten, Row, Stored
from pipeline.logs.taken import decode_stored
from serving.joins import Told, told

__all__ = ["Posted", "read_posted", "stranger", "to_frames"]

_POSTED = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Posted:
    """What one post holds: rows to keep, what is refused as {index, field, reason}, and what is watched of it."""

    rows: list[Row]
    rejected: list[dict[str, object]]
    told: Told


def read_posted(body: bytes, most: int, received: int | None) -> Posted:
    """Rows of one posted event or an array of at most `most`.

    received: ms, when they came; None (replay) believes the events, whose default is their own time.
    Raises InputError when the body is neither or too long.
    """
    raw = _raw(body)
    if len(raw) > most:
        raise InputError("body", f"at most {most} events a post", received=len(raw))
    chunk = decode_events(b"[%s]" % b",".join(raw))
    rows: dict[int, Row] = {}
    for kind, frame in chunk.frames.items():
        users = frame["user_id"] if "user_id" in frame.columns else pl.Series([None] * len(frame))
        columns = (frame["event_id"], users, frame["time"], frame["received"], frame["line"])
        for event_id, user, time, came, line in zip(*columns, strict=True):
            rows[line] = Row(event_id, kind, user, time, came if received is None else received, raw[line].decode())
    rejected = [{"index": r.line, "field": _field(r.field), "reason": r.reason} for r in chunk.rejects]
    return Posted([rows[line] for line in sorted(rows)], rejected, told(chunk.frames))


def _raw(body: bytes) -> list[bytes]:
    try:
        return [bytes(r) for r in _POSTED.decode(body)] if body.lstrip()[:1] == b"[" else [_one(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("body", f"one event, or a JSON array of events ({error})") from error


def _one(body: bytes) -> bytes:
    return bytes(msgspec.json.decode(body, type=msgspec.Raw))


def _field(field: str) -> str:
    return "event" if field == "line" else field


def to_frames(stored: Sequence[Stored], forgotten: Forgotten) -> tuple[dict[str, pl.DataFrame], int]:
    """Stored events as frames by type, and how many could not be read any more."""
    chunk = decode_stored(stored, forgotten)
    return {kind: frame.drop("line") for kind, frame in chunk.frames.items()}, len(chunk.rejects)
