"""Keystrokes: what the search box offered while a query was typed, and whether one of the offers was taken.

The box offers the most popular completions of what is typed so far. A shopper takes the meant query when it is
offered and looked at, and then spells it right; so what is never offered is never taken.
"""

import numpy as np
import polars as pl

from pipeline.market.catalogue import Ints
from pipeline.market.queries import Intents
from pipeline.market.rows import subject_columns
from pipeline.market.sessions import SEARCH, Visits
from pipeline.market.world import Floats, World

TAKEN = 0.8  # chance that the meant query is taken once it is looked at
KEYSTROKES = 3
PLACEMENT = "complete"
SUGGEST = {
    "request_id": True, "placement": True, "prefix": True, "user_id": True, "session_id": True, "shown": False,
    "chosen": True,
}  # fmt: skip


class SearchBox:
    """The completions of every prefix, as lists and as the JSON of what is shown."""

    def __init__(self, intents: Intents, offered: dict[str, list[int]]) -> None:
        self._texts = intents.texts
        self._offered = offered
        self._shown: dict[str, str] = {}

    def offer(self, prefix: str) -> list[int]:
        """Intents, best first."""
        return self._offered.get(prefix, [])

    def shown(self, prefix: str) -> str:
        """The offer as it is logged."""
        if prefix not in self._shown:
            entries = [
                f'{{"query":"{self._texts[intent][0]}","position":{position}}}'
                for position, intent in enumerate(self.offer(prefix))
            ]
            self._shown[prefix] = "[" + ",".join(entries) + "]"
        return self._shown[prefix]


def keystrokes(
    world: World, intents: Intents, box: SearchBox, visits: Visits, request_ids: pl.Series, *, rng: np.random.Generator
) -> tuple[pl.DataFrame, Ints]:
    """`suggest` rows of a share of the searches, and the column of `Intents.texts` each request then used."""
    typed = np.flatnonzero((visits.surface == SEARCH) & (rng.random(len(visits)) < world.suggest_share))
    begin, step = rng.integers(2, 5, len(typed)), rng.integers(1, 4, len(typed))
    luck = rng.random((len(typed), KEYSTROKES))
    looks = world.examine(np.arange(64))
    typo = visits.typo.copy()
    rows: list[tuple[int, int, str, str | None]] = []
    for nth, row in enumerate(typed.tolist()):
        intent = int(visits.intent[row])
        text = intents.texts[intent][int(visits.typo[row])]
        for stroke in range(KEYSTROKES):
            prefix = text[: int(begin[nth] + stroke * step[nth])]
            offer = box.offer(prefix)
            if not offer:
                break
            taken = _takes(intent, offer, looks, float(luck[nth, stroke]))
            rows.append((row, stroke, prefix, intents.texts[intent][0] if taken else None))
            if taken:
                typo[row] = 0
                break
    return _rows(visits, request_ids, box, rows), typo


def _takes(intent: int, offer: list[int], looks: Floats, luck: float) -> bool:
    return intent in offer and luck < TAKEN * looks[offer.index(intent)]


def _rows(
    visits: Visits, request_ids: pl.Series, box: SearchBox, rows: list[tuple[int, int, str, str | None]]
) -> pl.DataFrame:
    which = np.array([row[0] for row in rows], dtype=np.int64)
    stroke = np.array([row[1] for row in rows], dtype=np.int64)
    owner = visits.take(which)
    names = request_ids.gather(which) + "k" + pl.Series(stroke).cast(pl.String())
    return pl.DataFrame(
        {
            "event_id": names,
            "time": owner.time - 4000 + 900 * stroke,
            "request_id": names,
            "placement": pl.Series([PLACEMENT] * len(rows), dtype=pl.String()),
            "prefix": pl.Series([row[2] for row in rows], dtype=pl.String()),
            **subject_columns(owner),
            "shown": pl.Series([box.shown(row[2]) for row in rows], dtype=pl.String()),
            "chosen": pl.Series([row[3] for row in rows], dtype=pl.String()),
        }
    )
