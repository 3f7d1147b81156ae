"""How well the words of a query fit an item, for all candidates at once.

BM25 as in Robertson & Zaragoza (2009) with the never-negative IDF ln(1 + (N - n + 0.5) / (n + 0.5)). Misspellings
still match by shared letters: Dice's coefficient of letter pairs, and of letter triples, kept as bits.
Letters: M (query, item) pairs, T terms of the longest query, W tokens of the longest title, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.features.texts import (
    LETTERS,
    LONGEST_TITLE,
    NO_TOKEN,
    Bits,
    Field,
    Hashes,
    TextMemory,
    Texts,
    Word,
    as_bits,
    letters_of,
    word,
)
from pipeline.features.textstats import Counts, TextStats

K1: Final = 1.2
B: Final = 0.75
TITLE_WEIGHT: Final = 2.0
MOST_TERMS: Final = 16
_REMEMBERED = 2**16  # terms
_CELLS_AT_ONCE = 2**21  # of (term, token of a title, pair)
_EIGHT = (np.uint8(1) << np.arange(8, dtype=np.uint8))[:, None]
# The place of a term; it is 32 where no bit is set.
_AT = np.append(np.arange(32, dtype=np.float32), np.float32(np.nan))
_ONES = np.ones(LETTERS, dtype=np.float32)
Floats = NDArray[np.float32]

MATCH_NAMES: Final = (
    "title_bm25",
    "text_bm25",
    "title_share",
    "title_idf_share",
    "any_idf_share",
    "all_in_title",
    "last_in_title",
    "numbers_in_title",
    "bigrams_in_title",
    "title_covered",
    "first_place",
    "last_place",
    "close_share",
    "least_close",
    "letters_dice",
    "letters_covered",
    "title_tokens",
)


class _Sum(IntEnum):
    """What is added up over the terms of a query."""

    TITLE, TEXT, FOUND, ANY, CLOSE, HAS, TIMES, NUMBERS, BIGRAMS = range(9)


@dataclass(frozen=True, slots=True)
class _About:
    """What a term's weight in an item depends on. idf: `[V + 1, 2]`, of the words of stats and of any other; item:
    `[N, 4]`: k1 (1 - b + b length / mean length) of title and text, the title's length but at least 1, and how many
    letter triples it has."""

    texts: Texts
    stats: TextStats
    idf: Floats
    item: Floats
    terms: dict[str, "_Term"] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Texts, stats: TextStats) -> "_About":
        norms = [_norm(part, mean) for part, mean in zip((texts.title, texts.text), stats.mean_length, strict=True)]
        idf = stats.idf(np.append(stats.hashes, NO_TOKEN)).astype(np.float32)
        item = (*norms, np.maximum(texts.title.length, 1).astype(np.float32), _counted(texts.letters))
        return cls(texts, stats, idf, np.stack(item, axis=1))

    def term(self, token: str) -> "_Term":
        """Remembered, since queries share their words."""
        if (known := self.terms.get(token)) is None:
            if len(self.terms) >= _REMEMBERED:
                self.terms.clear()
            about = word(token)
            place = int(self.stats.hashes.searchsorted(about.hash))
            known_word = place < len(self.stats.hashes) and self.stats.hashes[place] == about.hash
            title, text = self.idf[place if known_word else -1]
            known = _Term(about, self.texts.titles.places.get(about.hash, -1), (title, text))
            self.terms[token] = known
        return known


@dataclass(frozen=True, slots=True)
class _Term:
    """place: as in `Titles`, -1 for none; idf: in titles and in texts."""

    word: Word
    place: int
    idf: tuple[np.float32, np.float32]


_ZERO = np.float32(0)
_NO_TERM = _Term(Word(NO_TOKEN, 0, 0, False), -1, (_ZERO, _ZERO))


def _norm(part: Field, mean: float) -> Floats:
    return (K1 * (1.0 - B + B * part.length / max(mean, 1e-9))).astype(np.float32)


class _AboutMemory:
    """What follows from the words seen last."""

    def __init__(self) -> None:
        self._last: _About | None = None

    def of(self, texts: Texts, stats: TextStats) -> _About:
        last = self._last
        if last is None or last.texts is not texts:
            self._last = last = _About.of(texts, stats)
        return last


@dataclass(frozen=True, slots=True)
class Matcher:
    """Scores the fit of queries and items, with the words of the catalogue at hand."""

    stats: TextStats
    memory: TextMemory = field(default_factory=TextMemory)
    about: _AboutMemory = field(default_factory=_AboutMemory)

    def features(
        self,
        terms: Sequence[Sequence[str]],
        item: NDArray[np.int32],
        catalogue: Catalogue,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """`[R, K, len(MATCH_NAMES)]`, in `out` if given. terms: a list for each request; item: `[R, K]`, -1 = none.

        nan where there is no query or no candidate.
        """
        out = np.empty((*item.shape, len(MATCH_NAMES)), dtype=np.float32) if out is None else out
        asked = np.array([len(line) > 0 for line in terms], dtype=np.bool_)
        there = (item >= 0) & asked[:, None]
        if not there.all():
            out[:] = np.nan
        if not there.any():
            return out
        texts = self.memory.of(catalogue)
        about = self.about.of(texts, self.stats)
        query = _Query.of(terms, about)
        if len(terms) == 1 and there.all():
            _match(query, slice(None), item[0], texts, about, out[0])
            return out
        rows, columns = np.nonzero(there)
        step = max(1, _CELLS_AT_ONCE // (query.hashes.shape[1] * LONGEST_TITLE))
        for start in range(0, len(rows), step):
            row, column = rows[start : start + step], columns[start : start + step]
            found = np.empty((len(row), len(MATCH_NAMES)), dtype=np.float32)
            _match(query, row, item[row, column], texts, about, found)
            out[row, column] = found
        return out

    def bm25(self, terms: Sequence[Sequence[str]], item: NDArray[np.int32], catalogue: Catalogue) -> Counts:
        """`[R, K]`: titles weigh twice as much as the rest; 0 without a query or a candidate."""
        both = self.features(terms, item, catalogue)[:, :, :2].astype(np.float64)
        return np.nan_to_num(TITLE_WEIGHT * both[:, :, 0] + both[:, :, 1])


@dataclass(frozen=True, slots=True)
class _Query:
    """The terms of R requests: hashes, shapes, number: `[R, T]`; places: `[R, T]` as in `Titles`, -1 for none; idf:
    `[R, T, 2]`, of titles and of texts; length: `[R]`; letters: `[R, LETTERS]`; asked: `[4, R]`: terms, their idf in
    titles together, how many are numbers, and how many letter triples there are."""

    hashes: Hashes
    places: NDArray[np.int32]
    shapes: Bits
    number: Mask
    idf: Floats
    length: NDArray[np.int64]
    letters: Bits
    asked: Floats

    @classmethod
    def of(cls, terms: Sequence[Sequence[str]], about: _About) -> "_Query":
        lines = [[about.term(token) for token in tuple(dict.fromkeys(line))[:MOST_TERMS]] for line in terms]
        width = max(map(len, lines))
        full = [line + [_NO_TERM] * (width - len(line)) for line in lines]
        letters = [letters_of(term.word for term in line) for line in lines]
        asked = [
            (
                len(line),
                sum((term.idf[0] for term in line), _ZERO),
                sum(term.word.number for term in line),
                each.bit_count(),
            )
            for line, each in zip(lines, letters, strict=True)
        ]
        return cls(
            hashes=np.array([[term.word.hash for term in line] for line in full], dtype=np.int32),
            places=np.array([[term.place for term in line] for line in full], dtype=np.int32),
            shapes=np.array([[term.word.shape for term in line] for line in full], dtype=np.uint64),
            number=np.array([[term.word.number for term in line] for line in full], dtype=np.bool_),
            idf=np.array([[term.idf for term in line] for line in full], dtype=np.float32),
            length=np.array([len(line) for line in lines], dtype=np.int64),
            letters=as_bits(letters),
            asked=np.array(asked, dtype=np.float32).T,
        )


def _match(
    query: _Query, row: NDArray[np.intp] | slice, item: NDArray[np.int32], texts: Texts, about: _About, out: Floats
) -> None:
    """Into out `[M, len(MATCH_NAMES)]`, for items `[M]` and their requests `row`: `[M]`, or all of it for one request.

    A title is at most 32 tokens long, so the places a term stands at are the bits of one number.
    """
    hashes, number, length, idf = query.hashes[row].T, query.number[row].T, query.length[row], query.idf[row].T
    title_norm, text_norm, titles, letters = about.item.take(item, axis=0).T
    words, one = texts.titles.of(item, int(titles.max())), isinstance(row, slice)
    bits = _places_of(words == query.places[row].T[:, None])
    last = bits[-1] if one else bits[length - 1, np.arange(len(item))]
    in_text = texts.times_in_text(hashes[:, 0], item) if one else texts.text.times_in(hashes, item)
    close, has = texts.titles.closest(words, query.shapes[row].T), bits != 0
    each = np.zeros((len(bits), len(_Sum), len(item)), dtype=np.float32)
    each[:, _Sum.HAS], each[:, _Sum.TIMES], each[:, _Sum.CLOSE] = has, np.bitwise_count(bits), close
    if not one:
        real = np.arange(len(bits))[:, None] < length
        each[:, _Sum.CLOSE] *= real
        close[~real] = 1
    np.multiply(idf[0], _saturated(each[:, _Sum.TIMES], title_norm), out=each[:, _Sum.TITLE])
    np.multiply(idf[1], _saturated(in_text, text_norm), out=each[:, _Sum.TEXT])
    np.multiply(idf[0], has, out=each[:, _Sum.FOUND])
    np.multiply(idf[0], has | (in_text > 0), out=each[:, _Sum.ANY])
    np.logical_and(number, has, out=each[:, _Sum.NUMBERS])
    np.not_equal((bits[:-1] << np.uint32(1)) & bits[1:], 0, out=each[1:, _Sum.BIGRAMS])
    title_bm25, text_bm25, idf_found, idf_any, close_all, found, covered, numbers, bigrams = _summed(each)
    terms, idf_all, numbers_all, asked = query.asked[:, row]
    shared = _counted(query.letters[row] & texts.letters.take(item, axis=0))
    ends = np.empty((2, len(item)), dtype=np.uint32)
    np.bitwise_or.reduce(bits, axis=0, out=ends[0])
    ends[1] = last
    first_place, last_place = _AT.take(np.bitwise_count((ends & -ends) - np.uint32(1)))
    columns = out.T
    for column, values in (
        (0, title_bm25),
        (1, text_bm25),
        (5, found == terms),
        (6, last != 0),
        (13, np.minimum.reduce(close, axis=0)),
        (16, titles),
    ):
        columns[column] = values
    with np.errstate(invalid="ignore", divide="ignore"):
        for column, part, whole in (
            (2, found, terms),
            (3, idf_found, idf_all),
            (4, idf_any, idf_all),
            (7, numbers, numbers_all),
            (8, bigrams, terms - 1),
            (9, covered, titles),
            (10, first_place, titles),
            (11, last_place, titles),
            (12, close_all, terms),
            (14, np.float32(2) * shared, np.maximum(asked + letters, 1)),
            (15, shared, np.maximum(asked, 1)),
        ):
            np.divide(part, whole, out=columns[column])


def _places_of(equal: Mask) -> NDArray[np.uint32]:
    """`[T, M]`: the places of titles where `[T, W, M]` holds as bits, eight at a time."""
    bits = np.zeros((len(equal), equal.shape[2]), dtype=np.uint32)
    for start in range(0, equal.shape[1], 8):
        eight = equal[:, start : start + 8].view(np.uint8)
        some = np.bitwise_or.reduce(eight * _EIGHT[: eight.shape[1]], axis=1)
        bits |= some.astype(np.uint32) << np.uint32(start)
    return bits


def _summed(terms: Floats) -> Floats:
    """Added up over the first axis one after the other, so that the bits do not depend on how much there is."""
    total: Floats = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _saturated(times: Floats | NDArray[np.uint16], norm: Floats) -> Floats:
    return np.asarray(times * np.float32(K1 + 1.0) / (times + norm))


def _counted(bits: Bits) -> Floats:
    """`[M]`: how many bits `[M, LETTERS]` are set; whole numbers, whose sum has the same bits in any order."""
    return np.asarray(np.bitwise_count(bits).astype(np.float32) @ _ONES)
