"""What a log of pages offers to an off-policy figure, and what a system made of the same requests.

Letters: R pages (or requests), L logged items each, S surfaces, P positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.metrics.offpolicy.estimate import checked
from pipeline.metrics.offpolicy.intervals import NORMAL

Numbers = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
FOLLOWS = 0.05
Curve = tuple[Numbers, Numbers | None, Numbers | None]


@dataclass(frozen=True, slots=True)
class Logged:
    """gain, position (0-based, as logged), mask: `[R, L]`; surface `[R]`: row of the examination; explored, uniform
    `[R]`: pages in a drawn order, and of these the ones where every order was as likely; groups `[R]`: subjects."""

    gain: Floats
    position: Ints
    mask: Mask
    surface: Ints
    explored: Mask
    uniform: Mask
    groups: Ints


@dataclass(frozen=True, slots=True)
class Ranked:
    """A system's answer. rank `[R, L]`: new 1-based rank of each logged item, 0 = not ranked; size `[R]`: items
    ranked; asked `[R]`: whether it answered.

    p_click `[R, L]` and unshown `[R]`: a model's P(click) of each logged item, and its DCG of the ranked items that
    were not logged, both up to a factor; None without a model.
    """

    rank: Ints
    size: Ints
    asked: Mask
    p_click: Floats | None = None
    unshown: Floats | None = None


@dataclass(frozen=True, slots=True)
class ExaminationTable:
    """p `[S, P]`: P(looked at) relative to the first position, nan = unknown; error `[S, P]`: its standard error over
    p, 0 where p is known; refused `[S]`: why a surface has none, "" where it has."""

    p: Floats
    error: Floats
    refused: tuple[str, ...]

    def at(self, logged: Logged) -> tuple[Floats, Ints]:
        """p `[R, L]` and the cell of the flattened table `[R, L]` of each logged item; nan where unknown."""
        width = self.p.shape[1]
        place = np.clip(logged.position, 0, max(width - 1, 0))
        cell = logged.surface[:, None] * width + place
        known = logged.mask & (logged.position < width) & (logged.position >= 0)
        p = np.where(known, self.p.ravel()[cell], np.nan) if self.p.size else np.full(cell.shape, np.nan)
        return p, cell


def examination_table(curves: Sequence[Curve], refused: Sequence[str]) -> ExaminationTable:
    """One surface a curve (p, low, high), each `[positions]`; low and high: its 95 % interval, None where p is known.

    Raises InputError for a p that is missing, 0 or above 1 (an estimate may exceed 1, and then counts as 1).
    """
    width = max((len(p) for p, _, _ in curves), default=0)
    p, error = np.full((len(curves), width), np.nan), np.zeros((len(curves), width))
    for row, (curve, low, high) in enumerate(curves):
        estimated = low is not None and high is not None
        p[row, : len(curve)] = checked(np.minimum(curve, 1.0) if estimated else curve, "examination")
        if low is not None and high is not None:
            error[row, : len(curve)] = (high - low) / (2 * NORMAL) / p[row, : len(curve)]
    if len(curves) != len(refused):
        raise InputError("refused", "one reason a surface", received=len(refused))
    return ExaminationTable(p, error, tuple(refused))


def examination_variance(cells: Floats, cell: Ints, table: ExaminationTable) -> float:
    """What the error of an estimated examination adds to the variance of a sum.

    cells `[R, L]`: what each logged item contributes to the estimate, proportional to 1 / p; cell: of `table.at`.
    First-order expansion. Positions are ratios to the first one, whose noise they share: half the smallest squared
    error of a surface is common to its positions, the rest their own.
    """
    if not table.error.any():
        return 0.0
    total = np.bincount(cell.ravel(), weights=cells.ravel(), minlength=table.p.size)[: table.p.size]
    share = total.reshape(table.p.shape)
    squared = np.where(np.isfinite(table.error), table.error, 0.0) ** 2
    common = np.where(squared > 0, squared, np.inf).min(axis=1) / 2
    common = np.where(np.isfinite(common), common, 0.0)
    noisy = squared > 0
    own = np.where(noisy, squared - common[:, None], 0.0)
    return float(np.sum(share**2 * own) + np.sum(common * np.where(noisy, share, 0.0).sum(axis=1) ** 2))


def follows_positions(logged: Logged, rank: Ints, rows: Mask) -> bool:
    """Whether an order of shuffled pages goes by the places where their items happened to stand.

    No order made without looking at the shuffle can: over many pages the mean correlation of rank and position is 0.
    True when it is over 0.05 and four standard errors from it. Such an order (the logged one, above all) collects the
    clicks of the places, not of the items.
    """
    inside = logged.mask & (rank >= 1) & rows[:, None]
    count = inside.sum(axis=1)
    enough = count >= 2
    inside, count = inside[enough], count[enough]
    if not len(count):
        return False
    new, old = (_centred(values[enough], inside, count) for values in (rank, logged.position))
    scale = np.sqrt((new**2).sum(axis=1) * (old**2).sum(axis=1))
    correlation = np.divide((new * old).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
    # A random order of m items has a correlation of variance 1 / (m - 1).
    error = float(np.sqrt((1.0 / (count - 1)).sum())) / len(count)
    return abs(float(correlation.mean())) > max(FOLLOWS, 4 * error)


def _centred(values: Ints, inside: Mask, count: Ints) -> Floats:
    mean = np.where(inside, values, 0).sum(axis=1) / count
    return np.where(inside, values - mean[:, None], 0.0)
