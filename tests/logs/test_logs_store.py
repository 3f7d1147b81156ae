"""The event store, the same over both databases: durable, each event once, in order, forgettable, bounded."""

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_tools import FOREVER, NOW, held, ids, row, started

from pipeline.errors import InputError
from pipeline.logs.store import EventStore, Forgotten, Limits, Row, StoreBrokenError, StoreFullError
from tests.examples import examples

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)]

WRITE = """
from concurrent.futures import ThreadPoolExecutor
from pipeline.logs.store import EventStore, Row
url, name = sys.argv[1:]
store = EventStore(url)
rows = [[Row(f"{name}-{n}-{i}", "feedback", "u", 5, 6, "{}") for i in range(n % 3 + 1)] for n in range(60)]
with ThreadPoolExecutor(8) as pool:
    print(sum(result.accepted for result in pool.map(store.append, rows)))
store.close()
"""


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'events.db'}"


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    opened = EventStore(url)
    yield opened
    opened.close()


def test_an_event_counts_once_within_a_batch_and_across_batches(store: EventStore) -> None:
    first = store.append([row("a"), row("b"), row("a")])
    again = store.append([row("b"), row("c")])
    assert (first.accepted, first.duplicates) == (2, 1)
    assert (again.accepted, again.duplicates) == (1, 1)
    assert store.count() == 3
    assert again.last == store.head() == ids(store)[-1]


def test_batches_that_share_a_commit_get_the_counts_of_their_own(store: EventStore) -> None:
    batches = [[row(f"e{n}"), row(f"e{n + 1}")] for n in range(100)]  # neighbours share an event
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(store.append, batches))
    assert sum(result.accepted for result in results) == store.count() == 101
    assert sum(result.duplicates for result in results) == 99


def test_what_was_acknowledged_is_there_when_the_store_is_opened_again(url: str) -> None:
    store = EventStore(url)
    store.append([row("a")])
    name = store.id
    store.close()
    again = EventStore(url)
    assert (again.id, again.count(), again.append([row("a")]).duplicates) == (name, 1, 1)
    again.close()


def test_what_was_released_is_gone_and_still_a_duplicate(store: EventStore) -> None:
    store.append([row("a", received=NOW), row("b", received=NOW + 1), row("c", received=NOW + 2)])
    _, second, third = ids(store)
    assert store.release(second, before=NOW + 1) == 1  # of a and b, one came before
    assert ids(store) == [second, third]
    assert store.release(second, before=NOW + 1) == 0
    assert store.append([row("a"), row("b")]).duplicates == 2
    assert store.release(store.head(), FOREVER) == 2
    assert (store.count(), store.head()) == (0, third)
    assert store.append([row("d")]).last > third


def test_more_is_released_than_fits_one_transaction(store: EventStore) -> None:
    store.append([row(f"e{n}", received=NOW + n % 2) for n in range(4_500)])
    assert store.release(store.head(), before=NOW + 1) == 2_250
    assert store.release(store.head(), before=NOW + 2) == 2_250
    assert store.append([row(f"e{n}") for n in range(4_500)]).duplicates == 4_500


def test_an_event_older_than_a_month_is_new_again_when_it_was_released(store: EventStore) -> None:
    month = 30 * 86_400_000
    store.append([row("old", received=NOW - month - 1), row("new", received=NOW - month + 3_600_000)])
    store.release(store.head(), FOREVER)
    assert store.append([row("old"), row("new")]).accepted == 1


def test_a_forgotten_user_has_no_events_and_those_are_still_duplicates(store: EventStore) -> None:
    store.append([row("a"), row("b", "bob"), row("c")])
    last = store.head()
    assert store.forget("ann").result() == 2
    assert (store.count(), store.head()) == (1, last)
    assert store.append([row("a"), row("c")]).duplicates == 2
    assert (store.forgotten().times("ann"), store.forgotten().times("bob")) == (1, 0)
    assert store.forget("ann").result() == 0
    assert store.forgotten().times("ann") == 2


def test_who_is_forgotten_is_pending_until_the_logs_are_made_anew(store: EventStore) -> None:
    assert not store.pending()
    for user in ("ann", "bob"):
        store.forget(user).result()
    seen = store.pending()
    store.forget("ann").result()  # once more, while the logs were made anew
    store.settled(seen)
    assert (store.pending().times("ann"), store.pending().times("bob")) == (2, 0)
    assert store.forgotten().times("bob") == 1
    assert store.forgotten() == store.forgotten() != seen
    assert not Forgotten()
    assert Forgotten().times("ann") == 0


def test_the_forgotten_are_told_with_what_was_committed_before_them(store: EventStore) -> None:
    store.append([row("a"), row("b", "bob")])
    store.forget("ann").result()
    assert store.forgotten().mark("ann") == (1, store.head())


def test_any_commit_of_anyone_changes_the_version(store: EventStore, url: str) -> None:
    other = EventStore(url)
    versions = [store.version()]
    for write in (
        lambda: store.append([row("a")]),
        lambda: other.append([row("b")]),
        lambda: other.forget("ann").result(),
    ):
        write()
        versions.append(store.version())
    assert all(before != after for before, after in itertools.pairwise(versions))
    other.close()


def test_processes_and_threads_write_at_once_and_every_reader_sees_the_order_of_commit(
    store: EventStore, url: str
) -> None:
    writers = [started(WRITE, url, name) for name in "abcd"]
    seen: list[int] = []
    while len(seen) < 4 * 120 and any(writer.poll() is None for writer in writers):
        seen += [event.seq for event in store.since(seen[-1] if seen else 0)]
    assert [writer.communicate()[0].strip() for writer in writers] == ["120"] * 4  # 20 x (1 + 2 + 3)
    seen += [event.seq for event in store.since(seen[-1])]
    assert seen == ids(store)  # nothing appeared behind the reader's back
    assert len(seen) == 4 * 120


def test_the_same_events_from_two_processes_count_once(store: EventStore, url: str) -> None:
    writers = [started(WRITE, url, "same") for _ in range(2)]
    assert sum(int(writer.communicate()[0]) for writer in writers) == store.count() == 120


def test_callers_are_refused_before_memory_grows(url: str) -> None:
    store = EventStore(url, Limits(waiting=1_000, waiting_bytes=100_000))
    with held(url):
        accepted = [store.submit([row(f"e{number}", size=1_000)]) for number in range(90)]
        with pytest.raises(StoreFullError, match="post again"):  # 1,000 characters each, and a little more
            _ = [store.submit([row(f"e{number}", size=1_000)]) for number in range(90, 100)]
    assert sum(done.result().accepted for done in accepted) == 90
    assert store.append([row("large", size=200_000)]).accepted == 1  # alone it may be larger
    store.close()


def test_callers_are_refused_when_many_small_batches_wait(url: str) -> None:
    store = EventStore(url, Limits(waiting=5))
    with held(url):
        waiting = [store.submit([row(f"e{number}")]) for number in range(5)]
        with pytest.raises(StoreFullError, match="5 batches"):
            store.submit([row("e5")])
    assert all(done.result().accepted == 1 for done in waiting)
    store.close()


def test_one_bad_batch_does_not_harm_those_of_the_same_commit(store: EventStore, url: str) -> None:
    bad = [row("b"), Row("d", None, None, 1, 1, "{}")]  # type: ignore[arg-type]
    with held(url):
        futures = [store.submit(batch) for batch in ([row("a")], bad, [row("e")])]
    with pytest.raises(InputError, match=r"(?i)null"):
        futures[1].result()
    assert [futures[n].result().accepted for n in (0, 2)] == [1, 1]
    assert store.count() == 2


def test_a_writer_does_not_wait_for_another_process_for_ever(url: str) -> None:
    store = EventStore(url, Limits(busy_ms=50))
    with held(url), pytest.raises(StoreBrokenError, match="another process"):
        store.append([row("a")])
    assert store.append([row("a")]).accepted == 1
    store.close()


def test_readers_read_while_somebody_writes(store: EventStore, url: str) -> None:
    store.append([row("a")])
    if url.startswith("sqlite"):
        with held(url):
            assert (store.count(), store.head(), len(store.since(0))) == (1, 1, 1)
    stop = threading.Event()

    def read() -> bool:
        sound = True
        while not stop.is_set():
            numbers = ids(store)
            sound &= numbers == sorted(numbers)
        return sound

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for number in range(50):
            store.append([row(f"e{number}", "bob" if number % 2 else "ann")])
        store.forget("bob").result()
        store.release(20, FOREVER)
        stop.set()
        assert reading.result()


def test_a_closed_store_refuses_events(url: str) -> None:
    store = EventStore(url)
    waiting = [store.submit([row(f"e{number}")]) for number in range(20)]
    store.close()
    assert all(done.result().accepted == 1 for done in waiting)
    with pytest.raises(StoreBrokenError, match="closed"):
        store.submit([row("late")])


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(0, 9), max_size=6)),
    st.tuples(st.just("release"), st.integers(0, 30)),
    st.tuples(st.just("forget"), st.integers(0, 1)),
)


@settings(max_examples=examples(25))
@given(st.lists(OPERATIONS, max_size=12))
def test_whatever_happens_no_event_is_counted_twice(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, object]]
) -> None:
    store = EventStore(f"sqlite:///{tmp_path_factory.mktemp('store') / 'events.db'}")
    counted: set[int] = set()
    for name, argument in operations:
        match name, argument:
            case "append", list():
                batch = [row(f"e{n}", f"u{n % 2}") for n in argument]
                assert store.append(batch).accepted == len(set(argument) - counted)
                counted |= set(argument)
            case "release", int():
                store.release(argument, FOREVER)
            case "forget", _:
                store.forget(f"u{argument}").result()
    bodies = [json.loads(event.body)["user_id"] for event in store.since(0)]
    assert len(bodies) <= len(counted)
    store.close()
