"""Runs and sequences fall into two parts at a moment, and the parts are what counting each part's events gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.pairs import PairCounters
from pipeline.features.sequences import Sequences

NAMES = ("shown", "clicked")
events = st.lists(st.tuples(*(st.integers(0, most) for most in (3, 2, 6, 1))), max_size=30)


def counted(rows: list[tuple[int, int, int, int]]) -> PairCounters:
    major, minor, tick, what = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return PairCounters.count(NAMES, major, minor, tick, what)


@given(events, st.integers(-1, 7))
def test_counts_up_to_a_tick_and_counts_after_it(rows: list[tuple[int, int, int, int]], tick: int) -> None:
    whole = counted(rows)
    expected = [counted([row for row in rows if (row[2] <= tick) == early]) for early in (True, False)]
    for part, alone in zip(whole.parted(tick), expected, strict=True):
        for name in ("keys", "start", "code", "total"):
            assert np.array_equal(getattr(part, name), getattr(alone, name))
    early, late = whole.parted(tick)
    assert np.array_equal(early.merge(late).total, whole.total)


@given(events, st.integers(-1, 8))
def test_events_that_have_come_by_a_moment_and_the_others(rows: list[tuple[int, int, int, int]], moment: int) -> None:
    def of(chosen: list[tuple[int, int, int, int]]) -> Sequences:
        key, item, time, late = np.array(chosen, dtype=np.int64).reshape(-1, 4).T
        return Sequences.of(key, time, time + late, item.astype(np.int32), np.zeros(len(key), dtype=np.int8))

    parts = of(rows).parted(moment)
    for part, early in zip(parts, (True, False), strict=True):
        alone = of([row for row in rows if (row[2] + row[3] < moment) == early])
        for name in ("keys", "start", "time", "received", "item", "action"):
            assert np.array_equal(getattr(part, name), getattr(alone, name))
