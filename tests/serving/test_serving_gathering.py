"""Posts that wait together are read together, and nobody can tell by the answer."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from serving_fakes import FakeEngine, TestClient, feedback

from pipeline.errors import InputError
from pipeline.logs.decode import decode_each
from pipeline.logs.store import EventStore, Limits, StoreFullError
from serving import door as doors
from serving.door import Door
from serving.events import Posted, read_posted, read_posts
from serving.service import now_ms
from tests.examples import examples

MOST = 4
EVENTS: list[object] = [
    feedback("e1"),
    feedback("e2", request_id="r1"),
    feedback("e2", request_id="r1", received=7),
    feedback("e3", user_id=None),  # nobody's
    feedback("e4", item_id="a\0b"),
    {"event_id": "e5", "type": "item", "time": "2026-01-05T10:00:00Z", "item_id": "i1"},
    {"event_id": "e6", "type": "user", "time": 5, "user_id": "ann"},
    {"event_id": "e7", "type": "visit", "time": 5},
    7,
]
WRONG = [b"", b"[", b"nothing", b"[1, 2, 3, 4, 5]", b"\xff", b'["\xff"]', b"[[[[", b"[]", b" [ 1 ] "]
SOUND = st.one_of(st.sampled_from(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=MOST + 1))
BODIES = st.lists(st.sampled_from(WRONG) | SOUND.map(lambda events: json.dumps(events).encode()), max_size=8)


def plain(outcome: object) -> object:
    """Comparable: arrays as lists, errors by what they say."""
    if not isinstance(outcome, Posted):
        return type(outcome), str(outcome)
    told = outcome.told
    return outcome.rows, outcome.rejected, told.request, told.time.tolist(), sorted(told.times.tolist())


def alone(body: bytes, received: int | None) -> object:
    try:
        return read_posted(body, MOST, received)
    except InputError as error:
        return error


@trying(max_examples=examples(60), deadline=None)
@given(BODIES, st.lists(st.none() | st.integers(1, 9), min_size=8, max_size=8))
def test_a_post_reads_the_same_in_any_company(bodies: list[bytes], received: list[int | None]) -> None:
    posts = list(zip(bodies, received, strict=False))
    assert list(map(plain, read_posts(posts, MOST))) == [plain(alone(*post)) for post in posts]


IDS = st.sampled_from([None, "", "a", "a\0", "x" * 128, "x" * 129, "\u00e9" * 128, "\U0001f600" * 128, 7])
TIMES = st.sampled_from(
    [0, -1, 5, 4_102_444_799_999, 4_102_444_800_000, "2026-01-05T10:00:00Z", "9999-01-05T10:00:00Z"]
)
NUMBERS = st.sampled_from([None, -1, 0, 1, 2**63 - 1, 2**63, 0.5])
ODD = st.dictionaries(st.sampled_from(["user_id", "session_id", "item_id", "action", "event_id", "request_id"]), IDS)
ODD_TIMES = st.dictionaries(st.sampled_from(["time", "received"]), TIMES)
ODD_NUMBERS = st.dictionaries(st.sampled_from(["value", "quantity", "dwell_ms"]), NUMBERS, max_size=1)


@trying(max_examples=examples(120), deadline=None)
@given(ODD, ODD_TIMES, ODD_NUMBERS)
def test_one_event_is_judged_as_it_is_among_many(
    ids: dict[str, object], times: dict[str, object], numbers: dict[str, object]
) -> None:
    one, *many = (json.dumps(feedback() | fields).encode() for fields in (ids | times | numbers, *[{}] * 200))
    few, among = decode_each([one], "x"), decode_each([one, *many], "x")
    assert few.rejects == among.rejects
    if not few.rejects:
        assert few.frames["feedback"].equals(among.frames["feedback"].head(1))


@trying(max_examples=examples(15), deadline=None)
@given(BODIES)
def test_posts_at_the_same_moment_are_answered_and_kept_as_one_by_one(bodies: list[bytes]) -> None:
    async def post(door: Door, store: EventStore, body: bytes) -> object:
        try:
            posted = await door.read(body, 5)
        except InputError as error:
            return str(error)
        kept = await asyncio.wrap_future(store.submit(posted.rows))
        return kept.accepted, kept.duplicates, posted.rejected

    async def together(store: EventStore) -> list[object]:
        door = Door(MOST)
        return await asyncio.gather(*(post(door, store, body) for body in bodies))

    async def in_turn(store: EventStore) -> list[object]:
        door = Door(MOST)
        return [await post(door, store, body) for body in bodies]

    results = []
    for way in (in_turn, together):
        with TemporaryDirectory() as folder:
            store = EventStore(f"sqlite:///{Path(folder) / 'events.db'}")
            answers = asyncio.run(way(store))
            results.append((answers, [(row.seq, row.type, row.received, row.body) for row in store.since(0)]))
            store.close()
    assert results[0] == results[1]


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """What was read together; a body `boom` is a fault of ours."""
    seen: list[list[bytes]] = []

    def reading(posts: Sequence[tuple[bytes, int | None]], most: int) -> list[Posted | InputError]:
        seen.append([body for body, _ in posts])
        if b"boom" in seen[-1]:
            raise ZeroDivisionError
        return read_posts(posts, most)

    monkeypatch.setattr(doors, "read_posts", reading)
    return seen


def body(name: str, text: str = "") -> bytes:
    return json.dumps(feedback(name, query=text)).encode()


def reading(door: Door, *bodies: bytes) -> list[object]:
    """All at one moment; what each is answered."""

    async def run() -> list[object]:
        calls: list[Awaitable[object]] = [door.read(body, 5) for body in bodies]
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(run())


def names(outcomes: Sequence[object]) -> list[object]:
    return [each.rows[0].event_id if isinstance(each, Posted) else type(each) for each in outcomes]


def test_the_first_waits_for_nobody_and_the_others_go_together_in_order(groups: list[list[bytes]]) -> None:
    bodies = [body(f"e{n}") for n in range(5)]
    assert names(reading(Door(MOST), *bodies)) == ["e0", "e1", "e2", "e3", "e4"]
    assert groups == [bodies[:1], bodies[1:]]


def test_a_group_ends_where_others_would_wait_for_long(groups: list[list[bytes]]) -> None:
    large, many = "x" * 100_000, "," * 6_000  # of 256 KiB and of 10,000 commas
    reading(Door(MOST), *(body(f"e{n}", large) for n in range(6)), *(body(f"m{n}", many) for n in range(3)))
    assert [len(group) for group in groups] == [1, 2, 2, 2, 1, 1]


def test_a_fault_with_one_post_is_nobody_elses(groups: list[list[bytes]]) -> None:
    bodies = [body("e0"), body("e1"), b"boom", b"[", body("e2")]
    assert names(reading(Door(MOST), *bodies)) == ["e0", "e1", ZeroDivisionError, InputError, "e2"]


@pytest.mark.parametrize("limits", [Limits(waiting=2), Limits(waiting_bytes=2 * len(body("e0")))])
def test_who_finds_too_many_is_turned_away_and_later_is_not(limits: Limits) -> None:
    door = Door(MOST, limits)
    for _ in range(2):
        found = names(reading(door, *(body(f"e{n}") for n in range(4))))
        assert found == ["e0", "e1", StoreFullError, StoreFullError]


def test_what_nobody_waits_for_any_more_is_not_read_and_takes_no_place(groups: list[list[bytes]]) -> None:
    door = Door(MOST, Limits(waiting=3))

    async def run() -> list[object]:
        calls = [asyncio.create_task(door.read(body(f"e{n}"), 5)) for n in range(3)]
        await asyncio.sleep(0)  # all are at the door, and the first is being read
        calls[0].cancel()
        calls[1].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    assert names(asyncio.run(run())) == [asyncio.CancelledError, asyncio.CancelledError, "e2"]
    assert groups == [[body("e0")], [body("e2")]]
    assert names(reading(door, body("e3"), body("e4"), body("e5"))) == ["e3", "e4", "e5"]


def test_every_caller_has_an_answer_of_his_own_and_finds_his_events_learned(
    client: TestClient, engine: FakeEngine
) -> None:
    service = client.app.state.service
    posts = [b"[%s, 7]" % body(f"e{n // 2}") for n in range(40)]  # each event twice

    async def post(each: bytes) -> tuple[int, int, list[object], bool]:
        posted = await service.door.read(each, now_ms())
        kept = await service.take(posted.rows)
        known = await service.on_engine(lambda: posted.rows[0].event_id in engine.absorbed)  # as to the next request
        return kept.accepted, kept.duplicates, posted.rejected, known

    async def run() -> list[tuple[int, int, list[object], bool]]:
        return await asyncio.gather(*map(post, posts))

    answers = client.portal.call(run)
    assert [answer[:2] for answer in answers] == [(1, 0), (0, 1)] * 20
    assert {answer[2][0]["index"] for answer in answers} == {1}
    assert all(learned for *_, learned in answers)
