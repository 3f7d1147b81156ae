"""How well the words of a query fit an item, for all candidates at once.

BM25 as in Robertson & Zaragoza (2009) with the never-negative IDF ln(1 + (N - n + 0.5) / (n + 0.5)). Misspellings
still match by shared letters: Dice's coefficient of letter pairs, and of letter triples, kept as bits.
Letters: M (query, item) pairs, T terms of the longest query, W tokens of the longest title.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Floats, Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.texts import NO_TOKEN, Bits, Field, Hashes, TextMemory, Texts, letters_of, word

K1: Final = 1.2
B: Final = 0.75
TITLE_WEIGHT: Final = 2.0
MOST_TERMS: Final = 16
_PAIRS_AT_ONCE = 32_768
Counts = NDArray[np.float64]

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
class Matcher:
    """Scores the fit of queries and items, with the words of the catalogue at hand."""

    stats: TextStats
    memory: TextMemory = field(default_factory=TextMemory)

    def features(self, terms: Sequence[Sequence[str]], item: NDArray[np.int32], catalogue: Catalogue) -> Floats:
        """`[R, K, len(MATCH_NAMES)]` float32. terms: a list for each request; item: `[R, K]`, -1 = none.

        nan where there is no query or no candidate.
        """
        out = np.full((*item.shape, len(MATCH_NAMES)), np.nan, dtype=np.float32)
        asked = np.array([len(line) > 0 for line in terms], dtype=np.bool_)
        rows, columns = np.nonzero((item >= 0) & asked[:, None])
        texts = self.memory.of(catalogue)
        query = _Query.of(terms)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            row, column = rows[start : start + _PAIRS_AT_ONCE], columns[start : start + _PAIRS_AT_ONCE]
            out[row, column] = _match(query, row, item[row, column], texts, self.stats)
        return out

    def bm25(self, terms: Sequence[Sequence[str]], item: NDArray[np.int32], catalogue: Catalogue) -> Counts:
        """`[R, K]`: titles weigh twice as much as the rest; 0 without a query or a candidate."""
        both = self.features(terms, item, catalogue)[:, :, :2].astype(np.float64)
        return np.nan_to_num(TITLE_WEIGHT * both[:, :, 0] + both[:, :, 1])


@dataclass(frozen=True, slots=True)
class _Query:
    """The terms of R requests: hashes, shapes, number: `[R, T]`; length: `[R]`; letters: `[R, LETTERS]`."""

    hashes: Hashes
    shapes: Bits
    number: Mask
    length: NDArray[np.int64]
    letters: Bits

    @classmethod
    def of(cls, terms: Sequence[Sequence[str]]) -> "_Query":
        lines = [list(dict.fromkeys(line))[:MOST_TERMS] for line in terms]
        length = np.array([len(line) for line in lines], dtype=np.int64)
        shape = (len(lines), int(length.max(initial=0)))
        hashes, shapes = np.full(shape, -2, dtype=np.int32), np.zeros(shape, dtype=np.uint64)
        number = np.zeros(shape, dtype=np.bool_)
        for row, line in enumerate(lines):
            for place, token in enumerate(line):
                known = word(token)
                hashes[row, place], shapes[row, place], number[row, place] = known.hash, known.shape, known.number
        return cls(hashes, shapes, number, length, letters_of(lines))


@dataclass(slots=True)
class _Sums:
    """What is added up over the terms of a query, `[M]` each."""

    title: Counts
    text: Counts
    found: Counts
    idf: Counts
    idf_found: Counts
    idf_any: Counts
    last: Counts
    numbers: Counts
    numbers_found: Counts
    bigrams: Counts
    covered: Counts
    first: Counts
    last_at: Counts
    close: Counts
    least: Counts


def _match(query: _Query, row: NDArray[np.intp], item: NDArray[np.int32], texts: Texts, stats: TextStats) -> Floats:
    """`[M, len(MATCH_NAMES)]` for pairs of the request at `row` and `item`, both `[M]`."""
    at, there = texts.title.padded(item)
    title, shapes = np.full(at.shape, NO_TOKEN, dtype=np.int32), np.zeros(at.shape, dtype=np.uint64)
    title[there], shapes[there] = texts.title.tokens[at[there]], texts.shapes[at[there]]
    words, owner = texts.text.flat(item)
    norm = [_norm(part, item, mean) for part, mean in zip((texts.title, texts.text), stats.mean_length, strict=True)]
    idf = stats.idf(query.hashes)[row]
    length = query.length[row].astype(np.float64)
    sums = _Sums(*(np.zeros(len(item)) for _ in range(15)))
    sums.first[:], sums.last_at[:], sums.least[:] = np.inf, np.nan, 1.0
    before = np.zeros_like(there)
    for t in range(query.hashes.shape[1]):
        term = query.hashes[row, t]
        real = t < length
        equal = title == term[None, :]
        in_title = np.add.reduce(equal.view(np.uint8), axis=0).astype(np.float64)
        hits = owner[np.flatnonzero(words == term[owner])]
        in_text = np.bincount(hits, minlength=len(item)).astype(np.float64)
        sums.title += idf[:, t, 0] * _saturated(in_title, norm[0])
        sums.text += idf[:, t, 1] * _saturated(in_text, norm[1])
        _add_shares(sums, in_title > 0, in_text > 0, np.where(real, idf[:, t, 0], 0.0), query.number[row, t])
        sums.last = np.where(t == length - 1, in_title > 0, sums.last)
        sums.covered += in_title
        sums.bigrams += (before[:-1] & equal[1:]).any(axis=0)
        place = np.where(in_title > 0, equal.argmax(axis=0), np.inf)
        sums.first = np.minimum(sums.first, place)
        sums.last_at = np.where(t == length - 1, place, sums.last_at)
        close = _closest(shapes, query.shapes[row, t])
        sums.close += np.where(real, close, 0.0)
        sums.least = np.minimum(sums.least, np.where(real, close, 1.0))
        before = equal
    return _columns(sums, length, texts, item, query.letters[row])


def _add_shares(sums: _Sums, in_title: Mask, in_text: Mask, idf: Counts, number: Mask) -> None:
    sums.found += in_title
    sums.idf += idf
    sums.idf_found += idf * in_title
    sums.idf_any += idf * (in_title | in_text)
    sums.numbers += number
    sums.numbers_found += number & in_title


def _columns(sums: _Sums, length: Counts, texts: Texts, item: NDArray[np.int32], letters: Bits) -> Floats:
    titles = np.maximum(texts.title.length[item], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            sums.title,
            sums.text,
            sums.found / length,
            sums.idf_found / sums.idf,
            sums.idf_any / sums.idf,
            sums.found == length,
            sums.last,
            sums.numbers_found / sums.numbers,
            sums.bigrams / (length - 1),
            sums.covered / titles,
            np.where(np.isfinite(sums.first), sums.first / titles, np.nan),
            np.where(np.isfinite(sums.last_at), sums.last_at / titles, np.nan),
            sums.close / length,
            sums.least,
            *_letters(letters, texts.letters[item]),
            titles,
        )
    return np.stack(columns, axis=1).astype(np.float32)


def _saturated(times: Counts, norm: Counts) -> Counts:
    return np.asarray(times * (K1 + 1.0) / (times + norm))


def _norm(part: Field, item: NDArray[np.int32], mean: float) -> Counts:
    """`[M]`: k1 (1 - b + b length / mean length)."""
    return np.asarray(K1 * (1.0 - B + B * part.length[item] / max(mean, 1e-9)))


def _closest(shapes: Bits, shape: Bits) -> Counts:
    """`[M]`: the largest Dice coefficient of letter pairs between a term `[M]` and a token of the title `[W, M]`."""
    shared = np.bitwise_count(shapes & shape[None, :]).astype(np.float32)
    sizes = np.bitwise_count(shapes) + np.bitwise_count(shape)[None, :]
    best = (2.0 * shared / np.maximum(sizes, 1)).max(axis=0, initial=0.0)
    return np.asarray(best, dtype=np.float64)


def _letters(query: Bits, title: Bits) -> tuple[Counts, Counts]:
    """Of sets of letter triples, as bits `[M, LETTERS]`: Dice's coefficient, and the query's share in the title."""
    asked = np.bitwise_count(query).sum(axis=1)
    shared = np.bitwise_count(query & title).sum(axis=1).astype(np.float64)
    sizes = asked + np.bitwise_count(title).sum(axis=1)
    return 2.0 * shared / np.maximum(sizes, 1), shared / np.maximum(asked, 1)


def _distinct(part: Field) -> Hashes:
    """Each token once an item that has it."""
    words, owner = part.flat(np.arange(len(part.start), dtype=np.int32))
    both = np.unique((owner.astype(np.int64) << 32) | words)
    return (both & 0xFFFFFFFF).astype(np.int32)
