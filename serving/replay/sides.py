"""Requests side by side: the first places of two lists as a reader wants to see them, with titles, grades, scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch import Ints
from pipeline.catalogue import Catalogue
from serving.replay.answers import Slates
from serving.replay.requests import Task

SHOWN: Final = 10  # places of a list
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the lists that stand side by side. name: whose; value: `[R]` its metric."""

    name: str
    slates: Slates
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns dense items into what a reader knows them by."""

    task: Task
    catalogue: Catalogue

    def about(self, row: int) -> Row:
        """Which request it is, without who asked."""
        request = self.task.requests.row(row, named=True)
        return {name: request[name] for name in ("request_id", "page", "surface", "query")}

    def listed(self, row: int, slates: Slates) -> list[Row]:
        """The first places of one list."""
        item, score = slates.item[row, :SHOWN], slates.score[row, :SHOWN]
        gain, shown = self._gains(row, item), self._logged(row)
        return [
            {**self.item(int(dense)), "grade": float(grade), "score": _number(value), "shown_at": shown.get(int(dense))}
            for dense, grade, value in zip(item, gain, score, strict=True)
            if dense >= 0
        ]

    def item(self, dense: int) -> Row:
        rows: pl.DataFrame = self.catalogue.rows
        return {"item_id": rows["item_id"][dense], "title": rows["title"][dense]}

    def _gains(self, row: int, item: Ints) -> NDArray[np.float64]:
        mine = self.task.labels.row == row
        gain = dict(zip(self.task.labels.item[mine].tolist(), self.task.labels.gain[mine].tolist(), strict=True))
        return np.array([gain.get(int(dense), 0.0) if dense >= 0 else 0.0 for dense in item])

    def _logged(self, row: int) -> dict[int, int]:
        shown = self.task.shown
        if shown is None:
            return {}
        return {
            int(item): int(place)
            for item, place in zip(shown.item[row], shown.position[row], strict=True)
            if item >= 0 and place >= 0
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def side_by_side(reader: Reader, row: int, sides: Sequence[Side]) -> Row:
    """One request: the metric and the list of each side."""
    return {
        **reader.about(row),
        "sides": [
            {"name": side.name, "value": _number(side.value[row]), "items": reader.listed(row, side.slates)}
            for side in sides
        ],
    }


def extremes(change: NDArray[np.float64], count: int) -> tuple[Ints, Ints]:
    """Rows with the `count` smallest negative changes, worst first, and with the largest positive ones, best first;
    of equals the earlier row. `change` `[R]`, nan = none."""
    order = np.argsort(change, kind="stable")
    falls = order[change[order] < 0][:count]
    order = np.argsort(-change, kind="stable")
    return falls, order[change[order] > 0][:count]
