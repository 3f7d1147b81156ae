"""One analyser for everything that reads text: queries, titles, the lexical index and the match features."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import polars as pl

_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[./]\d+)*")
_BLANKS = re.compile(r"\s+")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic; in other scripts a mark makes another letter
_APOSTROPHES, _QUOTES, _DASHES = (
    "\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u2032\u00b4`\uff07",
    '"\u00ab\u00bb\u2039\u203a\u201c\u201d\u201e\u201f\u2033\u301d\u301e\uff02',
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d",
)
_UNSEEN = "\u00ad\u200b\u200e\u200f\u2060\ufe0e\ufe0f\ufeff"  # not the joiners, which shape letters
_HIDDEN: Final[dict[int, str | None]] = dict.fromkeys(map(ord, _UNSEEN))
_SIGNS: Final = _HIDDEN | {
    ord(sign): plain for signs, plain in ((_APOSTROPHES, "'"), (_QUOTES, " "), (_DASHES, "-")) for sign in signs
}
_POSSESSIVE = re.compile(r"(?<=\w)'(?=s\b)")
_OUTER = re.compile(r"(?<!\w)'+|'+(?!\w)")


def normalise(query: str) -> str:
    """What spellings of one query have in common, the one thing that queries are counted, looked up and compared by.

    Of no matter are case, blanks, width and other compatibility forms, accents, the form of dashes and apostrophes,
    quotation marks, apostrophes outside a word and before a possessive s (`Women's` is `womens`), and unseen signs.
    """
    if query.isascii():
        text = query.translate(_SIGNS).casefold()
    else:
        # Twice: some signs fall apart into blanks and accents, and some come out of what does.
        text = unicodedata.normalize("NFKD", query.translate(_SIGNS)).translate(_SIGNS).casefold()
        text = unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    if "'" in text:
        text = _OUTER.sub("", _POSSESSIVE.sub("", text))
    return _BLANKS.sub(" ", text).strip()


def spelt(column: pl.Series) -> pl.Series:
    """`normalise` of each text, each distinct one read once; null stays null."""
    distinct = column.drop_nulls().unique()
    if not len(distinct):
        return column
    return column.replace_strict(distinct, pl.Series(map(normalise, distinct), dtype=pl.String), default=None)


def one_spelling(column: pl.Series) -> pl.Series:
    """Of each text the first, in UTF-8 order, of those in the column that are spellings of one query."""
    texts = pl.DataFrame({"text": column, "spelt": spelt(column)})
    return texts.select(pl.col("text").min().over("spelt")).to_series().alias(column.name)


def tidy(query: str) -> str:
    """The query as typed, to be shown: with single blanks, composed letters and no unseen signs."""
    return " ".join(unicodedata.normalize("NFC", query).translate(_HIDDEN).split())


def tokens(text: str) -> list[str]:
    """Words without accents and plural endings, numbers apart from letters (`12in` -> `12`, `in`)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return [singular(word) for word in _TOKEN.findall(text.casefold())]


@lru_cache(1 << 16)  # a catalogue says few words many times
def singular(word: str) -> str:
    """The S-stemmer (Harman, 1991): plural endings only, so that different words stay different."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith(("us", "ss")):
        return word
    return word[:-1]
