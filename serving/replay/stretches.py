"""A few of many requests: stretches of the log, since requests of one moment share much of what they cost."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.ports import Ask

_STRETCHES: Final = 4


def stretches(asks: Sequence[Ask], rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most `count` of `rows` in order of time: a few runs of neighbours, evenly apart from first to last."""
    rows = rows[np.argsort([asks[row].time for row in rows], kind="stable")]
    if len(rows) <= count:
        return rows
    length = count // _STRETCHES
    start = np.linspace(0, len(rows) - length, _STRETCHES).astype(np.intp)
    return rows[np.unique(start[:, None] + np.arange(length))]
