"""Ticks: the moments at which counts become usable, offline and online alike.

Tick T counts events with time < T and received < T + seal, and may be used from T + seal on. Ticks are numbered:
tick n is the moment n * TICK_MS.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TICK_MS: Final = 3_600_000
SEAL_MS: Final = 900_000
FOREVER: Final = 2**20 - 1  # a tick after every event a log may hold (year 2089)


def first_tick(time: NDArray[np.int64], received: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first tick that counts an event."""
    return np.maximum(time // TICK_MS, (received - SEAL_MS) // TICK_MS) + 1


def usable_tick(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last tick a request at `time` may use."""
    return (np.asarray(time, dtype=np.int64) - SEAL_MS) // TICK_MS
