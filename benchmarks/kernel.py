"""A fixed piece of work that says how fast this machine is this minute.

Benchmarks time it beside themselves and report seconds over `reference_seconds()`: a ratio that compares
between machines, and between a busy and an idle hour of one machine, where seconds do not.
"""

import statistics
import time

import numpy as np

SHAPE = (100_000, 50)


def reference_seconds(repeats: int = 5) -> float:
    """Median time to sort the rows of a fixed 100,000 x 50 float32 array, in one thread."""
    values = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    return statistics.median(_timed_sort(values) for _ in range(repeats))


def _timed_sort(values: np.ndarray) -> float:
    start = time.perf_counter()
    # Stable: the unstable sort has a vectorised path on some processors only, which would skew the ratio.
    np.sort(values, axis=-1, kind="stable")
    return time.perf_counter() - start
