"""One field of every item as arrays, for the features that are declared over it. Letters: N items, W values of one,
K candidates."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.features.declared import attribute_field
from pipeline.features.ids import Keys, key, key_column, keys
from pipeline.features.text import tokens
from pipeline.values import member_texts, plain_text

Floats = NDArray[np.float64]
Items = NDArray[np.int32]
_MOST_VALUES: Final = 32  # of one item that a match looks at
_LEVEL_MARK: Final = "\x1f"


@dataclass(frozen=True)
class ItemField:
    """text: `[N]`, the one value that stands for the item, null for none; every: `[N]`, a list of all its values."""

    text: pl.Series
    every: pl.Series

    @classmethod
    def of(cls, rows: pl.DataFrame, field: str) -> "ItemField":
        """From the latest row of each item. field: as `Declared.item` allows. A list stands under its first value; a
        category under its whole path, and matches by its last name."""
        if field == "tags":
            return cls(_filled(rows["tags"].list.first()), rows["tags"])
        if field.startswith("category."):
            level = int(field.removeprefix("category."))
            path = rows.select(
                text=pl.when(pl.col("category").list.len() >= level).then(
                    pl.col("category").list.head(level).list.join(_LEVEL_MARK)
                )
            )["text"]
            name = rows["category"].list.get(level - 1, null_on_oob=True)
            return cls(_filled(path), _single(name))
        attribute = attribute_field(field)
        if attribute is None:
            return cls(_filled(rows[field]), _single(rows[field]))
        return cls(*_attribute(member_texts(rows["attributes"], attribute)))

    @cached_property
    def keys(self) -> Keys:
        """`[N]`, 0 = none."""
        return np.where(self.text.is_null().to_numpy(), 0, key_column(self.text))

    @cached_property
    def distinct(self) -> tuple[Keys, NDArray[np.int64]]:
        """The sorted distinct keys `[V]`, and the place of each item's among them, `[N]`."""
        found, place = np.unique(self.keys, return_inverse=True)
        return found, place.astype(np.int64)

    @cached_property
    def members(self) -> Keys:
        """`[N, W]` the key of each value, 0 = none."""
        lists = self.every.list.head(_MOST_VALUES)
        lengths = lists.list.len().fill_null(0).to_numpy()
        found = np.zeros((len(lists), max(int(lengths.max(initial=1)), 1)), dtype=np.int64)
        values = lists.explode(empty_as_null=False, keep_nulls=False)
        found[np.arange(found.shape[1]) < lengths[:, None]] = np.where(
            values.is_null().to_numpy(), 0, key_column(values)
        )
        return found

    @cached_property
    def numbers(self) -> Floats:
        """`[N]`, nan for what is no number."""
        found = self.text.str.strip_chars().cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().copy()
        found[~np.isfinite(found)] = np.nan
        return found

    @cached_property
    def words(self) -> "Words":
        return Words.of(self.every)

    def frequent(self, most: int) -> tuple[str, ...]:
        """The values of most items, ties by text."""
        counted = pl.DataFrame({"text": self.text}).drop_nulls().group_by("text").len()
        return tuple(counted.sort(["len", "text"], descending=[True, False])["text"].head(most))


@dataclass(frozen=True, slots=True)
class Words:
    """The distinct texts of a field and the words in them. code: `[N]` a text's number, -1 = none; words: `[V]` sorted
    keys; start: `[V + 1]`; codes: the texts of each word, ascending."""

    code: NDArray[np.int64]
    words: Keys
    start: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, every: pl.Series) -> "Words":
        line = every.list.join(" ").alias("line")
        line = line.set(line == "", None)
        distinct = line.drop_nulls().unique().sort()
        table = pl.DataFrame({"line": distinct}).with_row_index("code")
        code = pl.DataFrame({"line": line}).join(table, on="line", how="left", maintain_order="left")["code"]
        sets = [set(tokens(text)) for text in distinct]
        owner = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
        word = keys(token for each in sets for token in each)
        order = np.lexsort((owner, word))
        found, start = np.unique(word[order], return_index=True)
        return cls(code.cast(pl.Int64).fill_null(-1).to_numpy(), found, np.append(start, len(word)), owner[order])

    def share(self, terms: list[str], item: Items) -> Floats:
        """`[K]`: the share of the distinct terms that stand in the text of each item; nan without text or terms."""
        distinct = sorted(set(terms))
        code = self.code.take(item)
        hits = np.zeros(len(item))
        for term in distinct:
            place = int(np.searchsorted(self.words, wanted := key(term)))
            if place < len(self.words) and self.words[place] == wanted:
                have = self.codes[self.start[place] : self.start[place + 1]]
                at = np.minimum(have.searchsorted(code), len(have) - 1)
                hits += have[at] == code
        return np.where(code >= 0, hits / len(distinct), np.nan) if distinct else np.full(len(item), np.nan)


def _filled(text: pl.Series) -> pl.Series:
    """Empty text is none."""
    text = text.cast(pl.String)
    return text.set(text == "", None)


def _single(text: pl.Series) -> pl.Series:
    filled = _filled(text).alias("text")
    return filled.to_frame().select(pl.when(pl.col("text").is_not_null()).then(pl.concat_list("text")))["text"]


def _attribute(found: pl.Series) -> tuple[pl.Series, pl.Series]:
    """An attribute's first value and all of them; what is an object is none."""
    found = _filled(found).alias("text")
    nested = found.str.contains(r"^[\[{]").fill_null(False)
    every = _single(found)
    if not nested.any():
        return found, every
    lists = {text: _listed(text) for text in found.filter(nested).unique()}
    every = pl.Series(
        [lists.get(text, [text]) if text is not None else None for text in found], dtype=pl.List(pl.String())
    )
    return _filled(every.list.first()), every


def _listed(text: str) -> list[str]:
    """The plain values of a list; a text that only looks like one is itself."""
    try:
        values = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [text]
    return [plain for value in values if (plain := plain_text(value))] if isinstance(values, list) else []
