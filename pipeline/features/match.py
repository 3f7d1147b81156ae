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

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.features.texts import Bits, Field, Hashes, TextMemory, Texts, letters_of, word

K1: Final = 1.2
B: Final = 0.75
TITLE_WEIGHT: Final = 2.0
MOST_TERMS: Final = 16
_PAIRS_AT_ONCE = 32_768
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
class Matcher:
    """Scores the fit of queries and items, with the words of the catalogue at hand."""

    stats: TextStats
    memory: TextMemory = field(default_factory=TextMemory)

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
        texts, query = self.memory.of(catalogue), _Query.of(terms)
        if len(terms) == 1 and there.all():
            _match(query, np.zeros(1, dtype=np.intp), item[0], texts, self.stats, out[0])
            return out
        rows, columns = np.nonzero(there)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            row, column = rows[start : start + _PAIRS_AT_ONCE], columns[start : start + _PAIRS_AT_ONCE]
            found = np.empty((len(row), len(MATCH_NAMES)), dtype=np.float32)
            _match(query, row, item[row, column], texts, self.stats, found)
            out[row, column] = found
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
    """What is added up over the terms of a query; `[M]` each once something was added."""

    title: Floats
    text: Floats
    found: Floats
    idf: Floats
    idf_found: Floats
    idf_any: Floats
    last: Floats
    numbers: Floats
    numbers_found: Floats
    bigrams: Floats
    covered: Floats
    first: Floats
    last_at: Floats
    close: Floats
    least: Floats

    @classmethod
    def of(cls, size: int) -> "_Sums":
        start = np.array([[0.0]] * 11 + [[np.inf], [np.nan], [0.0], [1.0]], dtype=np.float32)
        return cls(*np.repeat(start, size, axis=1))


def _match(
    query: _Query, row: NDArray[np.intp], item: NDArray[np.int32], texts: Texts, stats: TextStats, out: Floats
) -> None:
    """Into out `[M, len(MATCH_NAMES)]`, for items `[M]` and their requests `row`: `[M]`, or `[1]` for one of all."""
    at = texts.title.padded(item)
    title, shapes = texts.title.tokens[at], texts.shapes[at]
    letters = np.bitwise_count(shapes)
    words, ends = texts.text.spans(item)
    norm = [_norm(part, item, mean) for part, mean in zip((texts.title, texts.text), stats.mean_length, strict=True)]
    idf = stats.idf(query.hashes).astype(np.float32)[row]
    length = query.length[row]
    sums = _Sums.of(len(item))
    before = np.zeros(title.shape, dtype=np.bool_)
    for t in range(query.hashes.shape[1]):
        term, real, final = query.hashes[row, t], t < length, t == length - 1
        equal = title == term
        in_title = np.add.reduce(equal.view(np.uint8), axis=0)
        each = term if len(term) == 1 else np.repeat(term, texts.text.length[item])
        hits = ends.searchsorted(np.flatnonzero(words == each), side="right")
        in_text = np.bincount(hits, minlength=len(item))
        has, found = in_title > 0, in_title.astype(np.float32)
        sums.title += idf[:, t, 0] * _saturated(found, norm[0])
        sums.text += idf[:, t, 1] * _saturated(in_text.astype(np.float32), norm[1])
        _add_shares(sums, has, in_text > 0, np.where(real, idf[:, t, 0], np.float32(0)), query.number[row, t])
        sums.covered += found
        sums.bigrams += (before[:-1] & equal[1:]).any(axis=0)
        place = np.where(has, equal.argmax(axis=0), np.float32(np.inf))
        np.minimum(sums.first, place, out=sums.first)
        np.copyto(sums.last, has, where=final)
        np.copyto(sums.last_at, place, where=final)
        close = _closest(shapes, letters, query.shapes[row, t])
        sums.close += np.where(real, close, np.float32(0))
        np.minimum(sums.least, np.where(real, close, np.float32(1)), out=sums.least)
        before = equal
    _columns(sums, length.astype(np.float32), texts, item, query.letters[row], out)


def _add_shares(sums: _Sums, in_title: Mask, in_text: Mask, idf: Floats, number: Mask) -> None:
    sums.found += in_title
    sums.idf += idf
    sums.idf_found += idf * in_title
    sums.idf_any += idf * (in_title | in_text)
    sums.numbers += number
    sums.numbers_found += number & in_title


def _columns(sums: _Sums, length: Floats, texts: Texts, item: NDArray[np.int32], letters: Bits, out: Floats) -> None:
    titles = np.maximum(texts.title.length[item], 1).astype(np.float32)
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
    for place, column in enumerate(columns):
        out[:, place] = column


def _saturated(times: Floats, norm: Floats) -> Floats:
    return np.asarray(times * np.float32(K1 + 1.0) / (times + norm))


def _norm(part: Field, item: NDArray[np.int32], mean: float) -> Floats:
    """`[M]`: k1 (1 - b + b length / mean length)."""
    return (K1 * (1.0 - B + B * part.length[item] / max(mean, 1e-9))).astype(np.float32)


def _closest(shapes: Bits, letters: NDArray[np.uint8], shape: Bits) -> Floats:
    """`[M]`: the largest Dice coefficient of letter pairs between a term `[M]` and a token of the title `[W, M]`."""
    shared = np.bitwise_count(shapes & shape)
    sizes = np.maximum(letters + np.bitwise_count(shape), np.uint8(1))
    best = np.divide(shared, sizes, dtype=np.float32).max(axis=0)
    return np.asarray(np.float32(2.0) * best)


def _letters(query: Bits, title: Bits) -> tuple[Floats, Floats]:
    """Of sets of letter triples, as bits `[M, LETTERS]`: Dice's coefficient, and the query's share in the title."""
    asked = np.add.reduce(np.bitwise_count(query), axis=1, dtype=np.float32)
    shared = np.add.reduce(np.bitwise_count(query & title), axis=1, dtype=np.float32)
    sizes = asked + np.add.reduce(np.bitwise_count(title), axis=1, dtype=np.float32)
    return np.float32(2) * shared / np.maximum(sizes, 1), shared / np.maximum(asked, 1)


def _distinct(part: Field) -> Hashes:
    """Each token once an item that has it."""
    words, owner = part.flat(np.arange(len(part.start), dtype=np.int32))
    both = np.unique((owner.astype(np.int64) << 32) | words)
    return (both & 0xFFFFFFFF).astype(np.int32)
