"""Spelling by symmetric deletes (SymSpell, Garbe 2012): two words within an edit share a word made by deletions.

One edit is allowed, two in words of 8 letters and more. A correction is made only where nobody would dispute it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.features.text import singular

LONG = 8
MAX_LETTERS = 24


def edits(left: str, right: str) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours (Damerau 1964)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def allowed_edits(word: str) -> int:
    return 2 if len(word) >= LONG else 1


def deletions(word: str, distance: int) -> set[str]:
    """The word without up to `distance` of its letters."""
    places = range(len(word))
    return {
        "".join(letter for place, letter in enumerate(word) if place not in gone)
        for count in range(distance + 1)
        for gone in combinations(places, count)
    }


def spellable(word: str) -> bool:
    """Whether a word is made of letters of a script with cases, as alphabets are; never with digits."""
    return word.isalpha() and word.upper() != word.lower() and len(word) <= MAX_LETTERS


@dataclass(frozen=True, slots=True)
class Speller:
    """W words. counts: word -> how often it is used; deletes: `[D]` sorted UTF-8 bytes; owner: `[D]` index into
    `words` of the word each was made of."""

    words: tuple[str, ...]
    counts: Mapping[str, int]
    deletes: NDArray[np.bytes_]
    owner: NDArray[np.int32]
    min_word: int = 4
    dominance: float = 4.0

    def knows(self, word: str) -> bool:
        """Whether the word, or its singular or plural, is in use."""
        plural = f"{word}s"
        known = word in self.counts or singular(word) in self.counts
        return known or (plural in self.counts and singular(plural) == word)

    def near(self, word: str) -> list[tuple[int, int, str]]:
        """Words within the edits allowed: (edits, -count, word), the best first."""
        raw = [text.encode() for text in deletions(word, allowed_edits(word))]
        width = self.deletes.dtype.itemsize
        needles = np.array([text for text in raw if len(text) <= width], dtype=self.deletes.dtype)
        low, high = (np.searchsorted(self.deletes, needles, side=side) for side in ("left", "right"))
        owners = {int(o) for a, b in zip(low.tolist(), high.tolist(), strict=True) for o in self.owner[a:b]}
        found = [(edits(word, other), -self.counts[other], other) for other in map(self.words.__getitem__, owners)]
        return sorted(hit for hit in found if hit[0] <= allowed_edits(min(word, hit[2], key=len)))

    def correct_word(self, word: str) -> str:
        """The correction of an unknown word: the only nearest one, or the much more frequent one; else ""."""
        if len(word) < self.min_word or not spellable(word) or self.knows(word):
            return ""
        near = self.near(word)
        near = [hit for hit in near if hit[0] == near[0][0]]
        sure = len(near) == 1 or (len(near) > 1 and near[0][1] <= self.dominance * near[1][1])
        return near[0][2] if sure else ""

    def correct(self, query: str) -> str:
        """A normalised query with its unknown words corrected; "" when there is nothing to correct."""
        words = query.split(" ")
        mended = [self.correct_word(word) or word for word in words]
        return " ".join(mended) if mended != words else ""


def build_speller(
    catalogue: Mapping[str, int],
    typed: Mapping[str, int],
    *,
    min_word: int = 4,
    dominance: float = 4.0,
    max_words: int = 50_000,
) -> Speller:
    """A speller of the words of the catalogue and of what people type; both map a word to its frequency.

    A typed word that the catalogue does not have, near to a word of the catalogue that is ten times as frequent, is
    taken for a misspelling many people make.
    """
    both = {word: catalogue.get(word, 0) + typed.get(word, 0) for word in {*catalogue, *typed} if spellable(word)}
    best = sorted(both, key=lambda word: (-both[word], word))[:max_words]
    counts = {word: both[word] for word in best}
    sure = speller_of({word: count for word, count in counts.items() if word in catalogue}, min_word, dominance)
    for word in [word for word in counts if word not in catalogue and len(word) >= min_word]:
        if any(-count >= 10 * counts[word] for _, count, _ in sure.near(word)):
            del counts[word]
    return speller_of(counts, min_word, dominance)


def speller_of(counts: Mapping[str, int], min_word: int, dominance: float) -> Speller:
    words = tuple(sorted(counts))
    deletes, owner = delete_table(words)
    return Speller(words, counts, deletes, owner, min_word, dominance)


def delete_table(words: Sequence[str]) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Every word made by deletions, sorted, and the word it was made of."""
    made = [(text.encode(), owner) for owner, word in enumerate(words) for text in deletions(word, allowed_edits(word))]
    made.sort()
    width = max((len(text) for text, _ in made), default=1)
    texts = np.array([text for text, _ in made], dtype=f"S{width}")
    return texts, np.array([owner for _, owner in made], dtype=np.int32)
