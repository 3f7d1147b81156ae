"""Requests with candidates by the names of the items."""

from typing import Any

import numpy as np

from pipeline.batch import Batch
from pipeline.catalogue import Catalogue
from pipeline.filters import NO_FILTERS

FIVE = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0}


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def request(catalogue: Catalogue, scores: list[dict[str, float]], **columns: list[Any]) -> Batch:
    """Requests with candidates by name; `a` has dense index 1, since 0 is the unknown item."""
    size, width = len(scores), max(map(len, scores))
    item, score = np.full((size, width), -1, np.int32), np.zeros((size, width))
    for row, wanted in enumerate(scores):
        item[row, : len(wanted)] = [catalogue.index[name] for name in wanted]
        score[row, : len(wanted)] = list(wanted.values())
    allowed = np.ones(len(catalogue), dtype=bool)
    price = np.array([np.nan, 30.0, 10.0, np.nan, 20.0, 20.0])
    given: dict[str, list[Any]] = {
        "normalised": [""] * size,
        "filters": [NO_FILTERS] * size,
        "sort": ["relevance"] * size,
        "allowed": [allowed] * size,
        "price": [price] * size,
    } | columns
    requests = {name: objects(values) for name, values in given.items() if name != "diversity"}
    diversity = np.array(columns.get("diversity", [np.nan] * size), dtype=np.float32)
    return Batch(requests | {"diversity": diversity}, item, {"score": score})


def names(catalogue: Catalogue, batch: Batch) -> list[str]:
    return ["".join(catalogue.ids[i] for i in row if i >= 0) for row in batch.item]
