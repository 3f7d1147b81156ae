"""How well the words of a query fit an item, for all candidates at once.

BM25 as in Robertson & Zaragoza (2009) with the never-negative IDF ln(1 + (N - n + 0.5) / (n + 0.5)). Misspellings
still match by shared letters: Dice's coefficient of letter pairs, and of letter triples, kept as bits.
Letters: M (query, item) pairs, T terms of the longest query, W tokens of the longest title, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.texts import LONGEST_TITLE, Bits, Field, Hashes, TextMemory, Texts, letters_of, word

K1: Final = 1.2
B: Final = 0.75
TITLE_WEIGHT: Final = 2.0
MOST_TERMS: Final = 16
_CELLS_AT_ONCE = 2**21  # of (term, token of a title, pair)
_PLACES = (np.uint32(1) << np.arange(LONGEST_TITLE, dtype=np.uint32))[:, None]
_NOWHERE = 32  # the place of a term no bit is set for
_NAN = np.float32(np.nan)
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
    """What a term's weight in an item depends on, `[N]` each: k1 (1 - b + b length / mean length) of both fields, the
    title's length, and how many letter triples it has."""

    texts: Texts
    title_norm: Floats
    text_norm: Floats
    length: Floats
    letters: Floats

    @classmethod
    def of(cls, texts: Texts, stats: TextStats) -> "_About":
        norms = [_norm(part, mean) for part, mean in zip((texts.title, texts.text), stats.mean_length, strict=True)]
        letters = np.add.reduce(np.bitwise_count(texts.letters), axis=1, dtype=np.float32)
        return cls(texts, norms[0], norms[1], texts.title.length.astype(np.float32), letters)


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
        texts, query = self.memory.of(catalogue), _Query.of(terms, self.stats)
        about = self.about.of(texts, self.stats)
        if len(terms) == 1 and there.all():
            _match(query, np.zeros(1, dtype=np.intp), item[0], texts, about, out[0])
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
    def of(cls, terms: Sequence[Sequence[str]], stats: TextStats) -> "_Query":
        lines = [list(dict.fromkeys(line))[:MOST_TERMS] for line in terms]
        length = np.array([len(line) for line in lines], dtype=np.int64)
        shape = (len(lines), int(length.max(initial=0)))
        hashes, shapes = np.full(shape, -2, dtype=np.int32), np.zeros(shape, dtype=np.uint64)
        number = np.zeros(shape, dtype=np.bool_)
        for row, line in enumerate(lines):
            for place, token in enumerate(line):
                known = word(token)
                hashes[row, place], shapes[row, place], number[row, place] = known.hash, known.shape, known.number
        return cls(hashes, shapes, number, stats.idf(hashes).astype(np.float32), length, letters_of(lines))


def _match(
    query: _Query, row: NDArray[np.intp], item: NDArray[np.int32], texts: Texts, about: "_About", out: Floats
) -> None:
    """Into out `[M, len(MATCH_NAMES)]`, for items `[M]` and their requests `row`: `[M]`, or `[1]` for one of all.

    A title is at most 32 tokens long, so the places a term stands at are the bits of one number.
    """
    at = texts.title.padded(item)
    length, hashes, number = query.length[row], query.hashes[row].T, query.number[row].T
    title, titles = texts.title.tokens.take(at), np.maximum(about.length.take(item), np.float32(1))
    equal = title == hashes[:, None]
    bits = np.add.reduce(np.multiply(equal, _PLACES[: len(at)], dtype=np.uint32), axis=1, dtype=np.uint32)
    has, times, place = bits != 0, np.bitwise_count(bits), np.bitwise_count((bits & -bits) - np.uint32(1))
    in_text = _times_in(texts.text, item, query.hashes[row])
    close = _closest(texts, at, query.shapes[row].T)
    idf = query.idf[row].transpose(2, 1, 0)
    real = np.arange(len(bits))[:, None] < length
    sums = np.empty((len(bits), 6, len(item)), dtype=np.float32)
    sums[:, 0] = idf[0] * _saturated(times.astype(np.float32), about.title_norm.take(item))
    sums[:, 1] = idf[1] * _saturated(in_text, about.text_norm.take(item))
    sums[:, 2] = idf[0] * real
    sums[:, 3] = sums[:, 2] * has
    sums[:, 4] = sums[:, 2] * (has | (in_text > 0))
    sums[:, 5] = close * real
    title_bm25, text_bm25, idf_all, idf_found, idf_any, close_all = _summed(sums)
    final = (length - 1, np.arange(len(item)))
    first, last = np.minimum.reduce(place, axis=0), place[final]
    terms, found = length.astype(np.float32), np.add.reduce(has, axis=0, dtype=np.float32)
    bigrams = np.add.reduce(((bits[:-1] << np.uint32(1)) & bits[1:]) != 0, axis=0, dtype=np.float32)
    numbers = np.add.reduce(number, axis=0, dtype=np.float32)
    numbers_found = np.add.reduce(number & has, axis=0, dtype=np.float32)
    asked = np.add.reduce(np.bitwise_count(query.letters[row]), axis=1, dtype=np.float32)
    shared = _shared(query.letters[row], texts.letters.take(item, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            title_bm25,
            text_bm25,
            found / terms,
            idf_found / idf_all,
            idf_any / idf_all,
            found == terms,
            has[final],
            numbers_found / numbers,
            bigrams / (terms - 1),
            np.add.reduce(times, axis=0, dtype=np.float32) / titles,
            np.where(first < _NOWHERE, first / titles, _NAN),
            np.where(last < _NOWHERE, last / titles, _NAN),
            close_all / terms,
            np.minimum.reduce(np.where(real, close, np.float32(1)), axis=0),
            np.float32(2) * shared / np.maximum(asked + about.letters.take(item), 1),
            shared / np.maximum(asked, 1),
            titles,
        )
    for column, values in enumerate(columns):
        out[:, column] = values


def _summed(terms: Floats) -> Floats:
    """Added up over the first axis one after the other, so that the bits do not depend on how much there is."""
    total: Floats = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _times_in(part: Field, item: NDArray[np.int32], hashes: Hashes) -> Floats:
    """`[T, M]`: how often each term is in the text. hashes: `[M, T]`, or `[1, T]` for one query of all."""
    words, ends = part.spans(item)
    times = np.empty((hashes.shape[1], len(item)), dtype=np.float32)
    for place, term in enumerate(hashes.T):
        each = term if len(term) == 1 else np.repeat(term, part.length[item])
        hits = ends.searchsorted(np.flatnonzero(words == each), side="right")
        times[place] = np.bincount(hits, minlength=len(item))
    return times


def _saturated(times: Floats, norm: Floats) -> Floats:
    return np.asarray(times * np.float32(K1 + 1.0) / (times + norm))


def _closest(texts: Texts, at: NDArray[np.int64], shapes: Bits) -> Floats:
    """`[T, M]`: the largest Dice coefficient of letter pairs between a term `[T, 1 or M]` and a token of the title."""
    shared = np.bitwise_count(texts.shapes.take(at) & shapes[:, None])
    sizes = texts.sizes.take(at) + np.maximum(np.bitwise_count(shapes), np.uint8(1))[:, None]
    best = np.maximum.reduce(np.divide(shared, sizes, dtype=np.float32), axis=1)
    return np.asarray(np.float32(2.0) * best)


def _shared(query: Bits, title: Bits) -> Floats:
    """`[M]`: letter triples of both, from bits `[M, LETTERS]`."""
    return np.asarray(np.add.reduce(np.bitwise_count(query & title), axis=1, dtype=np.float32))


def _distinct(part: Field) -> Hashes:
    """Each token once an item that has it."""
    words, owner = part.flat(np.arange(len(part.start), dtype=np.int32))
    both = np.unique((owner.astype(np.int64) << 32) | words)
    return (both & 0xFFFFFFFF).astype(np.int32)
