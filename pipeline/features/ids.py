"""Stable 64-bit keys for strings, so that no vocabulary of users, queries or pairs has to be kept in step.

Two of 10 million distinct strings share a key with a chance of about 3e-6 (birthday bound), and then only share
their counts.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

Keys = NDArray[np.int64]


def key(text: str) -> int:
    """A signed 64-bit key of the text (BLAKE2b), the same on every machine and in every version."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def keys(texts: Iterable[str]) -> Keys:
    """`key` of each text, each distinct text hashed once."""
    known: dict[str, int] = {}
    values = []
    for text in texts:
        if (value := known.get(text)) is None:
            value = known[text] = key(text)
        values.append(value)
    return np.array(values, dtype=np.int64)


def key_column(column: pl.Series) -> Keys:
    """`key` of each row of a string column; null counts as the empty text."""
    column = column.fill_null("")
    distinct = column.unique()
    table = pl.DataFrame({"text": distinct, "key": pl.Series(keys(distinct.to_list()), dtype=pl.Int64)})
    joined = pl.DataFrame({"text": column}).join(table, on="text", how="left", maintain_order="left")
    return joined["key"].to_numpy()


def pair(left: Keys, right: Keys) -> Keys:
    """One key for two, not symmetric; broadcasts. Mixed as in SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = left.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + right.astype(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Keys = (mixed ^ (mixed >> np.uint64(31))).view(np.int64)
    return result
