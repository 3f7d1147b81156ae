"""What a posted event may leave to us: its `event_id` and its `time`, which then are given here and told.

The event is kept with what it was given, so that it reads like any other. A post that is sent again without an id of
its own is another event: whoever may have to repeat a post names its events, as told in the answer or on its own.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class _Named(msgspec.Struct):
    """Whether an event has them; what they are is judged later, with the rest."""

    event_id: Any = msgspec.UNSET
    time: Any = msgspec.UNSET


_NAMED = msgspec.json.Decoder(_Named)


def completed(raw: Sequence[bytes], came: Sequence[int | None]) -> tuple[list[bytes], list[int]]:
    """The events with an id and a time each, and the places of those that were given one.

    came: ms, when each was received; None (replay) gives no time. What is no JSON object stays as it is.
    """
    whole, given = list(raw), list[int]()
    for at, (event, received) in enumerate(zip(raw, came, strict=True)):
        try:
            has = _NAMED.decode(event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        lacks: dict[str, object] = {"event_id": uuid.uuid4().hex} if has.event_id is msgspec.UNSET else {}
        if has.time is msgspec.UNSET and received is not None:
            lacks["time"] = received
        if lacks:
            whole[at] = _joined(lacks, event)
            given.append(at)
    return whole, given


def _joined(lacks: Mapping[str, object], event: bytes) -> bytes:
    """The object with these fields first."""
    rest = event.lstrip()[1:].lstrip()
    return msgspec.json.encode(lacks)[:-1] + (b"" if rest[:1] == b"}" else b",") + rest
