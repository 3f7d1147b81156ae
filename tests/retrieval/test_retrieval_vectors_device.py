"""The owner thread, the micro-batches, the over-fetch and the fallback, with a device that stands in for a GPU."""

import gc
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from pipeline.batch import Mask
from retrieval.gpu import DEEPEST, LostDeviceError, OnDevice, Owner
from retrieval.nearest import Exact, Found, Vectors
from tests.retrieval.vector_indexes import FakeDevice, brute_force, in_threads, queries_of, vectors_of

SIZE = 5_000
VECTORS = vectors_of(SIZE)


class Host(Exact):
    """Counts the requests it answers."""

    asked: int = 0

    def search(self, queries: Vectors, k: int, allowed: list[Mask] | None = None) -> Found:  # type: ignore[override]
        type(self).asked += len(queries)
        return Exact.search(self, queries, k, allowed)


@pytest.fixture
def host() -> Host:
    Host.asked = 0
    return Host(VECTORS, 1.0)


def test_one_thread_makes_the_device_and_alone_touches_it(host: Host) -> None:
    device = FakeDevice(VECTORS)
    index = OnDevice(host, VECTORS, device.make, "fake")
    assert in_threads(8, lambda number: [index.search(queries_of(2), 10) for _ in range(5)] and None) == []
    assert len(device.threads) == 1
    assert threading.get_ident() not in device.threads
    assert sum(device.calls) == 8 * 5 * 2


def test_requests_that_wait_are_answered_together_each_with_its_own() -> None:
    device = FakeDevice(VECTORS, held=threading.Event())
    owner = Owner(device.make)
    queries = queries_of(10)
    answers = [owner.submit(queries[:1], 5)]
    assert device.entered.wait(10)
    answers += [owner.submit(queries[row : row + 1], 5 + row) for row in range(1, 10)]
    assert device.held is not None
    device.held.set()
    for row, answer in enumerate(answers):
        want = brute_force(VECTORS, queries[row : row + 1], 5 + row)[1]
        np.testing.assert_array_equal(answer.result(10), want)
    assert device.calls == [1, 9]
    owner.close()


def test_a_micro_batch_stops_growing_when_it_is_full() -> None:
    device = FakeDevice(VECTORS, held=threading.Event())
    owner = Owner(device.make, most=4)
    answers = [owner.submit(queries_of(1), 3)]
    assert device.entered.wait(10)
    answers += [owner.submit(queries_of(2), 3) for _ in range(4)]
    assert device.held is not None
    device.held.set()
    assert [answer.result(10).shape for answer in answers] == [(1, 3)] + [(2, 3)] * 4
    assert device.calls == [1, 4, 4]
    owner.close()


def test_a_filter_is_met_by_asking_the_device_for_more(host: Host) -> None:
    device = FakeDevice(VECTORS)
    index = OnDevice(host, VECTORS, device.make, "fake")
    queries = queries_of(6)
    half = np.arange(SIZE) % 2 == 0
    np.testing.assert_array_equal(
        index.search(queries, 50, [half] * 6)[1], brute_force(VECTORS, queries, 50, [half] * 6)[1]
    )
    assert (device.calls, host.asked) == ([6], 0)


def test_a_narrow_filter_and_a_deep_search_go_to_the_host(host: Host) -> None:
    device = FakeDevice(VECTORS)
    index = OnDevice(host, VECTORS, device.make, "fake")
    few = np.arange(SIZE) % 100 == 0
    assert (index.search(queries_of(2), 50, [few] * 2)[1] % 100 == 0).all()
    assert index.search(queries_of(2), DEEPEST + 1)[1].min() >= 0
    assert (device.calls, host.asked) == ([], 4)


def test_where_the_filter_left_too_few_the_host_completes(host: Host) -> None:
    device = FakeDevice(VECTORS)
    index = OnDevice(host, VECTORS, device.make, "fake")
    query = queries_of(1)
    far = np.argsort(np.argsort(VECTORS @ query[0])) < SIZE // 2
    allowed = [far, np.ones(SIZE, dtype=bool)]
    both = np.repeat(query, 2, axis=0)
    np.testing.assert_array_equal(index.search(both, 40, allowed)[1], brute_force(VECTORS, both, 40, allowed)[1])
    assert (device.calls, host.asked) == ([2], 1)


def test_a_lost_device_is_replaced_by_the_host_for_the_request_in_flight_and_after(host: Host) -> None:
    device = FakeDevice(VECTORS)
    index = OnDevice(host, VECTORS, device.make, "fake")
    queries = queries_of(3)
    want = index.search(queries, 10)[1]
    device.fails = RuntimeError("an illegal memory access was encountered")
    for _ in range(2):
        np.testing.assert_array_equal(index.search(queries, 10)[1], want)
    told = index.describe()
    assert (told["fallbacks"], told["device"]) == (2, "cpu")
    assert "illegal memory access" in str(told["lost"])
    assert len(device.calls) == 2


def test_all_threads_get_their_answers_when_the_device_is_lost_under_them(host: Host) -> None:
    device = FakeDevice(VECTORS, fails=RuntimeError("gone"))
    index = OnDevice(host, VECTORS, device.make, "fake")
    want = brute_force(VECTORS, queries_of(1), 10)[1]

    def work(number: int) -> None:
        for _ in range(5):
            np.testing.assert_array_equal(index.search(queries_of(1), 10)[1], want)

    assert in_threads(8, work) == []
    assert index.fallbacks == 40


def test_a_device_that_keeps_silent_counts_as_lost(host: Host) -> None:
    device = FakeDevice(VECTORS, held=threading.Event())
    index = OnDevice(host, VECTORS, device.make, "fake", patience=0.01)
    assert index.search(queries_of(1), 10)[1].min() >= 0
    assert index.lost == "TimeoutError"
    assert device.held is not None
    device.held.set()


def test_a_device_that_cannot_be_made_leaves_the_host(host: Host) -> None:
    def make() -> None:
        raise RuntimeError("no memory")

    index = OnDevice(host, VECTORS, make, "fake")  # type: ignore[arg-type]
    assert index.lost == "no memory"
    assert index.search(queries_of(1), 10)[1].min() >= 0


def test_a_closed_owner_takes_no_more_and_a_closed_index_answers_from_the_host(host: Host) -> None:
    device = FakeDevice(VECTORS)
    owner = Owner(device.make)
    owner.close()
    with pytest.raises(LostDeviceError):
        owner.submit(queries_of(1), 5)
    index = OnDevice(host, VECTORS, device.make, "fake")
    index.close()
    assert index.search(queries_of(1), 10)[1].min() >= 0
    assert host.asked == 1


def test_the_thread_ends_with_the_last_who_holds_the_index(host: Host) -> None:
    made: Future[threading.Thread] = Future()

    def make():  # type: ignore[no-untyped-def]
        made.set_result(threading.current_thread())
        return FakeDevice(VECTORS).search

    index = OnDevice(host, VECTORS, make, "fake")
    thread = made.result(10)
    assert thread.is_alive()
    del index
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
