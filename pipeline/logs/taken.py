"""Events that were taken over HTTP, as logs and engines know them."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from pipeline.logs.decode import Chunk, decode_each
from pipeline.logs.forget import stranger
from pipeline.logs.storage.forgotten import Forgotten
from pipeline.logs.store import Stored

PLACE = "store"


def decode_stored(stored: Sequence[Stored], forgotten: Forgotten) -> Chunk:
    """Columns of stored events: `received` is the store's, who was forgotten before is a stranger.

    `line` of what can no longer be read is its `seq` in the store.
    """
    chunk = decode_each([row.body.encode() for row in stored], PLACE)
    received = pl.Series("received", [row.received for row in stored], dtype=pl.Int64)
    frames = {}
    for kind, rows in chunk.frames.items():
        own = received.gather(rows["line"])
        frame = pl.DataFrame([own if column.name == "received" else column for column in rows])
        if forgotten and "user_id" in frame.columns:
            users = frame["user_id"].drop_nulls().unique()
            names = {user: name for user in users if (name := stranger(user, forgotten)) != user}
            frame = frame.with_columns(pl.col("user_id").replace(names))
        frames[kind] = frame
    rejects = [replace(reject, line=stored[reject.line].seq) for reject in chunk.rejects]
    return Chunk(PLACE, frames, rejects)
