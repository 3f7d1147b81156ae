"""Why an item stands where it stands: the channels that found it, and its place after each stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array, Batch, best_first
from pipeline.stage import Effect, Stage
from serving.ports import Ask
from serving.replay.ports import ReplayEngine

Trace = dict[str, object]
_ORDERED_BY = ("relevance", "score")  # the column that candidates would be ordered by now: the later stage's first


@dataclass(frozen=True, slots=True)
class Watched:
    """P items to follow. row: `[P]` the request of each; item: `[P]` dense, -1 = one the engine does not know."""

    row: NDArray[np.int64]
    item: NDArray[np.int32]


class Trail:
    """An observer of one batch that notes the place of each watched item after each stage. Places count from 0."""

    def __init__(self, watched: Watched, tie: NDArray[np.int32]) -> None:
        self.watched, self.tie = watched, tie
        self.found: list[dict[str, int]] = [{} for _ in watched.row]
        self.places: list[dict[str, int | None]] = [{} for _ in watched.row]

    def __call__(self, stage: Stage, before: Batch, after: Batch) -> None:
        if stage.effect is Effect.RECALL:
            for each, place in self._among(after.item[:, before.item.shape[1] :]):
                self.found[each].setdefault(stage.name, place)
        elif stage.effect is Effect.ORDER:
            self._note(stage.name, after.item)
        elif stage.effect is Effect.FILTER or (stage.effect is Effect.SCORE and stage.writes & set(_ORDERED_BY)):
            self._note(stage.name, _by_score(after, self.tie))

    def _among(self, item: Array) -> list[tuple[int, int]]:
        """(watched, place) of those that are in their request's row of `item`."""
        if not item.shape[1]:
            return []
        same = (item[self.watched.row] == self.watched.item[:, None]) & (self.watched.item >= 0)[:, None]
        return [(int(each), int(same[each].argmax())) for each in np.flatnonzero(same.any(axis=1))]

    def _note(self, stage: str, item: Array) -> None:
        here = dict(self._among(item))
        for each, places in enumerate(self.places):
            if self.found[each] or each in here:
                places[stage] = here.get(each)

    def traces(self, allowed: Sequence[bool | None]) -> list[Trace]:
        """One a watched item: `allowed` (null = unknown), `channels` with the place in each, `stages` with the place
        after each (null = no longer there)."""
        return [
            {
                "allowed": may,
                "channels": [{"channel": name, "place": place} for name, place in found.items()],
                "stages": [{"stage": name, "place": place} for name, place in places.items()],
            }
            for may, found, places in zip(allowed, self.found, self.places, strict=True)
        ]


def _by_score(batch: Batch, tie: NDArray[np.int32]) -> Array:
    name = next((name for name in _ORDERED_BY if name in batch.columns), None)
    if name is None:
        return batch.item
    return batch.take(best_first(batch[name], batch.mask, tie[np.maximum(batch.item, 0)])).item


def follow(engine: ReplayEngine, asks: Sequence[Ask], watched: Watched) -> list[Trace]:
    """Ask once more and follow the watched items, whose rows are places in `asks`; one trace each."""
    found: list[Trace] = [{} for _ in watched.row]
    names = [engine.cascade_name(ask) for ask in asks]
    for name in dict.fromkeys(names):
        rows = [row for row, own in enumerate(names) if own == name]
        mine = np.flatnonzero(np.isin(watched.row, rows))
        if not len(mine):
            continue
        place: Mapping[int, int] = {row: place for place, row in enumerate(rows)}
        renumbered = np.array([place[int(row)] for row in watched.row[mine]], dtype=np.int64)
        some = Watched(renumbered, watched.item[mine])
        trail = Trail(some, engine.state.catalogue.tie)
        batch = engine.cascade(name).run(engine.batch([asks[row] for row in rows]), observe=trail).batch
        for each, trace in zip(mine, trail.traces(_allowed(batch, some)), strict=True):
            found[each] = trace
    return found


def _allowed(batch: Batch, watched: Watched) -> list[bool | None]:
    if "allowed" not in batch.requests:
        return [None] * len(watched.row)
    allowed = batch.request("allowed")
    return [item >= 0 and bool(allowed[row][item]) for row, item in zip(watched.row, watched.item, strict=True)]
