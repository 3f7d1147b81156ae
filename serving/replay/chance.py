"""What an order drawn at random is worth on average, in closed form: the mean of all orders, not of twenty."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def random_ndcg(total: Floats, ideal: Floats, choices: Counts, k: int) -> Floats:
    """Expected NDCG@k `[R]` when `choices` items stand in random order: every place holds the mean gain.

    total: `[R]` sum of gains; ideal: `[R, M]` the gains, zero-padded. nan where there is no gain.
    """
    places = np.minimum(choices, k)
    reach = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    best = -np.sort(-ideal, axis=1)[:, :k]
    best_dcg = best @ (1.0 / np.log2(np.arange(2, best.shape[1] + 2)))
    expected = total / np.maximum(choices, 1) * reach[places]
    value: Floats = np.divide(expected, best_dcg, out=np.full(len(total), np.nan), where=best_dcg > 0)
    return value


def random_recall(relevant: Counts, choices: Counts, k: int) -> Floats:
    """Expected recall@k `[R]`: the share of the choices that the first k places hold."""
    share = np.minimum(k / np.maximum(choices, 1), 1.0)
    return np.where(relevant > 0, share, np.nan)


def random_first(relevant: Counts, choices: Counts, depth: int) -> tuple[Floats, Floats]:
    """Chance `[R, depth]` that the first relevant item stands at each place, and MRR `[R]` cut at `depth`.

    Without replacement: given that none of r places held one, the next does with relevant / (choices - r).
    """
    left = np.maximum(choices, relevant)[:, None] - np.arange(depth)[None, :]
    hit = np.where(left > 0, np.minimum(relevant[:, None] / np.maximum(left, 1), 1.0), 0.0)
    missed = np.cumprod(1.0 - hit, axis=1)
    first = hit * np.concatenate([np.ones((len(hit), 1)), missed[:, :-1]], axis=1)
    mrr = first @ (1.0 / np.arange(1, depth + 1))
    return first, np.where(relevant > 0, mrr, np.nan)
