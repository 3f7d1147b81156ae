"""Whether a log can tell examination from attractiveness: which positions are linked by pairs seen at both.

A pair that always stands at one place says nothing of that place: a low click rate may be the place's or the item's. A
pair that is clicked and was seen at two places says what one is worth against the other, and positions linked by such
pairs, through others if need be, are known relative to each other (as players of a tournament: Ford 1957).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LINKING: Final = 20  # clicks of pairs seen at two positions, before these are linked
CHUNK: Final = 200_000


def links(pair: Numbers, position: Numbers, clicked: Numbers, places: int) -> Floats:
    """`[P, P]`: at (j, k), clicks at j of pairs that were also seen at k."""
    key, row = np.unique(pair.astype(np.int64) * places + position, return_inverse=True)
    clicks = np.bincount(row, weights=clicked, minlength=len(key))
    owner = np.unique(key // places, return_inverse=True)[1].reshape(-1)
    found = np.zeros((places, places))
    for start in range(0, int(owner.max(initial=-1)) + 1, CHUNK):
        here = slice(*np.searchsorted(owner, [start, start + CHUNK]))
        table = np.zeros((2, CHUNK, places))
        table[0][owner[here] - start, key[here] % places] = clicks[here]
        table[1][owner[here] - start, key[here] % places] = 1.0
        found += table[0].T @ table[1]
    np.fill_diagonal(found, 0.0)
    return found


def components(linked: Floats, least: float = LINKING) -> Ints:
    """Component of each position, `[P]`, numbered by its first position; two are joined where both directions of
    `linked` `[P, P]` hold `least` clicks together."""
    joined = (linked + linked.T) >= least
    label = np.arange(len(linked))
    for _ in range(len(linked)):
        reach = np.where(joined, label, len(linked)).min(axis=1, initial=len(linked))
        label = np.minimum(label, reach)
    return np.unique(label, return_inverse=True)[1].astype(np.int64).reshape(-1)


def unlinked(pair: Numbers, position: Numbers, clicked: Numbers, places: int) -> str:
    """Why positions are not known relative to each other, or "" when they are."""
    component = components(links(pair, position, clicked, places))
    if not component.any():
        return ""
    parts = [spelled(np.flatnonzero(component == part)) for part in range(int(component.max()) + 1)]
    named = "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more" if len(parts) > 4 else "")
    return (
        f"positions fall into {len(parts)} parts that are not linked by pairs seen at both (fewer than {LINKING} "
        f"clicks of them): {named}"
    )


def spelled(positions: Numbers) -> str:
    """`0-3, 5`."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
