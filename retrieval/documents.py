"""What the lexical channel reads of an item: words by field, and labels to filter by."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipeline.catalogue import LEVELS
from pipeline.features.text import tokens
from pipeline.filters import Filters
from pipeline.values import attribute_labels

FIELDS = ("title", "text", "about")
Words = tuple[list[str], ...]  # one list a field of FIELDS

_READ = ("title", "text", "brand", "category", "tags", "kind", "region", "attributes")


def documents(rows: pl.DataFrame) -> Iterator[tuple[Words, list[str]]]:
    """Words and labels of each catalogue row, in order."""
    for row in rows.select(_READ).iter_rows(named=True):
        about = " ".join([row["brand"] or "", *(row["category"] or ()), *(row["tags"] or ())])
        words = (tokens(row["title"] or ""), tokens(row["text"] or ""), tokens(about))
        yield words, _labels(row)


def required(filters: Filters) -> list[list[str]]:
    """The labels an item must have: one of each list. Price and single items are left to the mask."""
    groups = [
        [f"kind:{kind}" for kind in filters.kind],
        [f"brand:{brand}" for brand in filters.brand],
        [f"region:{region}" for region in ("", *filters.region)] if filters.region else [],
        [_path(path) for path in filters.category],
        [f"tag:{tag}" for tag in filters.tags],
    ]
    groups += [[f"attribute:{label}" for label in labels] for _, labels in filters.attributes]
    return [group for group in groups if group]


def _labels(row: Mapping[str, Any]) -> list[str]:
    path = tuple(row["category"] or ())
    labels = [f"kind:{row['kind']}", f"region:{row['region'] or ''}"]
    labels += [f"brand:{row['brand']}"] if row["brand"] is not None else []
    labels += [_path(path[:level]) for level in range(1, min(len(path), LEVELS) + 1)]
    labels += [f"tag:{tag}" for tag in row["tags"] or ()]
    return labels + [f"attribute:{label}" for label in attribute_labels(row["attributes"])]


def _path(path: tuple[str, ...]) -> str:
    return "category:" + "\x1f".join(path)
