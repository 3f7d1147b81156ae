"""What an engine must hear before it is asked: the events between its bundle's cutoff and each request.

All of it is told at once. The engine reads everything as of the request's time, so the rest is not yet known to
whoever asks early.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from pipeline.features.ids import key_column
from pipeline.features.sequences import Ms
from pipeline.logs.events import COLUMNS, conform, empty, subject
from pipeline.logs.read import Log
from serving.replay.ports import ReplayEngine

EVENTS = ("item", "user", "impression", "feedback")
_EVER = 2**62


def absorb(engine: ReplayEngine, log: Log, history: Sequence[Log] = (), *, frozen: bool = False) -> None:
    """Tell the engine about the log, its state and further `history`.

    Rolling: every event the bundle was not trained on. On a log without clock time the log's own feedback stays
    untold, since there everything known counts at once. Frozen: only items nobody has heard of, as if they had
    been there at the cutoff.
    """
    state = log.state
    earlier = [*history, *([] if state is None else [state])]
    exact = log.clock == "exact"
    since = engine.bundle.cutoff
    if exact and not frozen:
        by_time = _by_time(log)
        told = [_after(each, since) if by_time else {"feedback": _beyond(engine, each)} for each in earlier]
        engine.learn(_once([*told, _after(log, since if by_time else 0)]))
    elif not frozen:
        for each in earlier:
            engine.learn({"feedback": _beyond(engine, each)})
    engine.learn({"item": _newborn(engine, [*earlier, log], since if exact else 0)})


def unheard(log: Log, cutoff: int) -> dict[str, pl.DataFrame]:
    """What a service whose bundle ends at `cutoff` has not heard of the log and its state, each event once.

    On a log without clock time these are its items alone: what of the rest the bundle knows cannot be told from
    outside.
    """
    if log.clock == "order":
        return {kind: log.frame(kind) if kind == "item" else empty(kind) for kind in EVENTS}
    earlier = [] if log.state is None or not _by_time(log) else [_after(log.state, cutoff)]
    return _once([*earlier, _after(log, cutoff if _by_time(log) else 0)])


def _once(parts: Sequence[Mapping[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Every event once, however many of the logs hold it, in order of time."""
    return {
        kind: pl.concat([part.get(kind, empty(kind)) for part in parts])
        .unique("event_id", keep="first")
        .sort("time", "event_id")
        for kind in EVENTS
    }


def _by_time(log: Log) -> bool:
    """Whether what the bundle learned ends at one moment. By user, query or last item it does not."""
    rule = log.manifest.get("split")
    return not isinstance(rule, dict) or rule.get("by") == "time"


def _after(log: Log, since: int) -> dict[str, pl.DataFrame]:
    """Events that came to pass, or came in, at `since` or later."""
    late = (pl.col("time") >= since) | (pl.col("received") >= since)
    frames = {kind: log.scan(kind).filter(late).select(*COLUMNS[kind]).collect() for kind in EVENTS}
    return {kind: frame.sort("time", "event_id") for kind, frame in frames.items()}


def _beyond(engine: ReplayEngine, log: Log) -> pl.DataFrame:
    """Feedback after the last action the engine knows of its subject."""
    feedback = log.frame("feedback")
    keys = key_column(feedback.select(subject())["subject"])
    distinct, place = np.unique(keys, return_inverse=True)
    last = engine.state.history.last(distinct, np.full(len(distinct), _EVER), 1)
    known: Ms = np.where(last.item[:, 0] >= 0, last.time[:, 0], -1)
    return feedback.filter(pl.Series(feedback["time"].to_numpy() > known[place]))


def _newborn(engine: ReplayEngine, logs: Sequence[Log], horizon: int) -> pl.DataFrame:
    """A row for each item that the engine does not know yet, dated no later than `horizon`: its first description,
    or nothing but its id."""
    known = engine.state.catalogue.rows.select("item_id")
    described = pl.concat([log.scan("item").select(*COLUMNS["item"]).collect() for log in logs])
    described = described.join(known, on="item_id", how="anti").sort("time", "event_id")
    described = described.unique("item_id", keep="first", maintain_order=True)
    described = described.with_columns(pl.col("time", "received").clip(upper_bound=horizon))
    named = pl.concat([ids for log in logs for ids in _named(log)]).unique().sort().to_frame("item_id")
    named = named.join(known, on="item_id", how="anti").join(described, on="item_id", how="anti")
    bare = named.select(event_id=pl.lit("named:") + pl.col("item_id"), time=pl.lit(0, pl.Int64), item_id="item_id")
    # Where ids that nobody describes are ignored, these are known but not to be found.
    bare = bare.with_columns(available=not engine.state.catalogue.ignores)
    return pl.concat([described, conform("item", bare)]).sort("time", "event_id")


def _named(log: Log) -> Iterator[pl.Series]:
    yield from (log.scan(kind).select("item_id").unique().collect()["item_id"] for kind in ("feedback", "judgment"))
    shown = log.scan("impression").select(pl.col("items").list.eval(pl.element().struct["item_id"]).alias("item_id"))
    yield shown.explode("item_id").drop_nulls().unique().collect()["item_id"]
