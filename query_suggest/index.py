"""What answers a keystroke: the queries, their prefixes and words, and the speller, as files that open at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.ids import keys
from pipeline.features.text import tokens
from query_suggest.prefix import PrefixIndex, heads, tails
from query_suggest.spelling import Speller

QUERIES = "queries.parquet"
WORDS = "words.parquet"
LETTERS = 40  # the most frequent letters, which slips of the finger are tried with


@dataclass(frozen=True, slots=True)
class Postings:
    """Which queries hold a word. word: `[T]` sorted keys of analysed words; owner: `[T]` query; size: `[Q]` words of
    each query."""

    word: NDArray[np.int64]
    owner: NDArray[np.int32]
    size: NDArray[np.int32]

    def overlap(self, words: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Queries that share a word, and the share of the words of both that they have in common (Jaccard)."""
        wanted = keys(dict.fromkeys(words))
        low, high = (np.searchsorted(self.word, wanted, side=side) for side in ("left", "right"))
        owners = [self.owner[a:b] for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        found, common = np.unique(np.concatenate([np.empty(0, np.int32), *owners]), return_counts=True)
        found = found.astype(np.intp)
        return found, common / (len(wanted) + self.size[found] - common)


@dataclass(frozen=True, slots=True)
class SuggestIndex:
    """Q queries, sorted by UTF-8 bytes. share: `[Q]` popularity from 0 to 1, on a logarithmic scale; popular: queries,
    most popular first; various: the same, only the best of each first word; table: query, display,
    subjects, count, score."""

    table: pl.DataFrame
    query: tuple[str, ...]
    display: tuple[str, ...]
    share: NDArray[np.float32]
    popular: NDArray[np.int32]
    various: NDArray[np.int32]
    heads: PrefixIndex
    tails: PrefixIndex
    postings: Postings
    speller: Speller
    alphabet: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    def find(self, query: str) -> int:
        """The index of a normalised query, -1 when it is not suggested."""
        low, high = self.heads.ranges([query])[0].tolist()
        return int(self.heads.owner[low]) if high > low and self.query[self.heads.owner[low]] == query else -1

    def save(self, folder: Path) -> Mapping[str, float]:
        """Write the files into a draft folder; returns the metrics, as `pipeline.artifacts.publish` wants them."""
        self.table.write_parquet(folder / QUERIES)
        words = {"word": self.speller.words, "count": [self.speller.counts[w] for w in self.speller.words]}
        pl.DataFrame(words, schema={"word": pl.String(), "count": pl.Int64()}).write_parquet(folder / WORDS)
        self.heads.save(folder, "heads")
        self.tails.save(folder, "tails")
        for name, array in _plain(self).items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        return self.metrics

    @classmethod
    def open(cls, folder: Path, *, min_word: int = 4, dominance: float = 4.0) -> "SuggestIndex":
        """Raises ArtifactError when a file is missing, damaged, or does not fit the others."""
        try:
            table = pl.read_parquet(folder / QUERIES, memory_map=False, glob=False)
            words = pl.read_parquet(folder / WORDS, memory_map=False, glob=False)
            both = PrefixIndex.open(folder, "heads"), PrefixIndex.open(folder, "tails")
            plain = {n: np.asarray(np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False)) for n in _PLAIN}
            counts = dict(zip(words["word"].to_list(), words["count"].to_list(), strict=True))
            speller = Speller(tuple(counts), counts, plain["deletes"], plain["delete_owner"], min_word, dominance)
            postings = Postings(plain["word"], plain["word_owner"], plain["size"])
            index = _assemble(table, *both, postings, speller)
        except (OSError, ValueError, EOFError, pl.exceptions.PolarsError) as error:
            raise ArtifactError("query_suggest", f"readable files; train again ({error})", place=str(folder)) from error
        _check(index, folder)
        return index


_PLAIN = ("deletes", "delete_owner", "word", "word_owner", "size")


def _plain(index: SuggestIndex) -> dict[str, NDArray[np.generic]]:
    speller, postings = index.speller, index.postings
    arrays = (speller.deletes, speller.owner, postings.word, postings.owner, postings.size)
    return dict(zip(_PLAIN, arrays, strict=True))


def _check(index: SuggestIndex, folder: Path) -> None:
    """The lengths that belong together."""
    size = len(index.query)
    fits = {
        "heads": len(index.heads.keys) == len(index.heads.owner) == len(index.heads.rank) == size,
        "tails": len(index.tails.keys) == len(index.tails.owner) == len(index.tails.rank),
        "postings": len(index.postings.word) == len(index.postings.owner) and len(index.postings.size) == size,
        "deletes": len(index.speller.deletes) == len(index.speller.owner),
    }
    if wrong := [name for name, right in fits.items() if not right]:
        raise ArtifactError(wrong[0], "arrays of the lengths the queries have; train again", place=str(folder))


def build_index(table: pl.DataFrame, speller: Speller, metrics: Mapping[str, float] | None = None) -> SuggestIndex:
    """From mined queries (`query_suggest.mine.mine`), sorted by query."""
    queries = table["query"].to_list()
    rank = rank_of(_popular(table))
    both = heads(queries, rank), tails(queries, rank)
    return _assemble(table, *both, _postings(queries), speller, metrics or {})


def _assemble(
    table: pl.DataFrame,
    starts: PrefixIndex,
    inner: PrefixIndex,
    postings: Postings,
    speller: Speller,
    metrics: Mapping[str, float] | None = None,
) -> SuggestIndex:
    queries = tuple(table["query"].to_list())
    score = np.log1p(table["score"].to_numpy())
    share = (score / max(score.max(initial=0.0), 1e-12)).astype(np.float32)
    popular = _popular(table)
    first: dict[str, int] = {}
    for place in popular.tolist():
        first.setdefault(queries[place].split(" ", 1)[0], place)
    letters = Counter(letter for query in queries for letter in query if letter.isalpha())
    return SuggestIndex(
        table=table,
        query=queries,
        display=tuple(table["display"].to_list()),
        share=share,
        popular=popular,
        various=np.array(list(first.values()), dtype=np.int32),
        heads=starts,
        tails=inner,
        postings=postings,
        speller=speller,
        alphabet="".join(sorted(letter for letter, _ in letters.most_common(LETTERS))),
        metrics=metrics or {},
    )


def _popular(table: pl.DataFrame) -> NDArray[np.int32]:
    return np.argsort(-table["score"].to_numpy(), kind="stable").astype(np.int32)


def rank_of(popular: NDArray[np.int32]) -> NDArray[np.int32]:
    """The place of each query in an order."""
    rank = np.empty(len(popular), dtype=np.int32)
    rank[popular] = np.arange(len(popular), dtype=np.int32)
    return rank


def _postings(queries: Sequence[str]) -> Postings:
    words = [list(dict.fromkeys(tokens(query))) for query in queries]
    size = np.array([len(each) for each in words], dtype=np.int32)
    word = keys(each for query in words for each in query)
    owner = np.repeat(np.arange(len(queries), dtype=np.int32), size)
    order = np.lexsort((owner, word))
    return Postings(word[order], owner[order], size)
