"""Waiting for what will be so soon, however busy the machine: a fact is asked for again and again, no time is slept."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 60.0  # seconds: far beyond what a crowded machine needs; only a broken program takes as long


def soon(fact: Callable[[], object], what: str = "it did not happen", every: float = 0.005) -> float:
    """Seconds until the fact is true. Raises AssertionError, in the words of `what`, when it never is."""
    begun = time.perf_counter()
    while not fact():
        assert time.perf_counter() - begun < PATIENCE, what
        time.sleep(every)
    return time.perf_counter() - begun
