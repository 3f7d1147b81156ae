"""Item-to-item co-visits: what the same people act on shortly before or after an item.

Item-based collaborative filtering (Sarwar et al., WWW 2001) over pairs that lie close in a subject's sequence; a
subject with many actions says less a pair (inverse user frequency, Breese et al., UAI 1998).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.batch import Array
from pipeline.errors import ArtifactError
from pipeline.features.sequences import Sequences
from pipeline.stored import read_array
from retrieval.config import CovisitConfig

Weights = NDArray[np.float32]
Items = NDArray[np.int32]

_BLOCK = 4_000_000  # pairs aggregated at once: bounds the memory, changes no number
_OLDEST = 40.0  # half lives


@dataclass(frozen=True, slots=True)
class Neighbours:
    """item: `[N, M]`, best first, -1 = none; weight: `[N, M]`, 0 where there is none."""

    item: Items
    weight: Weights

    def save(self, folder: Path) -> None:
        np.save(folder / "neighbours.npy", self.item, allow_pickle=False)
        np.save(folder / "weight.npy", self.weight, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> "Neighbours":
        """Raises ArtifactError when the two arrays cannot be read or do not belong together."""
        item, weight = (read_array(folder / f"{name}.npy") for name in ("neighbours", "weight"))
        if item.ndim != 2 or item.shape != weight.shape:
            raise ArtifactError("neighbours.npy", f"the shape of weight.npy {weight.shape}", place=str(folder))
        return cls(item, weight)


def item_neighbours(
    item: Items,
    start: NDArray[np.int64],
    items: int,
    *,
    window: int,
    cap: int,
    most: int,
    damping: tuple[float, float],
    backward: float,
    strength: NDArray[np.float64] | None = None,
) -> Neighbours:
    """The nearest items of each item.

    item: `[E]`, the actions of one subject after the other, oldest first; start: `[U + 1]`, where each subject
    begins; items: N. A pair `gap` actions apart (at most `window`, among a subject's last `cap`) adds
    1 / (1 + gap) / log(1 + |J|) to c_ij, |J| being the subject's actions, and `backward` times that when j came
    before i: what follows says more about what is next. strength: `[E]`, how much a pair counts that ends with this
    action, None = 1 each. The weight is c_ij / (n_i^from n_j^to), n the counts of
    actions and (from, to) `damping`; (0.5, 0.5) with backward 1 is the cosine. At most `most` neighbours an item,
    ties to the smaller index.
    """
    item, subject, iuf = _latest(item, start, cap, strength)
    count = np.bincount(item, minlength=items)
    norms = [np.maximum(count, 1).astype(np.float64) ** power for power in damping]
    found = Neighbours(np.full((items, most), -1, np.int32), np.zeros((items, most), np.float32))
    for low, high in _blocks(count * 2 * window):
        code, weight = _pairs(item, subject, iuf, (low, high), window=window, items=items, backward=backward)
        left, right = code // items, code % items
        told = weight > 0
        left, right, weight = left[told], right[told], weight[told]
        weight = weight / (norms[0][left] * norms[1][right])
        order = np.lexsort((right, -weight, left))
        left = left[order]
        place = np.arange(len(left)) - np.searchsorted(left, left)
        kept = place < most
        found.item[left[kept], place[kept]] = right[order][kept]
        found.weight[left[kept], place[kept]] = weight[order][kept]
    return found


def learn_neighbours(history: Sequences, items: int, config: CovisitConfig) -> Neighbours:
    """The nearest items of each item of a catalogue of `items`, from what the subjects did."""
    return item_neighbours(
        np.asarray(history.item),
        history.start,
        items,
        window=config.window,
        cap=config.cap,
        most=config.neighbours,
        damping=(config.damping_from, config.damping_to),
        backward=config.backward,
        strength=half_life(history.time, config.half_life_days) if config.half_life_days else None,
    )


def covisit_scores(
    neighbours: Neighbours, seeds: Items, strength: NDArray[np.floating]
) -> tuple[NDArray[np.intp], Items, NDArray[np.float64]]:
    """Sum of `strength` times weight over the neighbours of every seed. seeds, strength: `[R, H]`, seed -1 = none.

    Returns row, item and score of each item found, all `[P]`, sorted by row, then item.
    """
    row, place = np.nonzero((seeds >= 0) & (seeds < len(neighbours.item)))
    seed = seeds[row, place]
    item = np.asarray(neighbours.item[seed])
    score = neighbours.weight[seed] * strength[row, place][:, None]
    width = np.int64(len(neighbours.item))
    valid = item >= 0
    code = (row[:, None] * width + item)[valid]
    order = np.argsort(code, kind="stable")
    code = code[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    total = np.add.reduceat(score[valid][order], first) if len(first) else np.empty(0)
    return code[first] // width, (code[first] % width).astype(np.int32), total


def half_life(time: NDArray[np.int64], days: float) -> NDArray[np.float64]:
    """How much each action counts, `[E]`: half as much each `days` before the latest. time: `[E]`, ms."""
    lives = (time.max(initial=0) - time) / (days * 86_400_000.0)
    # Older than this all count alike; less would be nothing at all in single precision.
    weight: NDArray[np.float64] = np.exp2(-np.minimum(lives, _OLDEST))
    return weight


def _latest(
    item: Items, start: NDArray[np.int64], cap: int, strength: NDArray[np.float64] | None
) -> tuple[Items, Array, Array]:
    """Each subject's last `cap` actions: item, subject and the weight of a pair that ends with it, all `[E']`."""
    length = np.diff(start)
    subject = np.repeat(np.arange(len(length)), length)
    kept = np.arange(len(item)) >= (start[1:] - cap)[subject]
    iuf = 1.0 / np.log1p(np.maximum(length, 1))
    own = iuf[subject[kept]]
    return np.asarray(item)[kept], subject[kept], own if strength is None else own * strength[kept]


def _blocks(cost: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of items whose pairs together stay near `_BLOCK`."""
    block = np.cumsum(cost) // _BLOCK
    edges = np.r_[0, np.flatnonzero(np.diff(block)) + 1, len(cost)]
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _pairs(
    item: Items, subject: Array, iuf: Array, block: tuple[int, int], *, window: int, items: int, backward: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The summed weight of every pair (left, right) with left in the block, by code left * items + right."""
    codes, weights = [], []
    inside = (item >= block[0]) & (item < block[1])
    for gap in range(1, window + 1):
        early, late = item[:-gap], item[gap:]
        together = (subject[:-gap] == subject[gap:]) & (early != late)
        ways = ((early, late, inside[:-gap], 1.0), (late, early, inside[gap:], backward))
        for left, right, mine, share in ways:
            taken = together & mine
            codes.append(left[taken].astype(np.int64) * items + right[taken])
            weights.append(share * iuf[gap:][taken] / (1 + gap))
    code, weight = np.concatenate(codes), np.concatenate(weights)
    order = np.argsort(code, kind="stable")
    code = code[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    total = np.add.reduceat(weight[order], first) if len(first) else np.empty(0)
    return code[first], total
