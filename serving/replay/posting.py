"""What travels to a service: logged events as they were, and logged requests as they were asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.logs.events import COLUMNS
from pipeline.logs.read import Log
from serving.ports import Ask
from serving.replay.absorb import unheard
from serving.replay.requests import Task

_JSON: Final = ("attributes", "filters", "context")  # stored as text, posted as objects


@dataclass(frozen=True, slots=True)
class Timeline:
    """Pages and feedback in order of time, encoded when they are posted. time: `[E]`; kind, place: of each event,
    its type and its row in the type's frame."""

    time: NDArray[np.int64]
    kind: list[str]
    place: list[int]
    frames: Mapping[str, pl.DataFrame]

    def lines(self, start: int, end: int) -> list[bytes]:
        """Events `start` to `end`, exclusive, as JSON."""
        return [
            _wire(self.kind[i], self.frames[self.kind[i]].row(self.place[i], named=True)) for i in range(start, end)
        ]


def events_after(log: Log, cutoff: int) -> tuple[list[bytes], Timeline]:
    """What a service whose bundle ends at `cutoff` has not heard: items and users, which come first, and the rest."""
    frames = unheard(log, cutoff)
    first = [_wire(kind, row) for kind in ("item", "user") for row in frames[kind].iter_rows(named=True)]
    told = [
        frames[kind].select("time", "event_id", kind=pl.lit(kind), place=pl.int_range(pl.len()))
        for kind in ("impression", "feedback")
    ]
    # A page comes before what was done on it, also within one millisecond.
    index = pl.concat(told).sort("time", "kind", "event_id", descending=[False, True, False])
    return first, Timeline(index["time"].to_numpy(), index["kind"].to_list(), index["place"].to_list(), frames)


def _wire(kind: str, row: Mapping[str, Any]) -> bytes:
    event = {name: row[name] for name in COLUMNS[kind] if row[name] is not None}
    event |= dict.fromkeys(event.pop("cleared", ()))
    event |= {name: msgspec.Raw(event[name].encode()) for name in _JSON if name in event}
    if "items" in event:
        event["items"] = [{name: v for name, v in cell.items() if v is not None} for cell in event["items"]]
    return msgspec.json.encode({"type": kind, **event})


@dataclass(frozen=True, slots=True)
class Posted:
    """One request: at `row` of its mode's slates, for the endpoint `/v1/{door}`."""

    mode: str
    row: int
    time: int
    door: str
    body: Mapping[str, object]


def bodies(task: Task, log: Log) -> Iterator[Posted]:
    """Each request of the task with what it was asked with, as of its time."""
    said = log.frame("impression", columns=["request_id", "page", "filters", "context"])
    first = said.sort("page", maintain_order=True).unique("request_id", keep="first", maintain_order=True)
    joined = task.requests.join(first.drop("page"), on="request_id", how="left", maintain_order="left")
    rows = joined.select(pl.col("filters", "context").fill_null("{}"), "surface")
    for row, (filters, context, surface) in enumerate(rows.iter_rows()):
        ask = task.asks[row]
        body = {"request_id": ask.id, "at": ask.time, "context": msgspec.json.decode(context), **_who(ask)}
        seed = {"item_id": ask.item_id} if ask.item_id else {}
        if ask.items is not None:
            items = [{"item_id": item} for item in ask.items]
            body |= {"items": items, "query": ask.query, "surface": surface, **seed}
            yield Posted(task.mode, row, ask.time, "rank", body)
            continue
        body |= {"filters": msgspec.json.decode(filters)}
        if ask.query.strip():
            yield Posted(task.mode, row, ask.time, "search", body | {"query": ask.query})
        else:
            yield Posted(task.mode, row, ask.time, "recommend", body | {"surface": surface} | seed)


def _who(ask: Ask) -> dict[str, object]:
    if not ask.subject:
        return {}
    session = ask.subject.removeprefix("s:")
    return {"user_id": ask.subject} if session == ask.subject else {"session_id": session}
