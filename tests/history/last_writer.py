"""Whether a value that everybody may replace is replaced in one order, the same for all who look.

Nobody knows the order of two writes that overlap. But what ended before something else began is earlier, and of two
values that one process showed one after the other the first is earlier; no value may be earlier than itself.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate

from tests.history.checker import Verdict


@dataclass(frozen=True, slots=True)
class Put:
    """A value, never put twice, is put by way of a worker."""

    value: str
    worker: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A worker shows a value."""

    value: str
    worker: int
    start: float
    end: float


class _Followers:
    """When the first of the puts that began after a moment was acknowledged."""

    def __init__(self, puts: Sequence[Put]) -> None:
        self._puts = sorted(puts, key=lambda put: put.start)
        self._starts = [put.start for put in self._puts]
        ends = accumulate((put.end for put in reversed(self._puts)), min)
        self._ends = [*reversed(list(ends)), float("inf")]

    def replaced(self, end: float) -> float:
        return self._ends[bisect_right(self._starts, end)]


def check_order(puts: Sequence[Put], sights: Sequence[Sight]) -> Verdict:
    """Judge every sight; `late` is as for other keys: for how long the put that replaced the value was acknowledged."""
    verdict = Verdict()
    known = {put.value: put for put in puts}
    everyone = _Followers(puts)
    own = {worker: _Followers([put for put in puts if put.worker == worker]) for worker in {s.worker for s in sights}}
    for sight in sights:
        told = f"{sight.value} at worker {sight.worker}, {sight.start:.3f} s"
        put = known.get(sight.value)
        if put is None or put.start > sight.end:
            verdict.broken.append(f"{told}: was {'not sent yet' if put else 'never sent'}")
            continue
        if own[sight.worker].replaced(put.end) <= sight.start:
            verdict.broken.append(f"{told}: its own worker had acknowledged another")
        verdict.late.append((max(0.0, sight.start - everyone.replaced(put.end)), told))
    earlier: defaultdict[str, set[str]] = defaultdict(set)
    for before, after in (*_by_time(puts), *_by_sight(sights)):
        earlier[after].add(before)
    try:
        TopologicalSorter(earlier).prepare()
    except CycleError as error:
        verdict.broken.append(f"workers disagree in what order these were put: {', '.join(error.args[1][:6])}")
    return verdict


def _by_time(puts: Sequence[Put]) -> Iterator[tuple[str, str]]:
    """Pairs of values of which the first was put before the second; those that follow from others are left out."""
    ended = sorted(puts, key=lambda put: put.end)
    ends = [put.end for put in ended]
    latest = list(accumulate((put.start for put in ended), max))
    for put in puts:
        place = bisect_right(ends, put.start) - 1
        edge = latest[place] if place >= 0 else 0.0
        while place >= 0 and ended[place].end >= edge:
            if ended[place] is not put:
                yield ended[place].value, put.value
            place -= 1


def _by_sight(sights: Sequence[Sight]) -> Iterator[tuple[str, str]]:
    """Pairs of different values that one worker showed one after the other."""
    shown: defaultdict[int, list[Sight]] = defaultdict(list)
    for sight in sorted(sights, key=lambda sight: sight.start):
        for before in reversed(shown[sight.worker][-32:]):
            if before.end < sight.start:
                if before.value != sight.value:
                    yield before.value, sight.value
                break
        shown[sight.worker].append(sight)
