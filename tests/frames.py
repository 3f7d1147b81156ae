"""Event frames from a few words, for tests."""

from collections.abc import Mapping

import polars as pl

from pipeline.logs.events import COLUMNS, DEFAULTS

HOUR = 3_600_000


def frame(kind: str, *rows: Mapping[str, object]) -> pl.DataFrame:
    """Rows with the columns and defaults of the log; `received` equals `time` unless given."""
    blank: dict[str, object] = dict.fromkeys(COLUMNS[kind])
    whole = [blank | DEFAULTS[kind] | {"received": row.get("time")} | dict(row) for row in rows]
    return pl.DataFrame(whole, schema=COLUMNS[kind])


def item(item_id: str, time: int = 0, **fields: object) -> dict[str, object]:
    return {"event_id": f"item:{item_id}:{time}", "time": time, "item_id": item_id, **fields}


def page(request_id: str, time: int, items: str, **fields: object) -> dict[str, object]:
    """One impression; each letter of `items` is an item."""
    shown = [{"item_id": letter, "position": place} for place, letter in enumerate(items)]
    base = {"event_id": f"{request_id}:0", "request_id": request_id, "surface": "search", "user_id": "u"}
    return base | {"time": time, "items": shown} | fields


def act(action: str, item_id: str, time: int, **fields: object) -> dict[str, object]:
    name = f"{action}:{item_id}:{time}:{fields.get('user_id', 'u')}"
    return {"event_id": name, "user_id": "u", "item_id": item_id, "action": action, "time": time} | fields
