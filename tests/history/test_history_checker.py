"""The checker of histories finds what is wrong in histories made by hand, and nothing in sound ones."""

from collections.abc import Mapping

import pytest

from tests.history.checker import History, Read, State, Write, check
from tests.history.last_writer import Put, Sight, check_order

NEVER = float("inf")


def price(version: int, worker: int, start: float, end: float, key: str = "item") -> Write:
    return Write(key, version, worker, start, end, {"price": version})


def read(worker: int, start: float, saw: Mapping[str, State], end: float | None = None) -> Read:
    return Read(worker, start, start + 0.01 if end is None else end, "read", saw)


def shows(worker: int, start: float, shown: int, key: str = "item") -> Read:
    return read(worker, start, {key: {"price": shown}})


def judge(writes: list[Write], reads: list[Read]) -> list[str]:
    user: State = {"clicked": False, "hidden": "none"}
    return check(History({"item": {"price": 0}, "other": {"price": 0}, "user": user}, writes, reads)).broken


TWO = [price(1, worker=0, start=1.0, end=1.1), price(2, worker=1, start=2.0, end=2.1)]


def test_what_was_acknowledged_and_shown_everywhere_is_sound() -> None:
    assert judge(TWO, [shows(w, t, v) for t, v in ((0.5, 0), (1.5, 1), (2.5, 2)) for w in (0, 1)]) == []


def test_a_write_that_is_under_way_may_be_seen_or_not() -> None:
    assert judge(TWO, [shows(0, 1.05, 0), shows(1, 1.02, 1)]) == []


def test_a_worker_that_does_not_show_what_it_acknowledged_is_found() -> None:
    (told,) = judge(TWO, [shows(0, 1.2, 0)])
    assert "1 its own worker had acknowledged" in told


def test_a_write_that_is_never_shown_is_late_at_others_and_broken_at_its_own_worker() -> None:
    lost = [price(1, worker=0, start=1.0, end=1.1)]
    verdict = check(History({"item": {"price": 0}}, lost, [shows(1, 1.15, 0), shows(1, 9.1, 0)]))
    assert verdict.broken == []
    assert [round(late, 3) for late, _ in verdict.late] == [0.05, 8.0]
    assert len(verdict.over(0.1)) == 1
    assert verdict.longest == pytest.approx(8.0)


def test_a_stale_read_of_another_worker_is_late_by_the_first_version_it_lacks() -> None:
    verdict = check(History({"item": {"price": 0}}, TWO, [shows(1, 2.05, 0), shows(0, 2.15, 1)]))
    assert [round(late, 3) for late, _ in verdict.late] == [0.95, 0.05]


def test_a_worker_that_goes_back_is_found() -> None:
    (told,) = judge(TWO, [shows(1, 1.2, 1), shows(1, 1.3, 0)])
    assert "shows version 0, but 1 the worker had shown before" in told


def test_reads_that_overlap_may_show_either_order() -> None:
    long = read(1, 1.2, {"item": {"price": 1}}, end=1.4)
    assert judge(TWO, [long, shows(1, 1.3, 0)]) == []


def test_a_later_event_without_an_earlier_one_is_found() -> None:
    writes = [price(1, 0, 1.0, 1.1), price(1, 0, 1.2, 1.3, key="other")]
    (told,) = judge(writes, [shows(1, 1.35, 1, key="other"), shows(1, 1.4, 0)])
    assert "comes before what the worker had shown" in told


def test_events_that_were_sent_at_the_same_time_may_be_learned_in_any_order() -> None:
    writes = [price(1, 0, 1.0, 1.1), price(1, 0, 1.05, 1.15, key="other")]
    assert judge(writes, [shows(1, 1.2, 1, key="other"), shows(1, 1.3, 0)]) == []


def test_what_was_never_sent_is_found() -> None:
    assert "what was never sent" in judge(TWO, [shows(0, 3.0, 7)])[0]


def test_parts_of_two_versions_are_no_version() -> None:
    writes = [Write("item", v, 0, float(v), v + 0.1, {"price": v, "title": f"t{v}"}) for v in (1, 2)]
    assert "what was never sent" in judge(writes, [read(0, 3.0, {"item": {"price": 2, "title": "t1"}})])[0]


def test_what_is_shown_before_it_is_sent_is_found() -> None:
    assert "version 2, which was not sent yet" in judge(TWO, [shows(1, 1.5, 2)])[0]


def test_an_unacknowledged_write_may_be_seen_or_not_but_not_taken_back() -> None:
    open_ = [price(1, 0, 1.0, NEVER)]
    assert judge(open_, [shows(0, 5.0, 0), shows(0, 6.0, 1), shows(1, 7.0, 0)]) == []
    assert len(judge(open_, [shows(0, 6.0, 1), shows(0, 7.0, 0)])) == 1


USER = [
    Write("user", 1, 0, 1.0, 1.1, {"clicked": True, "hidden": "a"}),
    Write("user", 2, 0, 2.0, 2.1, {"clicked": False, "hidden": "none"}, event=False),
    Write("user", 3, 1, 3.0, 3.1, {"clicked": True, "hidden": "none"}),
]


@pytest.mark.parametrize("seen", [{"clicked": True}, {"hidden": "a"}])
def test_a_forgotten_user_who_is_back_is_found(seen: State) -> None:
    (told,) = judge(USER[:2], [read(0, 2.5, {"user": seen})])
    assert "a forgotten user is back" in told


def test_a_stranger_who_comes_back_without_the_past_is_sound() -> None:
    sights = [(1.5, True, "a"), (2.5, False, "none"), (3.5, True, "none")]
    assert judge(USER, [read(0, t, {"user": {"clicked": c, "hidden": h}}) for t, c, h in sights]) == []


def test_a_stranger_who_finds_the_past_is_found() -> None:
    (told,) = judge(USER, [read(1, 3.5, {"user": {"clicked": True, "hidden": "a"}})])
    assert "a forgotten user is back" in told


PUTS = [Put("a", 0, 1.0, 1.1), Put("b", 1, 2.0, 2.1), Put("c", 0, 2.05, 2.2)]


def see(*sights: tuple[str, int, float]) -> list[Sight]:
    return [Sight(value, worker, start, start + 0.01) for value, worker, start in sights]


def test_rules_replaced_in_one_order_are_sound() -> None:
    seen = see(("a", 0, 1.2), ("a", 0, 2.02), ("b", 1, 2.12), ("c", 0, 2.5), ("c", 1, 2.5))
    assert check_order(PUTS, seen).broken == []


def test_workers_that_see_overlapping_rules_in_different_orders_are_found() -> None:
    puts = [Put("b", 1, 2.0, 2.5), Put("c", 0, 2.0, 2.5)]
    seen = see(("b", 0, 2.6), ("c", 0, 2.7), ("c", 1, 2.6), ("b", 1, 2.7))
    assert "disagree" in check_order(puts, seen).broken[0]


def test_rules_that_come_back_after_they_were_replaced_are_found() -> None:
    puts = [Put("b", 1, 2.0, 2.5), Put("c", 0, 2.0, 2.5)]
    assert check_order(puts, see(("b", 0, 2.6), ("c", 0, 2.7), ("b", 0, 2.8))).broken


def test_an_order_against_the_clock_is_found() -> None:
    puts = [Put("a", 0, 1.0, 1.1), Put("b", 0, 2.0, 2.1)]
    assert any("disagree" in told for told in check_order(puts, see(("b", 1, 2.05), ("a", 1, 2.08))).broken)


def test_rules_replaced_long_ago_are_late_elsewhere_and_broken_at_home() -> None:
    verdict = check_order(PUTS[:2], see(("a", 0, 2.4), ("a", 1, 2.4)))
    assert [round(late, 3) for late, _ in verdict.late] == [0.3, 0.3]
    assert len(verdict.broken) == 1
    assert "worker 1" in verdict.broken[0]


def test_rules_nobody_put_are_found() -> None:
    assert "never sent" in check_order(PUTS, see(("z", 0, 3.0))).broken[0]
    assert "not sent yet" in check_order(PUTS, see(("b", 0, 1.5))).broken[0]
