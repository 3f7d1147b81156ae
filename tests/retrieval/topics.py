"""A shop of topics: everybody likes one, a word of the title tells which, and some items nobody has seen yet."""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.catalogue import Catalogue
from pipeline.logs.partitions import write_days, write_manifest
from pipeline.logs.read import Log
from pipeline.state import State, initial_state
from retrieval.config import RetrievalConfig, TowerConfig
from tests.frames import HOUR, act, frame, item, page
from tests.retrieval.shop import catalogue_of

TOPICS, EACH = 12, 20
COLD = [f"{topic:02d}-00" for topic in range(TOPICS)]  # one of each topic: described, never acted on
SMALL = RetrievalConfig(
    tower=TowerConfig(
        dimensions=16, buckets=1024, history=5, batch=128, uniform=128, epochs=6, learning_rate=0.02, depth=50
    )
)
Rows = Sequence[Mapping[str, object]]


def topic_of(item_id: str) -> int:
    return int(item_id[:2])


def word_of(topic: int) -> str:
    return f"q{string.ascii_lowercase[topic]}x"


def item_rows() -> list[dict[str, object]]:
    return [
        item(f"{topic:02d}-{n:02d}", title=f"{word_of(topic)} v{string.ascii_lowercase[n]}", price=float(n + 1))
        for topic in range(TOPICS)
        for n in range(EACH)
    ]


def act_rows(users: int = 150, steps: int = 8, seed: int = 0) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        act(
            "click",
            f"{user % TOPICS:02d}-{int(rng.integers(1, EACH)):02d}",
            HOUR * (10 * step + 1) + user,
            user_id=f"u{user:03d}",
        )
        for user in range(users)
        for step in range(steps)
    ]


def search_rows(count: int = 240, seed: int = 1) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Searches for a topic's word, each with a click on one of its items; pages and clicks."""
    rng = np.random.default_rng(seed)
    pages, clicks = [], []
    for n in range(count):
        topic, time = n % TOPICS, HOUR * 2 + n * HOUR // 4
        shown = [f"{topic:02d}-{int(one):02d}" for one in rng.choice(np.arange(1, EACH), 4, replace=False)]
        cells = [{"item_id": one, "position": place} for place, one in enumerate(shown)]
        pages.append(page(f"s{n}", time, "", query=word_of(topic), user_id=f"s{n}") | {"items": cells})
        clicks.append(act("click", shown[0], time + 1, request_id=f"s{n}", user_id=f"s{n}"))
    return pages, clicks


def logged(folder: Path, acts: Rows, pages: Rows = ()) -> tuple[Log, State, Catalogue]:
    frames = {"feedback": frame("feedback", *acts), "impression": frame("impression", *pages)}
    for kind, rows in frames.items():
        write_days(folder, kind, rows)
    write_manifest(folder, "exact")
    catalogue = catalogue_of(item_rows())
    return Log.open(folder), initial_state("exact", catalogue, {"click": 1.0}).advance(frames), catalogue
