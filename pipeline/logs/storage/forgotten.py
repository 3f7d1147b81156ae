"""Who was forgotten, without knowing who: hashes of user ids under the store's own key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SIZE: Final = 16  # bytes of a hash


def digest(salt: bytes, text: str) -> bytes:
    """Keyed BLAKE2b (RFC 7693) of an id: whoever has the store's salt can ask for an id, nobody can list the ids."""
    return hashlib.blake2b(text.encode(), digest_size=SIZE, key=salt).digest()


class Mark(NamedTuple):
    """times: how often; seq: the largest number committed when it was last done."""

    times: int
    seq: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Users who asked to be forgotten. Empty it is false; two are equal when they say the same."""

    salt: bytes = field(default=b"", repr=False)
    marks: Mapping[bytes, Mark] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def times(self, user_id: str) -> int:
        """How often a user was forgotten; 0 is never."""
        mark = self.mark(user_id)
        return mark.times if mark else 0

    def mark(self, user_id: str) -> Mark | None:
        return self.marks.get(digest(self.salt, user_id)) if self.marks else None
