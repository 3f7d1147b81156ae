"""Team-draft interleaving: two rankings in one page, and the clicks decide. Knows arrays, nothing else.

It compares orders of the same candidates. It cannot judge diversity, blending or page rules: the mixed page has
neither system's list effect (docs/statistics.md).

Letters: R requests, K slots. Rankings hold item codes >= 0, each once a request, padded with -1 at the end.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.statistics.compare import bootstrap_interval
from pipeline.metrics.statistics.distributions import sign_tail

Ints = NDArray[Any]
Owner = NDArray[np.int8]
Floats = NDArray[np.float64]

A: Final = 0
B: Final = 1
NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Preference:
    """Who won. share: (requests won by B + half of the ties) / n, with 95 % interval; p_value: of the sign test.

    wins and ties count requests. A share above one half is for B.
    """

    share: float
    low: float
    high: float
    p_value: float
    wins_a: int
    wins_b: int
    ties: int

    @property
    def n(self) -> int:
        return self.wins_a + self.wins_b + self.ties


def team_draft(a: Ints, b: Ints, k: int, generator: np.random.Generator) -> tuple[Ints, Owner]:
    """The page `[R, k]` and whose pick each slot was, A, B or NOBODY (Radlinski, Kurup & Joachims 2008).

    Round by round a fair coin says who picks first, and each takes the best of its own that is not on the page yet.
    Once either ranking, `a` and `b` `[R, K]`, has nothing left, the rest of the other fills the page and is nobody's:
    credit for it would go to the longer list. An empty slot is -1.
    """
    rows = np.arange(len(a))
    page = np.full((len(a), k), -1, dtype=np.result_type(a, b))
    owner = np.full((len(a), k), NOBODY, dtype=np.int8)
    free = (a >= 0, b >= 0)
    drafting = np.ones(len(a), dtype=bool)
    turn = np.zeros(len(a), dtype=np.int8)
    for slot in range(k):
        turn = 1 - turn if slot % 2 else generator.integers(0, 2, len(a), dtype=np.int8)
        left = np.stack([free[A].any(axis=1), free[1].any(axis=1)])
        drafting &= left.all(axis=0)
        picker = np.where(left[turn, rows], turn, 1 - turn)
        best = [np.argmax(each, axis=1) for each in free]
        item = np.where(picker == A, a[rows, best[0]], b[rows, best[1]])
        some = left.any(axis=0)
        page[:, slot] = np.where(some, item, -1)
        owner[:, slot] = np.where(drafting, picker, NOBODY)
        free = (free[A] & (a != item[:, None]), free[B] & (b != item[:, None]))
    return page, owner


def credit(owner: Owner, clicks: Ints) -> tuple[Ints, Ints]:
    """Clicks `[R, K]` (counts or flags) that went to A's picks and to B's, each `[R]`."""
    return np.where(owner == A, clicks, 0).sum(axis=1), np.where(owner == B, clicks, 0).sum(axis=1)


def preference(to_a: Ints, to_b: Ints, seed: int, subjects: Ints | None = None) -> Preference:
    """Which system's picks were clicked more, over R requests with credit `to_a` and `to_b` `[R]`.

    A request is won by whom more of its clicks credit. subjects `[R]`: requests of one person depend on each other;
    then the sign test is over persons (who won more of a person's requests) and the bootstrap draws persons.
    """
    sign = np.sign(np.asarray(to_b, dtype=np.int64) - np.asarray(to_a, dtype=np.int64))
    interval = bootstrap_interval((sign + 1) / 2.0, seed, subjects)
    votes = sign
    if subjects is not None:
        _, person = np.unique(subjects, return_inverse=True)
        votes = np.sign(np.bincount(person, weights=sign))
    p_value = sign_tail(int((votes > 0).sum()), int((votes < 0).sum()))
    wins_a, wins_b = int((sign < 0).sum()), int((sign > 0).sum())
    return Preference(interval.mean, interval.low, interval.high, p_value, wins_a, wins_b, len(sign) - wins_a - wins_b)
