"""How many examples of a property are tried: in `make test` a quarter of them, the same ones every time; in `make
test-full` all, and others every time."""

import os
from typing import Final

FULL: Final = os.environ.get("PODIUM_TESTS") == "full"
_LEAST: Final = 5


def examples(most: int) -> int:
    return most if FULL else min(most, max(most // 4, _LEAST))
