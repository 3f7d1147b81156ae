"""One analyser for everything that reads text: queries, titles, the lexical index and the match features."""

import re
import unicodedata

_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[./]\d+)*")
_BLANKS = re.compile(r"\s+")


def normalise(query: str) -> str:
    """What two spellings of one query have in common: NFKC, case folded, single blanks."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", query).casefold()).strip()


def tokens(text: str) -> list[str]:
    """Words without accents and plural endings, numbers apart from letters (`12in` -> `12`, `in`)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return [singular(word) for word in _TOKEN.findall(text.casefold())]


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
