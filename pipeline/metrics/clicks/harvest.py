"""Intervention harvesting: what the same pair earns at different places, where rankings changed by themselves.

AllPairs (Agarwal et al., WSDM 2019): for two positions j and k take the pairs that were seen at both. How often they
were shown at either is the logger's doing, so each pair counts by rates. With the weights of Mantel and Haenszel
(1959),

    c[j, k] = sum over pairs of  n_k / (n_j + n_k) * clicks at j,       E c[j, k] / E c[k, j] = theta_j / theta_k

and theta follows from all c together as the strengths of Bradley and Terry, by Hunter's (2004) MM algorithm. The
relevance that the paper fits for each two positions cancels, since only their ratio is used. Assumes that what a pair
is worth does not change when it moves.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Floats = NDArray[np.float64]

CHUNK: Final = 100_000
ITERATIONS: Final = 10_000
SETTLED: Final = 1e-7


def shared_clicks(pair: Numbers, position: Numbers, clicked: Numbers, places: int) -> Floats:
    """c `[P, P]`: weighted clicks at j of pairs that were also shown at k."""
    key, row = np.unique(pair.astype(np.int64) * places + position, return_inverse=True)
    counts = np.bincount(row, minlength=len(key)), np.bincount(row, weights=clicked, minlength=len(key))
    owner = np.unique(key // places, return_inverse=True)[1].reshape(-1)
    found = np.zeros((places, places))
    for start in range(0, int(owner.max(initial=-1)) + 1, CHUNK):
        here = slice(*np.searchsorted(owner, [start, start + CHUNK]))
        table = np.zeros((2, CHUNK, places))
        for part, values in zip(table, counts, strict=True):
            part[owner[here] - start, key[here] % places] = values[here]
        shown, clicks = table[:, table[1].any(axis=1)]
        for place in range(places):
            both = shown + shown[:, [place]]
            weight = np.where(shown > 0, shown / np.maximum(both, 1.0), 0.0)
            found[place] += clicks[:, place] @ weight
    np.fill_diagonal(found, 0.0)
    return found


def strengths(shared: Floats) -> Floats:
    """theta `[P]` in mean 1 from c `[P, P]`; unique where positions are linked (`identify`), nan if never clicked."""
    clicks = shared.sum(axis=1)
    both = shared + shared.T
    theta = np.where(clicks > 0, 1.0, np.nan)
    known = clicks > 0
    values = theta[known]
    both, clicks = both[np.ix_(known, known)], clicks[known]
    for _ in range(ITERATIONS):
        before = values
        values = clicks / (both / (values[:, None] + values)).sum(axis=1)
        values = values / values.mean()
        if np.abs(values / before - 1.0).max(initial=0.0) < SETTLED:
            break
    theta[known] = values
    return theta
