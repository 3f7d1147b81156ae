"""A log with parts: two surfaces that show items of their own, and enough people to tell a fall from noise."""

import polars as pl

from pipeline.state import Frames
from tests.frames import HOUR, act, frame, item, page
from tests.replay.fake_engine import CUTOFF

NOW = CUTOFF + 10 * HOUR
ITEMS = {"a": "tea", "b": "tea", "c": "tea", "d": "cups", "e": "cups", "f": "cups"}
GOOD = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 3.0, "e": 2.0, "f": 1.0}
WORSE_AT_TEA = GOOD | {"a": 0.5}  # what people search for, last of its page; nothing else moves
USERS = 40


def items() -> pl.DataFrame:
    return frame("item", *(item(name, title=f"{kind} {name}", category=[kind]) for name, kind in ITEMS.items()))


def log() -> Frames:
    """240 pages of 40 people: searches show a, b, c and recommendations d, e, f; of six clicks five are on the best,
    one on the second."""
    pages, clicks = [], []
    for number in range(USERS * 6):
        search, time = number % 2 == 0, NOW + number * 1000
        user = f"u{number // 2 % USERS}"
        about = {"surface": "search", "query": "tea"} if search else {"surface": "recommend"}
        pages.append(page(f"r{number}", time, "cab" if search else "fde", user_id=user, **about))
        best, second = ("a", "b") if search else ("d", "e")
        chosen = second if number // 2 % 6 == 5 else best
        clicks.append(act("click", chosen, time + 1, user_id=user, request_id=f"r{number}"))
    return {"impression": frame("impression", *pages), "feedback": frame("feedback", *clicks)}
