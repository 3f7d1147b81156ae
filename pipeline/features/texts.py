"""The words of every item as arrays: hashed tokens end to end, and bit signatures of their letters.

Tokens are hashed, not numbered by a vocabulary: a live item with a word nobody used before still matches a query
that asks for it. Letters: N items, E tokens of all items, M items asked for, W tokens of the longest of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise
from operator import or_
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.catalogue import Catalogue
from pipeline.features.ids import key
from pipeline.features.postings import Postings
from pipeline.features.text import tokens
from pipeline.features.titles import Titles

Hashes = NDArray[np.int32]
Bits = NDArray[np.uint64]
Places = NDArray[np.int64]

NO_TOKEN = -1
LETTERS = 8  # words of 64 bits in the signature of a title's trigrams
LONGEST_TITLE = 32  # tokens kept of a title
_LONGEST = {"title": LONGEST_TITLE, "text": 256}  # tokens kept of a field
_MORE = 1.25  # times the tokens the postings were made of, before they are made anew
_SOURCES = ("title", "text", "brand", "tags", "category")


@dataclass(frozen=True, slots=True)
class Word:
    """A token: its hash (31 bits), its letter pairs in 64 bits, its letter triples in 64 * LETTERS bits."""

    hash: int
    shape: int
    letters: int
    number: bool


@lru_cache(maxsize=2**17)
def word(token: str) -> Word:
    """A pure function of the token, remembered because queries and titles share their words."""
    marked = f"^{token}$"
    shape = 0
    for pair in pairwise(marked):
        shape |= 1 << (crc32("".join(pair).encode()) % 64)
    letters = 0
    for start in range(max(1, len(marked) - 2)):
        letters |= 1 << (crc32(marked[start : start + 3].encode()) % (64 * LETTERS))
    return Word(key(token) & 0x7FFFFFFF, shape, letters, token[0].isdigit())


@dataclass(frozen=True, slots=True)
class Field:
    """tokens: `[E]`; start, length: `[N]`, where each item's tokens stand; the first one is NO_TOKEN."""

    tokens: Hashes
    start: Places
    length: Places

    def flat(self, item: NDArray[np.int32]) -> tuple[Hashes, Places]:
        """The tokens of the items `[M]` end to end, and the place in `item` each belongs to."""
        words, ends = self.spans(item)
        return words, np.repeat(np.arange(len(item)), np.diff(ends, prepend=0))

    def spans(self, item: NDArray[np.int32]) -> tuple[Hashes, Places]:
        """The tokens of the items `[M]` end to end, and where each item's end, `[M]`."""
        length = self.length.take(item)
        ends = length.cumsum()
        skipped: Places = np.repeat(self.start.take(item) - (ends - length), length)
        skipped += np.arange(len(skipped))
        return self.tokens.take(skipped), ends

    def times_in(self, hashes: Hashes, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """`[T, M]`: how often each item has each token; hashes: `[T, M]`, or `[T, 1]` for the same of all items."""
        words, ends = self.spans(item)
        times = np.empty((len(hashes), len(item)), dtype=np.float32)
        for place, token in enumerate(hashes):
            each = token if len(token) == 1 else np.repeat(token, self.length[item])
            hits = ends.searchsorted(np.flatnonzero(words == each), side="right")
            times[place] = np.bincount(hits, minlength=len(item))
        return times


@dataclass(frozen=True, slots=True)
class Texts:
    """What is known of the words of a catalogue. titles: the words of `title` once more, to be compared; letters:
    `[N, LETTERS]` of titles; postings: of the text.

    rows: the item rows this was made of, so that only what differs is read again.
    """

    rows: pl.DataFrame
    title: Field
    text: Field
    titles: Titles
    letters: Bits
    postings: Postings

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Texts":
        nothing = np.empty(0, dtype=np.int64)
        blank = Field(np.full(1, NO_TOKEN, dtype=np.int32), nothing, nothing)
        empty = cls(
            catalogue.rows.select(_SOURCES).clear(),
            blank,
            blank,
            Titles.empty(),
            np.empty((0, LETTERS), np.uint64),
            _postings(blank),
        )
        return empty.grown(catalogue)

    def grown(self, catalogue: Catalogue) -> "Texts":
        """The words of a catalogue that extends this one: items added or described anew."""
        rows = catalogue.rows.select(_SOURCES)
        known = len(self.rows)
        changed = np.ones(len(rows), dtype=np.bool_)
        changed[:known] = _differ(self.rows, rows.head(known))
        place = np.flatnonzero(changed)
        if not len(place):
            return self
        fresh = rows[place]
        titles = [_cut(title, "title") for title in fresh["title"]]
        letters = np.zeros((len(rows), LETTERS), dtype=np.uint64)
        letters[:known] = self.letters
        letters[place] = as_bits(map(letters_of, titles))
        title, words = _added(self.title, titles, place, len(rows)), self.titles.grown(titles, place, len(rows))
        text = _added(self.text, [_cut(line, "text") for line in _about(fresh)], place, len(rows))
        some_new = len(text.tokens) <= _MORE * self.postings.read
        postings = self.postings if some_new else _postings(text)
        return Texts(rows, title, text, words, letters, postings)

    def times_in_text(self, hashes: Hashes, item: NDArray[np.int32]) -> NDArray[np.uint16]:
        """`[T, M]`: how often each token is in the text of each item; hashes: `[T]`."""
        times = self.postings.times_in(hashes, item)
        if len(self.text.tokens) > self.postings.read:
            late = self.text.start.take(item) >= self.postings.read
            times[:, late] = self.text.times_in(hashes[:, None], item[late])
        return times


class TextMemory:
    """The words of the catalogue seen last; grows with it."""

    def __init__(self) -> None:
        self._last: tuple[pl.DataFrame, Texts] | None = None

    def of(self, catalogue: Catalogue) -> Texts:
        last = self._last
        if last is not None and last[0] is catalogue.rows:
            return last[1]
        grows = last is not None and len(last[1].rows) <= len(catalogue)
        texts = last[1].grown(catalogue) if last is not None and grows else Texts.of(catalogue)
        self._last = (catalogue.rows, texts)
        return texts


def letters_of(line: Iterable[Word]) -> int:
    """The letter triples of all tokens."""
    return reduce(or_, (token.letters for token in line), 0)


def as_bits(letters: Iterable[int]) -> Bits:
    """`[M, LETTERS]`: letter triples of M lists of tokens."""
    rows = (each.to_bytes(8 * LETTERS, "little") for each in letters)
    return np.frombuffer(b"".join(rows), dtype="<u8").reshape(-1, LETTERS)


def _postings(field: Field) -> Postings:
    words, owner = field.flat(np.arange(len(field.start), dtype=np.int32))
    return Postings.of(words, owner, len(field.tokens))


def _cut(line: str | None, field: str) -> list[Word]:
    return [word(token) for token in tokens(line)[: _LONGEST[field]]] if line else []


def _about(rows: pl.DataFrame) -> pl.Series:
    """Everything but the title in one line."""
    lists = [pl.col(name).list.join(" ").fill_null("") for name in ("tags", "category")]
    return rows.select(pl.concat_str(pl.col("text", "brand").fill_null(""), *lists, separator=" ").alias("about"))[
        "about"
    ]


def _differ(left: pl.DataFrame, right: pl.DataFrame) -> NDArray[np.bool_]:
    differs = np.zeros(len(left), dtype=np.bool_)
    for name in _SOURCES:
        differs |= left[name].ne_missing(right[name]).to_numpy()
    return differs


def _added(field: Field, lines: list[list[Word]], place: Places, items: int) -> Field:
    """A field with the lines of the items at `place` put behind; what an item had before is left unused."""
    start, length = np.zeros(items, dtype=np.int64), np.zeros(items, dtype=np.int64)
    start[: len(field.start)], length[: len(field.length)] = field.start, field.length
    sizes = np.array([len(line) for line in lines], dtype=np.int64)
    start[place], length[place] = len(field.tokens) + np.cumsum(sizes) - sizes, sizes
    more = np.array([token.hash for line in lines for token in line], dtype=np.int32)
    return Field(np.concatenate([field.tokens, more]), start, length)
