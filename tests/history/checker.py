"""Whether what several processes showed agrees with what was written to any of them, told by one clock.

Of each key one client writes versions 1, 2, ..., each after the one before was acknowledged; anyone reads, anywhere.
A read shows parts of a state, and so which versions it may have seen. From that follow the session guarantees of
Terry et al. (1994), and by Adya's and Elle's way (Kingsbury and Alvaro 2020) an order of versions that must not break:

- what a process acknowledged, it shows to every read that starts later, the others do some time later (`Verdict.late`);
- what a process has shown, it goes on showing (monotonic reads), and with it all that was acknowledged before that
  was sent (a consistent prefix, since the store has one order);
- nobody shows what was not sent yet, or no version there is.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

State = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Write:
    """start, end: seconds; end is infinite when nobody acknowledged it. state: what a read shows of this version.
    event: whether it is in the store's order; else (a user forgotten) it becomes known by another way."""

    key: str
    version: int
    worker: int
    start: float
    end: float
    state: State
    event: bool = True


@dataclass(frozen=True, slots=True)
class Read:
    """saw: key -> parts of its state."""

    worker: int
    start: float
    end: float
    kind: str
    saw: Mapping[str, State]


@dataclass(slots=True)
class History:
    """blank: the state of each key before its first version."""

    blank: dict[str, State] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """broken: what may never be, in words; late: of each read whose process was not told itself, for how many seconds
    the first version it did not show had been acknowledged elsewhere (0 where it showed all), and which it was."""

    broken: list[str] = field(default_factory=list)
    late: list[tuple[float, str]] = field(default_factory=list)

    def over(self, seconds: float) -> list[str]:
        """Reads that did not show what others had acknowledged so long before."""
        return [told for late, told in self.late if late > seconds]

    @property
    def longest(self) -> float:
        return max((late for late, _ in self.late), default=0.0)


class _Key:
    """The versions of one key, 0 being the blank."""

    def __init__(self, blank: State, writes: Sequence[Write]) -> None:
        self.writes = sorted(writes, key=lambda write: write.version)
        assert [write.version for write in self.writes] == list(range(1, len(self.writes) + 1))
        self.states = [blank, *(write.state for write in self.writes)]
        self.starts = [write.start for write in self.writes]
        self.ends = [write.end for write in self.writes]
        assert self.starts == sorted(self.starts)
        assert self.ends == sorted(self.ends)
        self.of_worker: dict[int, list[Write]] = {}
        for write in self.writes:
            self.of_worker.setdefault(write.worker, []).append(write)
        # Up to here the store's order says what is known; the first user forgotten is known by another way.
        self.ordered = next((write.version - 1 for write in self.writes if not write.event), len(self.writes))

    def told(self, worker: int, moment: float) -> int:
        """The latest version this worker had acknowledged."""
        own = self.of_worker.get(worker, [])
        place = bisect_right(own, moment, key=lambda write: write.end)
        return own[place - 1].version if place else 0

    def before(self, moment: float) -> int:
        """The latest version in the store's order that was acknowledged before a write that was sent then."""
        return min(bisect_left(self.ends, moment), self.ordered)

    def fitting(self, seen: State, last: int) -> list[int]:
        return [v for v in range(last + 1) if all(self.states[v].get(name) == value for name, value in seen.items())]


class _Known:
    """What a worker has shown to reads that have ended: versions, and the latest moment a shown event was sent at."""

    def __init__(self) -> None:
        self.floor: dict[str, int] = {}
        self.moment = -1.0
        self._ended: list[tuple[float, int, dict[str, int], float]] = []

    def add(self, end: float, floors: dict[str, int], moment: float) -> None:
        heapq.heappush(self._ended, (end, id(floors), floors, moment))

    def at(self, start: float) -> "_Known":
        while self._ended and self._ended[0][0] < start:
            _, _, floors, moment = heapq.heappop(self._ended)
            self.moment = max(self.moment, moment)
            for key, version in floors.items():
                self.floor[key] = max(self.floor.get(key, 0), version)
        return self


def check(history: History) -> Verdict:
    """Judge every read. Raises AssertionError when the writes of a key do not follow each other."""
    writes: dict[str, list[Write]] = {key: [] for key in history.blank}
    for write in history.writes:
        writes[write.key].append(write)
    keys = {key: _Key(history.blank[key], own) for key, own in writes.items()}
    known: dict[int, _Known] = {}
    verdict = Verdict()
    for read in sorted(history.reads, key=lambda read: read.start):
        worker = known.setdefault(read.worker, _Known()).at(read.start)
        floors: dict[str, int] = {}
        moment, late, which = -1.0, 0.0, ""
        for name, seen in read.saw.items():
            key = keys[name]
            fitting, fault, must = _judge(key, name, read, seen, worker)
            if fault:
                verdict.broken.append(fault)
                continue
            newest = fitting[-1]
            if newest < len(key.ends) and read.start - key.ends[newest] > late:
                late, which = read.start - key.ends[newest], _tell(read, name, seen, newest + 1)
            floors[name] = oldest = next(v for v in fitting if v >= must)
            if fitting[0] == oldest and oldest and key.writes[oldest - 1].event:
                moment = max(moment, key.starts[oldest - 1])
        verdict.late.append((late, which))
        worker.add(read.end, floors, moment)
    return verdict


def _judge(key: _Key, name: str, read: Read, seen: State, worker: _Known) -> tuple[list[int], str, int]:
    """The versions one part of a read may have shown, what is wrong with that, and the version it had to show."""
    fitting = key.fitting(seen, bisect_right(key.starts, read.end))
    duties = {
        "its own worker had acknowledged": key.told(read.worker, read.start),
        "the worker had shown before": worker.floor.get(name, 0),
        "comes before what the worker had shown": key.before(worker.moment),
    }
    must = max(duties.values())
    if not fitting:
        later = key.fitting(seen, len(key.writes))
        why = f"version {later[0]}, which was not sent yet" if later else "what was never sent"
        return [], f"{_tell(read, name, seen, must)}: shows {why}", must
    if fitting[-1] < must:
        duty = next(duty for duty, version in duties.items() if version == must)
        back = any(not write.event for write in key.writes[fitting[-1] : must])
        what = f"shows version {fitting[-1]}, but {must} {duty}" + (": a forgotten user is back" if back else "")
        return fitting, f"{_tell(read, name, seen, must)}: {what}", must
    return fitting, "", must


def _tell(read: Read, name: str, seen: State, version: int) -> str:
    return f"{read.kind} of {name} at worker {read.worker}, {read.start:.3f} s, version {version} due: {dict(seen)}"[
        :300
    ]
