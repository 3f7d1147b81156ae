"""What is never suggested: personal data, addresses of pages, and what the shop has blocked."""

import re
import unicodedata
from collections.abc import Iterable

from pipeline.features.text import normalise, singular

_PERSONAL = re.compile(
    r"\S@\S"  # mail addresses and handles
    r"|\d{5,}|(?:\d[\s().+-]*){7,}"  # numbers of people, cards and phones, also in groups
    r"|https?:|www\.|\b[\w-]+\.(?:com|net|org|edu|gov|info|biz|io|co|de|uk|fr|ru|cn|jp)\b"
)
_LOOKALIKES = (
    str.maketrans("авегіјкмнорсѕтух", "aberijkmhopcstyx")  # Cyrillic
    | str.maketrans("αβεικνορτυχ", "abeikvoptux")  # Greek
    | str.maketrans("@$013457", "asoieast")
)
_WORD = re.compile(r"[^\W_]+")


def personal(query: str) -> bool:
    """Whether a normalised query looks like a mail address, a long number or the address of a page."""
    return _PERSONAL.search(query) is not None


def words_of(text: str) -> list[str]:
    """Words as a reader sees them: without invisible characters, accents, and letters that only look alike."""
    shown = "".join(c for c in normalise(text) if unicodedata.category(c) != "Cf")
    bare = "".join(c for c in unicodedata.normalize("NFKD", shown) if not unicodedata.combining(c))
    parts = bare.split()
    spelled = [part if part.isdigit() else part.translate(_LOOKALIKES) for part in parts]
    return [singular(word) for part in spelled for word in _WORD.findall(part)]


class BlockList:
    """Blocks a query that holds a blocked phrase as whole words, however cased, spaced or disguised.

    Words are joined before they are compared, so `b a d` and `bad` are the same; `badge` is another word.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {"".join(words_of(phrase)) for phrase in phrases} - {""}
        self._longest = max(map(len, self._phrases), default=0)

    def blocks(self, query: str) -> bool:
        if not self._phrases:
            return False
        words = words_of(query)
        for first in range(len(words)):
            joined = ""
            for word in words[first:]:
                joined += word
                if len(joined) > self._longest:
                    break
                if joined in self._phrases:
                    return True
        return False
