"""Completion of a prefix with a slip in it: earlier words are corrected, the last one is tried one edit away."""

import numpy as np

from query_suggest.prefix import PrefixIndex
from query_suggest.spelling import Speller, spellable

SHORTEST = 3  # letters of the last word before a slip is looked for: below, everything is one edit away


def variants(word: str, alphabet: str) -> set[str]:
    """Words one edit away (Norvig 2007) that begin with the same letter, or have the first two swapped."""
    splits = [(word[:i], word[i:]) for i in range(1, len(word) + 1)]
    made = {left + right[1:] for left, right in splits if right}
    made |= {left + right[1] + right[0] + right[2:] for left, right in [("", word), *splits] if len(right) > 1}
    made |= {left + letter + right[1:] for left, right in splits if right for letter in alphabet}
    made |= {left + letter + right for left, right in splits for letter in alphabet}
    return made - {word}


def attempts(prefix: str, speller: Speller, alphabet: str) -> dict[str, int]:
    """What else the prefix may have been meant to be, each with its number of edits."""
    earlier, blank, last = prefix.rpartition(" ")
    words = [word for word in earlier.split(" ") if word]
    mended = [speller.correct_word(word) or word for word in words]
    changed = sum(new != old for new, old in zip(mended, words, strict=True))
    before = " ".join(mended) + blank
    made = {before + last: changed}
    if len(last) >= SHORTEST and spellable(last):
        for variant in variants(last, alphabet):
            made.setdefault(before + variant, changed + 1)
        if whole := speller.correct_word(last):
            made.setdefault(before + whole, changed + 2)
    made.pop(prefix, None)
    return made


def fuzzy_top(prefix: str, heads: PrefixIndex, speller: Speller, alphabet: str, k: int) -> list[tuple[int, int, int]]:
    """(query, edits, length of the matched start in characters) of the k best, fewest edits and then most popular
    first."""
    made = attempts(prefix, speller, alphabet)
    if not made:
        return []
    texts = list(made)
    ranges = heads.ranges(texts)
    found: dict[int, tuple[int, int, int]] = {}
    for index in np.flatnonzero(ranges[:, 1] > ranges[:, 0]).tolist():
        text = texts[index]
        for place in heads.top(text, k).tolist():
            owner, hit = int(heads.owner[place]), (made[text], int(heads.rank[place]), len(text))
            found[owner] = min(found.get(owner, hit), hit)
    best = sorted((hit, owner) for owner, hit in found.items())[:k]
    return [(owner, edits, length) for (edits, _, length), owner in best]
