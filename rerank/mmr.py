"""Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998). Knows arrays, nothing else."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_LAST = -1e30  # below every gain of a real relevance, above what is taken already


def mmr_order(relevance: Floats, vectors: Floats, k: int, trade: float, window: int | None = None) -> NDArray[np.intp]:
    """Indices of the `min(k, N)` items picked, best first.

    relevance: `[N]`, on the scale of a cosine (0 to 1), NaN comes last; vectors: `[N, D]`, unit length, or zero for
    an item that resembles nothing; trade: 1.0 ranks by relevance alone, 0.0 by novelty alone; window: an item is
    compared with the last `window` picks only, None = with all. Ties go to the smaller index. O(N k D).
    """
    order: NDArray[np.intp] = mmr_orders(relevance[None], vectors[None], k, np.array([trade]), window)[0]
    return order


def mmr_orders(
    relevance: Floats, vectors: Floats, k: int, trade: Floats, window: int | None = None
) -> NDArray[np.intp]:
    """`mmr_order` of R requests at once: `[R, N]`, `[R, N, D]`, trade `[R]` -> `[R, min(k, N)]`."""
    rows, items = relevance.shape
    trade = np.asarray(trade, dtype=np.float64)[:, None]
    worth = np.where(np.isnan(relevance), _LAST, trade * np.clip(relevance, -1e9, 1e9))
    picks = min(k, items)
    kept = min(window or picks, picks)
    likeness = np.full((kept, rows, items), -1.0)  # to each of the last picks
    nearest = np.full((rows, items), -1.0)
    slate = np.empty((rows, picks), dtype=np.intp)
    every = np.arange(rows)
    alike = vectors @ vectors.swapaxes(1, 2) if items <= 2 * picks else None  # cheaper than a product a slot
    for slot in range(picks):
        best = np.argmax(worth - (1.0 - trade) * nearest, axis=1)
        slate[:, slot] = best
        worth[every, best] = -np.inf
        similar = alike[every, best] if alike is not None else (vectors @ vectors[every, best][:, :, None])[:, :, 0]
        if kept == picks:
            np.maximum(nearest, similar, out=nearest)
        else:
            likeness[slot % kept] = similar
            nearest = likeness.max(axis=0)
    return slate
