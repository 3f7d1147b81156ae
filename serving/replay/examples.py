"""Requests to look at: where podium's page beats what was logged, and where it loses, side by side."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from serving.replay.answers import Slates
from serving.replay.measures import K
from serving.replay.requests import Task
from serving.replay.sides import Reader, Side, extremes, side_by_side
from serving.replay.systems import oracle_slates

COUNT: Final = 10
_BY: Final = f"ndcg@{K}"


def examples(
    task: Task,
    slates: Mapping[str, Slates],
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    catalogue: Catalogue,
) -> dict[str, Any]:
    """`best` and `worst` by NDCG@10 of podium less that of `against`: the logged page where its order is known, else
    the relevant items, best first."""
    podium = Side("podium", slates["podium"], values["podium"][_BY])
    if "logged" in slates:
        other = Side("logged", slates["logged"], values["logged"][_BY])
        falls, rises = extremes(podium.value - other.value, COUNT)
    else:
        ideal = oracle_slates(task.labels.only((task.labels.gain > 0) & (task.labels.item >= 0)), catalogue.tie, K)
        other = Side("relevant", ideal, np.where(task.unmeasured, np.nan, 1.0))
        falls = extremes(podium.value - 1.0, COUNT)[0]
        rises = extremes(podium.value, COUNT)[1]
    reader = Reader(task, catalogue)
    return {
        "by": _BY,
        "against": other.name,
        "best": [side_by_side(reader, int(row), (podium, other)) for row in rises],
        "worst": [side_by_side(reader, int(row), (podium, other)) for row in falls],
    }
