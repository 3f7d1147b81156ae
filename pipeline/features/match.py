"""How well the words of a query fit an item, for all candidates at once.

BM25 as in Robertson & Zaragoza (2009) with the never-negative IDF ln(1 + (N - n + 0.5) / (n + 0.5)). Misspellings
still match by shared letters: Dice's coefficient of letter pairs, and of letter triples, kept as bits.
Letters: M (query, item) pairs, T terms of the longest query, W tokens of the longest title, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.texts import (
    LETTERS,
    LONGEST_TITLE,
    NO_TOKEN,
    Bits,
    Field,
    Hashes,
    TextMemory,
    Texts,
    letters_of,
    word,
)

K1: Final = 1.2
B: Final = 0.75
TITLE_WEIGHT: Final = 2.0
MOST_TERMS: Final = 16
_CELLS_AT_ONCE = 2**21  # of (term, token of a title, pair)
_EIGHT = (np.uint8(1) << np.arange(8, dtype=np.uint8))[:, None]
# The place of a term; it is 32 where no bit is set.
_AT = np.append(np.arange(32, dtype=np.float32), np.float32(np.nan))
_ONES = np.ones(LETTERS, dtype=np.float32)
Counts = NDArray[np.float64]
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

    TITLE, TEXT, ALL, FOUND, ANY, CLOSE, HAS, TIMES, NUMBERS, BIGRAMS = range(10)


@dataclass(frozen=True, slots=True)
class TextStats:
    """How common words are, frozen in a bundle. hashes: `[V]` sorted; documents_with: `[V, 2]` for title and text;
    mean_length: `[2]` tokens."""

    documents: int
    hashes: Hashes
    documents_with: NDArray[np.int32]
    mean_length: tuple[float, float]

    @classmethod
    def of(cls, texts: Texts) -> "TextStats":
        """Counted over every item of the catalogue that has a word at all."""
        fields = (texts.title, texts.text)
        documents = int(np.count_nonzero(texts.title.length + texts.text.length))
        found = [_distinct(field) for field in fields]
        hashes = np.unique(np.concatenate(found))
        counts = np.stack([np.bincount(np.searchsorted(hashes, part), minlength=len(hashes)) for part in found], axis=1)
        means = [float(field.length.sum()) / max(documents, 1) for field in fields]
        return cls(documents, hashes, counts.astype(np.int32), (means[0], means[1]))

    def idf(self, hashes: Hashes) -> Counts:
        """`[..., 2]`: of each term in titles and in texts; an unknown term is the rarest."""
        place = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        have = np.zeros((*np.shape(hashes), 2))
        if len(self.hashes):
            have = np.where((self.hashes[place] == hashes)[..., None], self.documents_with[place], 0)
        return np.asarray(np.log1p((self.documents - have + 0.5) / (have + 0.5)))

    def save(self, folder: Path) -> None:
        np.save(folder / "text.hashes.npy", self.hashes, allow_pickle=False)
        np.save(folder / "text.documents.npy", self.documents_with, allow_pickle=False)
        about = {"documents": self.documents, "mean_length": self.mean_length}
        (folder / "text.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def open(cls, folder: Path) -> "TextStats":
        """Raises ArtifactError when the files are not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / "text.json").read_bytes())
            hashes = np.load(folder / "text.hashes.npy", allow_pickle=False)
            counts = np.load(folder / "text.documents.npy", allow_pickle=False)
            title, text = (float(value) for value in about["mean_length"])
            stats = cls(int(about["documents"]), hashes, counts, (title, text))
        except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            raise ArtifactError("text.json", f"readable text statistics ({error})", place=str(folder)) from error
        if hashes.ndim != 1 or counts.shape != (len(hashes), 2):
            raise ArtifactError("text.documents.npy", "two counts for each hash", place=str(folder))
        return stats


@dataclass(frozen=True, slots=True)
class _About:
    """What a term's weight in an item depends on. idf: `[V + 1, 2]`, of the words of stats and of any other; the rest
    `[N]` each: k1 (1 - b + b length / mean length) of both fields, the title's length but at least 1, and how many
    letter triples it has."""

    texts: Texts
    stats: TextStats
    idf: Floats
    title_norm: Floats
    text_norm: Floats
    length: Floats
    letters: Floats

    @classmethod
    def of(cls, texts: Texts, stats: TextStats) -> "_About":
        norms = [_norm(part, mean) for part, mean in zip((texts.title, texts.text), stats.mean_length, strict=True)]
        letters = _counted(texts.letters)
        idf = stats.idf(np.append(stats.hashes, NO_TOKEN)).astype(np.float32)
        return cls(texts, stats, idf, norms[0], norms[1], np.maximum(texts.title.length, 1).astype(np.float32), letters)

    def idf_of(self, hashes: Hashes) -> Floats:
        """`[..., 2]`: `TextStats.idf`, looked up."""
        known, rare = self.stats.hashes, len(self.stats.hashes)
        place = known.searchsorted(hashes)
        if rare:
            place = np.where(known.take(place, mode="clip") == hashes, place, rare)
        return self.idf.take(place, axis=0)


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
    """The terms of R requests: hashes, shapes, number: `[R, T]`; idf: `[R, T, 2]`, of titles and of texts;
    length: `[R]`; letters: `[R, LETTERS]`."""

    hashes: Hashes
    shapes: Bits
    number: Mask
    idf: Floats
    length: NDArray[np.int64]
    letters: Bits

    @classmethod
    def of(cls, terms: Sequence[Sequence[str]], about: _About) -> "_Query":
        lines = [list(dict.fromkeys(line))[:MOST_TERMS] for line in terms]
        length = np.array([len(line) for line in lines], dtype=np.int64)
        shape = (len(lines), int(length.max(initial=0)))
        hashes, shapes = np.full(shape, -2, dtype=np.int32), np.zeros(shape, dtype=np.uint64)
        number = np.zeros(shape, dtype=np.bool_)
        for row, line in enumerate(lines):
            for place, token in enumerate(line):
                known = word(token)
                hashes[row, place], shapes[row, place], number[row, place] = known.hash, known.shape, known.number
        return cls(hashes, shapes, number, about.idf_of(hashes), length, letters_of(lines))


def _match(
    query: _Query, row: NDArray[np.intp] | slice, item: NDArray[np.int32], texts: Texts, about: _About, out: Floats
) -> None:
    """Into out `[M, len(MATCH_NAMES)]`, for items `[M]` and their requests `row`: `[M]`, or all of it for one request.

    A title is at most 32 tokens long, so the places a term stands at are the bits of one number.
    """
    hashes, number, length = query.hashes[row].T, query.number[row].T, query.length[row]
    at = texts.title.padded(item)
    titles, bits = about.length.take(item), _places_of(texts.title.tokens.take(at) == hashes[:, None])
    has, times, place = bits != 0, np.bitwise_count(bits), np.bitwise_count((bits & -bits) - np.uint32(1))
    one = isinstance(row, slice)
    in_text = texts.times_in_text(hashes[:, 0], item) if one else texts.text.times_in(hashes, item)
    close, real = _closest(texts, at, query.shapes[row].T), np.arange(len(bits))[:, None] < length
    idf = query.idf[row].transpose(2, 1, 0)
    each = np.zeros((len(bits), len(_Sum), len(item)), dtype=np.float32)
    each[:, _Sum.TITLE] = idf[0] * _saturated(times.astype(np.float32), about.title_norm.take(item))
    each[:, _Sum.TEXT] = idf[1] * _saturated(in_text, about.text_norm.take(item))
    each[:, _Sum.ALL] = idf[0] * real
    np.multiply(each[:, _Sum.ALL], has, out=each[:, _Sum.FOUND])
    np.multiply(each[:, _Sum.ALL], has | (in_text > 0), out=each[:, _Sum.ANY])
    np.multiply(close, real, out=each[:, _Sum.CLOSE])
    each[:, _Sum.HAS], each[:, _Sum.TIMES], each[:, _Sum.NUMBERS] = has, times, number & has
    each[1:, _Sum.BIGRAMS] = ((bits[:-1] << np.uint32(1)) & bits[1:]) != 0
    title_bm25, text_bm25, idf_all, idf_found, idf_any, close_all, found, covered, numbers, bigrams = _summed(each)
    final = (length - 1, np.arange(len(item)))
    terms, asked = length.astype(np.float32), _counted(query.letters[row])
    shared = _counted(query.letters[row] & texts.letters.take(item, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            title_bm25,
            text_bm25,
            found / terms,
            idf_found / idf_all,
            idf_any / idf_all,
            found == terms,
            has[final],
            numbers / np.add.reduce(number, axis=0, dtype=np.float32),
            bigrams / (terms - 1),
            covered / titles,
            _AT.take(np.minimum.reduce(place, axis=0)) / titles,
            _AT.take(place[final]) / titles,
            close_all / terms,
            np.minimum.reduce(np.where(real, close, np.float32(1)), axis=0),
            np.float32(2) * shared / np.maximum(asked + about.letters.take(item), 1),
            shared / np.maximum(asked, 1),
            titles,
        )
    for column, values in enumerate(columns):
        out[:, column] = values


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


def _saturated(times: Floats, norm: Floats) -> Floats:
    return np.asarray(times * np.float32(K1 + 1.0) / (times + norm))


def _closest(texts: Texts, at: NDArray[np.int64], shapes: Bits) -> Floats:
    """`[T, M]`: the largest Dice coefficient of letter pairs between a term `[T, 1 or M]` and a token of the title."""
    shared = np.bitwise_count(texts.shapes.take(at) & shapes[:, None]).astype(np.float32)
    shared /= texts.sizes.take(at) + np.maximum(np.bitwise_count(shapes), 1).astype(np.float32)[:, None]
    return np.asarray(np.float32(2.0) * np.maximum.reduce(shared, axis=1))


def _counted(bits: Bits) -> Floats:
    """`[M]`: how many bits `[M, LETTERS]` are set; whole numbers, whose sum has the same bits in any order."""
    return np.asarray(np.bitwise_count(bits).astype(np.float32) @ _ONES)


def _distinct(part: Field) -> Hashes:
    """Each token once an item that has it."""
    words, owner = part.flat(np.arange(len(part.start), dtype=np.int32))
    both = np.unique((owner.astype(np.int64) << 32) | words)
    return (both & 0xFFFFFFFF).astype(np.int32)
