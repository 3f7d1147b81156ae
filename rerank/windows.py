"""Rule scattering: in any window of W consecutive slots at most F items share a value of an attribute.

The greedy form used in industry (Alibaba PAI-Rec). Rules that cannot all be met are normal - a query for one brand
has one brand - so a broken rule is counted, and no item is ever dropped for it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]


def scatter(
    order: Ints, groups: NDArray[np.int64], rules: Sequence[tuple[int, int]], k: int, explore: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The order with its first `k` slots rearranged, `[N]`, and how often each rule was broken, `[A]`.

    order: `[N]` rows of `groups`, best first; groups: `[M, A]` value of each attribute, 0 = none, which no rule
    holds for; rules: (window, at_most) of each attribute, the most important first; explore: how far down the
    waiting items a slot may reach. Each slot takes the first of them that breaks no rule; where each breaks some,
    the least important rules give way first. O(k * explore * A).
    """
    waiting = [int(place) for place in order]
    values = [[int(value) for value in row] for row in groups[np.asarray(order, dtype=np.intp)]]
    seen: list[dict[int, int]] = [{} for _ in rules]
    broken = [0] * len(rules)
    placed: list[int] = []
    shown: list[list[int]] = []
    for slot in range(min(k, len(waiting))):
        for attribute, (window, _) in enumerate(rules):
            if slot >= window:
                seen[attribute][shown[slot - window][attribute]] -= 1
        choice = _choose(values[:explore], seen, rules)
        chosen = values.pop(choice)
        placed.append(waiting.pop(choice))
        shown.append(chosen)
        for attribute, (_, at_most) in enumerate(rules):
            value = chosen[attribute]
            before = seen[attribute].get(value, 0)
            broken[attribute] += value != 0 and before >= at_most
            seen[attribute][value] = before + 1
    return np.array(placed + waiting, dtype=np.intp), np.array(broken, dtype=np.int64)


def _choose(values: list[list[int]], seen: list[dict[int, int]], rules: Sequence[tuple[int, int]]) -> int:
    """The first of the items that meets the longest run of rules from the most important one."""
    best, longest = 0, -1
    for place, row in enumerate(values):
        met = 0
        for value, counts, (_, at_most) in zip(row, seen, rules, strict=True):
            if value and counts.get(value, 0) >= at_most:
                break
            met += 1
        if met > longest:
            best, longest = place, met
            if met == len(rules):
                break
    return best
