"""Events at the door: posted JSON to rows of the store, stored rows to the engine's frames and to a log's files."""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from pipeline.errors import InputError
from pipeline.logs.decode import decode_events
from pipeline.logs.partitions import fsync
from pipeline.logs.store import EventStore, Row, Stored

_POSTED = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STEP: Final = 20_000  # events in memory at a time


@dataclass(frozen=True, slots=True)
class Posted:
    """What one post holds: rows to keep, and what is refused as {index, field, reason}."""

    rows: list[Row]
    rejected: list[dict[str, object]]


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
        told = zip(frame["event_id"], users, frame["time"], frame["received"], frame["line"], strict=True)
        for event_id, user, time, came, line in told:
            rows[line] = Row(event_id, kind, user, time, came if received is None else received, raw[line].decode())
    rejected = [{"index": r.line, "field": _field(r.field), "reason": r.reason} for r in chunk.rejects]
    return Posted([rows[line] for line in sorted(rows)], rejected)


def _raw(body: bytes) -> list[bytes]:
    try:
        return [bytes(r) for r in _POSTED.decode(body)] if body.lstrip()[:1] == b"[" else [_one(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("body", f"one event, or a JSON array of events ({error})") from error


def _one(body: bytes) -> bytes:
    return bytes(msgspec.json.decode(body, type=msgspec.Raw))


def _field(field: str) -> str:
    return "event" if field == "line" else field


def to_frames(stored: Sequence[Stored], forgotten: Mapping[str, int]) -> tuple[dict[str, pl.DataFrame], int]:
    """Stored events as frames by type, and how many could not be read any more."""
    chunk = decode_events(b"[%s]" % b",".join(row.body.encode() for row in stored), place="store")
    received = pl.Series("received", [row.received for row in stored], dtype=pl.Int64)
    frames = {}
    for kind, frame in chunk.frames.items():
        frame = frame.with_columns(received=received.gather(frame["line"])).drop("line")  # noqa: PLW2901
        if forgotten and "user_id" in frame.columns:
            names = {user: stranger(user, forgotten) for user in forgotten}
            frame = frame.with_columns(pl.col("user_id").replace(names))  # noqa: PLW2901
        frames[kind] = frame
    return frames, len(chunk.rejects)


def stranger(user: str, forgotten: Mapping[str, int]) -> str:
    """The name under which the engine knows a user: a forgotten one comes back as somebody new."""
    times = forgotten.get(user, 0)
    return f"{user}\x1f{times}" if times else user


def export_events(store: EventStore, out: Path) -> int:
    """Write all stored events to `out` (.jsonl or .jsonl.gz) in order of commit; how many there were.

    The file appears whole or not at all. Raises InputError for another ending.
    """
    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise InputError("--out", "a file ending in .jsonl or .jsonl.gz", received=str(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.draft")
    count = seq = 0
    with gzip.open(draft, "wb") if out.suffix == ".gz" else draft.open("wb") as file:
        while stored := store.since(seq, _STEP):
            file.writelines(_lines(stored))
            count, seq = count + len(stored), stored[-1].seq
    fsync(draft)
    draft.replace(out)
    fsync(out.parent)
    return count


def _lines(stored: Sequence[Stored]) -> Iterable[bytes]:
    for row in stored:
        fields = _FIELDS.decode(row.body)  # values stay as they came, to the last digit
        yield msgspec.json.encode({**fields, "received": row.received, "schema": 1}) + b"\n"
